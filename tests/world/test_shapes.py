"Distances to the shapes that figures are made of."
import pytest
import torch

from videodirector.world.canvas import pixel_places
from videodirector.world.shapes import distance, ellipse, limb, polygon


@pytest.fixture
def places():
    y, x = torch.meshgrid(torch.linspace(-1, 1, 41), torch.linspace(-1, 1, 41), indexing='ij')
    return x, y


def field(part, x, y):
    return distance(part, [a*x + b*y + c for a, b, c in part.rows])


def test_circle(places):
    x, y = places
    torch.testing.assert_close(field(ellipse('red', (.2, -.1), .5), x, y), torch.hypot(x - .2, y + .1) - .5)


def test_ellipse(places):
    x, y = places
    egg = field(ellipse('red', (0, 0), (.8, .4), tilt=30), x, y)
    assert ((egg < 0) == (((.75**.5*x + .5*y)/.8)**2 + ((-.5*x + .75**.5*y)/.4)**2 < 1)).all()


def test_limb(places):
    x, y = places
    stick = field(limb('red', (-.5, 0), (.5, 0), .2), x, y)
    torch.testing.assert_close(stick, torch.hypot((x.abs() - .5).clamp(min=0), y) - .2)


def test_a_limb_may_be_thicker_at_one_end():
    ends = torch.tensor([-.5, .5])
    drop = field(limb('red', (-.5, 0), (.5, 0), (.3, .1)), ends, torch.zeros(2))
    torch.testing.assert_close(drop, torch.tensor([-.3, -.1]))


def test_polygon(places):
    x, y = places
    square = field(polygon('red', (-.5, -.5), (.5, -.5), (.5, .5), (-.5, .5), r=0.), x, y)
    torch.testing.assert_close(square, torch.maximum(x.abs(), y.abs()) - .5)


def test_the_way_round_a_polygon_does_not_matter():
    x, y = pixel_places(16, 16)
    corners = (-.3, .3), (.3, .3), (0., -.3)
    torch.testing.assert_close(field(polygon('red', *corners), x, y), field(polygon('red', *corners[::-1]), x, y))
