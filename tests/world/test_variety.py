"How far apart clips of one caption are."
from statistics import mean

import torch

from videodirector.world.places import BACKGROUNDS
from videodirector.world.scene import Scene
from videodirector.world.variety import outside_psnr, variety


def test_figures_do_not_count():
    scene = Scene('bear', 'meadow', 'standing', seed=3)
    one, other = scene.render(2, 48, 48), scene.replace(colour='red').render(2, 48, 48)
    outside = outside_psnr(one, other)
    assert outside > 60 or outside == float('inf')
    dark = one._replace(video=(one.video - 1).clamp(-1, 1))
    assert 3 < outside_psnr(one, dark) < 12
    assert abs(outside_psnr(one, one._replace(video=one.video + .2)) - 20) < 1e-3


def test_clips_of_one_place_are_far_apart():
    found = variety()
    assert set(found) == set(BACKGROUNDS) and mean(found.values()) <= 12 and max(found.values()) <= 14
    assert torch.tensor(list(found.values())).min() > 8  # nor is it confetti
