"Shadows, and what stands in front."
import torch

from videodirector.world.camera import camera_of
from videodirector.world.canvas import pixel_places
from videodirector.world.front import cast_shadow, front_of
from videodirector.world.light import light_of
from videodirector.world.paths import path_of
from videodirector.world.planes import look
from videodirector.world.stage import stage_of

COLOURS = (.3, .5, .2), (.5, .4, .3), (.2, .4, .2)


def stage(seed=1): return stage_of('meadow', seed, None, camera_of(0, frames=3), (48, 48))


def test_a_tenth_has_something_in_front():
    there = [front_of(stage(), seed, COLOURS) is not None for seed in range(400)]
    assert .06 < sum(there)/400 < .15


def test_it_is_small_low_and_follows_the_seed_alone():
    x, y = pixel_places(48, 48)
    still = next(c for c in map(camera_of, range(9)) if c.still)
    for seed in range(20):
        one, other = (look(front_of(stage(), seed, colours, 1.), x, y, still)[:, 3] for colours in (COLOURS, COLOURS[::-1]))
        torch.testing.assert_close(one, other, atol=1e-6, rtol=0)
        assert .005 < (one[0] > .5).float().mean() < .2 and not one[0, :20].any()


def test_a_shadow_lies_below_and_fades_when_one_leaps():
    x, y = pixel_places(64, 64)
    paper, still = torch.ones(1, 3, 1, 1), next(c for c in (camera_of(s, frames=5) for s in range(9)) if c.still)
    shadow = 1 - cast_shadow(paper, path_of('jumping', 3, frames=5), still, light_of(3), x, y)
    assert (shadow >= 0).all() and shadow[:, :, :40].max() < .2 and .3 < shadow[0].max() < .6
    assert shadow[1].sum() < shadow[0].sum()  # frame 1 is up in the air
