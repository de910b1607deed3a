"Masks on disk and in memory: every way in which people store them, and what cannot be one."
import io
import struct
import zipfile

import numpy as np
import torch
from clips import moving_mask
from PIL import Image
from rows_files import deep_png, fifo, turned  # noqa: F401
from table import FRAMES, HEIGHT, WIDTH, rows, same

from videodirector.data.mask import Mask, as_mask, check_mask, iou, read_mask, save_mask
from videodirector.data.video import write_video

THING = moving_mask(FRAMES, HEIGHT, WIDTH).numpy()
RIGHT, SOFT = same(THING), np.linspace(0, 1, WIDTH, dtype=np.float32) * np.ones((FRAMES, HEIGHT, 1), np.float32)
DAVIS = [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0]  # the first colours of its palette


def pictures(place, images):
    "A folder of PIL's pictures."
    (place.folder / 'mask').mkdir()
    for i, image in enumerate(images): image.save(place.folder / f'mask/{i}.png')
    return place.folder / 'mask'


def labelled(place, label=1, palette=DAVIS, more=False):
    "Pictures whose pixels are numbers into a palette."
    images = []
    for frame in THING:
        labels = frame.astype(np.uint8) * label
        if more: labels[:4, :4] = label + 1
        image = Image.fromarray(labels, 'P')
        image.putpalette(palette)
        images.append(image)
    return pictures(place, images)


def greys(place, values, kind=np.uint8): return pictures(place, [Image.fromarray(frame.astype(kind)) for frame in values])


def with_alpha(place, colour, alpha=THING, mode='RGBA'):
    "Pictures with a mask in their transparency."
    made = []
    for frame in alpha:
        image = Image.fromarray(np.broadcast_to(np.uint8(colour), (HEIGHT, WIDTH, 3))).convert(mode)
        image.putalpha(Image.fromarray(frame.astype(np.uint8) * 255))
        made.append(image)
    return pictures(place, made)


def coloured(place, back, front, noise=0):
    values = np.where(THING[..., None], np.uint8(front), np.uint8(back))
    if noise: values[:, :8, :8] = (0, 90, 200)
    return pictures(place, map(Image.fromarray, values))


PICTURES = {
    'black and white': (lambda p: greys(p, THING * 255), RIGHT),
    'one bit': (lambda p: pictures(p, map(Image.fromarray, THING)), RIGHT),
    'soft edges': (lambda p: greys(p, np.round(SOFT * 255)), same(SOFT, .003)),
    'label 1': (lambda p: greys(p, THING), RIGHT),
    'label 2': (lambda p: greys(p, THING * 2), RIGHT),
    'two labels': (lambda p: greys(p, np.where(np.indices(THING.shape)[1] < 4, 2, THING)), 'labels 0, 1, 2'),
    'label 1 of a palette, as DAVIS stores it': (labelled, RIGHT),
    'label 3 of a palette': (lambda p: labelled(p, 3), RIGHT),
    'two labels of a palette': (lambda p: labelled(p, 1, more=True), 'labels 0, 1, 2'),
    'label 200 of a palette': (lambda p: labelled(p, 200, DAVIS + [9, 80, 160] * 252), RIGHT),
    'label 1 and a border of 255, as VOC stores them': (lambda p: greys(p, np.where(np.indices(THING.shape)[1] < 2, 255, THING)), 'labels 0, 1, 255'),
    'a grey palette': (lambda p: labelled(p, 255, [x for i in range(256) for x in (i, i, i)]), RIGHT),
    'a grey palette from white to black': (lambda p: labelled(p, 255, [x for i in range(255, -1, -1) for x in (i, i, i)]), same(~THING)),
    '16 bits': (lambda p: greys(p, THING * 65535, np.uint16), RIGHT),
    '16 bits, soft': (lambda p: greys(p, np.round(SOFT * 65535), np.uint16), same(SOFT, .005)),
    '16 bits up to 255': (lambda p: greys(p, THING * 255, np.uint16), RIGHT),
    '16 bits with label 1': (lambda p: greys(p, THING, np.uint16), RIGHT),
    'white with the mask in its transparency': (lambda p: with_alpha(p, (255, 255, 255)), RIGHT),
    'black with the mask in its transparency': (lambda p: with_alpha(p, (0, 0, 0)), RIGHT),
    'grey with the mask in its transparency': (lambda p: with_alpha(p, (255, 255, 255), mode='LA'), RIGHT),
    'a colour with the mask in its transparency': (lambda p: with_alpha(p, (200, 30, 90)), RIGHT),
    'black and white, opaque': (lambda p: pictures(p, [Image.fromarray(f.astype(np.uint8) * 255).convert('RGBA') for f in THING]), RIGHT),
    'red on black': (lambda p: coloured(p, (0, 0, 0), (255, 0, 0)), RIGHT),
    'dark red on black': (lambda p: coloured(p, (0, 0, 0), (128, 0, 0)), RIGHT),
    'white on green': (lambda p: coloured(p, (0, 255, 0), (255, 255, 255)), 'colour'),
    'three colours': (lambda p: coloured(p, (0, 0, 0), (255, 0, 0), noise=1), 'colour'),
    'dim grey': (lambda p: greys(p, THING * 90), 'empty.*0.35'),
    'black': (lambda p: greys(p, THING * 0), 'is empty'),
    'one frame cut off': (lambda p: cut_frame(greys(p, THING * 255)), r'3\.png.* cannot be read'),
    'a frame missing': (lambda p: ((greys(p, THING * 255) / '3.png').unlink(), p.folder / 'mask')[1], 'lacks frame 3'),
    'a FIFO': (lambda p: fifo(p, 'mask.png'), 'neither a file nor a folder'),
    'a FIFO for an array': (lambda p: fifo(p, 'mask.npz'), 'neither a file nor a folder|no file'),
    'a video': (lambda p: video(p), lambda found: RIGHT(found.hard)),
}


def cut_frame(folder):
    (folder / '3.png').write_bytes((folder / '3.png').read_bytes()[:60])
    return folder


def video(place):
    write_video(place.folder / 'mask.mp4', torch.from_numpy(THING)[:, None].expand(-1, 3, -1, -1) * 2. - 1)
    return place.folder / 'mask.mp4'


def stored(place, values):
    np.save(place.folder / 'mask.npy', values)
    return place.folder / 'mask.npy'


def packed(place, name='mask.npz', **arrays):
    np.savez_compressed(place.folder / name, **arrays)
    return place.folder / name


def header(shape, dtype="'<f4'"):
    text = f"{{'descr': {dtype}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b' ' * (-(10 + len(text) + 1) % 64) + b'\n'
    return b'\x93NUMPY\x01\x00' + struct.pack('<H', len(text)) + text


def zipped(place, content):
    with zipfile.ZipFile(place.folder / 'mask.npz', 'w', zipfile.ZIP_DEFLATED) as file: file.writestr('mask.npy', content)
    return place.folder / 'mask.npz'


def cut_array(place, make, share):
    path = make(place)
    path.write_bytes(path.read_bytes()[:int(path.stat().st_size * share)])
    return path


def npy_of(values):
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


def nan_in(kind):
    values = THING.astype(kind)
    values[2, 5, 6] = np.nan
    return values


ARRAYS = {f'{np.dtype(kind)} with {top}': (lambda p, k=kind, t=top: stored(p, THING.astype(k) * np.array(t, k)), RIGHT) for kind, tops in {
    np.uint8: (1, 2, 255), np.int8: (1, 127), np.uint16: (1, 2, 255, 65535), np.int16: (1, 255), np.int32: (1, 255, 65535), np.int64: (1, 2, 255),
    np.uint64: (1, 255), np.float16: (1, 255), np.float32: (1, 255), np.float64: (1, 255), '>u2': (255, 65535), '>f4': (1, 255)}.items() for top in tops}
ARRAYS |= {
    'booleans': (lambda p: stored(p, THING), RIGHT), 'in Fortran order': (lambda p: stored(p, np.asfortranarray(THING)), RIGHT),
    'soft shares': (lambda p: stored(p, SOFT), same(SOFT)), 'soft bytes': (lambda p: stored(p, np.round(SOFT * 255).astype(np.uint8)), same(SOFT, .003)),
    'soft shares of 255': (lambda p: stored(p, SOFT.astype(np.float64) * 255), same(SOFT, .003)),
    'soft 16 bits': (lambda p: stored(p, np.round(SOFT * 65535).astype(np.uint16)), same(SOFT, .003)),
    'logits': (lambda p: stored(p, SOFT * 20 - 10), 'from -10 to 10'), 'minus one for the background': (lambda p: stored(p, THING * 2. - 1), 'from -1 to 1'),
    'up to 1000': (lambda p: stored(p, SOFT * 1000), 'from 0 to 1'), 'large whole numbers': (lambda p: stored(p, THING * 10**9), 'from 0 to 1e'),
    'NaN': (lambda p: stored(p, nan_in(np.float32)), 'must be finite'), 'NaN in halves': (lambda p: stored(p, nan_in(np.float16)), 'must be finite'),
    'infinity': (lambda p: stored(p, np.where(THING, np.inf, 0)), 'inf|not finite'),
    'shares a rounding above 1': (lambda p: stored(p, SOFT * np.float32(1.000001)), same(SOFT, 1e-5)),
    'shares a rounding below 0': (lambda p: stored(p, SOFT - np.float32(1e-7)), same(SOFT, 1e-5)),
    'more than a rounding above 1': (lambda p: stored(p, SOFT * 1.1), 'reach from 0 to 1.1'),
    'a zip that unfolds to gigabytes': (lambda p: bomb(p), r'mask\.npz.* unfolds to 2\.5 GB'),
    'labels 0, 1 and 2': (lambda p: stored(p, np.where(np.indices(THING.shape)[1] < 4, 2, THING)), 'labels 0, 1, 2'),
    'nothing in it': (lambda p: stored(p, THING & False), 'is empty'), 'words': (lambda p: stored(p, np.full(THING.shape, 'x')), 'numbers'),
    'complex numbers': (lambda p: stored(p, THING * 1j), 'numbers'), 'dates': (lambda p: stored(p, THING.astype('M8[s]')), 'numbers'),
    'records': (lambda p: stored(p, np.zeros(3, [('a', 'f4')])), 'numbers'),
    'one frame': (lambda p: stored(p, THING[0]), r'\[32, 48\]'), 'a colour axis': (lambda p: stored(p, np.repeat(THING[..., None], 3, -1)), r'\[6, 32, 48, 3\]'),
    'no frames': (lambda p: stored(p, THING[:0]), r'\[0, 32, 48\]'), 'a number': (lambda p: stored(p, np.float32(1)), r'\[\]'),
    'objects': (lambda p: p.file('mask.npy', pickled()), 'holds no array'),
    'a claim of 58 TB': (lambda p: p.file('mask.npy', header('(4000000, 2000, 2000)')), 'holds no array|claims'),
    'a claim of 58 TB in a zip': (lambda p: zipped(p, header('(4000000, 2000, 2000)')), 'holds no array|claims'),
    'a claim beyond all numbers': (lambda p: p.file('mask.npy', header('(9000000000000000000, 9, 9)')), 'holds no array|claims'),
    'a claim below nothing': (lambda p: p.file('mask.npy', header('(-1, 32, 48)')), 'holds no array|claims'),
    'a header that is code': (lambda p: p.file('mask.npy', header('__import__("os").getcwd()')), 'holds no array'),
    'a version that there is not': (lambda p: p.file('mask.npy', b'\x93NUMPY\x09\x00' + bytes(90)), 'holds no array'),
    'several arrays': (lambda p: packed(p, fox=THING, bear=~THING), 'bear.*fox|fox.*bear'),
    'one array of any name': (lambda p: packed(p, fox=THING), RIGHT),
    'no array at all': (lambda p: packed(p), 'holds no array'),
    'an array by another ending': (lambda p: stored(p, THING).rename(p.folder / 'mask.NPY'), RIGHT),
    'nothing for a file': (lambda p: p.file('mask.npz'), 'holds no array'), 'text for a file': (lambda p: p.file('mask.npy', b'hello'), 'holds no array'),
    'an empty zip': (lambda p: p.file('mask.npz', b'PK\x05\x06' + bytes(18)), 'holds no array'),
    'text in a zip': (lambda p: zipped(p, b'hello'), 'holds no array'),
    'an npz by the name of an npy': (lambda p: packed(p, fox=THING).rename(p.folder / 'mask.npy'), RIGHT),
    'an npy by the name of an npz': (lambda p: stored(p, THING).rename(p.folder / 'mask.npz'), RIGHT),
}
ARRAYS |= {f'an {kind} cut off at {share:.0%}': (lambda p, m=make, s=share: cut_array(p, m, s), 'holds no array')
           for kind, make in (('npy', lambda p: stored(p, SOFT)), ('npz', lambda p: packed(p, mask=SOFT))) for share in (.9, .5, .02)}


def bomb(place):
    "An npz whose directory says that its array has 2.5 gigabytes."
    packed(place, fox=THING)
    data = (place.folder / 'mask.npz').read_bytes()
    at = data.rindex(b'PK\x01\x02') + 24
    return place.file('mask.npz', data[:at] + struct.pack('<I', 2_500_000_000) + data[at + 4:])


def pickled():
    file = io.BytesIO()
    np.save(file, np.array([{}], dtype=object), allow_pickle=True)
    return file.getvalue()


def enlarged(place): return stored(place, THING.repeat(2, 1).repeat(2, 2).astype(np.int32) * 255)


FITTING = {
    'twice as large as its clip': (enlarged, lambda found: RIGHT(found.hard)), 'of another length': (lambda p: stored(p, THING[:5]), 'has 5 frames, its clip 6'),
    'of another shape': (lambda p: stored(p, THING[:, :24]), 'is 24×48 and its clip 32×48'),
    'int32 that must shrink': (lambda p: stored(p, THING.repeat(2, 1).repeat(2, 2).astype(np.int32)), lambda found: RIGHT(found.hard))}


IN_MEMORY = {
    'shares without a Mask': (lambda p: torch.rand(6, 32, 48), 'booleans'), 'bytes without a Mask': (lambda p: THING.astype(np.uint8), 'booleans'),
    'a frame without its axis': (lambda p: THING[0], 'booleans'), 'another length': (lambda p: THING[:3], 'has 3 frames and the clip 6'),
    'another size': (lambda p: THING[..., :8], 'is 32×8 and the clip 32×48'), 'nothing covered': (lambda p: THING & False, 'is empty'),
    'a path': (lambda p: 'mask.npz', (TypeError, 'mask.* str')), 'a number': (lambda p: 1, (TypeError, 'mask.* int')),
    'a list': (lambda p: THING.tolist(), (TypeError, 'mask.* list')), 'a Mask': (lambda p: Mask(torch.from_numpy(THING)), RIGHT)}
VALUES = {
    'NaN': (lambda p: torch.full((1, 4, 4), float('nan')), 'nan|NaN'), 'two': (lambda p: torch.full((1, 4, 4), 2.), '0…1'),
    'numpy': (lambda p: THING, (TypeError, 'ndarray')), 'a list': (lambda p: [[[0]]], (TypeError, 'list')), 'None': (lambda p: None, (TypeError, 'None')),
    'complex numbers': (lambda p: torch.zeros(1, 4, 4, dtype=torch.complex64), 'complex'), 'no frames': (lambda p: torch.zeros(0, 4, 4), r'\[0, 4, 4\]')}

ROWS = [
    *rows('a mask of pictures:', lambda p, path: read_mask(path, None), PICTURES),
    *rows('a mask as an array:', lambda p, path: read_mask(path, None), ARRAYS),
    *rows('a mask', lambda p, path: read_mask(path, None, (HEIGHT, WIDTH), p.clip), FITTING),
    *rows('a mask in memory:', lambda p, mask: check_mask(mask, (FRAMES, 3, HEIGHT, WIDTH)), IN_MEMORY),
    *rows('values of a mask:', lambda p, values: Mask(values), VALUES),
    *rows('a mask stored as', lambda p, name: save_mask(Mask(torch.from_numpy(THING)), p.folder / name), {
        'a picture': (lambda p: 'mask.png', 'neither an .npz file nor a folder'), 'a folder that is a file': (lambda p: p.file('x'), 'cannot be written')}),
    *rows('two masks', lambda p, pair: iou(*pair), {
        'of two sizes': (lambda p: (as_mask(THING), as_mask(THING[:, :8])), 'cannot be joined'),
        'that are no masks': (lambda p: (THING, THING), (TypeError, 'ndarray'))})]
