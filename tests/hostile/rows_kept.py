"Inversions, edits and kept steps that were torn, tampered with, or made of something else."
import json
import os
import shutil
from dataclasses import replace

import torch
from clips import moving_mask
from conftest import make_tiny_model
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from table import FRAMES, HEIGHT, WIDTH, judged, rows

from videodirector.base.run import Run
from videodirector.base.store import read_tensors, write_tensors
from videodirector.data.mask import Mask
from videodirector.methods.api import Edit
from videodirector.methods.videodirector import Inversion, edit, invert
from videodirector.parts.settings import STDG

NAN = float('nan')
FILE = r'torn\.safetensors'


def opened(path):
    with safe_open(path, 'pt') as file: return {k: file.get_tensor(k) for k in file.keys()}, file.metadata()


def rewritten(place, change, source=None):
    "A copy of a file whose tensors or facts are changed; what it says of itself otherwise stays."
    tensors, facts = opened(source or place.inversion)
    change(tensors, facts)
    save_file({k: x.contiguous() for k, x in tensors.items()}, place.folder / 'torn.safetensors', facts)
    return place.folder / 'torn.safetensors'


def saved(place, **changes):
    "An inversion with wrong parts, stored as the library stores them."
    replace(Inversion.load(place.inversion), **changes).save(place.folder / 'torn.safetensors')
    return place.folder / 'torn.safetensors'


def made(place): return Inversion.load(place.inversion)


def with_null(place, embeddings): return saved(place, null=replace(made(place).null, embeddings=embeddings))


def bytes_of(place, change):
    data = bytearray(place.inversion.read_bytes())
    return place.file('torn.safetensors', bytes(change(data)))


def flipped(data, at):
    data[at] ^= 1
    return data


def fact(name, value):
    def change(tensors, facts):
        told = json.loads(facts['videodirector'])
        told[name] = value
        facts['videodirector'] = json.dumps(told)
    return change


def tensor(name, change):
    def apply(tensors, facts): tensors[name] = change(tensors[name])
    return apply


TORN = {
    **{f'cut off at {share:.0%}': (lambda p, s=share: bytes_of(p, lambda d: d[:int(len(d) * s)]), FILE) for share in (0, .01, .5, .99)},
    **{f'with a bit turned {place_}': (lambda p, a=at: bytes_of(p, lambda d: flipped(d, a)), FILE) for place_, at in (
        ('in its length', 0), ('in its header', 20), ('in its numbers', -1), ('in its middle', -5000))},
    'with bytes behind its end': (lambda p: bytes_of(p, lambda d: d + b'more'), FILE),
    'of text': (lambda p: p.file('torn.safetensors', b'hello'), FILE),
    'of zeros': (lambda p: p.file('torn.safetensors', bytes(999)), FILE),
    'with a header of a terabyte': (lambda p: p.file('torn.safetensors', (10**12).to_bytes(8, 'little') + b'{}'), FILE),
    'that is a pickle': (lambda p: (torch.save({'a': 1}, p.folder / 'torn.safetensors'), p.folder / 'torn.safetensors')[1], FILE),
    'without facts': (lambda p: rewritten(p, lambda t, f: f.clear()), FILE),
    'with facts that are no JSON': (lambda p: rewritten(p, lambda t, f: f.update(videodirector='{')), FILE),
    'with facts that are a list': (lambda p: rewritten(p, lambda t, f: f.update(videodirector='[1]')), FILE),
    'of another kind': (lambda p: rewritten(p, fact('kind', 'Edit')), FILE),
    'with another prompt': (lambda p: rewritten(p, fact('prompt', 'a red fox')), FILE),
    'with another schedule': (lambda p: rewritten(p, fact('schedule', {'timesteps': [9, 0]})), FILE),
    'without settings': (lambda p: rewritten(p, lambda t, f: fact('settings', None)(t, f)), FILE),
    'without null text': (lambda p: rewritten(p, lambda t, f: t.pop('null')), FILE),
    'with a tensor more': (lambda p: rewritten(p, lambda t, f: t.update(more=torch.ones(2))), FILE),
    'with NaN in its path': (lambda p: rewritten(p, tensor('pivots', lambda x: x * NAN)), FILE),
    'with half its numbers': (lambda p: rewritten(p, tensor('pivots', torch.Tensor.half)), FILE),
    'with a path of zeros': (lambda p: rewritten(p, tensor('pivots', torch.zeros_like)), FILE),
    'with another shape': (lambda p: rewritten(p, tensor('pivots', lambda x: x[:, :, :2])), FILE),
    'with a mask turned round': (lambda p: rewritten(p, tensor('mask', torch.logical_not)), FILE),
    'stored with NaN in its path': (lambda p: saved(p, pivots=made(p).pivots * NAN), FILE + '.*pivots'),
    'stored with half numbers': (lambda p: saved(p, pivots=made(p).pivots.half()), FILE + '.*pivots'),
    'stored with a step too few': (lambda p: saved(p, pivots=made(p).pivots[1:]), FILE + '.*pivots'),
    'stored with a path of three axes': (lambda p: saved(p, pivots=made(p).pivots[0]), FILE + '.*pivots'),
    'stored with NaN in its null text': (lambda p: with_null(p, made(p).null.embeddings * NAN), FILE + '.*null'),
    'stored with null text of other steps': (lambda p: with_null(p, made(p).null.embeddings[:1]), FILE + '.*null'),
    'stored with null text of other frames': (lambda p: with_null(p, made(p).null.embeddings[:, :2]), FILE + '.*null'),
    'stored with a mask of other frames': (lambda p: saved(p, mask=Mask(torch.ones(3, HEIGHT, WIDTH))), FILE + '.*mask'),
    'a folder': (lambda p: p.folder, (FileNotFoundError, 'no file')), 'not there': (lambda p: p.folder / 'gone', (FileNotFoundError, 'no file')),
    'a FIFO': (lambda p: (os.mkfifo(p.folder / 'pipe'), p.folder / 'pipe')[1], ((FileNotFoundError, ValueError), 'pipe')),
    'whole': (lambda p: p.inversion, judged(lambda it: it.prompt == 'a bear walking')),
}


def other(place, kind='world', **changes):
    "An edit with what did not make the inversion."
    model, inversion = make_tiny_model(), made(place)
    if kind == 'weights': model = make_tiny_model(seed=1)
    if kind in ('vae', 'text_encoder'): getattr(model, kind).load_state_dict(getattr(make_tiny_model(seed=1), kind).state_dict())
    if kind in ('prompt', 'schedule', 'settings', 'null', 'mask'): inversion = replace(inversion, **changes)
    if kind == 'noise': model.scheduler = type(model.scheduler).from_config(model.scheduler.config, beta_end=.05)
    if kind == 'order': inversion = replace(inversion, schedule=replace(inversion.schedule, timesteps=inversion.schedule.timesteps[::-1]))
    if kind == 'length': inversion = replace(inversion, schedule=model.schedule(5, 4., 'standard'))
    if kind == 'width': inversion = replace(inversion, null=replace(inversion.null, embeddings=inversion.null.embeddings[..., :8]))
    return model, inversion


OTHERS = {
    'another model': (lambda p: other(p, 'weights'), 'made by another model'), 'other noise levels': (lambda p: other(p, 'noise'), 'schedule'),
    'another VAE': (lambda p: other(p, 'vae'), 'made by another model'), 'another text encoder': (lambda p: other(p, 'text_encoder'), 'made by another model'),
    'an empty prompt': (lambda p: other(p, 'prompt', prompt=' '), 'its prompt'), 'no text for a prompt': (lambda p: other(p, 'prompt', prompt=3), 'its prompt is a int'),
    'no schedule': (lambda p: other(p, 'schedule', schedule=None), 'its schedule'), 'a dictionary for settings': (lambda p: other(p, 'settings', settings={}), 'its settings is a dict'),
    'no null text': (lambda p: other(p, 'null', null=None), 'its null is'), 'a mask of another size': (lambda p: other(p, 'mask', mask=Mask(torch.ones(4, 7, 9))), 'its mask is'),
    'a schedule backwards': (lambda p: other(p, 'order'), 'schedule'), 'a longer schedule': (lambda p: other(p, 'length'), 'is not whole, its pivots'),
    'null text of another width': (lambda p: other(p, 'width'), 'null'), 'what made it': (lambda p: other(p), judged(lambda it: it.video.isfinite().all()))}


# kept steps

def work(place, prompt='a bear walking', frames=4, **changes):
    "Invert, keeping steps."
    mask = moving_mask(FRAMES, HEIGHT, WIDTH)[:frames]
    options = dict(steps=2, inner_steps=1, stdg=STDG(blocks=(('up_blocks.1', 1, 1),))) | changes
    return invert(place.tiny, place.film[:frames], prompt, mask, run=Run(False, folder=place.folder / 'kept'), **options)


def worked(place):
    "What a run kept, done once for all rows."
    kept = place.ready / 'kept'
    if not kept.exists(): shutil.copytree(work(place) and place.folder / 'kept', kept)
    shutil.copytree(kept, place.folder / 'kept', dirs_exist_ok=True)


def spoilt(change):
    "Spoil what a run kept, and hand on the place."
    def make(place):
        worked(place)
        change(place.folder / 'kept', place)
        return place
    return make


def step(name, change):
    def apply(kept, place):
        tensors, facts = opened(kept / f'{name}.safetensors')
        change(tensors)
        save_file({k: x.contiguous() for k, x in tensors.items()}, kept / f'{name}.safetensors', facts)
    return apply


def plain(kept, place): save_file(load_file(kept / 'null-001.safetensors'), kept / 'null-001.safetensors')


def shorter(kept, place):
    file = kept / 'pivot-001.safetensors'
    file.write_bytes(file.read_bytes()[:-9])


def swapped(kept, place): shutil.copy(kept / 'pivot-001.safetensors', kept / 'pivot-002.safetensors')


def foreign(kept, place):
    "Steps of another prompt among those of this one."
    inputs = (kept / 'inputs.json').read_bytes()
    shutil.rmtree(kept)
    work(place, 'a brown bear')
    (kept / 'inputs.json').write_bytes(inputs)


def without_inputs(kept, place):
    shutil.rmtree(kept)
    work(place, 'a brown bear')
    (kept / 'inputs.json').unlink()


def pipe(name):
    def apply(kept, place):
        (kept / name).unlink()
        os.mkfifo(kept / name)
    return apply


def gone(kept, place): (kept / 'null-000.safetensors').unlink()


KEPT = {
    'NaN': (spoilt(step('pivot-001', lambda t: t.update(z=t['z'] * NAN))), r'pivot-001\.safetensors'),
    'half numbers': (spoilt(step('pivot-001', lambda t: t.update(z=t['z'].half()))), r'pivot-001\.safetensors'),
    'another shape': (spoilt(step('pivot-001', lambda t: t.update(z=t['z'][:, :, :2]))), r'pivot-001\.safetensors'),
    'one number changed': (spoilt(step('null-001', lambda t: t['phi'].view(-1)[3:4].add_(.1))), r'null-001\.safetensors'),
    'a tensor missing': (spoilt(step('null-000', lambda t: t.pop('phi'))), r'null-000\.safetensors'),
    'a tensor more': (spoilt(step('null-000', lambda t: t.update(x=torch.ones(1)))), r'null-000\.safetensors'),
    'guidance changed': (spoilt(step('guidance-001', lambda t: t.update(eps=t['eps'] * 2))), r'guidance-001\.safetensors'),
    'facts taken away': (spoilt(plain), r'null-001\.safetensors'),
    'a step cut off': (spoilt(shorter), r'pivot-001\.safetensors'),
    'a step in place of another': (spoilt(swapped), r'pivot-002\.safetensors'),
    'text for a step': (spoilt(lambda k, p: (k / 'null-000.safetensors').write_text('hello')), r'null-000\.safetensors'),
    'a folder for a step': (spoilt(lambda k, p: (gone(k, p), (k / 'null-000.safetensors').mkdir())), r'null-000\.safetensors'),
    'a FIFO for a step': (spoilt(pipe('null-000.safetensors')), r'null-000\.safetensors'),
    'steps of another prompt': (spoilt(foreign), r'pivot-001\.safetensors'),
    'steps without their inputs': (spoilt(without_inputs), r'pivot-001\.safetensors|inputs\.json'),
    'inputs cut off': (spoilt(lambda k, p: (k / 'inputs.json').write_text('{"clip": ')), r'inputs\.json'),
    'inputs that are a list': (spoilt(lambda k, p: (k / 'inputs.json').write_text('[]')), r'inputs\.json'),
    'inputs that are no text': (spoilt(lambda k, p: (k / 'inputs.json').write_bytes(b'\xff\xfe')), r'inputs\.json'),
    'a FIFO for inputs': (spoilt(pipe('inputs.json')), r'inputs\.json'),
    'a step taken away': (spoilt(gone), judged(lambda it: it.prompt == 'a bear walking')),
    'nothing': (spoilt(lambda k, p: None), judged(lambda it: it.prompt == 'a bear walking')),
}
AGAIN = {
    'another prompt': (lambda p: dict(prompt='a brown bear'), r'other inputs \(prompt\)'), 'another clip': (lambda p: dict(frames=3), r'other inputs \('),
    'other settings': (lambda p: dict(lr=.5), r'other inputs \(settings\)'), 'the same': (lambda p: {}, judged(lambda it: it.prompt == 'a bear walking'))}


def again(place, changes):
    worked(place)
    return work(place, **changes)


def packed(place, tensors, **facts):
    write_tensors(place.folder / 'edit.safetensors', 'Edit', tensors, facts)
    return place.folder / 'edit.safetensors'


EDITS = {
    'an inversion': (lambda p: p.inversion, 'edit'), 'nothing': (lambda p: packed(p, {}), r'edit\.safetensors'),
    'facts too few': (lambda p: packed(p, {'video': p.film, 'latents': torch.zeros(1, 4, 6, 4, 6)}), r'edit\.safetensors'),
    'facts too many': (lambda p: packed(p, {'video': p.film, 'latents': torch.zeros(1)}, prompt='a', source_prompt='b', settings={}, x=1), r'edit\.safetensors')}

ROWS = [
    *rows('an inversion', lambda p, path: Inversion.load(path), TORN),
    *rows('an edit with', lambda p, given: edit(*given, 'a tiger walking'), OTHERS),
    *rows('kept steps:', lambda p, place: work(place), KEPT),
    *rows('kept steps, and then', again, AGAIN),
    *rows('a stored edit:', lambda p, path: Edit.load(path), EDITS),
    *rows('tensors', lambda p, kind: read_tensors(p.inversion, kind), {'of another kind': (lambda p: 'Fox', r'inversion\.safetensors')})]
