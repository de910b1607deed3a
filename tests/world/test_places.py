"Places: what there is, that it moves, and that nothing but the light changes with the light."
import pytest
import torch

from videodirector.world.camera import camera_of
from videodirector.world.canvas import pixel_places
from videodirector.world.light import LIGHTS
from videodirector.world.places import BACKGROUND_TABLE, BACKGROUNDS, paint_background, set_up
from videodirector.world.planes import look

STILL = next(seed for seed in range(20) if camera_of(seed).still)


def draw(name, seed, light=None, pan=None, frames=4, size=48):
    return paint_background(name, seed, camera_of(seed, pan, frames), *pixel_places(size, size), light)


def test_there_are_enough_places():
    assert len(BACKGROUNDS) >= 8 and len({place.phrase for place in BACKGROUND_TABLE.values()}) == len(BACKGROUNDS)


@pytest.mark.parametrize('name', BACKGROUNDS)
def test_a_place_follows_its_seed_and_the_camera(name):
    for seed in range(3):
        image = draw(name, seed)
        assert torch.equal(image, draw(name, seed)) and len(image) in (1, 4)
        assert torch.isfinite(image).all() and -1e-4 <= image.min() and image.max() <= 1 + 1e-4
    assert (draw(name, 1) - draw(name, 2)).abs().mean() > .05
    assert (draw(name, 1, pan='left') - draw(name, 1, pan='right')).abs().max() > .1


@pytest.mark.parametrize('name', BACKGROUNDS)
@pytest.mark.parametrize('light', LIGHTS)
def test_light_changes_colours_and_nothing_else(name, light):
    planes, other = (set_up(name, 5, camera_of(5, frames=2), (32, 32), word).planes for word in (None, light))
    assert len(planes) == len(other)
    for one, two in zip(planes, other):
        assert one.depth == two.depth and one.sway == two.sway and one.card.box == two.card.box
    assert (draw(name, 5) - draw(name, 5, light)).abs().mean() > .02


def test_at_least_half_of_the_places_move_by_themselves():
    moving = [name for name in BACKGROUNDS if (clip := draw(name, STILL)).shape[0] == 4 and (clip[1:] - clip[:-1]).abs().max() > .05]
    assert len(moving) > len(BACKGROUNDS)/2 and {'water', 'snow', 'rain', 'clouds'} <= set(moving)


@pytest.mark.parametrize('name', BACKGROUNDS)
def test_no_card_ends_inside_the_picture(name):
    "Behind everything else there is always something, whatever the camera does."
    for seed in range(4):
        camera = camera_of(seed, ('left', 'right', None, None)[seed], 3)
        bare = torch.ones(1, 1, 1, 1)
        for plane in set_up(name, seed, camera, (40, 56)).planes:
            bare = bare*(1 - look(plane, *pixel_places(40, 56), camera)[:, 3:])
        assert bare.max().item() < .02


@pytest.mark.parametrize('height, width', [(24, 72), (72, 24)])
def test_any_shape(height, width):
    for name in BACKGROUNDS: assert paint_background(name, 3, camera_of(3, frames=2), *pixel_places(height, width)).shape[-2:] == (height, width)
