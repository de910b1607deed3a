"Masks reshaped and drawn."
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from clips import moving_disc
from sentences import refuses

from videodirector.data.mask import Mask, iou
from videodirector.data.regions import attention_mask, box_mask, ellipse, feather, grow, largest_region, regions


@pytest.fixture(scope='module')
def disc(): return Mask(moving_disc())


def blobs(seed, height=37, width=53):
    "Random islands, as booleans [1,H,W]."
    noise = torch.rand(1, height, width, generator=torch.Generator().manual_seed(seed))
    smooth = F.avg_pool2d(noise[None], 5, 1, 2)[0]
    return smooth > smooth.quantile(.8)


def test_growing_is_by_a_disc_and_its_neutral_value_changes_nothing(disc):
    y, x = torch.meshgrid(torch.arange(9), torch.arange(9), indexing='ij')
    dot = Mask((x == 4).logical_and(y == 4)[None])
    assert torch.equal(grow(dot, 3).hard[0], (x - 4) ** 2 + (y - 4) ** 2 <= 9)
    assert torch.equal(grow(disc, 0).values, disc.values) and torch.equal(feather(disc, 0).values, disc.values)
    assert (grow(disc, -2).hard <= disc.hard).all() and grow(disc, -2).area.max() < disc.area.min()
    assert grow(Mask(torch.ones(1, 8, 8)), -3).hard.all(), "the frame's edge is no edge of the thing"


def test_growing_a_soft_mask_takes_the_greatest_value_around():
    soft = torch.rand(1, 20, 24, generator=torch.Generator().manual_seed(0))
    around = [F.pad(soft, (3, 3, 3, 3))[:, 3 + y:23 + y, 3 + x:27 + x] for y in range(-3, 4) for x in range(-3, 4)
              if x * x + y * y <= 9]
    assert torch.equal(grow(Mask(soft), 3).values, torch.stack(around).amax(0))


def test_feathering_is_a_gaussian_that_keeps_the_weight(disc):
    soft = feather(disc, 2)
    assert soft.is_soft and soft.area == pytest.approx(disc.area, rel=.02)
    assert soft.values[0, 18, 20] > .99 and 0 < soft.values[0, 18, 32] < .5
    kernel = torch.exp(-torch.arange(-6., 7) ** 2 / 8)
    kernel /= kernel.sum()
    padded = F.pad(disc.values[:, None], [6] * 4, mode='replicate')
    by_hand = F.conv2d(F.conv2d(padded, kernel[None, None, None]), kernel[None, None, :, None])[:, 0]
    torch.testing.assert_close(soft.values, by_hand, rtol=0, atol=1e-6)


def test_regions_join_what_touches():
    rows = [[1, 0, 1, 0, 1], [1, 0, 1, 0, 0], [1, 1, 1, 0, 0], [0, 0, 0, 0, 1]]
    frame = np.array(rows, dtype=bool)
    labels = regions(frame)
    assert labels[0, 0] == labels[0, 2] == labels[2, 1] and not labels[~frame].any()
    assert len(np.unique(labels[frame])) == 3
    assert largest_region(frame).sum() == 7


def test_of_equal_regions_the_first_counts():
    frame = np.zeros((5, 9), bool)
    frame[3:5, 0:2] = frame[0:2, 6:8] = True
    assert largest_region(frame)[0, 6] and largest_region(frame).sum() == 4


def test_an_ellipse_goes_around_the_largest_region(disc):
    found = ellipse(disc)
    assert iou(found, disc).min() > .95, 'a disc is its own ellipse'
    crumbs = disc.hard.clone()
    crumbs[:, :2, :2] = True
    both = ellipse(Mask(crumbs))
    assert (both.hard.sum((1, 2)) - found.hard.sum((1, 2)) == 4).all(), 'a crumb pulls at the ellipse'
    bar = torch.zeros(1, 40, 60)
    bar[0, 18:22, 10:50] = 1
    left, top, right, bottom = ellipse(Mask(bar)).boxes[0]
    assert right - left > 40 and bottom - top <= 6
    assert not ellipse(Mask(torch.zeros(2, 8, 8))).hard.any()


@pytest.mark.parametrize('seed', range(8))
def test_the_ellipse_is_where_the_formula_says(seed):
    mask = blobs(seed)
    region = torch.from_numpy(largest_region(mask[0].numpy()))
    points = region.nonzero().double().flip(1).T  # x, y
    centre = points.mean(1, keepdim=True)
    spread = torch.cov(points, correction=0) + torch.eye(2) / 12
    y, x = torch.meshgrid(*(torch.arange(n).double() for n in region.shape), indexing='ij')
    away = torch.stack([x.flatten(), y.flatten()]) - centre
    inside = ((away * torch.linalg.solve(4 * spread, away)).sum(0) <= 1).view(region.shape)
    assert torch.equal(ellipse(Mask(mask)).hard[0], inside | mask[0])


def test_boxes():
    assert box_mask((2, 1, 5, 3), (2, 6, 8)).boxes == [(2, 1, 5, 3)] * 2
    moving = box_mask([(0, 0, 2, 2), (1, 0, 3, 2)], (2, 6, 8))
    assert moving.boxes == [(0, 0, 2, 2), (1, 0, 3, 2)]
    assert box_mask((-3, 2, 4, 99), (1, 6, 8)).boxes == [(0, 2, 4, 6)], 'what lies outside is cut off'


@pytest.mark.parametrize('box, shape, words', [
    ((5, 1, 5, 3), (1, 6, 8), 'The box 5, 1, 5, 3 covers no pixel of 8×6 frames'), ([(0, 0, 2, 2)] * 2, (3, 6, 8), '2 boxes'),
    ((1, 1, 5), (1, 6, 8), 'is no box'), ((math.nan, 1, 5, 3), (1, 6, 8), 'is no box')])
def test_boxes_that_are_none(box, shape, words): refuses(words, box_mask, box, shape)


def test_attention():
    maps = torch.zeros(2, 4, 4)
    maps[:, 1:3, 1:3] = 1
    assert attention_mask(maps, (16, 16)).boxes[0] == (4, 4, 12, 12)
    refuses('the same everywhere', attention_mask, torch.ones(2, 4, 4), (8, 8))
