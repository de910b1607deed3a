"What `edit` and `demo` leave behind and print."
import argparse
import json
import resource
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from app_cases import SOURCE, TARGET, clip, run, tiny  # noqa: F401
from image_cases import image_model
from PIL import Image

from videodirector.app import jobs
from videodirector.app.checks import fit_memory
from videodirector.app.cli import parser
from videodirector.app.jobs import WRITTEN, Work
from videodirector.data.frames import clip_info
from videodirector.data.video import read_video, to_bytes
from videodirector.methods import cost
from videodirector.methods.presets import find_preset
from videodirector.methods.videodirector import Inversion
from videodirector.metrics.pixels import psnr
from videodirector.models.cards import GIB
from videodirector.parts.settings import STDG, EditSettings, InvertSettings
from videodirector.show.clips import write_gif
from videodirector.world.pairs import demo_scenes


FILES = WRITTEN - {'mask.gif'}  # which comes from clicks
KEYS = {'source_prompt', 'target_prompt', 'method', 'steps', 'guidance_scale', 'psnr', 'edit', 'seconds', 'files'}


def test_edit_writes_and_reports_everything(run, tmp_path, clip):
    code, out, _ = run('--json', mask=clip.with_name('mask.npz'))
    report = json.loads(out)
    assert code == 0 and KEYS <= report.keys()
    assert {file.name for file in (tmp_path / 'out').iterdir()} == FILES
    assert {Path(file).name for file in report['files'].values()} == FILES
    assert report['psnr'].keys() == {'vae', 'ddim_cfg', 'null_text'}
    assert {'load', 'invert', 'null_text', 'edit', 'total'} <= report['seconds'].keys()
    assert report['seconds']['total'] >= sum(v for k, v in report['seconds'].items() if k != 'total') - 0.1
    assert {'masked_psnr', 'inside_psnr', 'MS (DIS)'} <= report['edit'].keys() and report['edit']['judge'] is None
    assert json.loads((tmp_path / 'out/metrics.json').read_text()) == report


def test_the_files_are_the_clips_that_were_measured(run, tmp_path):
    report = json.loads(run('--json')[1])
    clips = {name: read_video(tmp_path / f'out/{name}.mp4', None) for name in ('source', 'reconstruction', 'edited')}
    assert {clip_info(report['files'][name]) for name in clips} == {(4, 32, 48)}
    assert psnr(clips['reconstruction'], clips['source']) == pytest.approx(report['psnr']['null_text'], abs=0.5)
    assert psnr(clips['edited'], clips['reconstruction']) < 60


def test_without_json_a_table_is_printed(run):
    code, out, _ = run()
    assert code == 0 and SOURCE in out and TARGET in out and 'with null text' in out and 'edited.mp4' in out
    assert len(out.splitlines()) < 20


def difference(a, b):
    "Mean over all values of [-1,1]; a grey level is .008. The codec may round otherwise from run to run."
    return (a - b).abs().mean()


def test_same_prompt_gives_the_reconstruction(run, tmp_path):
    assert run(target=SOURCE)[0] == 0  # the clips are equal up to float rounding, which H.264 may turn into a grey level
    assert psnr(*(read_video(tmp_path / f'out/{name}.mp4', None) for name in ('edited', 'reconstruction'))) > 40


def test_guidance_is_a_flag(run, tmp_path, clip):
    small = dict(frames=2, size='16x16', mask=clip.with_name('mask.npz'))
    assert run('--stdg', **small)[0] == 0
    guidance = Inversion.load(tmp_path / 'out/inversion.safetensors').guidance
    assert guidance.stdg.region == 'foreground' and guidance.gradients[1].any()
    assert run('--stdg', '--region', 'background', '--overwrite', **small)[0] == 0
    assert Inversion.load(tmp_path / 'out/inversion.safetensors').guidance.stdg.region == 'background'
    code, _, err = run('--stdg', '--overwrite', **small | dict(mask=None))
    assert code == 2 and 'there is no mask' in err


def test_a_preset_is_one_line(run, tmp_path, clip):
    preset, small = find_preset('walk'), dict(frames=2, size='16x16', steps=4, mask=clip.with_name('mask.npz'))
    code, out, error = run('--json', preset='walk', source=None, target=None, **small)
    assert code == 2 and 'source prompt has' in error, 'the prompt of the example is not asked for'
    assert run('--json', preset='walk', weight='tiger=2', **small)[0] == 0
    made = Inversion.load(tmp_path / 'out/inversion.safetensors')
    assert made.settings == replace(preset.invert, steps=4, inner_steps=1) and made.prompt == SOURCE


def test_every_option_changes_the_edit(run, tmp_path, monkeypatch):
    for drawn in ('videodirector.app.jobs.draw_words', 'videodirector.show.clips.write_gif'): monkeypatch.setattr(drawn, lambda *args: None)
    def edited(*flags, **options):
        return run('--overwrite', *flags, **dict(frames=2, size='16x16') | options)[0] or read_video(tmp_path / 'out/edited.mp4', None)
    plain = edited()
    assert difference(plain, edited()) < .002, 'two runs of the same command differ'
    for option in (dict(tau_c=0), dict(tau_s=1), dict(weight='tiger=3'), dict(tau_word='walking=0'), dict(guidance_scale=9), dict(steps=3),
                   dict(cfg='videodirector'), dict(negative_prompt='a red hat')):
        assert difference(plain, edited(**option)) > .004, option
    assert difference(edited(tau_s=.4), edited('--no-mutual', tau_s=.4)) > .004 < difference(edited(tau_s=1), edited('--no-layout', tau_s=1))


def test_results_of_another_run_are_replaced_only_if_asked(run, tmp_path):
    assert run()[0] == 0
    before = {f.name: f.read_bytes() for f in (tmp_path / 'out').iterdir()}
    code, out, error = run(tau_c=0)
    assert (code, out) == (2, '') and 'holds the results of another run' in error
    assert before == {f.name: f.read_bytes() for f in (tmp_path / 'out').iterdir()}
    (tmp_path / 'out/notes.txt').touch()
    inverted = shutil.copy(tmp_path / 'out/inversion.safetensors', tmp_path)
    options = dict(source=None, steps=None, inner_steps=None, size=None, frames=None)
    code, _, error = run('--overwrite', stored=inverted, eta_f=.2, **options)
    assert code == 2 and '--eta-f belongs to the stored inversion' in error
    assert run('--overwrite', stored=inverted, tau_c=0, blend='bear,tiger', **options)[0] == 0
    assert {f.name for f in (tmp_path / 'out').iterdir()} == FILES - {'reconstruction.mp4'} | {'notes.txt'}


def test_kept_steps_are_not_done_again(run, tmp_path, monkeypatch):
    first = run('--json', keep=tmp_path / 'kept', out=tmp_path / 'a')[1]
    monkeypatch.setattr('videodirector.parts.null_text.tune_step', lambda *args: pytest.fail('tuned again'))
    again = run('--json', keep=tmp_path / 'kept', out=tmp_path / 'b')[1]
    assert json.loads(first)['psnr'] == json.loads(again)['psnr']
    code, _, error = run(keep=tmp_path / 'kept', steps=3, out=tmp_path / 'c')
    assert code == 2 and 'computed from other inputs' in error


@pytest.mark.parametrize('frames', [1, 2])
def test_too_few_frames_to_measure_motion_are_edited_too(run, frames):
    code, out, _ = run('--json', frames=frames, size='16x16')
    assert code == 0 and json.loads(out)['edit'] == dict(judge=None)


@pytest.mark.parametrize('kind', ['gif', 'folder'])
def test_gifs_and_folders_are_clips_too(run, clip, tmp_path, kind):
    video = read_video(clip, 4)
    path = tmp_path / 'clip.gif'
    write_gif(path, video)
    if kind == 'folder':
        path = tmp_path / 'frames'
        path.mkdir()
        for i, frame in enumerate(to_bytes(video)): Image.fromarray(frame).save(path / f'{i}.png')
    assert run(video=path)[0] == 0


def test_size_follows_the_model_when_not_given(run):
    report = json.loads(run('--json', size=None)[1])
    assert report['size'] == [64, 96]


@pytest.fixture
def stored(run, tmp_path):
    assert run(out=tmp_path / 'first')[0] == 0
    return tmp_path / 'first/inversion.safetensors'


def test_a_stored_inversion_gives_the_same_edit(run, tmp_path, stored):
    code, out, _ = run('--json', stored=stored, source=None, steps=None, inner_steps=None, size=None, frames=None)
    report, first = json.loads(out), json.loads((stored.parent / 'metrics.json').read_text())
    assert code == 0 and report['psnr'] == first['psnr'] and report['source_prompt'] == SOURCE
    assert 'invert' not in report['seconds'] and 'null_text' not in report['seconds']
    assert difference(*(read_video(folder / 'edited.mp4', None) for folder in (tmp_path / 'out', stored.parent))) < .002


@pytest.fixture(scope='module')
def demo(tmp_path_factory):
    "The demo as a person runs it, though shorter: report, peak memory in bytes, stderr."
    out = tmp_path_factory.mktemp('demo') / 'out'
    command = sys.executable, '-c', 'import sys; from videodirector.app.cli import main; sys.exit(main())'
    done = subprocess.run([*command, 'demo', '--frames', '4', '--inner-steps', '3', '--json', '--out', out], check=True, capture_output=True, text=True)
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * (1 if sys.platform == 'darwin' else 1024)
    return json.loads(done.stdout), memory, done.stderr


def test_demo_reports_everything(demo):
    report, *_, error = demo
    assert KEYS <= report.keys() and {Path(file).name for file in report['files'].values()} == FILES
    assert all(Path(file).stat().st_size for file in report['files'].values())
    assert report['edit']['truth_psnr'] and set(report['edit']['judge']) == {
        'subject', 'colour', 'accessory', 'background', 'motion'}
    assert 'Warning' not in error, 'the embedded model does not know its own words'


def test_demo_reconstructs_with_null_text_only(demo):
    scores = demo[0]['psnr']
    assert scores['null_text'] > scores['ddim_cfg'] + 4 and scores['null_text'] > scores['vae'] - 4  # three updates: 5.3 more, 1.6 less


def test_demo_makes_the_edit(demo):
    source, target = (scene.attributes for scene in demo_scenes(parser().parse_args(['demo']).seed))
    seen = demo[0]['edit']['judge']
    changed = [name for name, word in target.items() if source[name] != word]
    assert changed and all(seen[name] == target[name] for name in changed)
    assert seen['motion'] == target['motion'] and demo[0]['edit']['masked_psnr'] > 20


def test_demo_fits_a_laptop(demo):
    assert demo[1] < 4e9


# methods that climb to no noise, or have no settings

@pytest.mark.parametrize('method, options, drawn', [('motionclone', dict(guided=1, steps=2), True), ('invert_and_prompt', dict(steps=2), True),
                                                    ('do_nothing', dict(steps=None), False)])
def test_methods_without_an_inversion(run, tmp_path, method, options, drawn):
    code, out, error = run('--json', method=method, inner_steps=None, **options)
    report = json.loads(out)
    assert code == 0 and report['method'] == method and report['steps'] == (options['steps'] or 0)
    assert set(report['psnr']) == ({'vae', 'rebuilt'} if method == 'invert_and_prompt' else set())
    there = {f.name for f in (tmp_path / 'out').iterdir()}
    assert 'edited.mp4' in there and ('attention.png' in there) == drawn and 'inversion.safetensors' not in there
    assert 'files ' in run('--overwrite', method=method, inner_steps=None, **options)[1]


# methods on an image model

@pytest.fixture
def rival(run, monkeypatch):
    "Runs `edit` with a method that takes an image model, on a tiny one."
    model, real = image_model(), jobs.load_model
    monkeypatch.setattr(jobs, 'load_model', lambda args: real(args) if args.motion_adapter else (model, None))
    monkeypatch.setattr('videodirector.show.clips.write_gif', lambda *args: None)
    return lambda *flags, **options: run(*flags, **dict(inner_steps=None, steps=2, frames=3, size='16x24') | options)


@pytest.mark.parametrize('method, options', [('tokenflow', dict(chunk=2, blend='linear')), ('flatten', dict(tau=.5))])
def test_another_method_has_its_own_settings_and_report(rival, tmp_path, method, options):
    code, out, error = rival('--json', method=method, **options)
    report = json.loads(out)
    assert code == 0 and report['method'] == method and report['psnr'].keys() == {'vae', 'rebuilt'} and report['steps'] == 2
    assert {'edited.mp4', 'reconstruction.mp4', 'attention.png'} <= {f.name for f in (tmp_path / 'out').iterdir()}
    assert not (tmp_path / 'out/inversion.safetensors').exists()
    assert 'with the source prompt' in rival('--overwrite', method=method, guidance_scale=2, **options)[1]


def test_what_does_not_fit_another_method_is_said(rival, tmp_path, stored):
    for options, said in ((dict(method='tokenflow', chunk=8), 'has 3 frames and TokenFlow takes a keyframe for every 8'),
                          (dict(method='flatten', preset='paper'), "'paper' is not for FLATTEN; leave --preset out"),
                          (dict(method='flatten', stored=stored, source=None), '--stored does not fit --method flatten'),
                          (dict(method='flatten', model='world', motion_adapter='x/y'), '--motion-adapter does not fit'),
                          (dict(method='flatten', tau_c=.5), 'unrecognized arguments: --tau-c'), (dict(method='x'), "no method 'x'")):
        code, _, error = rival(out=tmp_path / 'other', **options)
        assert code == 2 and said in error, error


def test_a_long_clip_is_edited_in_windows(run, tmp_path):
    windows = dict(frames=30, size='16x16', inner_steps=0)
    assert run('--json', **windows)[0] == 0, 'more frames than the motion module takes'
    assert Inversion.load(tmp_path / 'out/inversion.safetensors').windows == [[0, 15], [15, 30]]
    code, out, _ = run('--json', '--overwrite', window=16, overlap=4, **windows)
    report = json.loads(out)
    assert code == 0 and report['frames'] == 30 == clip_info(report['files']['edited']).frames
    kept = Path(shutil.copy(tmp_path / 'out/inversion.safetensors', tmp_path))
    assert Inversion.load(kept).windows == [[0, 12], [8, 21], [17, 30]]
    again = dict(stored=kept, source=None, steps=None, inner_steps=None, size=None, frames=None)
    assert run('--overwrite', window=16, overlap=4, **again)[0] == 0
    code, _, error = run('--overwrite', **again)
    assert code == 2 and 'was made in windows of the frames 0–11, 8–20, 17–29; edit in the same ones' in error


# memory

def test_a_preset_of_memory_changes_nothing_but_what_is_remembered(run, tiny, tmp_path):
    small = dict(frames=2, size='16x16')
    assert run(**small)[0] == 0
    plain = Inversion.load(tmp_path / 'out/inversion.safetensors')
    assert run('--overwrite', '--card', 't4', **small)[0] == 0 and tiny.unet.is_gradient_checkpointing
    assert torch.allclose(Inversion.load(tmp_path / 'out/inversion.safetensors').null.embeddings, plain.null.embeddings, atol=1e-4)
    assert run('--overwrite', **small)[0] == 0 and not tiny.unet.is_gradient_checkpointing


def test_what_does_not_fit_is_refused_before_the_work(run, tmp_path, monkeypatch):
    monkeypatch.setattr(cost, 'room_for', lambda model: 10)
    monkeypatch.setattr(cost, 'memory_of', lambda *_: {'null text': 20 * GIB})
    code, out, err = run()
    assert code == 2 and out == '' and '4 frames of 32×48 take 20.0 GiB with the preset of memory' in err and not (tmp_path / 'out').exists()


def fitted(tiny, capsys, invert, edit=EditSettings(), **how):
    "What is told of a job, on stdout and on stderr."
    fit_memory(argparse.Namespace(**dict(card=None, quiet=True) | how), tiny, 2, (16, 16), Work(None, invert, edit, None, 8))
    return capsys.readouterr()


def test_what_it_takes_is_told_unless_it_shall_be_quiet(tiny, capsys):
    told = fitted(tiny, capsys, InvertSettings(steps=2), quiet=False)
    assert told.out == '' and told.err.startswith('At most') and 'for the inversion' in told.err
    assert fitted(tiny, capsys, InvertSettings(steps=2)).err == ''


def test_what_is_spared_for_one_job_is_not_for_the_next(tiny, capsys):
    spared = []
    for invert in (InvertSettings(steps=2), object()):  # of this method, of another
        for card in ('t4', None): fitted(tiny, capsys, invert, card=card); spared.append(tiny.unet.is_gradient_checkpointing)
    assert spared == [True, False, True, False]


def test_guidance_that_an_edit_asks_for_anew_is_counted(tiny, capsys, monkeypatch):
    asked = []
    monkeypatch.setattr(cost, 'fit_to_card', lambda *given: asked.append(given[-1]))
    for stdg in (STDG(), None):
        for again in (True, False): fitted(tiny, capsys, InvertSettings(stdg=stdg), EditSettings(recompute_guidance=again))
    assert asked == [True, False, False, False]
