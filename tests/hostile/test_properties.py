"Generated clips, masks, settings, prompts and damaged files: understood rightly, or refused with one sentence."
import json
import re
from dataclasses import asdict, fields, replace
from functools import partial

import numpy as np
import pytest
import torch
from clips import moving_clip, moving_mask
from conftest import make_tiny_model
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from videodirector.app.cli import main
from videodirector.base.run import Run
from videodirector.base.store import read_tensors, write_tensors
from videodirector.data.mask import read_mask
from videodirector.data.video import read_video, write_video
from videodirector.methods.api import Edit
from videodirector.methods.videodirector import Inversion, invert
from videodirector.metrics.pixels import psnr
from videodirector.models.api import check_clip, check_prompt
from videodirector.parts.settings import STDG, EditSettings, InvertSettings

HEIGHT, WIDTH, FRAMES = 32, 48, 3
generated = partial(settings, derandomize=True, database=None, deadline=None,
                    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
                    lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(max_size=5), part, max_size=3), max_leaves=5)


def sentence_of(call, *names, errors=(ValueError, TypeError)):
    "What the call gives; or None after it was refused with one sentence in which the names are found."
    try: return call()
    except errors as error: text = str(error)
    assert '\n' not in text and text.endswith('.') and not re.search(r'[.!?] [A-Z]', text), text
    assert all(name in text for name in names), text


@pytest.fixture(scope='module')
def tiny(): return make_tiny_model()


@pytest.fixture(scope='module')
def ready(tiny, tmp_path_factory):
    "Files that are whole: an inversion with guidance and its kept steps, an edit, a film, a picture."
    folder = tmp_path_factory.mktemp('ready')
    clip, mask = moving_clip(FRAMES, HEIGHT, WIDTH), moving_mask(FRAMES, HEIGHT, WIDTH)
    stdg = STDG(blocks=(('up_blocks.1', 1, 1),))
    made = invert(tiny, clip, 'a bear', mask, steps=2, inner_steps=1, stdg=stdg, run=Run(False, folder=folder / 'kept'))
    made.save(folder / 'inversion.safetensors')
    Edit(clip, made.pivots[:1], 'a tiger', 'a bear', asdict(EditSettings())).save(folder / 'edit.safetensors')
    write_video(folder / 'clip.mp4', clip)
    return folder


# what is in memory

SHAPES = st.sampled_from([(3, 3, 32, 48), (1, 3, 8, 8), (24, 3, 8, 8), (25, 3, 8, 8), (3, 3, 30, 48), (3, 1, 32, 48), (3, 32, 48, 3), (3, 32, 48),
                          (0, 3, 32, 48), (3, 3, 0, 48), (1, 3, 3, 32, 48), ()])
KINDS = st.sampled_from([torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.uint8, torch.int64, torch.bool, torch.complex64])
VALUES = st.sampled_from([0., 1., -1., 1.005, 1.5, -300., 255., 1e30, float('nan'), float('inf')])


@generated(max_examples=80)
@given(SHAPES, KINDS, VALUES, st.booleans())
def test_clips_in_memory(tiny, tmp_path, shape, kind, value, everywhere):
    "A clip at the model's door, and at that of a file."
    clip = torch.full(shape, value if everywhere else 0.).to(kind)
    if clip.numel(): clip.view(-1)[-1] = torch.tensor(value).to(kind)
    fits = kind.is_floating_point and clip.ndim == 4 and bool(clip.isfinite().all())
    taken = sentence_of(lambda: check_clip(tiny, clip) or tiny.encode(clip))
    assert (taken is not None) == (fits and shape in ((3, 3, 32, 48), (1, 3, 8, 8), (24, 3, 8, 8), (25, 3, 8, 8)) and bool(clip.float().abs().max() <= 1.01))
    if taken is not None: assert taken.isfinite().all()
    path = tmp_path / 'clip.mp4'
    sentence_of(lambda: write_video(path, clip))
    assert path.exists() == (fits and clip.numel() > 0 and shape[1] == 3)
    if path.exists(): assert psnr(read_video(path, None), clip.float().clamp(-1, 1)) > 20
    path.unlink(missing_ok=True)


@generated(max_examples=60)
@given(st.text(max_size=12) | st.lists(st.sampled_from(['bear', '\u200b', '\ufe0f', '🦊', '\u3164', '\ud800', '\0', 'é', ' ']), max_size=6).map(''.join) | JSON)
def test_prompts(tiny, prompt):
    if sentence_of(lambda: check_prompt(tiny, prompt) or 'fine', 'prompt'): assert tiny.embed(prompt).isfinite().all()


@generated(max_examples=250)
@given(st.sampled_from([(kind, f.name) for kind in (InvertSettings, EditSettings, STDG) for f in fields(kind)]), JSON)
def test_settings(of, value):
    "Any JSON for any field: what is taken comes back from JSON as the same."
    kind, name = of
    if made := sentence_of(lambda: [kind(**{name: value})], name):
        again = json.loads(json.dumps(asdict(made[0])))
        if again.get('stdg'): again['stdg'] = STDG(**again['stdg'])
        assert kind(**again) == made[0]


OPTIONS = ('--point', '--box', '--frame', '--fps', '--sam', '--json', '--unknown', '--overwrite', '')


@generated(max_examples=60)
@given(st.lists(st.sampled_from(OPTIONS) | st.text(max_size=6) | st.floats().map(str) | st.integers().map('{0},{0}'.format), max_size=5))
def test_command_lines(capsys, words):
    "Nothing that is typed gives a traceback; the clip is not there, so all is refused or explained."
    try: code = main(['mask', 'gone.mp4', '--out', 'gone/out', *words])
    except SystemExit as exit: code = exit.code
    out, error = capsys.readouterr()
    assert code == 2 and not out and 'Traceback' not in error or code == 0 and 'usage' in out, (code, out, error)


# masks

DTYPES = st.sampled_from(['?', 'u1', 'i1', '>u2', 'u2', 'i4', 'u8', 'i8', 'f2', 'f4', '>f8', 'c8', 'U1'])
MARKS = st.sampled_from([0, 1, 2, 7, 20, 21, 127, 255, 256, 65535, 65536, -1, .5, 1.5, 1e-9, 2**63, float('nan'), float('inf')])


@generated(max_examples=200)
@given(DTYPES, MARKS, MARKS | st.none(), st.booleans())
@pytest.mark.filterwarnings('ignore::RuntimeWarning')
def test_masks(tmp_path, dtype, mark, other, squeezed):
    "An array of zeros with one mark, or two: what is marked alone is the thing, or is said to be none."
    values = np.zeros((FRAMES, HEIGHT, WIDTH), np.float64)
    values[:, 8:20, 8:20] = mark
    if other is not None: values[:, 25:30, 25:30] = other
    stored = values.astype(dtype)[:, 0] if squeezed else values.astype(dtype)
    np.save(tmp_path / 'mask.npy', stored)
    mask = sentence_of(lambda: read_mask(tmp_path / 'mask.npy', None), 'mask.npy')
    clear = not squeezed and dtype not in ('c8', 'U1') and set(np.unique(stored).tolist()) == {0, mark} and mark in {1, 2, 7, 20, 255, 65535}
    assert mask is not None or not clear
    if clear: assert torch.equal(mask.hard, torch.as_tensor(stored != 0))
    elif mask is not None: assert mask.values.isfinite().all() and mask.values.max() <= 1


# damaged files

DAMAGE = st.tuples(st.sampled_from(['cut', 'flip', 'zeros', 'more', 'twice']), st.floats(0, 1), st.integers(0, 7))


def damaged(data, damage):
    "Bytes cut off, or changed."
    kind, share, bit = damage
    at, data = int(share * (len(data) - 1)), bytearray(data)
    if kind == 'cut': return bytes(data[:at])
    if kind == 'flip': data[at] ^= 1 << bit
    if kind == 'zeros': data[at:at + 16] = bytes(len(data[at:at + 16]))
    if kind == 'more': data[at:at] = bytes(bit + 1)
    if kind == 'twice': data[at:at] = data[at:at + 64]
    return bytes(data)


def same(one, other):
    "Do two values hold the same?"
    if isinstance(one, torch.Tensor): return torch.equal(one, other)
    if hasattr(one, '__dataclass_fields__'): return all(same(getattr(one, f.name), getattr(other, f.name)) for f in fields(one))
    return one == other


LOADERS = dict(inversion=Inversion.load, edit=Edit.load)


@pytest.mark.parametrize('name', LOADERS)
def test_damaged_files_are_named(ready, tmp_path, name):
    load, data = LOADERS[name], (ready / f'{name}.safetensors').read_bytes()
    whole, path = load(ready / f'{name}.safetensors'), tmp_path / 'odd.safetensors'

    @generated(max_examples=70)
    @given(DAMAGE)
    def check(damage):
        path.write_bytes(damaged(data, damage))
        found = sentence_of(lambda: load(path), 'odd.safetensors', errors=ValueError)
        assert found is None or same(found, whole)
    check()


def test_damaged_steps_are_named(tiny, ready):
    kept, step = ready / 'kept', ready / 'kept/null-001.safetensors'
    data, like = step.read_bytes(), load_file(step)
    facts = read_tensors(step, 'Step')[1]

    def keep():
        run = Run(folder=kept)
        run._inputs = facts['inputs']
        return run.keep('null-001', lambda: pytest.fail('it is there'), like)

    @generated(max_examples=60)
    @given(DAMAGE)
    def check(damage):
        step.write_bytes(damaged(data, damage))
        found = sentence_of(keep, 'null-001.safetensors', errors=ValueError)
        assert found is None or all(torch.equal(found[k], like[k]) for k in like)
    check()


CHANGES = {'half': torch.Tensor.half, 'double': torch.Tensor.double, 'long': torch.Tensor.long, 'NaN': lambda x: x * float('nan'), 'flat': torch.Tensor.flatten,
           'shorter': lambda x: x[1:], 'narrower': lambda x: x[..., 1:], 'empty': lambda x: x[:0], 'another axis': lambda x: x[None]}


@pytest.mark.parametrize('name', LOADERS)
def test_files_that_were_sealed_anew(ready, tmp_path, name):
    "Somebody changed a tensor or a fact, and wrote the file as the library does: nothing but a ValueError, or something whole."
    load, path = LOADERS[name], tmp_path / 'odd.safetensors'
    tensors, facts = read_tensors(ready / f'{name}.safetensors', name.capitalize())
    places = [(key, inner) for key, value in facts.items() for inner in (value if isinstance(value, dict) else [None])]

    @generated(max_examples=120)
    @given(st.sampled_from(sorted(tensors)) | st.none(), st.sampled_from(sorted(CHANGES)), st.sampled_from(places), JSON)
    def check(tensor, change, place, value):
        told, (key, inner) = json.loads(json.dumps(facts)), place
        if tensor is None and inner is None: told[key] = value
        elif tensor is None: told[key][inner] = value
        changed = tensors | ({tensor: CHANGES[change](tensors[tensor])} if tensor else {})
        write_tensors(path, name.capitalize(), changed, told)
        found = sentence_of(lambda: load(path), 'odd.safetensors', errors=ValueError)
        if found is not None:
            assert repr(found)
            found.save(path)
            assert same(load(path), found) or change == 'NaN' or 'NaN' in json.dumps(value)
    check()


@generated(max_examples=60)
@given(DAMAGE)
def test_damaged_films(ready, tmp_path, damage):
    "A film says that it is damaged; where a codec notices nothing, its pictures have the right size."
    (tmp_path / 'odd.mp4').write_bytes(damaged((ready / 'clip.mp4').read_bytes(), damage))
    film = sentence_of(lambda: read_video(tmp_path / 'odd.mp4', None), 'odd.mp4')
    assert film is None or film.shape[1] == 3 and film.isfinite().all()


def test_the_whole_is_taken(ready):
    "What the damage is done to is fine by itself, so that it is the damage that is noticed."
    for name, load in LOADERS.items(): assert same(load(ready / f'{name}.safetensors'), load(ready / f'{name}.safetensors'))
    made = Inversion.load(ready / 'inversion.safetensors')
    assert not same(made, replace(made, prompt='a fox')) and not same(made, replace(made, pivots=made.pivots * 2))
