"All numbers of an edit at once: which there are, and what each is blind to."
from types import SimpleNamespace

import pytest
import torch
from clips import gliding

from videodirector.base.run import Run
from videodirector.bench.score import Case, Judges, edit_case, reconstruction_scores, ring_around, score
from videodirector.data.mask import Mask
from videodirector.data.regions import grow
from videodirector.methods.api import Clip
from videodirector.methods.videodirector import VideoDirector
from videodirector.metrics.motion import interpolator, motion_smoothness
from videodirector.metrics.pixels import psnr
from videodirector.parts.settings import EditSettings, InvertSettings
from videodirector.world.scene import Scene

SCENE = Scene('bear', 'meadow', 'left', seed=3)


def box(clip):
    mask = torch.zeros_like(clip[:, 0], dtype=torch.bool)
    mask[:, 20:40, 20:40] = True
    return Mask(mask)


def test_smoothness_is_called_by_its_interpolator():
    clip, amt = gliding(), interpolator(lambda a, b: (a + 3 * b) / 4)
    found = score(clip, Case(Clip(clip, 'a'), 'b'), Judges(amt=amt))
    assert found['MS (DIS)'] == motion_smoothness(clip)
    assert found['MS (AMT)'] == motion_smoothness(clip, amt) != found['MS (DIS)']


def test_perfect_edit_has_perfect_numbers(tiny_judge, tiny_score):
    source, truth = SCENE.render(5, 64, 64), SCENE.replace(subject='tiger').render(5, 64, 64)
    region = Mask((source.video != truth.video).any(1))  # the soft outline, a pixel beyond the masks, included
    case = Case(Clip(source.video, 'a bear', region), 'a tiger', kind='subject', truth=truth, wanted=tiny_judge.read(truth.video))
    found = score(truth.video, case, Judges(tiny_judge, tiny_score, lambda a, b: (a - b).abs().max().item()))
    assert list(found) == ['MS (DIS)', 'tiny', 'masked_psnr', 'inside_psnr', 'ring_psnr', 'masked_lpips', 'masked_judge_distance', 'judge_right',
                           'new', 'truth_psnr', 'truth_ssim', 'inside_truth_psnr', 'motion_error']
    assert all(found[name] == float('inf') for name in ('masked_psnr', 'ring_psnr', 'truth_psnr', 'inside_truth_psnr'))
    assert found['truth_ssim'] == pytest.approx(1, abs=1e-3)
    assert found['inside_psnr'] < 20 and found['judge_right'] == found['new'] == 1
    assert found['masked_lpips'] == found['masked_judge_distance'] == found['motion_error'] == 0


def test_the_ring_is_one_cell_of_sixteen_around_the_region():
    free = box(gliding())
    ring = ring_around(free)
    assert not (ring & free).hard.any() and torch.equal((ring | free).hard, grow(free, min(free.values.shape[1:]) // 16).hard)


def test_masked_numbers_do_not_see_the_region(tiny_judge):
    source = gliding()
    case = Case(Clip(source, 'a', box(source)), 'b')
    noisy = source + .1 * torch.randn(source.shape, generator=torch.manual_seed(1))
    wild = torch.where(case.free.hard[:, None], -source, noisy)
    a, b = (score(x, case, Judges(tiny_judge)) for x in (noisy, wild))
    assert a['masked_psnr'] == b['masked_psnr'] == pytest.approx(psnr(noisy, source, ~case.free))
    assert a['inside_psnr'] == pytest.approx(psnr(noisy, source, case.free)) and a['inside_psnr'] > b['inside_psnr']
    assert a['masked_judge_distance'] == b['masked_judge_distance'] > 0


def test_nothing_is_masked_where_all_was_free(tiny_judge):
    clip = gliding()
    for mask in None, torch.ones(5, 64, 96, dtype=torch.bool):
        case = Case(Clip(clip, 'a', mask), 'b')
        assert case.free is None and list(score(gliding(seed=1), case, Judges(tiny_judge))) == ['MS (DIS)']


def test_what_is_free_is_on_one_side_of_the_mask():
    thin, wide = (SCENE.replace(**change).render(2, 64, 64) for change in ({}, dict(accessory='hat')))
    clip = Clip(thin.video, 'a', thin.mask)
    assert torch.equal(Case(clip, 'b', truth=wide).free.hard, thin.mask.hard | wide.mask.hard)
    assert torch.equal(Case(clip, 'b', 'background', truth=wide).free.hard, ~thin.mask.hard)
    soft = Mask(torch.full((2, 64, 64), .4))
    assert not Case(Clip(thin.video, 'a', soft), 'b').free.hard.any()


def test_a_pair_of_scenes_is_a_case():
    other = SCENE.replace(background='rocks')
    case = Case.of('background', SCENE, other, frames=2)
    assert (case.region, case.kind, case.prompt, case.clip.prompt) == ('background', 'background', other.caption, SCENE.caption)
    assert case.wanted == other.attributes and len(case.clip.video) == len(case.truth.video) == 2
    assert Case.of('colour', SCENE, SCENE.replace(colour='red'), 2).region == 'foreground'


def test_new_asks_for_the_changed_attribute_alone():
    judge = SimpleNamespace(read=lambda video: dict(colour='red', subject='fox'))
    clip = Clip(gliding(), 'a')
    def found(kind, **wanted): return score(clip.video, Case(clip, 'b', kind=kind, wanted=wanted), Judges(judge))
    assert found('colour', colour='red', subject='bear')['new'] == 1 and found('subject', colour='red', subject='bear')['new'] == 0
    assert found('colour', colour='red', subject='bear')['judge_right'] == .5 and 'new' not in found('', colour='red')


def test_the_case_says_what_an_edit_may_change(tiny_model):
    video = gliding()[:3, :, :32, :48]
    clip, quiet, method = Clip(video, 'a bear', box(video)), Run(progress=False), VideoDirector()
    state = method.prepare(tiny_model, clip, InvertSettings(steps=2, inner_steps=0), quiet)
    made, figures = edit_case(method, state, Case(clip, 'a tiger', 'background'), EditSettings(tau_c=0.), Judges(), quiet)
    assert made.settings['region'] == 'background' and made.settings['tau_c'] == 0
    assert figures == score(made.video, Case(clip, 'a tiger', 'background'), Judges())
    psnrs, rebuilt = reconstruction_scores(tiny_model, clip.video, state[1], quiet)
    assert list(psnrs) == ['vae', 'ddim_cfg', 'null_text'] and psnrs['null_text'] == psnr(rebuilt, clip.video)
