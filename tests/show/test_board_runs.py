"What is run twice and what is not, and what is refused."
from dataclasses import fields

import pytest
import torch
from board_cases import SOURCE, START, STEPS, STRONG, TARGET, box, inversions, runs, some_runs, video  # noqa: F401
from conftest import make_tiny_model

from videodirector.base.run import Run
from videodirector.data.mask import Mask
from videodirector.methods.api import Clip, Edit
from videodirector.methods.videodirector import edit, invert
from videodirector.parts.settings import STDG, TERMS, EditSettings, InvertSettings
from videodirector.show.board import Board
from videodirector.show.board_runs import Runs, SceneClip, Settings, case_of, differing
from videodirector.world.scene import Scene


STRONGLY = START.but(blocks=STRONG)


@pytest.fixture(scope='module')
def used():
    "Runs, two of which are made already."
    runs = some_runs(make_tiny_model())
    for start in (START, STRONGLY): runs.run(start)
    return runs


def test_equal_settings_are_one_run(runs, inversions):
    run = runs.run(START.but(weights={'tiger': 2, 'bear': 1}, tau_c=1))
    assert runs.run(START.but(prompt=f' {TARGET}  ', weights={'tiger': 2.}, tau_c=1.)) is run
    assert len(inversions) == len(runs.made) == 1


@pytest.mark.parametrize('change', [dict(prompt='a red bear walking on grass'), dict(tau_s=0.), dict(tau_c=0.), dict(mutual=False),
                                    dict(weights={'tiger': 3.})], ids=str)
def test_what_needs_an_edit_needs_no_inversion(used, inversions, change):
    first, second = used.run(START), used.run(START.but(**change))
    assert len(inversions) == 0
    assert not torch.equal(first.edit.video, second.edit.video)


@pytest.mark.parametrize('change', [dict(null='shared'), dict(inner_steps=0), dict(guidance_scale=7.), dict(clip='other'), dict(eta_f=2.),
                                    dict(eta_b=2.), dict(zeta_f=2.), dict(zeta_b=2.), dict(eta_f=0., eta_b=0., zeta_b=0.)], ids=str)
def test_what_needs_an_inversion_gets_one(used, inversions, change):
    first, second = used.run(STRONGLY), used.run(STRONGLY.but(**change))
    assert len(inversions) == 1
    assert not torch.equal(first.edit.video, second.edit.video)


def test_a_run_is_what_its_settings_say(tiny_model, runs):
    s = START.but(region='background', null='shared', tau_s=.5, mutual=False, tau_c=.25, eta_f=.1, eta_b=.2, zeta_f=.3, zeta_b=.4,
                  guidance_scale=3., weights={'tiger': 2.})
    made, quiet = runs.run(s).edit, Run(progress=False)
    stdg = STDG(.1, .2, .3, .4, 'background')
    inversion = invert(tiny_model, video(), SOURCE, box(), run=quiet, steps=STEPS, guidance_scale=3., null='shared', inner_steps=1, lr=.3, stdg=stdg)
    plain = edit(tiny_model, inversion, TARGET, run=quiet, tau_c=.25, tau_s=.5, weights={'tiger': 2.}, mutual=False, region='background')
    assert torch.equal(made.video, plain.video)


def test_no_null_text_is_no_update(runs):
    assert runs.prepare(START.but(inner_steps=0))[1].null.losses == [[]] * STEPS


@pytest.mark.parametrize('change, sentence', [
    (dict(prompt=' '), 'target prompt is empty'), (dict(prompt='bear ' * 40), 'shorten'), (dict(tau_s=1.5), 'from 0 to 1'), (dict(tau_c=-1), 'from 0 to 1'),
    (dict(weights={'hat': 2}), "'hat' is not in the prompt"), (dict(clip='none'), "no clip 'none'; choose from clip, other"), (dict(eta_f=-1.), 'eta_f is -1')], ids=str)
def test_what_cannot_run_is_refused_before_the_first_step(runs, change, sentence):
    with pytest.raises(ValueError, match=sentence): runs.run(START.but(**change), on_step=lambda *step: pytest.fail('a step was begun'))


def test_bad_clips_and_settings_are_refused_at_once(tiny_model):
    with pytest.raises(ValueError, match='has 2 frames and the metrics need 3'): Runs(tiny_model, Clip(video()[:2], SOURCE))
    with pytest.raises(ValueError, match='The mask has 2 frames'): Runs(tiny_model, Clip(video(), SOURCE, box()[:2]))
    with pytest.raises(ValueError, match='source prompt is empty'): Runs(tiny_model, Clip(video(), ''))
    with pytest.raises(ValueError, match="choose one of 'foreground', 'background'"): START.but(region='sky')


def test_a_kind_that_takes_no_guidance_begins_without(tiny_model):
    start = Runs(tiny_model, Clip(video(), SOURCE, box()), steps=2, null='none').start()
    assert start.invert.stdg is None and start.but(null='source', stdg=STDG(), eta_f=2.).invert.stdg == STDG(eta_f=2.)


def test_one_clip_needs_no_name_and_a_mask_may_be_a_mask(tiny_model):
    runs = Runs(tiny_model, Clip(video(), SOURCE, Mask(box())), steps=2, inner_steps=0)
    assert torch.equal(runs.clips['clip'].mask.hard, box())
    assert runs.run(runs.start()).metrics.keys() == {'MS (DIS)', 'masked_psnr', 'inside_psnr', 'ring_psnr'}


def test_without_a_mask_there_is_no_guidance_and_no_outside(tiny_model):
    board = Board(Runs(tiny_model, Clip(video(), SOURCE), steps=2, inner_steps=0), TARGET)
    assert board.start.invert.stdg is None and all(board.controls.dials[name].switch.disabled for name in TERMS)
    assert board.run().metrics.keys() == {'MS (DIS)'}
    with pytest.raises(ValueError, match='needs a mask'): board.runs.run(START)


def test_the_true_edit_is_the_scene_of_the_prompt():
    scene = Scene('car', 'city', 'left', seed=5)
    clip, target = SceneClip.of(scene, 3, 32, 48), scene.replace(colour='green')
    assert clip.video.shape == (3, 3, 32, 48) and clip.mask.hard.any() and clip.prompt == scene.caption
    assert clip.target(target.caption) == target
    assert clip.target('green car') is None and case_of(clip, 'green car').truth is None
    case = case_of(clip, target.caption)
    assert torch.equal(case.truth.video, target.render(3, 32, 48).video) and case.wanted == target.attributes
    assert case_of(Clip(video(), SOURCE), 'a dragon', 'background').truth is None
    with pytest.raises(ValueError, match="no word 'dragon'"): clip.target('a dragon driving left on a city street')


def test_numbers_against_the_truth(tiny_model):
    scene = Scene('bear', 'forest', 'left', seed=1)
    tiny_model.tokenizer.model_max_length = 77  # world prompts are longer than what it reads
    runs = Runs(tiny_model, SceneClip.of(scene, 3, 32, 48), steps=2, inner_steps=0)
    truth = Edit(scene.render(3, 32, 48).video, None, scene.caption, scene.caption, {})
    s = runs.start()
    run = runs.measure(s, runs.check(s), truth)
    assert run.metrics['truth_psnr'] == float('inf') and run.metrics['motion_error'] == 0
    assert run.difference.max() == 0


def test_only_what_differs_is_said():
    assert differing(START, START) == {}
    assert differing(START.but(tau_c=0., mutual=False), START) == {'SA-II': 'off', 'CA': 'off'}
    assert differing(START.but(tau_s=.2, eta_f=0., guidance_scale=7.5), START) == {'SA-I': 'τ_s 0.2', 'STDG': f'η_b {STDG.eta_b} ζ_b {STDG.zeta_b}', 'CFG': 'w 7.5'}
    assert differing(START.but(weights={'tiger': 1.5}, prompt='a tiger', inner_steps=0), START) == {
        'target': '“a tiger”', 'null text': 'multi-frame, no updates', 'words': 'tiger × 1.5'}


def test_every_setting_can_be_told():
    changes = dict(clip='x', method='tokenflow', prompt='x', steps=7, guidance_scale=3., cfg='videodirector', negative_prompt='x', inversion='fixed-point', evaluations=3,
                   null='shared', quantile=.1, inner_steps=0, optimiser='cg', lr=.1,
                   tolerance=0., ellipse=True, nearest=True, stride=True, posterior=1, tau_c=.1, tau_s=.1, layout=False, mutual=False, neutral=False, weights={'x': 2}, tau_words={'x': .1}, align='replace',
                   region='background', recompute_guidance=True, blend=('a', 'b'), blend_threshold=.1, leading=True)
    known = {f.name for kind in (Settings, InvertSettings, EditSettings) for f in fields(kind)}
    assert changes.keys() == known - {'invert', 'edit', 'stdg'}
    changes |= dict(eta_f=.5, eta_b=.5, zeta_f=.5, zeta_b=.5)
    for name, value in changes.items(): assert len(differing(START.but(**{name: value}), START)) == 1, name
    with pytest.raises(TypeError, match="no setting 'tau'"): START.but(tau=1)


def test_what_may_change_is_one_value():
    assert START.but(region='background').invert.stdg.region == 'background'


def test_work_is_what_is_not_kept(runs):
    assert list(runs.work(START)) == ['inversion', 'null text', 'edit', 'measuring']
    runs.run(START)
    assert runs.work(START) == {} and list(runs.work(START.but(tau_c=0))) == ['edit', 'measuring']
    less = runs.work(START.but(inner_steps=0))['null text']
    assert less < runs.work(START.but(null='shared'))['null text']
    direct = runs.work(START.but(null='none', eta_f=0., eta_b=0., zeta_b=0., inversion='fixed-point'))
    assert 'null text' not in direct and direct['inversion'] == 2 * STEPS


def test_an_inversion_that_is_there_is_not_made_again(tiny_model, inversions):
    clip = Clip(video(), SOURCE, box())
    made = invert(tiny_model, clip.video, SOURCE, clip.mask, START.invert)
    given, own = Runs.of(tiny_model, clip, made), some_runs(tiny_model)
    assert torch.equal(given.run(START).edit.video, own.run(START).edit.video) and len(inversions) == 1
    with pytest.raises(ValueError, match='give one that was made of this clip'): Runs.of(tiny_model, Clip(video(), TARGET), made)
