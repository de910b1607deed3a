"The light of a scene."
from videodirector.world.light import LIGHT_TABLE, LIGHTS, light_of


def luminance(colour): return sum(w*v for w, v in zip((.3, .59, .11), colour))


def test_it_belongs_to_the_seed():
    assert light_of(1) == light_of(1) and len({light_of(seed).name for seed in range(99)}) == 8
    assert {light_of(seed, suits=('noon', 'pale')).name for seed in range(40)} == {'noon', 'pale'}


def test_dusk_is_darker_and_fog_is_thick():
    for seed in range(30):
        day, dusk, fog = light_of(seed), light_of(seed, 'dusk'), light_of(seed, 'fog')
        assert dusk.lamps and dusk.high <= .15 and fog.thick > .8 >= day.thick
    assert sum(luminance(light_of(s, 'dusk').tint) for s in range(50)) < .6*sum(luminance(light_of(s).tint) for s in range(50))


def test_the_sun_stays_on_its_side():
    assert all(light_of(seed, word).side == light_of(seed).side for seed in range(20) for word in LIGHTS)
    assert {light_of(seed).side > 0 for seed in range(20)} == {True, False} and LIGHTS == tuple(LIGHT_TABLE)
