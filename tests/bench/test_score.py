"All numbers of an edit at once: which there are, and what each is blind to."
import pytest
import torch
from clips import gliding

from videodirector.bench.score import metrics_of
from videodirector.metrics.motion import interpolator, motion_smoothness
from videodirector.metrics.pixels import psnr
from videodirector.world.scene import Scene


def test_smoothness_is_called_by_its_interpolator():
    clip, region = gliding(), torch.zeros(5, 64, 96, dtype=torch.bool)
    found = metrics_of(clip, clip, region, amt=interpolator(lambda a, b: (a + 3 * b) / 4))
    assert found['MS (DIS)'] == motion_smoothness(clip)
    assert found['MS (AMT)'] == motion_smoothness(clip, interpolator(lambda a, b: (a + 3 * b) / 4)) != found['MS (DIS)']


def test_perfect_edit_has_perfect_numbers(tiny_judge, tiny_score):
    scene = Scene('bear', 'meadow', 'left', seed=3)
    source, truth = scene.render(5, 64, 64), scene.replace(subject='tiger').render(5, 64, 64)
    wanted = tiny_judge.read(truth.video)
    region = (source.video != truth.video).any(1)  # the soft outline, a pixel beyond the masks, included
    found = metrics_of(truth.video, source.video, region, 'a tiger', tiny_score, tiny_judge, lambda a, b: (a - b).abs().max().item(), truth, wanted)
    assert list(found) == ['MS (DIS)', 'tiny', 'masked_psnr', 'masked_lpips', 'masked_judge_distance', 'judge_right',
                           'truth_psnr', 'truth_ssim', 'motion_error']
    assert found['masked_psnr'] == found['truth_psnr'] == float('inf') and found['truth_ssim'] == pytest.approx(1, abs=1e-3)
    assert found['masked_lpips'] == found['masked_judge_distance'] == found['motion_error'] == 0 and found['judge_right'] == 1


def test_masked_numbers_do_not_see_the_region(tiny_judge):
    source, region = gliding(), torch.zeros(5, 64, 96, dtype=torch.bool)
    region[:, 20:40, 20:40] = True
    noisy = source + .1 * torch.randn(source.shape, generator=torch.manual_seed(1))
    wild = torch.where(region[:, None], -source, noisy)
    a, b = (metrics_of(x, source, region, judge=tiny_judge) for x in (noisy, wild))
    assert a['masked_psnr'] == b['masked_psnr'] == pytest.approx(psnr(noisy, source, ~region))
    assert a['masked_judge_distance'] == b['masked_judge_distance'] > 0


def test_nothing_is_masked_where_all_was_free(tiny_judge):
    found = metrics_of(gliding(), gliding(seed=1), torch.ones(5, 64, 96, dtype=torch.bool), judge=tiny_judge)
    assert list(found) == ['MS (DIS)']
