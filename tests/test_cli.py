"The command line: what it writes, what it prints, and how it refuses."
import inspect
import json
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_tiny_pipe

from videodirector.cli import (
    EDIT_KINDS,
    KIN,
    demo_scenes,
    edit_scores,
    fitting_size,
    main,
    parser,
    rounded,
    staging,
)
from videodirector.director import Inversion, edit, invert
from videodirector.video import clip_info, psnr, read_video, write_gif, write_video
from videodirector.world import SUBJECTS, Render

SOURCE, TARGET = 'a bear walking', 'a tiger walking'
FILES = {'source.mp4', 'reconstruction.mp4', 'edited.mp4', 'compare.gif', 'attention.png', 'metrics.json',
         'inversion.safetensors'}
KEYS = {'source_prompt', 'target_prompt', 'steps', 'guidance_scale', 'psnr', 'edit', 'seconds', 'files'}


@pytest.fixture(scope='module')
def model(tmp_path_factory):
    "A tiny random AnimateDiff model on disk."
    folder = tmp_path_factory.mktemp('model')
    make_tiny_pipe().save_pretrained(folder)
    return folder


@pytest.fixture(scope='module')
def clip(tmp_path_factory):
    "A clip file of 30 frames, 32×48, and its mask as an npz."
    folder = tmp_path_factory.mktemp('clip')
    t, y, x = torch.meshgrid(torch.arange(30) / 30, torch.arange(32) / 32, torch.arange(48) / 48, indexing='ij')
    waves = torch.stack([torch.sin(6 * (t + x) + i) * torch.cos(4 * y + i) for i in range(3)], dim=1)
    write_video(folder / 'clip.mp4', waves)
    np.savez(folder / 'mask.npz', ((x - t) ** 2 + (y - .5) ** 2 < .1).numpy())
    return folder / 'clip.mp4'


@pytest.fixture
def run(model, clip, tmp_path, capsys):
    "Runs `videodirector edit` on the tiny model; returns exit code, stdout, stderr. Keywords change or (None) drop options."
    def run(*flags, video=clip, **changes):
        options = dict(source=SOURCE, target=TARGET, model=model, steps=2, inner_steps=1, frames=4, size='32x48',
                       out=tmp_path / 'out') | changes
        words = [word for name, value in options.items() if value is not None
                 for word in ('--' + name.replace('_', '-'), str(value))]
        capsys.readouterr()
        code = main(['edit', str(video), *words, '--quiet', *flags])
        return code, *capsys.readouterr()
    return run


# what a run leaves behind

def test_edit_writes_and_reports_everything(run, tmp_path, clip):
    code, out, _ = run('--json', mask=clip.with_name('mask.npz'))
    report = json.loads(out)
    assert code == 0 and KEYS <= report.keys()
    assert {file.name for file in (tmp_path / 'out').iterdir()} == FILES
    assert {Path(file).name for file in report['files'].values()} == FILES
    assert report['psnr'].keys() == {'vae', 'ddim_cfg', 'null_text'}
    assert {'load', 'invert', 'null_text', 'edit', 'total'} <= report['seconds'].keys()
    assert report['seconds']['total'] >= sum(v for k, v in report['seconds'].items() if k != 'total') - 0.1
    assert report['edit']['background_psnr'] is not None and report['edit']['judge'] is None
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


def test_same_prompt_gives_the_reconstruction(run, tmp_path):
    assert run(target=SOURCE)[0] == 0  # the clips are equal up to float rounding, which H.264 may turn into a grey level
    assert psnr(*(read_video(tmp_path / f'out/{name}.mp4', None) for name in ('edited', 'reconstruction'))) > 40


def test_guidance_is_a_flag(run, tmp_path, clip):
    small = dict(frames=2, size='16x16', mask=clip.with_name('mask.npz'))
    assert run('--stdg', **small)[0] == 0
    guidance = Inversion.load(tmp_path / 'out/inversion.safetensors').guidance
    assert guidance.stdg.region == 'foreground' and guidance.gradients[1].any()
    assert run('--stdg', '--region', 'background', **small)[0] == 0
    assert Inversion.load(tmp_path / 'out/inversion.safetensors').guidance.stdg.region == 'background'
    code, _, err = run('--stdg', **small | dict(mask=None))
    assert code == 2 and 'there is no mask' in err


def test_every_option_changes_the_edit(run, tmp_path):
    def edited(**options):
        return run(**dict(frames=2, size='16x16') | options)[0] or read_video(tmp_path / 'out/edited.mp4', None)
    plain = edited()
    assert torch.equal(plain, edited()), 'two runs of the same command differ'
    for option in (dict(tau_c=0), dict(tau_s=1), dict(weight='tiger=3'), dict(tau_word='walking=0'), dict(guidance_scale=9), dict(steps=3),
                   dict(cfg='videodirector'), dict(negative_prompt='a red hat')):
        assert not torch.equal(plain, edited(**option)), option


@pytest.mark.parametrize('kind', ['gif', 'folder'])
def test_gifs_and_folders_are_clips_too(run, clip, tmp_path, kind):
    video = read_video(clip, 4)
    path = tmp_path / 'clip.gif'
    write_gif(path, video)
    if kind == 'folder':
        from PIL import Image
        from videodirector.video import to_bytes
        path = tmp_path / 'frames'
        path.mkdir()
        for i, frame in enumerate(to_bytes(video)): Image.fromarray(frame).save(path / f'{i}.png')
    assert run(video=path)[0] == 0


def test_size_follows_the_model_when_not_given(run):
    report = json.loads(run('--json', size=None)[1])
    assert report['size'] == [64, 96]


@pytest.mark.parametrize('height, width, expected', [(512, 512, (64, 64)), (480, 854, (64, 112)), (90, 40, (144, 64))])
def test_fitting_size_keeps_proportions_and_divides(tiny_pipe, height, width, expected):
    assert fitting_size(tiny_pipe, height, width) == expected


# stored inversions

@pytest.fixture
def stored(run, tmp_path):
    assert run(out=tmp_path / 'first')[0] == 0
    return tmp_path / 'first/inversion.safetensors'


def test_a_stored_inversion_gives_the_same_edit(run, tmp_path, stored):
    code, out, _ = run('--json', inversion=stored, source=None, steps=None, inner_steps=None, size=None, frames=None)
    report, first = json.loads(out), json.loads((stored.parent / 'metrics.json').read_text())
    assert code == 0 and report['psnr'] == first['psnr'] and report['source_prompt'] == SOURCE
    assert 'invert' not in report['seconds'] and 'null_text' not in report['seconds']
    assert torch.equal(*(read_video(folder / 'edited.mp4', None) for folder in (tmp_path / 'out', stored.parent)))


@pytest.mark.parametrize('changes, message', [
    (dict(steps=3), '--steps belongs to the stored inversion'),
    (dict(source='a red bear'), "was made for 'a bear walking'"),
    (dict(inversion='gone.safetensors'), 'no file'),
])
def test_a_stored_inversion_is_not_contradicted(run, stored, changes, message):
    options = dict(inversion=stored, source=None, steps=None, inner_steps=None, size=None, frames=None) | changes
    code, out, error = run(**options)
    assert (code, out) == (2, '') and message in error


# refusals: exit code 2, one sentence, nothing left behind

def broken(tmp_path, name, content=b'not a clip'):
    (tmp_path / name).write_bytes(content)
    return tmp_path / name


def mask_file(tmp_path, *shape, value=True):
    np.savez(tmp_path / 'mask.npz', np.full(shape, value))
    return tmp_path / 'mask.npz'


REFUSALS = {
    'no such file': (lambda p: dict(video=p / 'gone.mp4'), 'There is no clip at .*gone.mp4'),
    'not a video': (lambda p: dict(video=broken(p, 'a.mp4')), 'a.mp4.* is not a clip'),
    'fewer frames than asked': (lambda p: dict(frames=31), 'has 30 frames and 31 were asked for'),
    'no frames': (lambda p: dict(frames=0), 'At least 1 frame'),
    'more frames than the motion module takes': (lambda p: dict(frames=25), '25 frames were asked for and the motion module takes 1 to 24'),
    'sides not divisible': (lambda p: dict(size='32x50'), 'The sides of 32×50 frames do not divide by 8'),
    'no such mask': (lambda p: dict(mask=p / 'gone'), 'There is no mask at .*gone'),
    'mask of another length': (lambda p: dict(mask=mask_file(p, 29, 32, 48)), 'has 29 frames, its clip 30'),
    'mask of another size': (lambda p: dict(mask=mask_file(p, 30, 48, 48)), 'is 48×48 and its clip 32×48'),
    'mask empty': (lambda p: dict(mask=mask_file(p, 30, 32, 48, value=False)), 'is empty'),
    'source prompt too long': (lambda p: dict(source='a bear ' * 8), 'source prompt has 18 tokens .* 16'),
    'target prompt too long': (lambda p: dict(target='a bear ' * 8), 'target prompt has 18 tokens .* 16'),
    'no source prompt': (lambda p: dict(source=None), 'source prompt is missing'),
    'empty source prompt': (lambda p: dict(source=' '), 'source prompt is empty'),
    'empty target prompt': (lambda p: dict(target=''), 'target prompt is empty'),
    'unknown model folder': (lambda p: dict(model=p / 'gone'), 'no model folder .*gone'),
    'folder without a model': (lambda p: dict(model=p), 'no diffusers pipeline'),
    'unwritable output folder': (lambda p: dict(out=broken(p, 'file') / 'out'), 'cannot be written to'),
    'output folder is a file': (lambda p: dict(out=broken(p, 'file')), 'cannot be written to'),
    'one step': (lambda p: dict(steps=1), 'steps is 1'),
    'weight of a word that is not there': (lambda p: dict(weight='fox=2'), 'fox'),
    'share of a word that is not there': (lambda p: dict(tau_word='fox=.2'), 'fox'),
    'no such device': (lambda p: dict(device='gpu'), "no device 'gpu'"),
    'motion adapter for the embedded model': (lambda p: dict(model='world', motion_adapter=p), '--motion-adapter does not fit the embedded model'),
    'LoRA for the embedded model': (lambda p: dict(model='world', lora=p), '--lora does not fit the embedded model'),
    'region without a mask': (lambda p: dict(region='foreground'), '--region says .* no mask'),
    'frame without a click': (lambda p: dict(frame=5), '--frame and --sam belong to clicks'),
    'share out of range': (lambda p: dict(tau_s=2), '2'),
}


@pytest.mark.parametrize('name', REFUSALS)
def test_refusals_are_one_sentence_and_leave_nothing(run, tmp_path, name):
    make, message = REFUSALS[name]
    changes = make(tmp_path)
    before = sorted(tmp_path.rglob('*'))
    code, out, error = run(**changes)
    assert (code, out) == (2, '')
    assert re.fullmatch(r'videodirector: [^\n]+\n', error) and re.search(message, error), error
    assert not re.search(r'[a-z]\. [A-Z]', error), f'more than one sentence: {error}'
    assert sorted(tmp_path.rglob('*')) == before


@pytest.mark.parametrize('option', [dict(tau_c=-.1), dict(tau_s=2), dict(tau_word='walking=7')], ids=str)
def test_a_share_out_of_range_is_refused_before_the_inversion(run, monkeypatch, option):
    monkeypatch.setattr('videodirector.director.invert', lambda *args, **kwargs: pytest.fail('an inversion was begun'))
    code, _, error = run(**option)
    assert code == 2 and 'is no share of the steps' in error


def test_numbers_that_are_not_finite_name_the_step(run, tmp_path):
    pipe = make_tiny_pipe()
    torch.nn.init.constant_(pipe.unet.conv_out.bias, float('nan'))
    pipe.save_pretrained(tmp_path / 'nan')
    code, out, error = run(model=tmp_path / 'nan')
    assert (code, out) == (2, '') and re.search(r'step .*not finite', error) and not (tmp_path / 'out').exists()


def test_debug_shows_the_traceback(run, tmp_path):
    with pytest.raises(FileNotFoundError): run('--debug', video=tmp_path / 'gone.mp4')


@pytest.mark.parametrize('words', [[], ['edit'], ['edit', 'x.mp4'], ['dance'], ['demo', '--seed', 'x'],
                                   ['edit', 'x.mp4', '--target', 'a', '--size', '12'],
                                   *(['edit', 'x.mp4', '--target', 'a', '--fps', rate] for rate in ('0', '-1', 'nan')),
                                   ['mask', 'x.mp4', '--out', 'x', '--fps', '0'],
                                   ['mask', 'x.mp4', '--out', 'x', '--box', 'nan,1,2,3'],
                                   ['demo', '--inner-steps', '-1'], ['demo', '--guidance-scale', 'nan'],
                                   ['edit', 'x.mp4', '--target', 'a', '--weight', 'tiger'],
                                   ['edit', 'x.mp4', '--target', 'a', '--weight', 'tiger=nan'],
                                   ['edit', 'x.mp4', '--target', 'a', '--tau-word', 'tiger=much']])
def test_wrong_usage_exits_with_2(words, capsys):
    with pytest.raises(SystemExit) as exit: main(words)
    assert exit.value.code == 2 and 'Traceback' not in capsys.readouterr().err


@pytest.mark.parametrize('kept', [False, True])
def test_stopped_says_what_is_left(run, tmp_path, monkeypatch, kept):
    def stopped(*args, **kwargs): raise KeyboardInterrupt
    monkeypatch.setattr('videodirector.director.invert', stopped)
    if kept: (tmp_path / 'kept').mkdir()
    code, _, error = run(keep=tmp_path / 'kept')
    assert code == 130 and ('--keep' in error) == kept and ('nothing was written' in error) != kept


def test_staging_moves_all_or_nothing(tmp_path):
    with pytest.raises(RuntimeError), staging(tmp_path / 'a/b') as folder:
        (folder / 'half').write_text('x')
        raise RuntimeError
    assert not list(tmp_path.iterdir())
    with staging(tmp_path / 'a/b') as folder: (folder / 'whole').write_text('x')
    assert [str(path.relative_to(tmp_path)) for path in sorted(tmp_path.rglob('*'))] == ['a', 'a/b', 'a/b/whole']


def test_staging_keeps_other_files(tmp_path):
    (tmp_path / 'mine').write_text('x')
    with staging(tmp_path) as folder: (folder / 'new').write_text('x')
    assert {path.name for path in tmp_path.iterdir()} == {'mine', 'new'}


def test_evaluate_model_has_options_of_its_own(capsys):
    with pytest.raises(SystemExit) as exit: main(['evaluate-model', '--help'])
    assert exit.value.code == 0 and '--json' in capsys.readouterr().out


@pytest.mark.parametrize('call, option', [(invert, 'steps'), (invert, 'guidance_scale'), (invert, 'inner_steps'), (invert, 'cfg'), (edit, 'tau_c'), (edit, 'tau_s')])
def test_help_names_the_defaults_of_the_library(call, option, capsys):
    with pytest.raises(SystemExit): main(['edit', '--help'])
    said = ' '.join(capsys.readouterr().out.split()).split(' --' + option.replace('_', '-') + ' ')[-1]
    assert said.split('(default ')[1].split(')')[0] == str(inspect.signature(call).parameters[option].default)


# light start

def test_import_does_not_load_torch():
    program = 'import sys, videodirector, videodirector.cli; sys.exit("torch" in sys.modules)'
    subprocess.run([sys.executable, '-c', program], check=True)


# scores

def test_edit_scores_look_outside_both_foregrounds():
    clip = torch.zeros(2, 3, 8, 8)
    mask, new = torch.zeros(2, 2, 8, 8, dtype=torch.bool)
    mask[:, :2], new[:, 6:] = True, True
    edited = torch.where((mask | new)[:, None], clip + 1, clip)
    scores = edit_scores(clip, edited, mask, Render(edited, new, '', new))
    assert scores['background_psnr'] == scores['ground_truth_psnr'] == float('inf')
    assert scores['foreground_psnr'] == pytest.approx(6.02, abs=.01) and scores['judge'] is None
    assert edit_scores(clip, edited, mask)['background_psnr'] < 20
    assert edit_scores(clip, edited)['background_psnr'] is None


def test_reports_hold_no_infinities():
    assert rounded({'a': float('inf'), 'b': [1, 2], 'c': {'d': 1.234}, 'e': float('nan')}) == {
        'a': None, 'b': [1, 2], 'c': {'d': 1.23}, 'e': None}


# the demo

@pytest.mark.parametrize('seed', range(8))
def test_demo_scenes_differ_in_one_attribute(seed):
    source, target = demo_scenes(seed)
    changed = [name for name, word in source.attributes.items() if target.attributes[name] != word]
    assert EDIT_KINDS[seed % 4] in changed and set(changed) <= {EDIT_KINDS[seed % 4], 'colour'}
    assert source.caption != target.caption
    if seed % 4: assert changed == [EDIT_KINDS[seed % 4]]


def test_every_subject_has_kin():
    assert sorted(name for names in KIN for name in names) == sorted(SUBJECTS) and min(map(len, KIN)) > 1


@pytest.fixture(scope='module')
def demo(tmp_path_factory):
    "The demo as a person runs it: report, peak memory in bytes, stderr."
    out = tmp_path_factory.mktemp('demo') / 'out'
    command = shutil.which('videodirector', path=str(Path(sys.executable).parent))
    done = subprocess.run([command, 'demo', '--json', '--out', out], check=True, capture_output=True, text=True)
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * (1 if sys.platform == 'darwin' else 1024)
    return json.loads(done.stdout), memory, done.stderr


def test_demo_reports_everything(demo):
    report, *_, error = demo
    assert KEYS <= report.keys() and {Path(file).name for file in report['files'].values()} == FILES
    assert all(Path(file).stat().st_size for file in report['files'].values())
    assert report['edit']['ground_truth_psnr'] and set(report['edit']['judge']) == {
        'subject', 'colour', 'accessory', 'background', 'motion'}
    assert 'Warning' not in error, 'the embedded model does not know its own words'


def test_demo_reconstructs_with_null_text_only(demo):
    scores = demo[0]['psnr']
    assert scores['null_text'] > scores['ddim_cfg'] + 7 and scores['null_text'] > scores['vae'] - 1.5  # bars 8 and 1, and rounding


def test_demo_makes_the_edit(demo):
    source, target = (scene.attributes for scene in demo_scenes(parser().parse_args(['demo']).seed))
    seen = demo[0]['edit']['judge']
    changed = [name for name, word in target.items() if source[name] != word]
    assert changed and all(seen[name] == target[name] for name in changed)
    assert seen['motion'] == target['motion'] and demo[0]['edit']['background_psnr'] > 20


def test_demo_fits_a_laptop(demo):
    assert demo[1] < 4e9
