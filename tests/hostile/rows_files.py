"Clips on disk: turned, deep, cut off, of no kind that is known, in places where no file can be."
import os
import struct
import wave
import zlib
from functools import partial

import av
import numpy as np
from clips import moving_clip, write_frames
from PIL import Image
from table import FRAMES, HEIGHT, WIDTH, judged, rows, same, skip_unless

from videodirector.data.frames import clip_info
from videodirector.data.video import read_video, to_bytes, write_video
from videodirector.metrics.pixels import psnr

read = partial(read_video, frames=None)


def film(frames=FRAMES): return np.stack([picture(i) for i in range(frames)])


def picture(i=0):
    "A picture [H, W, 3] that looks different from every side."
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([x * 255 // WIDTH, y * 255 // HEIGHT, np.full_like(x, 30 * i)], -1).astype(np.uint8)


def as_clip(pixels): return np.moveaxis(np.asarray(pixels, np.float32) / 127.5 - 1, -1, -3)


def near(pixels, least=30.): return judged(lambda found: found.shape == as_clip(pixels).shape and psnr(found, found.new_tensor(as_clip(pixels))) > least)


# turned

def turned(place, a, b, c, d):
    "The clip with another display matrix, as a phone writes one."
    data = bytearray(encoded(place, 'mp4', 'libx264'))
    start = data.find(b'tkhd') + 44
    data[start:start + 36] = struct.pack('>9i', a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    return place.file('turned.mp4', bytes(data))


def encoded(place, kind, codec, pixels='yuv420p', frames=FRAMES, begins=0, **options):
    path = place.folder / f'clip.{kind}'
    with av.open(str(path), 'w', options=options) as container:
        stream = container.add_stream(codec, rate=8)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pixels
        if codec == 'libx264': stream.options = {'crf': '5'}
        for i, pixels in enumerate(film(frames)):
            frame = av.VideoFrame.from_ndarray(pixels, format='rgb24')
            if begins: frame.pts = begins * 8 + i
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path.read_bytes()


def with_exif(place, orientation, suffix='jpg'):
    "A folder with one picture, to be turned as EXIF says."
    folder, exif = place.folder / 'photos', Image.Exif()
    exif[0x0112] = orientation
    folder.mkdir()
    more = dict(quality=98, subsampling=0) if suffix == 'jpg' else dict(lossless=True) if suffix == 'webp' else {}
    Image.fromarray(picture()).save(folder / f'0.{suffix}', exif=exif, **more)
    return folder


UPRIGHT = {2: lambda p: p[:, ::-1], 3: lambda p: p[::-1, ::-1], 4: lambda p: p[::-1], 5: lambda p: p.swapaxes(0, 1),
           6: lambda p: np.rot90(p, -1), 7: lambda p: np.rot90(p, 2).swapaxes(0, 1), 8: lambda p: np.rot90(p)}
MATRICES = {2: (-1, 0, 0, 1), 3: (-1, 0, 0, -1), 4: (1, 0, 0, -1), 5: (0, 1, 1, 0), 6: (0, 1, -1, 0), 7: (0, -1, -1, 0), 8: (0, -1, 1, 0)}

TURNED = {f'mp4 turned as EXIF {n}': (lambda p, n=n: turned(p, *MATRICES[n]), near([turn(x) for x in film()])) for n, turn in UPRIGHT.items()}
TURNED |= {f'jpg turned as EXIF {n}': (lambda p, n=n: with_exif(p, n), near([turn(picture())])) for n, turn in UPRIGHT.items()}
TURNED |= {f'{kind} turned by EXIF': (lambda p, kind=kind: with_exif(p, 6, kind), near([np.rot90(picture(), -1)])) for kind in ('png', 'webp')}
TURNED['jpg with an orientation that there is not'] = lambda p: with_exif(p, 77), near([picture()])


# deep, and other kinds of pictures

MOVING = to_bytes(moving_clip(FRAMES, HEIGHT, WIDTH))


def folder_of(place, image, name='0.png', **options):
    (place.folder / 'frames').mkdir()
    image.save(place.folder / 'frames' / name, **options)
    return place.folder / 'frames'


def deep_png(place, channels=1):
    "A PNG of 16 bits, written by hand for more than one channel."
    values = np.repeat(ramp()[..., None], channels, -1).astype('>u2') * 257
    def chunk(kind, data): return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))
    head = struct.pack('>IIBBBBB', WIDTH, HEIGHT, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    lines = b''.join(b'\0' + row.tobytes() for row in values)
    data = b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', head) + chunk(b'IDAT', zlib.compress(lines)) + chunk(b'IEND', b'')
    (place.folder / 'frames').mkdir()
    (place.folder / 'frames/0.png').write_bytes(data)
    return place.folder / 'frames'


def ramp(): return np.broadcast_to(np.arange(WIDTH, dtype=np.uint8) * 5, (HEIGHT, WIDTH))


def grey(): return np.repeat(ramp()[None, ..., None], 3, -1)


KINDS = {f'png of 16 bits and {n} channels': (lambda p, n=n: deep_png(p, n), same(as_clip(grey()), .01)) for n in (1, 2, 3, 4)}
KINDS |= {
    'png of 16 bits by itself': (lambda p: deep_png(p) / '0.png', same(as_clip(grey()), .01)),
    'png of 1 bit': (lambda p: folder_of(p, Image.fromarray(ramp() > 120)), same(as_clip((grey() > 120) * 255))),
    'png of grey': (lambda p: folder_of(p, Image.fromarray(ramp())), same(as_clip(grey()))),
    'png with a palette': (lambda p: folder_of(p, Image.fromarray(picture()).quantize(256)), near([picture()], 25)),
    'jpg in CMYK': (lambda p: folder_of(p, Image.fromarray(picture()).convert('CMYK'), '0.jpg', quality=98), near([picture()], 25)),
    'mp4 of 10 bits': (lambda p: p.file('a.mp4', encoded(p, 'mp4', 'libx264', 'yuv420p10le')), near(film())),
    'mp4 of full range': (lambda p: p.file('a.mp4', encoded(p, 'mp4', 'libx264', 'yuvj420p')), near(film())),
    'webm': (lambda p: p.file('a.webm', encoded(p, 'webm', 'libvpx')), near(film(), 25)),
    'mkv with an ending that is not its own': (lambda p: p.file('a.mp4', encoded(p, 'mkv', 'libx264')), near(film())),
    'name with spaces, quotes and letters of the world': (lambda p: p.file("ein 'schöner' \"Fuchs\" 狐.mp4", p.clip.read_bytes()), near(MOVING, 25)),
    'name with a percent sign and a colon': (lambda p: p.file('a%03d:b.mp4', p.clip.read_bytes()), near(MOVING, 25)),
    'a link to a clip': (lambda p: link(p, p.clip), near(MOVING, 25)),
    'mkv that begins at ten seconds': (lambda p: p.file('a.mkv', encoded(p, 'mkv', 'libx264', begins=10)), near(film())),
    'avi of JPEGs': (lambda p: p.file('a.avi', encoded(p, 'avi', 'mjpeg', 'yuvj420p')), near(film(), 25)),
    'tif of 16 bits': (lambda p: folder_of(p, Image.fromarray(ramp() * np.uint16(257)), '0.tif') / '0.tif', same(as_clip(grey()), .01)),
    'tif turned by EXIF': (lambda p: with_exif(p, 6, 'tif') / '0.tif', near([np.rot90(picture(), -1)])),
}


def link(place, target):
    (place.folder / 'link.mp4').symlink_to(target)
    return place.folder / 'link.mp4'


# cut off

def cut(place, name, share, make):
    data = make()
    return place.file(name, data[:int(len(data) * share)])


def photos_cut(place, kind, share):
    folder = write_frames(place.folder / 'frames', film(3))
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).resize((WIDTH, HEIGHT)).save(folder / f'1.{kind}')
    if kind != 'png': (folder / '1.png').unlink()
    data = (folder / f'1.{kind}').read_bytes()
    (folder / f'1.{kind}').write_bytes(data[:int(len(data) * share)])
    return folder


CUT = {f'{kind} cut off at {share:.0%}': (lambda p, s=share, k=kind, c=codec, o=options: cut(p, f'cut.{k}', s, lambda: encoded(p, k, c, frames=40, **o)), r'cut\.')
       for kind, codec, options in (('mp4', 'libx264', {}), ('mov', 'libx264', dict(movflags='faststart')), ('mkv', 'libx264', {}),
                                    ('avi', 'mpeg4', {}), ('webm', 'libvpx', {})) for share in (.9, .5, .1)}
CUT |= {f'gif cut off at {share:.0%}': (lambda p, s=share: cut(p, 'cut.gif', s, lambda: encoded(p, 'gif', 'gif', 'rgb8')), r'cut\.gif') for share in (.9, .5, .02)}
CUT |= {f'a {kind} among frames, cut off at {share:.0%}': (lambda p, k=kind, s=share: photos_cut(p, k, s), rf'1\.{kind}.* cannot be read')
        for kind in ('png', 'jpg', 'webp', 'bmp') for share in (.9, .5, .02)}


# foreign

def sound(place):
    with wave.open(str(place.folder / 'a.mp4'), 'wb') as file:
        file.setparams((1, 2, 8000, 0, 'NONE', ''))
        file.writeframes(bytes(16000))
    return place.folder / 'a.mp4'


FOREIGN = {f'{name} by the name of a clip': (lambda p, c=content: p.file('odd.mp4', c), r'odd\.mp4.* is not a clip') for name, content in {
    'nothing': b'', 'text': b'hello ' * 50, 'zeros': bytes(9999), 'noise': np.random.default_rng(0).bytes(9999), 'json': b'{"a": [1, 2]}',
    'html': b'<html><body><video src="x.mp4"></body></html>', 'a pdf': b'%PDF-1.4\n1 0 obj <<>> endobj\ntrailer <<>>\n%%EOF',
    'a zip': b'PK\x03\x04' + bytes(60), 'a pickle': b'\x80\x04K\x01.', 'svg': b'<svg xmlns="http://www.w3.org/2000/svg"/>',
    'a playlist': b'#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:9,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n',
    'a list of other files': b"ffconcat version 1.0\nfile '/etc/hostname'\n", 'python': b'print(1)\n'}.items()}
FOREIGN |= {
    'sound alone': (sound, r'a\.mp4.* is not a clip'),
    'text among frames': (lambda p: photos_cut(p, 'png', 0), r'1\.png.* cannot be read'),
    'a folder by the name of a picture': (lambda p: ((write_frames(p.folder / 'f', film(2)) / '2.png').mkdir(), p.folder / 'f')[1], r'2\.png.* (is a folder|no file)'),
    'a folder without pictures': (lambda p: p.folder, 'holds no frames'),
    'a folder of hidden pictures': (lambda p: folder_of(p, Image.fromarray(picture()), '._0.png'), 'holds no frames'),
    'pictures of two sizes': (lambda p: (Image.new('RGB', (9, 9)).save(write_frames(p.folder / 'f', film(2)) / '2.png'), p.folder / 'f')[1], 'of one size'),
}


# places

def fifo(place, name='pipe.mp4'):
    skip_unless(hasattr(os, 'mkfifo'), 'needs a FIFO')
    (place.folder / name).parent.mkdir(exist_ok=True)
    os.mkfifo(place.folder / name)
    return place.folder / name


def loop(place):
    (place.folder / 'a.mp4').symlink_to(place.folder / 'a.mp4')
    return place.folder / 'a.mp4'


PLACES = {
    'a name that there is not': (lambda p: p.folder / 'gone.mp4', (FileNotFoundError, 'no clip at')),
    'an empty name': (lambda p: '', (FileNotFoundError, 'no clip')),
    'a link to nothing': (lambda p: link(p, p.folder / 'gone'), (FileNotFoundError, 'no clip at')),
    'a link to itself': (loop, ((FileNotFoundError, ValueError), r'a\.mp4')),
    'a name that is too long': (lambda p: p.folder / ('x' * 300 + '.mp4'), (FileNotFoundError, 'no clip at')),
    'a path that is too long': (lambda p: p.folder / ('x/' * 4000) / 'a.mp4', (FileNotFoundError, 'no clip at')),
    'a name with a zero byte': (lambda p: str(p.folder / 'a\0b.mp4'), (FileNotFoundError, 'no clip at')),
    'a place below a file': (lambda p: p.clip / 'a.mp4', (FileNotFoundError, 'no clip at')),
    'a FIFO': (fifo, r'pipe\.mp4.* neither a file nor a folder'),
    'a FIFO among frames': (lambda p: fifo(p, 'f/0.png').parent, r'0\.png'),
    'a device that never ends': (lambda p: '/dev/zero', 'neither a file nor a folder'),
    'a device without content': (lambda p: '/dev/null', 'neither a file nor a folder'),
    'an address on the net': (lambda p: 'http://localhost:9/a.mp4', (FileNotFoundError, 'no clip at')),
}


# too much

def bomb(place, side=30000):
    "A picture of a few hundred kilobytes that claims a gigapixel."
    def chunk(kind, data): return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))
    line = zlib.compress((b'\0' + bytes(side // 8)) * 64)
    data = b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', side, side, 1, 0, 0, 0, 0)) + chunk(b'IDAT', line) + chunk(b'IEND', b'')
    (place.folder / 'f').mkdir()
    (place.folder / 'f/0.png').write_bytes(data)
    return place.folder / 'f'


def wide_gif(place): return place.file('wide.gif', b'GIF89a' + struct.pack('<HH', 65000, 65000) + b'\x80\0\0' + bytes(6) + b',' + struct.pack('<HHHH', 0, 0, 65000, 65000) + b'\0\x02\x02L\x01\0;')


TOO_MUCH = {
    'a picture of 30000×30000': (bomb, r'0\.png.*too large'),
    'a picture of 30000×30000 by itself': (lambda p: bomb(p) / '0.png', r'0\.png'),
    'a picture of 12000×12000': (lambda p: bomb(p, 12000), r'0\.png.*12000×12000'),
    'a gif of 65000×65000': (wide_gif, r'wide\.gif'),
}


# numbers of frames

ASKED = {
    'one frame too many': (7, 'has 6 frames and 7 were asked for'), 'no frame': (0, 'At least 1 frame'), 'minus one frame': (-1, 'At least 1 frame'),
    'half a frame': (2.5, (TypeError, 'frames.* float')), 'frames in words': ('four', (TypeError, 'frames.* str')),
    'true frames': (True, 'True were asked for'), 'not a number of frames': (float('nan'), (TypeError, 'frames.* float')),
    'all frames but one': (5, judged(lambda found: len(found) == 5))}
SIZES = {
    'a size of nothing': ((0, 0), 'size'), 'a size below nothing': ((-8, 8), 'size'), 'half a size': ((8,), 'size'), 'a size of three': ((8, 8, 8), 'size'),
    'one number for a size': (8, (TypeError, 'size.* int')), 'a size in words': ('8x8', (TypeError, 'size.* str')),
    'a size that is not a number': ((8, float('nan')), 'size'), 'a size as a list': ([16, 24], judged(lambda found: found.shape[2:] == (16, 24)))}


# writing

def spoilt(place, value):
    clip = place.film.clone()
    clip[2, 1, 3, 4] = value
    return clip


WRITTEN = {
    'NaN': (lambda p: (p.out / 'a.mp4', spoilt(p, float('nan'))), 'not finite in frame 2'),
    'infinity': (lambda p: (p.out / 'a.mp4', spoilt(p, float('inf'))), 'not finite in frame 2'),
    'odd sides': (lambda p: (p.out / 'a.mp4', p.film[..., 1:]), 'must be even'),
    'no frames': (lambda p: (p.out / 'a.mp4', p.film[:0]), r'\[0, 3, 32, 48\]'),
    'no pixels': (lambda p: (p.out / 'a.mp4', p.film[..., :0]), r'\[6, 3, 32, 0\]'),
    'bytes': (lambda p: (p.out / 'a.mp4', (p.film * 9).byte()), 'float tensor'),
    'one frame without its axis': (lambda p: (p.out / 'a.mp4', p.film[0]), 'float tensor'),
    'a rate of nothing': (lambda p: (p.out / 'a.mp4', p.film, 0), 'fps'),
    'a rate below nothing': (lambda p: (p.out / 'a.mp4', p.film, -8), 'fps'),
    'a rate that is not a number': (lambda p: (p.out / 'a.mp4', p.film, float('nan')), 'fps'),
    'an endless rate': (lambda p: (p.out / 'a.mp4', p.film, float('inf')), 'fps'),
    'a quality that there is not': (lambda p: (p.out / 'a.mp4', p.film, 8, 99), 'crf'),
    'a rate in words': (lambda p: (p.out / 'a.mp4', p.film, 'fast'), (TypeError, 'fps.* str')),
    'a quality in words': (lambda p: (p.out / 'a.mp4', p.film, 8, 'best'), (TypeError, 'crf.* str')),
    'a folder for a file': (lambda p: (p.folder, p.film), 'is a folder'),
    'a place below a file': (lambda p: (p.clip / 'a.mp4', p.film), 'cannot be written'),
    'a pipe': (lambda p: (fifo(p), p.film), 'is no file but a device or a pipe'),
    'a name that is too long': (lambda p: (p.folder / ('x' * 300 + '.mp4'), p.film), 'cannot be written .*too long'),
    'a link to nothing': (lambda p: (link(p, p.folder / 'gone'), p.film), 'link to nothing'),
    'an empty name': (lambda p: ('', p.film), 'name'),
}

ROWS = [
    *rows('a clip', lambda p, path: read(path), TURNED | KINDS | CUT | FOREIGN | PLACES | TOO_MUCH),
    *rows('a clip asked for with', lambda p, n: read_video(p.clip, n), {k: (lambda p, n=n: n, e) for k, (n, e) in ASKED.items()}),
    *rows('a clip asked for with', lambda p, n: read_video(p.clip, 4, n), {k: (lambda p, n=n: n, e) for k, (n, e) in SIZES.items()}),
    *rows('the size of a clip', lambda p, path: tuple(clip_info(path)), {
        'turned': (lambda p: turned(p, 0, 1, -1, 0), judged(lambda found: found == (FRAMES, WIDTH, HEIGHT))),
        'a photo turned': (lambda p: with_exif(p, 6), judged(lambda found: found == (1, WIDTH, HEIGHT)))}),
    *rows('writing a clip', lambda p, given: write_video(*given), WRITTEN)]
