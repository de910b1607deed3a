"Backgrounds and the blobs that they are made of."
import pytest
import torch

from videodirector.world.canvas import pixel_places
from videodirector.world.paths import path_of
from videodirector.world.places import BACKGROUNDS, blobs, paint_background


def test_there_are_enough_places():
    assert len(BACKGROUNDS) >= 8


def test_a_blob_is_half_at_its_edge():
    x, y = pixel_places(64, 64)
    blob = blobs(x, y, [(0, 0, .25, .125)])[0]
    assert blob[32, 32] > .99 and abs(blob[32, 47:49].mean() - .5) < .1 and abs(blob[39:41, 32].mean() - .5) < .1 and blob[0, 0] == 0


@pytest.mark.parametrize('name', BACKGROUNDS)
def test_what_moves_in_a_place(name):
    image = paint_background(name, 1, path_of('standing', 1, frames=4), *pixel_places(48, 48))
    moves = len(image) == 4 and (image[1:] - image[:-1]).abs().max() > .1
    assert moves == (name in ('water', 'snow', 'clouds', 'rain')) and len(image) in (1, 4)
    assert 0 <= image.min() and image.max() <= 1


@pytest.mark.parametrize('name', BACKGROUNDS)
def test_a_place_follows_its_seed_and_the_camera(name):
    def draw(seed, pan=None): return paint_background(name, seed, path_of('standing', 1, pan, frames=4), *pixel_places(48, 48))
    assert torch.equal(draw(1), draw(1)) and not torch.equal(draw(1), draw(2))
    assert (draw(1, 'left') - draw(1, 'right')).abs().max() > .1
