"What is run twice and what is not, and what is refused."
from dataclasses import fields, replace

import pytest
import torch
from board_cases import SOURCE, START, STEPS, STRONG, TARGET, box, inversions, runs, some_runs, video  # noqa: F401

from videodirector.methods.api import Edit
from videodirector.methods.videodirector import edit, invert
from videodirector.parts.settings import STDG, TERMS
from videodirector.data.mask import Mask
from videodirector.show.board import Board
from videodirector.show.board_runs import Clip, Runs, Settings, differing
from videodirector.world.scene import Scene


def test_equal_settings_are_one_run(runs, inversions):
    run = runs.run(Settings('clip', TARGET, weights={'tiger': 2, 'bear': 1}))
    assert runs.run(Settings('clip', f' {TARGET}  ', weights=[('tiger', 2.)])) is run
    assert len(inversions) == len(runs.made) == 1


@pytest.mark.parametrize('change', [dict(prompt='a red bear walking on grass'), dict(tau_s=0.), dict(tau_c=0.), dict(mutual=False),
                                    dict(weights={'tiger': 3.})], ids=str)
def test_what_needs_an_edit_needs_no_inversion(runs, inversions, change):
    first, second = runs.run(START), runs.run(replace(START, **change))
    assert len(inversions) == 1
    assert not torch.equal(first.edit.video, second.edit.video)


@pytest.mark.parametrize('change', [dict(null_text='shared'), dict(null_text='none'), dict(guidance_scale=7.), dict(clip='other'), dict(eta_f=2.),
                                    dict(eta_b=2.), dict(zeta_f=2.), dict(zeta_b=2.), dict(eta_f=0., eta_b=0., zeta_b=0.)], ids=str)
def test_what_needs_an_inversion_gets_one(tiny_pipe, inversions, change, monkeypatch):
    monkeypatch.setattr(Settings, 'stdg', property(lambda s: STDG(s.eta_f, s.eta_b, s.zeta_f, s.zeta_b, blocks=STRONG) or None))
    runs = some_runs(tiny_pipe)
    first, second = runs.run(START), runs.run(replace(START, **change))
    assert len(inversions) == 2
    assert not torch.equal(first.edit.video, second.edit.video)


def test_a_run_is_what_its_settings_say(tiny_pipe, runs):
    s = Settings('clip', TARGET, 'background', 'shared', .5, False, .25, .1, .2, .3, .4, 3., {'tiger': 2.})
    made = runs.run(s).edit
    inversion = invert(tiny_pipe, video(), SOURCE, box(), STEPS, 3., shared=True, inner_steps=1, lr=.3, stdg=STDG(.1, .2, .3, .4, 'background'), progress=False)
    plain = edit(tiny_pipe, inversion, TARGET, .25, .5, {'tiger': 2.}, mutual=False, region='background', progress=False)
    assert torch.equal(made.video, plain.video)


def test_no_null_text_is_no_update(runs):
    assert runs.invert(replace(START, null_text='none')).null.losses == [[]] * STEPS


@pytest.mark.parametrize('change, sentence', [
    (dict(prompt=' '), 'target prompt is empty'), (dict(prompt='bear ' * 40), 'shorten'), (dict(tau_s=1.5), 'no share'), (dict(tau_c=-1), 'no share'),
    (dict(weights={'hat': 2}), "'hat' is not in the prompt"), (dict(clip='none'), "no clip 'none'; choose from clip, other"), (dict(eta_f=-1.), 'weight of the guidance is -1')], ids=str)
def test_what_cannot_run_is_refused_before_the_first_step(runs, change, sentence):
    with pytest.raises(ValueError, match=sentence): runs.run(replace(START, **change), lambda *step: pytest.fail('a step was begun'))


def test_bad_clips_and_settings_are_refused_at_once(tiny_pipe):
    with pytest.raises(ValueError, match='has 2 frames and the metrics need 3'): Runs(tiny_pipe, Clip(video()[:2], SOURCE))
    with pytest.raises(ValueError, match='The mask has 2 frames'): Runs(tiny_pipe, Clip(video(), SOURCE, box()[:2]))
    with pytest.raises(ValueError, match='source prompt is empty'): Runs(tiny_pipe, Clip(video(), ''))
    with pytest.raises(ValueError, match="choose one of multi-frame, shared, none"): Settings('clip', TARGET, null_text='all')


def test_one_clip_needs_no_name_and_a_mask_may_be_a_mask(tiny_pipe):
    runs = Runs(tiny_pipe, Clip(video(), SOURCE, Mask(box())), steps=2, inner_steps=0)
    assert torch.equal(runs.clips['clip'].mask, box())
    assert runs.run(START).metrics.keys() == {'MS (DIS)', 'masked_psnr'}


def test_without_a_mask_there_is_no_guidance_and_no_outside(tiny_pipe):
    board = Board(Runs(tiny_pipe, Clip(video(), SOURCE), steps=2, inner_steps=0), TARGET)
    assert board.start.stdg is None and all(board.controls.dials[name].switch.disabled for name in TERMS)
    assert board.run().metrics.keys() == {'MS (DIS)'}
    with pytest.raises(ValueError, match='needs a mask'): board.runs.run(replace(START))


def test_the_true_edit_is_the_scene_of_the_prompt():
    scene = Scene('car', 'city', 'left', seed=5)
    clip, target = Clip.of(scene, 3, 32, 48), scene.replace(colour='green')
    assert clip.video.shape == (3, 3, 32, 48) and clip.mask.any() and clip.prompt == scene.caption
    assert clip.target(target.caption) == target
    assert clip.target('green car') is None
    assert Clip(video(), SOURCE).target('a dragon') is None
    with pytest.raises(ValueError, match="no word 'dragon'"): clip.target('a dragon driving left on a city street')


def test_numbers_against_the_truth(tiny_pipe):
    scene = Scene('bear', 'forest', 'left', seed=1)
    tiny_pipe.tokenizer.model_max_length = 77  # world prompts are longer than what it reads
    runs = Runs(tiny_pipe, Clip.of(scene, 3, 32, 48), steps=2, inner_steps=0)
    truth = Edit(scene.render(3, 32, 48).video, None, scene.caption, scene.caption, {})
    run = runs.measure(Settings('clip', scene.caption), runs.clips['clip'], truth)
    assert run.metrics['truth_psnr'] == float('inf') and run.metrics['motion_error'] == 0
    assert run.difference.max() == 0


def test_only_what_differs_is_said():
    assert differing(START, START) == {}
    assert differing(replace(START, tau_c=0., mutual=False), START) == {'SA-II': 'off', 'CA': 'off'}
    assert differing(replace(START, tau_s=.2, eta_f=0., guidance_scale=7.5), START) == {'SA-I': 'τ_s 0.2', 'STDG': 'η_b 0.5 ζ_b 0.5', 'CFG': 'w 7.5'}
    assert differing(replace(START, weights={'tiger': 1.5}, prompt='a tiger', null_text='none'), START) == {
        'target': '“a tiger”', 'null text': 'none', 'words': 'tiger × 1.5'}


def test_every_setting_can_be_told():
    changes = dict(clip='x', prompt='x', region='background', null_text='none', tau_s=.1, mutual=False, tau_c=.1, eta_f=.1, eta_b=.1, zeta_f=.1,
                   zeta_b=.1, guidance_scale=2., weights={'x': 2})
    assert changes.keys() == {f.name for f in fields(Settings)}
    for name, value in changes.items(): assert len(differing(replace(START, **{name: value}), START)) == 1, name


def test_work_is_what_is_not_kept(runs):
    assert list(runs.work(START)) == ['inversion', 'null text', 'edit', 'measuring']
    runs.run(START)
    assert runs.work(START) == {} and list(runs.work(replace(START, tau_c=0))) == ['edit', 'measuring']
    less = runs.work(replace(START, null_text='none'))['null text']
    assert less < runs.work(replace(START, null_text='shared'))['null text']
