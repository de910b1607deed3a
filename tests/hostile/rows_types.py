"What Python lets somebody pass: every public function with values of another type, by argument."
from pathlib import Path

import numpy as np
import torch
from table import rows

import videodirector as vd
from videodirector.attention.words import find_words
from videodirector.data.flow import optical_flow
from videodirector.data.mask import save_mask
from videodirector.data.regions import grow
from videodirector.metrics.motion import motion_error, motion_smoothness
from videodirector.metrics.pixels import psnr, ssim
from videodirector.metrics.text import TextVideoScore
from videodirector.segment.follow import segment
from videodirector.show.clips import show_frames, show_videos, write_gif
from videodirector.show.masks import overlay
from videodirector.world.pairs import demo_scenes

OTHERS = {'a path': (Path('x.mp4'), 'PosixPath|WindowsPath'), 'text': ('x.mp4', 'str'), 'None': (None, 'None'), 'a number': (3, 'int'), 'a list': ([1, 2], 'list'),
          'numpy': (np.zeros((4, 3, 32, 48), np.float32), 'ndarray')}
NUMBERS = {name: OTHERS[name] for name in ('text', 'None', 'a list')}


def wrong(argument, call, others=('a path', 'text', 'None', 'a number', 'a list', 'numpy'), name=None):
    "Rows of one argument: the sentence names it, and the type that was given."
    cases = {f'{name or argument} is {other}': (lambda p, x=OTHERS[other][0]: x, (TypeError, f'(?i){argument}.* ({OTHERS[other][1]})')) for other in others}
    return rows('from Python:', call, cases)


def made(p): return vd.Inversion.load(p.inversion)


NO_TEXT = ('None', 'a number', 'a list', 'numpy', 'a path')
NO_PATH = ('None', 'a number', 'a list', 'numpy')

ROWS = [
    *wrong('clip', lambda p, x: vd.invert(p.tiny, x, 'a bear'), name='the clip of invert'),
    *wrong('model', lambda p, x: vd.invert(x, p.film, 'a bear'), name='the model of invert'),
    *wrong('prompt', lambda p, x: vd.invert(p.tiny, p.film, x), NO_TEXT, 'the prompt of invert'),
    *wrong('mask', lambda p, x: vd.invert(p.tiny, p.film, 'a bear', x), ('a path', 'text', 'a number', 'a list'), 'the mask of invert'),
    *wrong('settings', lambda p, x: vd.invert(p.tiny, p.film, 'a bear', settings=x), ('a path', 'text', 'a number', 'a list'), 'the settings of invert'),
    *wrong('run', lambda p, x: vd.invert(p.tiny, p.film, 'a bear', run=x), ('a path', 'text', 'a number', 'a list'), 'the run of invert'),
    *wrong('model', lambda p, x: vd.edit(x, made(p), 'a bear'), name='the model of edit'),
    *wrong('inversion', lambda p, x: vd.edit(p.tiny, x, 'a bear'), name='the inversion of edit'),
    *wrong('prompt', lambda p, x: vd.edit(p.tiny, made(p), x), NO_TEXT, 'the prompt of edit'),
    *wrong('settings', lambda p, x: vd.edit(p.tiny, made(p), 'a bear', x), ('a path', 'text', 'a number', 'a list'), 'the settings of edit'),
    *wrong('record', lambda p, x: vd.edit(p.tiny, made(p), 'a bear', record=x), ('a path', 'text', 'a number', 'a list'), 'the recording of edit'),
    *wrong('inversion', lambda p, x: vd.reconstruct(p.tiny, x), name='the inversion of reconstruct'),
    *wrong('video', lambda p, x: vd.Clip(x, 'a bear'), name='the video of Clip'),
    *wrong('prompt', lambda p, x: vd.Clip(p.film, x), NO_TEXT, 'the prompt of Clip'),
    *wrong('path', lambda p, x: vd.read_video(x), NO_PATH, 'the path of read_video'),
    *wrong('path', lambda p, x: vd.read_mask(x), NO_PATH, 'the path of read_mask'),
    *wrong('path', lambda p, x: vd.write_video(x, p.film), NO_PATH, 'the path of write_video'),
    *wrong('video', lambda p, x: vd.write_video(p.out, x), name='the video of write_video'),
    *wrong('video', lambda p, x: write_gif(p.out, x), name='the video of write_gif'),
    *wrong('video', lambda p, x: show_videos(x), name='the video of show_videos'),
    *wrong('video', lambda p, x: show_frames(x), name='the video of show_frames'),
    *wrong('clip', lambda p, x: segment(x, (3, 4)), name='the clip of segment'),
    *wrong('point|click', lambda p, x: segment(p.film, x), ('a path', 'text', 'a number'), 'the points of segment'),
    *wrong('box', lambda p, x: segment(p.film, box=x), ('a path', 'text', 'a number'), 'the box of segment'),
    *rows('from Python: segment', lambda p, given: segment(p.film, **given), {
        'a click of texts': (lambda p: dict(points=('a', 'b')), 'no click'), 'half a click': (lambda p: dict(points=(None, 3)), 'no click'), 'a box of texts': (lambda p: dict(box=('a', 1, 2, 3)), 'no box')}),
    *wrong('mask', lambda p, x: segment(p.film, mask=x), ('a path', 'text', 'a number', 'a list'), 'the mask of segment'),
    *wrong('path', lambda p, x: vd.Inversion.load(x), NO_PATH, 'the path of Inversion.load'),
    *wrong('path', lambda p, x: vd.Edit.load(x), NO_PATH, 'the path of Edit.load'),
    *wrong('path', lambda p, x: made(p).save(x), NO_PATH, 'the path of Inversion.save'),
    *wrong('folder', lambda p, x: vd.Run(folder=x), ('a number', 'a list', 'numpy'), 'the folder of Run'),
    *wrong('base', lambda p, x: vd.load_animatediff(x), ('None', 'a number', 'a list', 'numpy'), 'the base of load_animatediff'),
    *wrong('mask', lambda p, x: save_mask(x, p.out), name='the mask of save_mask'),
    *wrong('mask', lambda p, x: grow(x, 1), name='the mask of grow'),
    *wrong('mask', lambda p, x: overlay(p.film, x), name='the mask of overlay'),
    *wrong('mask', lambda p, x: vd.Mask(torch.ones(6, 32, 48)) & x, name='a mask that is joined'),
    *wrong('video', lambda p, x: overlay(x, vd.Mask(torch.ones(6, 32, 48))), name='the video of overlay'),
    *wrong('frame', lambda p, x: optical_flow(x, x), name='the frames of optical_flow'),
    *wrong('prompt', lambda p, x: TextVideoScore.load()(p.film, x), ('None', 'a number', 'a list'), 'the prompt of a CLIP'),
    *wrong('fps', lambda p, x: show_videos(p.film, fps=x), ('text', 'None', 'a list'), 'the rate of show_videos'),
    *wrong('word', lambda p, x: find_words(p.tiny.tokenizer, 'a bear', x), ('None', 'a number', 'a list'), 'the word of find_words'),
    *wrong('steps', lambda p, x: p.tiny.schedule(x, 4., 'standard'), ('text', 'None', 'a list'), 'the steps of a schedule'),
    *wrong('device', lambda p, x: vd.load_world_model(x), ('a number', 'a list', 'a path'), 'the device of load_world_model'),
    *wrong('seed', lambda p, x: demo_scenes(x), ('text', 'None', 'a list'), 'the seed of demo_scenes'),
    *wrong('name', lambda p, x: vd.find_preset(x), ('None', 'a number', 'a list'), 'the name of find_preset'),
    *wrong('on_step', lambda p, x: vd.Run(on_step=x), ('text', 'a number', 'a list'), 'on_step of Run'),
    *wrong('latents', lambda p, x: p.tiny.decode(x), ('text', 'None', 'numpy'), 'the latents of decode'),
    *wrong('clip', lambda p, x: psnr(x, p.film), name='the first clip of psnr'),
    *wrong('clip', lambda p, x: psnr(p.film, x), name='the second clip of psnr'),
    *wrong('clip', lambda p, x: ssim(p.film, x), name='the second clip of ssim'),
    *wrong('clip', lambda p, x: motion_smoothness(x), name='the clip of motion_smoothness'),
    *wrong('clip', lambda p, x: motion_error(p.film, x, torch.ones(6, 32, 48) > 0), name='the truth of motion_error'),
]
