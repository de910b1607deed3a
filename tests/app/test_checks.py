"Refusals: exit code 2, one sentence, nothing left behind."
import re

import numpy as np
import pytest
import torch
from app_cases import SOURCE, clip, model, run  # noqa: F401
from conftest import make_tiny_pipe

from videodirector.app.checks import fitting_size


@pytest.mark.parametrize('height, width, expected', [(512, 512, (64, 64)), (480, 854, (64, 112)), (90, 40, (144, 64))])
def test_fitting_size_keeps_proportions_and_divides(tiny_pipe, height, width, expected):
    assert fitting_size(tiny_pipe, height, width) == expected


@pytest.fixture
def stored(run, tmp_path):
    assert run(out=tmp_path / 'first')[0] == 0
    return tmp_path / 'first/inversion.safetensors'


@pytest.mark.parametrize('changes, message', [
    (dict(steps=3), '--steps belongs to the stored inversion'),
    (dict(source='a red bear'), "was made for 'a bear walking'"),
    (dict(inversion='gone.safetensors'), 'no file'),
])
def test_a_stored_inversion_is_not_contradicted(run, stored, changes, message):
    options = dict(inversion=stored, source=None, steps=None, inner_steps=None, size=None, frames=None) | changes
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
    torch.nn.init.constant_(model.unet.conv_out.bias, float('nan'))
    pipe.save_pretrained(tmp_path / 'nan')
    code, out, error = run(model=tmp_path / 'nan')
    assert (code, out) == (2, '') and re.search(r'step .*not finite', error) and not (tmp_path / 'out').exists()
