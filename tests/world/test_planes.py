"Planes: their map, its way back, and what one sees."
from random import Random

import pytest
import torch
import torch.nn.functional as F

from videodirector.world.camera import Camera, camera_of
from videodirector.world.canvas import pixel_places
from videodirector.world.cards import Card, noise
from videodirector.world.planes import Plane, compose, look, over

FRAMES = 5
MOTIONS = dict(rest={}, depth=dict(depth=(.2, .8, -.1)), drift=dict(drift=(.1, -.05)), path=dict(drift=(0., torch.linspace(0, .1, FRAMES))),
               sway=dict(sway=(.02, 2, 1, .3, None)), rooted=dict(sway=(.02, 1, 1, .3, .4)), tile=dict(tile=True, drift=(.1, .7)))


def camera():
    "It does everything at once."
    t = torch.linspace(-.5, .5, FRAMES)
    return Camera(.1*t, .05*t, -.03*t, 1 + .1*t)


def plane(**motion):
    card = Card.blank((-1, -1, 1, 1), 64)
    for k in range(3): card.lay(tuple(float(i == k) for i in range(3)), (noise(card.x, card.y, Random(k), 5) > 0)*1.0)
    return Plane(card, **motion)


@pytest.mark.parametrize('motion', MOTIONS.values(), ids=MOTIONS)
def test_the_way_back(motion):
    x, y = pixel_places(24, 32)
    there = plane(**motion)
    u, v = there.on_card(x, y, camera())
    back = there.in_picture(u, v, camera())
    torch.testing.assert_close(back[0], x.expand(FRAMES, 24, 32), atol=1e-5, rtol=0)
    torch.testing.assert_close(back[1], y.expand(FRAMES, 24, 1), atol=1e-5, rtol=0)


@pytest.mark.parametrize('motion', MOTIONS.values(), ids=MOTIONS)
def test_following_the_flow_finds_the_same_again(motion):
    x, y = pixel_places(64, 64)
    there = plane(**motion)
    seen = look(there, x, y, camera())
    goal = torch.stack(torch.broadcast_tensors(x, y), -1) + there.flow(x, y, camera()).movedim(1, -1)
    followed = F.grid_sample(seen[1:], 2*goal, align_corners=False)
    inside = (goal.abs() < .48).all(-1)
    error, rest = ((a - seen[:-1]).abs().mean(1)[inside].mean() for a in (followed, seen[1:]))
    assert error < .35*rest and error < .05  # what is left is the interpolation of hard edges


def test_far_planes_shift_less():
    x, y = pixel_places(16, 16)
    far, near = (plane(depth=(d, 0., 0.)).flow(x, y, camera_of(0, 'right', FRAMES)) for d in (.1, 1.))
    assert (near[:, 0] < far[:, 0]).all() and (far[:, 0] < 0).all() and not far[:, 1].any()


def test_what_rests_is_looked_at_once():
    x, y = pixel_places(16, 24)
    still = next(c for c in map(camera_of, range(9)) if c.still)
    assert look(plane(), x, y, still).shape == (1, 4, 16, 24) and look(plane(drift=(.1, 0.)), x, y, still).shape == (16, 4, 16, 24)
    assert look(plane(), x, y, camera()).shape == (FRAMES, 4, 16, 24)


def test_over_is_a_matter_of_alpha():
    image, seen = torch.full((1, 3, 2, 2), .8), torch.zeros(1, 4, 2, 2)
    assert torch.equal(over(image, seen), image)
    seen[:, :, 0] = torch.tensor([.5, 0, 0, .5]).view(1, 4, 1)
    torch.testing.assert_close(over(image, seen)[0, :, 0, 0], torch.tensor([.9, .4, .4]))
    assert compose([], *pixel_places(2, 2), camera()).abs().max() == 0
