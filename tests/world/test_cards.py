"Cards and what is painted on them."
from random import Random

import pytest
import torch

from videodirector.world.cards import Card, below, edge, fade, hashed, lobes, mix, noise, ridge, spots, stamp
from videodirector.world.shapes import ellipse


def card(sharp=64): return Card.blank((-.5, -.5, .5, .5), sharp)


def test_a_card_lies_where_its_box_says():
    made = Card.blank((-.5, -.25, 1, .75), 40)
    assert made.rgba.shape == (4, 60, 90) and made.box == (-.5, -.25, 1, .75)
    assert made.x[0, 0] > -.5 and made.x[0, -1] < 1 and made.y.shape == (60, 1)


def test_a_part_is_the_card_itself():
    made = card()
    piece = made.part(-.1, -.2, .1, .2)
    piece.lay((1, 0, 0), torch.ones(piece.rgba.shape[1:]))
    assert made.rgba[0].sum() == piece.rgba[0].sum() > 0 and made.rgba[3, 48, 48] == 1 and made.rgba[3, 0, 0] == 0
    assert made.part(2, 2, 3, 3).empty and not made.part(-9, -9, 9, 9).empty
    made.part(2, 2, 3, 3).lay((1, 1, 1), torch.ones(0, 0))


def test_laying_covers_and_washing_only_colours():
    made = card()
    half = (made.x < 0).float()
    made.lay((1, .5, 0), .5*half)
    assert made.rgba[:, 0, 0].tolist() == [.5, .25, 0, .5]
    made.wash((0, 0, 1), torch.ones(1, 1))
    assert made.rgba[:, 0, 0].tolist() == [0, 0, .5, .5] and not made.rgba[:, 0, -1].any()
    made.fill((.1, .2, .3))
    torch.testing.assert_close(made.rgba[:, 5, 5], torch.tensor([.1, .2, .3, 1]))


def test_noise_is_smooth_and_belongs_to_its_dice():
    made = card()
    one, again, other = (noise(made.x, made.y, Random(s), 4) for s in (1, 1, 2))
    assert torch.equal(one, again) and not torch.equal(one, other)
    assert one.std() > .1 and one.diff(dim=1).abs().max() < .3
    fine = Card.blank((-.5, -.5, .5, .5), 128)
    coarse = torch.nn.functional.avg_pool2d(noise(fine.x, fine.y, Random(1), 4)[None], 2)[0]
    torch.testing.assert_close(coarse, one, atol=.05, rtol=0)  # the same at any fineness
    assert ridge(made.x, Random(3), 3).shape == (1, 96)


def test_hashed_is_even():
    values = hashed(torch.arange(2000.), .4)
    assert 0 <= values.min() and values.max() < 1 and abs(values.mean() - .5) < .05 and len(values.unique()) > 1900
    assert torch.equal(values[:3], hashed(torch.arange(3) + .7, .4))


def test_edges_are_half_on_the_line():
    made = card()
    assert abs(below(made, 0.).mean() - .5) < 1e-3 and abs(edge(made, made.x.expand(96, 96)).mean() - .5) < 1e-3
    assert fade(torch.tensor([0., .5, 1.]), 0, 1).tolist() == [0, .5, 1] == fade(torch.tensor([1., .5, 0.]), 1, 0).tolist()
    assert mix((0, 0, 0), (1, 1, 1), .25) == (.25,)*3


@pytest.mark.parametrize('heap', [spots, lobes])
def test_a_spot_is_half_at_its_edge(heap):
    made = card()
    found = heap(made, [(0, 0, .25, .125)])
    assert found[48, 48] > .99 and abs(found[48, 71:73].mean() - .5) < .1 and abs(found[59:61, 48].mean() - .5) < .1 and found[0, 0] == 0
    assert not heap(made, []).any()


def test_spots_flow_together_and_lobes_do_not():
    made, two = card(), [(-.2, 0, .2, .2), (.2, 0, .2, .2)]
    assert spots(made, two)[48, 48] > lobes(made, two)[48, 48] + .1


def test_a_stamp_goes_where_it_should():
    made = card()
    stamp(made, [ellipse('ink', (1, 0), .5)], dict(ink=(1, 0, 0)), (-.1, .1), .2)
    weight = made.rgba[3]/made.rgba[3].sum()
    assert abs((weight*made.x).sum() - .1) < .01 and abs((weight*made.y).sum() - .1) < .01
    other = card()
    stamp(other, [ellipse('ink', (1, 0), .5)], dict(ink=(1, 0, 0)), (-.1, .1), .2, flip=True)
    assert abs((other.rgba[3]/other.rgba[3].sum()*other.x).sum() + .3) < .01
