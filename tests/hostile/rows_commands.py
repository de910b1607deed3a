"The command: arguments, files and places as people and programs give them; exit code 2, one sentence, nothing left behind."
import json
import os
import shutil

import numpy as np
import pytest
import torch
from clips import moving_mask, write_frames
from rows_files import fifo, film, loop, turned
from rows_masks import labelled
from table import FRAMES, HEIGHT, WIDTH, Typed, judged, rows, succeeded

from videodirector.data.video import write_video

NEVER = '\udcff\udce9.mp4'  # bytes that are no UTF-8, as Python hands them on


def options(**changes): return lambda p: changes
def video(make): return lambda p: dict(video=make(p))


def noise(place, shift=0.):
    write_video(place.folder / 'other.mp4', torch.rand(FRAMES, 3, HEIGHT, WIDTH, generator=torch.manual_seed(0)) * 2 - 1 + shift)
    return place.folder / 'other.mp4'


def stored(place, **changes):
    return dict(stored=place.inversion, source=None, steps=None, inner_steps=None, size=None, frames=None) | changes


def torn(place):
    data = place.inversion.read_bytes()
    return place.file('torn.safetensors', data[:-100])


def kept(place, content):
    (place.folder / 'kept').mkdir()
    (place.folder / 'kept/inputs.json').write_text(content)
    return place.folder / 'kept'


def mask_of(place, **arrays):
    np.savez(place.folder / 'mask.npz', **arrays)
    return place.folder / 'mask.npz'


THING = moving_mask(FRAMES, HEIGHT, WIDTH).numpy()
BAD = {
    'a clip that is not there': (video(lambda p: p.folder / 'gone.mp4'), r'no clip at .*gone\.mp4'),
    'a FIFO': (video(fifo), 'neither a file nor a folder'), 'a device': (video(lambda p: '/dev/zero'), 'neither a file nor a folder'),
    'a link to itself': (video(loop), r'a\.mp4'), 'a clip with too long a name': (video(lambda p: 'x' * 300), 'no clip at'),
    'a clip with a zero byte in its name': (video(lambda p: 'a\0b'), 'no clip at|zero byte'),
    'a clip whose name is not UTF-8': (video(lambda p: NEVER), 'UTF-8'), 'an address for a clip': (video(lambda p: 'https://x.org/a.mp4'), 'no clip at'),
    'text for a clip': (video(lambda p: p.file('a.mp4', b'hello')), r'a\.mp4.* is not a clip'),
    'half a clip': (video(lambda p: p.file('a.mp4', p.clip.read_bytes()[:900])), r'a\.mp4'),
    'a folder with half a picture': (video(lambda p: half_picture(p)), r'1\.png'),
    'a source that is not UTF-8': (options(source='a \udcff bear'), 'UTF-8'), 'a target that is not UTF-8': (options(target='a \udcff bear'), 'UTF-8'),
    'an output that is not UTF-8': (lambda p: dict(out=f'{p.folder}/\udcff'), 'UTF-8'),
    'an invisible target': (options(target='\u200b\u200d\ufeff'), 'empty'), 'an invisible source': (options(source='\u200b'), 'empty'),
    'a target of controls': (options(target='\x00\x07'), 'empty'), 'a target of thousands of words': (options(target='bear ' * 5000), 'tokens'),
    'a mask that is not there': (lambda p: dict(mask=p.folder / 'gone'), 'no mask at'), 'a FIFO for a mask': (lambda p: dict(mask=fifo(p, 'm.npz')), r'm\.npz'),
    'several masks in one file': (lambda p: dict(mask=mask_of(p, a=THING, b=~THING)), 'a, b'), 'NaN for a mask': (lambda p: dict(mask=mask_of(p, a=THING * np.nan)), 'NaN|finite'),
    'an empty mask': (lambda p: dict(mask=mask_of(p, a=THING & False)), 'is empty'), 'words for a mask': (lambda p: dict(mask=mask_of(p, a=np.full((6, 32, 48), 'x'))), 'numbers'),
    'a mask of another length': (lambda p: dict(mask=mask_of(p, a=THING[:5])), 'has 5 frames'), 'a clip for a model': (lambda p: dict(model=p.clip, device='cpu'), 'no model folder|is no'),
    'a model that is a pickle': (lambda p: dict(model=p.file('m.ckpt'), device='cpu'), 'pickle'), 'a folder for an inversion': (lambda p: stored(p, stored=p.folder), 'no file'),
    'half an inversion': (lambda p: stored(p, stored=torn(p)), r'torn\.safetensors'), 'a clip for an inversion': (lambda p: stored(p, stored=p.clip), r'clip\.mp4'),
    'an inversion of another clip': (lambda p: stored(p, video=noise(p)), 'another clip'),
    'a FIFO for an inversion': (lambda p: stored(p, stored=fifo(p, 'i.safetensors')), r'i\.safetensors'),
    'an output below a file': (lambda p: dict(out=p.clip / 'x'), 'cannot be written'), 'a file for an output': (lambda p: dict(out=p.file('there')), 'is a file'),
    'a pipe for an output': (lambda p: dict(out=fifo(p)), 'is a file|no folder'), 'an output with too long a name': (lambda p: dict(out=p.folder / ('x' * 300)), 'too long'),
    'an output with a zero byte': (lambda p: dict(out=f'{p.folder}/a\0b'), 'zero byte|null byte|cannot be written'),
    'a folder where a result goes': (lambda p: dict(out=taken(p, 'edited.mp4')), r'edited\.mp4.* is a folder'),
    'a folder where the report goes': (lambda p: dict(out=taken(p, 'metrics.json')), r'metrics\.json.* is a folder'),
    'a folder of masks for an output': (lambda p: dict(out=p.file('mask.gif').parent), r'another run \(mask\.gif\)'),
    'an empty LoRA': (lambda p: dict(lora='', model=p.ready / 'pipe', device='cpu'), 'without a name'),
    'empty motion modules': (lambda p: dict(motion_adapter='', model=p.ready / 'pipe', device='cpu'), 'without a name'),
    'a link to nothing for an output': (lambda p: dict(out=dangling(p)), 'link to nothing'), 'kept below a file': (lambda p: dict(keep=p.clip / 'x'), 'cannot be written'),
    'kept in a file': (lambda p: dict(keep=p.file('there')), 'cannot be written|is a file'), 'kept inputs that are no JSON': (lambda p: dict(keep=kept(p, '{')), r'inputs\.json'),
    'kept inputs that are a number': (lambda p: dict(keep=kept(p, '3')), r'inputs\.json'), 'a device that there is not': (options(device='gpu'), "no device 'gpu'"),
    'a device of another maker': (options(device='xpu'), "no device 'xpu'"), 'a device with a number that there is not': (options(device='cuda:99'), "no device 'cuda:99'"),
    'an empty device': (options(device=''), "no device ''"), 'a device without numbers': (options(device='meta'), "no device 'meta'"),
    'more frames than there are': (options(frames=7), 'has 6 frames and 7'), 'sides that do not divide': (options(size='32x50'), 'do not divide'),
    'a size of nothing': (options(size='0x0'), 'divide|size'), 'a size below nothing': (options(size='-8x8'), 'divide|size'), 'a size of millions': (options(size='800000x800000'), 'size|memory'),
    'more steps than there are': (options(steps=5000), 'steps'), 'a weight for a word that is not there': (options(weight='fox=2'), 'fox'), 'a click outside': (options(point='999,3'), 'outside'),
    'a click in a frame that is not there': (lambda p: dict(point='3,4', frame=99), '99'), 'a click that is not a number': (options(point='nan,3'), 'click|outside'),
    'a click and a mask': (lambda p: dict(point='3,4', mask=labelled(p)), 'both --mask and --point|Both'), 'a region without a mask': (options(region='background'), 'no mask'),
    'a SAM 2 without a click': (options(sam='x'), 'belong to clicks'), 'a SAM 2 that is not there': (lambda p: dict(point='12,14', sam=p.folder / 'gone'), 'neither a folder nor'),
    'a method that is not there': (options(method='x'), 'no method'), 'a preset that is not there': (options(preset=''), 'no preset'), 'a large guidance': (options(guidance_scale=900, steps=3), 'finite|scale')}
BAD.pop('a large guidance')


def half_picture(place):
    folder = write_frames(place.folder / 'f', film(4))
    (folder / '1.png').write_bytes((folder / '1.png').read_bytes()[:90])
    return folder


def dangling(place):
    (place.folder / 'link').symlink_to(place.folder / 'nowhere')
    return place.folder / 'link'


def taken(place, name):
    (place.folder / 'results' / name).mkdir(parents=True)
    return place.folder / 'results'


GOOD = {
    'a clip': (options(), succeeded), 'a turned clip': (lambda p: dict(video=turned(p, 0, 1, -1, 0), size='48x32'), succeeded),
    'a mask as DAVIS stores it': (lambda p: dict(mask=labelled(p)), succeeded), 'an emoji': (options(target='a 🦊 walking'), succeeded),
    'its own inversion': (lambda p: stored(p), succeeded), 'a clip by an odd name': (lambda p: dict(video=p.file("a 'b' %d 狐.mp4", p.clip.read_bytes())), succeeded)}


ARGUMENTS = {' '.join(words) or 'nothing': (lambda p, w=words: w, pattern) for words, pattern in (
    ([], 'COMMAND'), (['dance'], 'invalid choice'), (['edit'], 'required'), (['edit', 'a.mp4'], 'source prompt is missing'), (['edit', '--target', 'a'], 'video'),
    (['demo', '--seed', 'x'], 'seed'), (['demo', '--seed', '1e3'], 'seed'), (['demo', '--frames', '0'], "'0'"),
    (['demo', '--frames', '1000000'], "'1000000'"), (['demo', '--window', '0'], "'0'"), (['demo', '--window', '99'], '99 frames'), (['demo', '--overlap', '-1'], "'-1'"),
    (['demo', '--overlap', '20'], 'share 20'), (['demo', '--window', '8', '--method', 'rave'], 'window is about frames that see each other'), (['demo', '--fps', 'nan'], 'nan'), (['demo', '--fps', '0'], "'0'"), (['demo', '--fps', '1e-9'], '1e-9'), (['demo', '--fps', '1e9'], '1e9'),
    (['demo', '--steps', '0'], 'steps'), (['demo', '--steps', 'nan'], 'steps'), (['demo', '--steps', '٣x'], 'steps'), (['demo', '--inner-steps', '-1'], 'inner.steps'),
    (['demo', '--tau-c', 'nan'], 'tau'), (['demo', '--tau-c', '1,2'], 'tau'), (['demo', '--lr', '-1'], 'lr'), (['demo', '--lr', 'inf'], 'lr'), (['demo', '--guidance-scale', 'inf'], 'guidance'),
    (['demo', '--weight', 'bear'], 'bear'), (['demo', '--weight', '=2'], "'=2'|word"), (['demo', '--weight', 'bear=x'], 'bear=x'), (['demo', '--tau-word', 'bear=9'], 'number from 0 to 1'),
    (['demo', '--preset', 'x'], 'no preset'), (['demo', '--method', 'x'], 'no method'), (['demo', '--device', 'tpu'], "no device 'tpu'"), (['demo', '--keep', ''], 'without a name'),
    (['demo', '--unknown', '3'], 'unrecognized'), (['demo', 'x'], 'unrecognized'), (['mask', 'gone.mp4', '--out', 'out', '--point', '1,2'], 'no clip at'),
    (['mask', 'gone.mp4', '--out', 'out'], 'no clip at|point'), (['mask', 'a.mp4', '--out', 'out', '--box', '1,2,3'], 'no box'), (['mask', 'a.mp4', '--out', 'out', '--point', '1'], 'no click'),
    (['mask', 'a.mp4', '--out', 'out', '--point', '1,2,3'], 'no click'), (['methods', 'x'], 'unrecognized'), (['presets', '--frames', '3'], 'unrecognized'),
    (['evaluate-model', '--clips', 'gone.mp4'], 'no clip at'), (['evaluate-model', '--weights', 'gone'], 'gone'),
    (['evaluate-edits', '--edits', '0'], "'0'"), (['evaluate-edits', '--rows', '/'], 'folder'),
    (['evaluate-edits', '--weights', 'gone'], 'gone'), (['benchmark', '--out', 'out', '--configs', 'x'], 'no setting'),
    (['benchmark', '--out', 'out', '--configs', 'mask=x'], 'mask'), (['benchmark', '--out', 'out', '--configs', 'tau_c=nan'], 'tau_c'), (['benchmark', '--out', 'out', '--pairs', '-1'], "'-1'"),
    (['benchmark', '--out', 'out', '--workers', '0'], "'0'"), (['benchmark', '--out', 'out', '--workers', '1000000'], 'number of processes'), (['benchmark', '--out', 'out', '--weights', ''], 'without a name'),
    (['evaluate-edits', '--edits', '100000000'], '1 to 100000'), (['evaluate-model', '--prompts', '1' + '0' * 50], 'prompts'), (['benchmark', '--out', 'out', '--weights', 'gone'], 'gone'), (['benchmark', '--out', 'out', '--device', 'x'], 'no device'),
    (['demo', '--out', 'a\udcff'], 'UTF-8'), (['demo', '--debug', '--json', '--device', '\udcff'], 'UTF-8'))}


def type_in(place, words):
    "In the row's folder, so that what is named goes there."
    before = os.getcwd()
    os.chdir(place.folder)
    try: return place.type(*words)
    finally: os.chdir(before)


def clicked(place, **changes):
    words = dict(point='12,14', out=place.out) | changes
    return place.type('mask', words.pop('video', place.clip), **words)


MASKING = {
    'nothing to follow': (options(point=None), 'points, a box or a mask'), 'a click outside': (options(point='48,3'), 'outside'), 'a click before the start': (options(point='-1,3'), '--point'),
    'a box that covers nothing': (options(point=None, box='9,9,9,9'), 'covers no pixel'), 'a box upside down': (options(point=None, box='30,20,10,5'), 'covers no pixel'),
    'a frame that is not there': (options(frame=6), 'Frame 6'), 'a frame before the start': (options(frame=-1), 'Frame -1'), 'an output that is the clip': (lambda p: dict(out=p.clip), 'read|is a file'),
    'a SAM 2 that is not there': (options(sam='no/such'), 'neither a folder nor'), 'a SAM 2 of another kind': (lambda p: dict(sam=p.ready / 'pipe'), 'no SAM 2'),
    'a clip with NaN for a rate': (options(fps='nan'), 'nan')}


def full(place):
    "A place whose writing fails, as on a full disk."
    def no_space(*args, **kwargs): raise OSError(28, 'No space left on device')
    place.monkeypatch.setattr(shutil.os, 'replace', no_space)
    return {}


def failing(error, where='videodirector.methods.videodirector.edit'):
    "The edit ends with an exception that nobody thought of."
    def make(place):
        def fails(*args, **kwargs): raise error
        place.monkeypatch.setattr(where, fails)
        return {}
    return make


UNTHOUGHT = {type(error).__name__ + f' {str(error)!r:.30}': (failing(error), pattern) for error, pattern in (
    (KeyError('x'), 'KeyError.*x'), (IndexError('list index out of range'), 'IndexError'), (AttributeError('no x'), 'AttributeError'), (TypeError('bad operand'), 'bad operand'),
    (AssertionError(), 'AssertionError'), (MemoryError(), 'memory'), (RecursionError('maximum recursion depth exceeded'), 'RecursionError'), (ZeroDivisionError('division by zero'), 'ZeroDivisionError'),
    (RuntimeError('CUDA error: out of memory\nCompile with TORCH_USE_CUDA_DSA\n'), 'out of memory'), (OSError(28, 'No space left on device', 'x.mp4'), r'x\.mp4.*No space left'),
    (PermissionError(13, 'Permission denied', 'x.mp4'), r'x\.mp4.*Permission denied'), (OSError(36, 'File name too long', 'x' * 300), 'File name too long'), (UnicodeDecodeError('utf-8', b'\xff', 0, 1, 'invalid'), 'utf-8'),
    (ImportError('No module named x'), 'No module named x'), (NotImplementedError(), 'NotImplementedError'), (StopIteration(), 'StopIteration'), (Exception('odd'), 'odd'), (EOFError(), 'EOFError'),
    (torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has'), 'memory'), (FloatingPointError('The latent is not finite.'), 'not finite'))}

def rows_in(place, content):
    place.monkeypatch.setattr('videodirector.app.measure.load_parts', lambda *a: pytest.fail('the model was loaded'))
    return place.type('evaluate-edits', rows=place.file('rows', content))


def benchmark_in(place, content):
    (place.folder / 'bench/000').mkdir(parents=True)
    (place.folder / 'bench/000/full.json').write_bytes(content)
    place.monkeypatch.setattr('videodirector.bench.suite.load_parts', lambda *a: pytest.fail('the model was loaded'))
    return place.type('benchmark', '--quiet', out=place.folder / 'bench', pairs=1, configs='full', device='cpu')


TORN = {'half a line': b'[{}, {"kind": "sub', 'a clip': b'\x00\xff\xfe', 'a number': b'3', 'a list': b'[1]', 'deep brackets': b'[' * 99999}
OVERWRITTEN = {'a file of somebody else, which its report names': 'notes.txt', 'a folder, which its report names': 'sub'}


def overwritten(place, name):
    "Whatever another program's report says: what is not a result stays."
    out = place.folder / 'results'
    (out / 'sub').mkdir(parents=True), (out / 'notes.txt').touch(), (out / 'mask.gif').touch()
    (out / 'metrics.json').write_text(json.dumps(dict(files=dict(it=name))))
    succeeded(place.edit('--overwrite', **stored(place), out=out))
    return {file.name for file in out.iterdir()}


ROWS = [
    *rows('edit', lambda p, changes: p.edit(**changes), BAD | GOOD | {'on a full disk': (full, 'No space left')}, Typed),
    *rows('a command line', type_in, ARGUMENTS, Typed),
    *rows('mask', lambda p, changes: clicked(p, **changes), MASKING, Typed),
    *rows('an exception', lambda p, changes: p.edit(**stored(p, **changes)), UNTHOUGHT, Typed),
    *rows('rows of an earlier evaluation:', rows_in, {name: (lambda p, c=content: c, 'rows.*(no row|no rows)') for name, content in TORN.items()}, Typed),
    *rows('a row of an earlier benchmark:', benchmark_in, {name: (lambda p, c=content: c, r'full\.json') for name, content in TORN.items()}, Typed),
    *rows('results are replaced beside', overwritten, {name: (lambda p, f=file: f, judged(lambda names: {'sub', 'notes.txt', 'edited.mp4'} <= names and 'mask.gif' not in names))
                                                       for name, file in OVERWRITTEN.items()})]
