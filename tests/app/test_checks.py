"Refusals: exit code 2, one sentence, nothing left behind."
import re

import numpy as np
import pytest
import torch
from app_cases import clip, run, tiny  # noqa: F401
from conftest import make_tiny_model
from PIL import Image

from videodirector.app import jobs
from videodirector.app.checks import check_inputs_stay, check_outputs, fitting_size
from videodirector.app.cli import main


@pytest.mark.parametrize('height, width, expected', [(512, 512, (64, 64)), (480, 854, (64, 112)), (90, 40, (144, 64))])
def test_fitting_size_keeps_proportions_and_divides(tiny, height, width, expected):
    assert fitting_size(tiny, height, width) == expected


@pytest.fixture
def stored(run, tmp_path):
    assert run(out=tmp_path / 'first')[0] == 0
    return tmp_path / 'first/inversion.safetensors'


@pytest.mark.parametrize('changes, message', [
    (dict(steps=3), '--steps belongs to the stored inversion'),
    (dict(source='a red bear'), "was made for 'a bear walking'"),
    (dict(stored='gone.safetensors'), 'no file'),
])
def test_a_stored_inversion_is_not_contradicted(run, stored, changes, message):
    options = dict(stored=stored, source=None, steps=None, inner_steps=None, size=None, frames=None) | changes
    code, out, error = run(**options)
    assert (code, out) == (2, '') and message in error


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
    'a window that the motion module does not take': (lambda p: dict(window=25), 'window of 25 frames was asked for and the motion module takes 1 to 24'),
    'windows that share too much': (lambda p: dict(window=8, overlap=5), 'Windows of 8 frames shall share 5; give 0 to 4'),
    'motion of more frames than are seen together': (lambda p: dict(method='motionclone', inner_steps=None, frames=25), 'has 25 frames and the motion is read of 1 to 24'),
    'sides not divisible': (lambda p: dict(size='32x50'), 'The sides of 32×50 frames do not divide by 8'),
    'no such mask': (lambda p: dict(mask=p / 'gone'), 'There is no mask at .*gone'),
    'mask of another length': (lambda p: dict(mask=mask_file(p, 29, 32, 48)), 'has 29 frames, its clip 30'),
    'mask of another size': (lambda p: dict(mask=mask_file(p, 30, 48, 48)), 'is 48×48 and its clip 32×48'),
    'mask empty': (lambda p: dict(mask=mask_file(p, 30, 32, 48, value=False)), 'is empty'),
    'source prompt too long': (lambda p: dict(source='a bear ' * 8), 'source prompt has 18 tokens .* 16'),
    'target prompt too long': (lambda p: dict(target='a bear ' * 8), 'target prompt has 18 tokens .* 16'),
    'no source prompt': (lambda p: dict(source=None), 'source prompt is missing'),
    'no target prompt': (lambda p: dict(target=None), 'target prompt is missing'),
    'empty source prompt': (lambda p: dict(source=' '), 'source prompt is empty'),
    'empty target prompt': (lambda p: dict(target=''), 'target prompt is empty'),
    'unknown model folder': (lambda p: dict(model=p / 'gone'), 'no model folder .*gone'),
    'folder without a model': (lambda p: dict(model=p), 'no diffusers pipeline'),
    'unwritable output folder': (lambda p: dict(out=broken(p, 'file') / 'out'), 'cannot be written to'),
    'output folder is a file': (lambda p: dict(out=broken(p, 'file')), 'is a file'),
    'weight of a word that is not there': (lambda p: dict(weight='fox=2'), 'fox'),
    'blend by a word that the source has not': (lambda p: dict(blend='fox,tiger'), 'fox'),
    'blend by a word that the target has not': (lambda p: dict(blend='bear,fox'), 'fox'),
    'share of a word that is not there': (lambda p: dict(tau_word='fox=.2'), 'fox'),
    'no such device': (lambda p: dict(device='gpu'), "no device 'gpu'"),
    'motion adapter for the embedded model': (lambda p: dict(model='world', motion_adapter=p), '--motion-adapter does not fit the embedded model'),
    'LoRA for the embedded model': (lambda p: dict(model='world', lora=p), '--lora does not fit the embedded model'),
    'region without a mask': (lambda p: dict(region='foreground'), '--region says .* no mask'),
    'frame without a click': (lambda p: dict(frame=5), '--frame and --sam belong to clicks'),
    'no such method': (lambda p: dict(method='x'), "There is no method 'x'; choose one of videodirector"),
    'no such preset': (lambda p: dict(preset='x'), "There is no preset 'x'; choose one of default"),
    'a share out of range': (lambda p: dict(tau_word='walking=7'), 'give a number from 0 to 1'),
    'kept where no folder can be': (lambda p: dict(keep=broken(p, 'file')), 'cannot be written'),
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


def test_what_is_refused_is_refused_before_the_model_is_loaded(run, tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, 'load_model', lambda args: pytest.fail('the model was loaded'))
    for changes in (dict(tau_word='walking=7'), dict(method='x'), dict(preset='x'), dict(region='background'), dict(frames=31)):
        assert run(**changes)[0] == 2


def test_numbers_that_are_not_finite_name_the_step(run, tmp_path, monkeypatch):
    model = make_tiny_model()
    torch.nn.init.constant_(model.unet.conv_out.bias, float('nan'))
    monkeypatch.setattr(jobs, 'load_model', lambda args: (model, None))
    code, out, error = run()
    assert (code, out) == (2, '') and re.search(r'step .*not finite', error) and not (tmp_path / 'out').exists()


def test_a_film_is_not_written_over(run, tmp_path, clip, capsys, monkeypatch):
    monkeypatch.setattr(jobs, 'load_model', lambda args: pytest.fail('the model was loaded'))
    work = tmp_path / 'work'
    work.mkdir()
    (work / 'source.mp4').write_bytes(clip.read_bytes())
    for flags in ([], ['--overwrite']):
        code, out, error = run(*flags, video=work / 'source.mp4', out=work)
        assert (code, out) == (2, '') and 'is read, and the results would be written over it' in error
    assert [f.name for f in work.iterdir()] == ['source.mp4'] and (work / 'source.mp4').read_bytes() == clip.read_bytes()


def test_frames_are_not_written_over(tmp_path, capsys):
    frames = tmp_path / 'frames'
    frames.mkdir()
    for i in range(2): Image.new('RGB', (16, 16)).save(frames / f'{i:05d}.png')
    before = {f: f.read_bytes() for f in tmp_path.rglob('*.png')}
    for flags in ([], ['--overwrite']):
        assert main(['mask', str(frames), '--out', str(frames), '--point', '3,4', *flags]) == 2
        assert 'is read, and the results would be written over it' in capsys.readouterr().err
    assert before == {f: f.read_bytes() for f in tmp_path.rglob('*.*')}


def test_masks_of_another_clip_are_not_mixed(tmp_path, clip, capsys):
    out = tmp_path / 'out'
    out.mkdir()
    command = ['mask', str(clip), '--out', str(out), '--point', '3,4']
    for name, flags, message in (('00003.png', [], 'or replace them with --overwrite'), ('99999.png', ['--overwrite'], 'holds other pictures')):
        Image.new('L', (48, 32)).save(out / name)
        assert main([*command, *flags]) == 2 and message in capsys.readouterr().err


def test_what_counts_as_written_over(tmp_path):
    (tmp_path / 'out').mkdir()
    (tmp_path / 'film.mp4').touch()
    (tmp_path / 'out/source.mp4').symlink_to(tmp_path / 'film.mp4')
    def check(path): check_inputs_stay(tmp_path / 'out', [None, path], {'source.mp4'})
    for path in ('film.mp4', 'out/other.mp4', 'out/frames'): check(tmp_path / path)
    for path in ('out', 'out/source.mp4', 'out/../out/source.mp4'):
        with pytest.raises(ValueError, match='is read'): check(tmp_path / path)
    (tmp_path / 'link').symlink_to(tmp_path / 'out')
    with pytest.raises(ValueError, match='is read'): check(tmp_path / 'link/source.mp4')


@pytest.mark.parametrize('outputs, inputs, message', [
    (['.'], [], 'is a folder'), (['file/x'], [], 'cannot be written'), (['a', './a'], [], 'named twice'), (['file'], ['file'], 'named twice')])
def test_outputs_are_checked(tmp_path, monkeypatch, outputs, inputs, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'file').touch()
    with pytest.raises(ValueError, match=message): check_outputs(outputs, inputs)
    check_outputs([None, 'new/a', 'b'], ['file'])
