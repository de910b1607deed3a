"Model folders and checkpoint files: half, torn, foreign; and models that make no numbers."
import json
import os
import shutil

import torch
from conftest import make_tiny_model
from safetensors.torch import load_file, save_file
from table import judged, rows

from videodirector.bench.weights import load_parts
from videodirector.metrics.motion import motion_error, motion_smoothness
from videodirector.metrics.pixels import psnr, ssim
from videodirector.metrics.text import TextVideoScore
from videodirector.methods.videodirector import Inversion, edit, invert
from videodirector.models.folder import weights_folder
from videodirector.models.judge import load_judge
from videodirector.models.sources import add_lora, load_animatediff, load_motion_adapter
from videodirector.segment.follow import segment
from videodirector.segment.sam2 import load_sam2

NAN, INF = float('nan'), float('inf')
WEIGHTS = dict(unet='diffusion_pytorch_model', vae='diffusion_pytorch_model', motion_adapter='diffusion_pytorch_model', text_encoder='model')


def pipeline(place, change=lambda folder: None):
    "A copy of the tiny model's folder, changed."
    shutil.copytree(place.ready / 'pipe', place.folder / 'pipe')
    change(place.folder / 'pipe')
    return place.folder / 'pipe'


def weights(part, change):
    def apply(folder):
        file = folder / part / f'{WEIGHTS[part]}.safetensors'
        tensors = change(load_file(file))
        file.unlink()
        save_file({k: x.contiguous() for k, x in tensors.items()}, file, {'format': 'pt'})
    return apply


def half(tensors): return dict(list(tensors.items())[::2])
def all_but_one(tensors): return dict(list(tensors.items())[1:])
def small(tensors): return {k: x.reshape(-1)[:1] for k, x in tensors.items()}
def spoilt(tensors): return {k: x * NAN for k, x in tensors.items()}


def cut(part, share):
    def apply(folder):
        file = folder / part / f'{WEIGHTS[part]}.safetensors'
        file.write_bytes(file.read_bytes()[:int(file.stat().st_size * share)])
    return apply


def config(part, text, name='config.json'): return lambda folder: (folder / part / name).write_text(text)
def without(*names): return lambda folder: [shutil.rmtree(folder / n) if (folder / n).is_dir() else (folder / n).unlink() for n in names]


def index(**changes):
    def apply(folder):
        told = json.loads((folder / 'model_index.json').read_text())
        (folder / 'model_index.json').write_text(json.dumps(told | changes))
    return apply


def pipe_in(folder):
    (folder / 'unet/config.json').unlink()
    os.mkfifo(folder / 'unet/config.json')


PIPES = {f'{name} of the {part}': (lambda p, part=part, c=change: pipeline(p, weights(part, c)), 'could not be read' if change is small else part)
         for part in WEIGHTS for name, change in (('half the weights', half), ('all weights but one', all_but_one), ('weights of another shape', small))}
PIPES |= {f'{part} cut off at {share:.0%}': (lambda p, part=part, s=share: pipeline(p, cut(part, s)), part) for part in WEIGHTS for share in (.9, 0)}
PIPES |= {f'{part} without a description': (lambda p, part=part: pipeline(p, without(f'{part}/config.json')), r'pipe') for part in WEIGHTS}
PIPES |= {f'{part} with half a description': (lambda p, part=part: pipeline(p, config(part, '{"a": ')), r'pipe') for part in WEIGHTS}
PIPES |= {
    'no weights in the UNet': (lambda p: pipeline(p, without('unet/diffusion_pytorch_model.safetensors')), 'pipe'),
    'no UNet': (lambda p: pipeline(p, without('unet')), 'pipe'), 'no tokenizer': (lambda p: pipeline(p, without('tokenizer')), 'pipe'),
    'half a scheduler': (lambda p: pipeline(p, config('scheduler', '{', 'scheduler_config.json')), 'pipe'),
    'an index that is a list': (lambda p: pipeline(p, config('.', '[]', 'model_index.json')), 'pipe'),
    'an index that is no JSON': (lambda p: pipeline(p, config('.', '{', 'model_index.json')), 'pipe'),
    'an index without a UNet': (lambda p: pipeline(p, index(unet=None)), 'pipe'),
    'an index with a number for the UNet': (lambda p: pipeline(p, index(unet=3)), 'pipe'),
    'a class that is no part': (lambda p: pipeline(p, index(unet=['os', 'system'])), 'no part of'),
    'code beside the weights': (lambda p: pipeline(p, lambda f: (f / 'unet/x.py').write_text('')), 'code of its own'),
    'a FIFO for a description': (lambda p: pipeline(p, pipe_in), 'config.json'),
    'no folder': (lambda p: p.folder / 'gone', 'no model folder'), 'an empty folder': (lambda p: p.folder, 'no diffusers pipeline'),
    'a pickle': (lambda p: p.file('model.ckpt'), 'is a pickle'), 'a file that is not there': (lambda p: 'gone.safetensors', 'no checkpoint file'),
    'text for a checkpoint': (lambda p: p.file('a.safetensors', b'hello'), r'a\.safetensors'),
    'nothing for a checkpoint': (lambda p: p.file('a.safetensors'), r'a\.safetensors'),
    'an empty name': (lambda p: '', 'no model folder|name'), 'a name of four parts': (lambda p: 'a/b/c/d', 'no model folder'),
    'a clip': (lambda p: p.clip, 'no model folder|is no'), 'None': (lambda p: None, (TypeError, 'base')), 'a number': (lambda p: 3, (TypeError, 'base')),
    'all of it': (lambda p: pipeline(p), judged(lambda model: model.limits.frames == 24))}


def shipped(place, *cuts):
    "The folder of weights that ships, with parts of its own."
    folder = place.folder / 'weights'
    folder.mkdir()
    for part in ('world', 'judge'): (folder / part).symlink_to(weights_folder() / part)
    for part, change in cuts:
        (folder / part).unlink()
        shutil.copytree(weights_folder() / part, folder / part)
        change(folder / part)
    return folder


def halved(name):
    def apply(folder):
        tensors = load_file(folder / name)
        (folder / name).unlink()
        save_file(half(tensors), folder / name, {'format': 'pt'})
    return apply


PARTS = {
    'half a judge': (lambda p: shipped(p, ('judge', halved('diffusion_pytorch_model.safetensors'))), 'judge'),
    'half a VAE': (lambda p: shipped(p, ('world', halved('vae/diffusion_pytorch_model.safetensors'))), 'vae'),
    'a judge of text': (lambda p: shipped(p, ('judge', lambda f: (f / 'diffusion_pytorch_model.safetensors').write_text('x'))), 'judge'),
    'a judge without a description': (lambda p: shipped(p, ('judge', lambda f: (f / 'config.json').unlink())), 'judge'),
    'nothing': (lambda p: p.folder, "no 'world'"), 'no folder': (lambda p: p.folder / 'gone', "no 'world'")}

def foreign(what):
    "Something in the world's folder that is no part of a pipeline."
    def change(folder):
        if what == 'code': (folder / 'unet/x.py').write_text('')
        else: index(helper=what)(folder)
    return lambda p: shipped(p, ('world', change))


PARTS |= {
    'a class that is no part': (foreign(['os', 'system']), r'os\.system.* no part of'), 'a class of three words': (foreign(['os', 'system', 'x']), 'no part of'),
    'code beside the weights': (foreign('code'), 'code of its own'), 'half a text encoder': (lambda p: shipped(p, ('world', halved('text_encoder/model.safetensors'))), 'text_encoder')}


def clip_model(place, change):
    shutil.copytree(weights_folder() / 'clip', place.folder / 'clip')
    change(place.folder / 'clip')
    return place.folder / 'clip'


JUDGES = {
    'half a CLIP': (lambda p: clip_model(p, halved('model.safetensors')), 'clip'),
    'a CLIP of text': (lambda p: clip_model(p, lambda f: (f / 'model.safetensors').write_text('x')), 'clip'),
    'a CLIP without a description': (lambda p: clip_model(p, lambda f: (f / 'config.json').unlink()), 'clip'),
    'a CLIP with half a description': (lambda p: clip_model(p, lambda f: (f / 'config.json').write_text('{')), 'clip'),
    'no CLIP': (lambda p: p.folder / 'gone', 'gone'), 'an empty folder': (lambda p: p.folder, 'CLIP')}


def sam(place, change):
    shutil.copytree(weights_folder() / 'sam2', place.folder / 'sam')
    change(place.folder / 'sam')
    return place.folder / 'sam'


SAMS = {
    'half a SAM 2': (lambda p: sam(p, halved('model.safetensors')), 'sam'), 'a SAM 2 of text': (lambda p: sam(p, lambda f: (f / 'model.safetensors').write_text('x')), 'sam'),
    'half a description': (lambda p: sam(p, lambda f: (f / 'config.json').write_text('{')), r'config\.json'),
    'a description in bytes': (lambda p: sam(p, lambda f: (f / 'config.json').write_bytes(b'\xff\xfe\xff')), r'config\.json'),
    'a list': (lambda p: sam(p, lambda f: (f / 'config.json').write_text('[]')), 'dictionary'),
    'a class that is no part': (lambda p: sam(p, lambda f: (f / 'config.json').write_text('{"_target_": "os.system"}')), 'no part of a SAM 2'),
    'an empty folder': (lambda p: p.folder, ((ValueError, FileNotFoundError), 'no SAM 2')), 'no folder': (lambda p: p.folder / 'gone', 'neither a folder nor'),
    'a number': (lambda p: 3, (TypeError, 'model|source')), 'a list of names': (lambda p: ['a'], (TypeError, 'model|source'))}


def adapter(place, change):
    folder = pipeline(place)
    weights('motion_adapter', change)(folder)
    return folder / 'motion_adapter/diffusion_pytorch_model.safetensors'


ADAPTERS = {
    'half an adapter': (lambda p: adapter(p, half), 'motion_adapter'), 'weights of another shape': (lambda p: adapter(p, small), 'motion_adapter'),
    'text': (lambda p: p.file('a.safetensors', b'hello'), r'a\.safetensors'), 'a pickle': (lambda p: p.file('mm.ckpt'), 'is a pickle'),
    'a clip': (lambda p: p.clip, 'no model folder|is no')}
LORAS = {
    'text': (lambda p: p.file('a.safetensors', b'hello'), r'a\.safetensors'), 'a pickle': (lambda p: p.file('lora.pt'), 'is a pickle'),
    'no file': (lambda p: 'gone.safetensors', 'no checkpoint file'), 'no folder': (lambda p: 'gone', 'no model folder'),
    'weights of nothing': (lambda p: lora(p, {'x': torch.ones(2)}), 'LoRA'), 'weights of another shape': (lambda p: lora(p, LAYER), 'LoRA'),
    'no weights': (lambda p: lora(p, {}), 'LoRA')}
LAYER = {f'unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.lora_{x}.weight': torch.ones(3, 5) for x in 'AB'}


def lora(place, tensors):
    save_file(tensors, place.folder / 'lora.safetensors')
    return place.folder / 'lora.safetensors'


# numbers that are none

def broken(part):
    "The tiny model, one part of which makes NaN."
    model = make_tiny_model()
    layer = dict(unet=lambda: model.unet.conv_out, encoder=lambda: model.vae.quant_conv, decoder=lambda: model.vae.decoder.conv_out,
                 text=lambda: model.text_encoder.text_model.final_layer_norm if hasattr(model.text_encoder, 'text_model') else model.text_encoder.final_layer_norm)[part]()
    torch.nn.init.constant_(layer.bias, NAN)
    return model


def inverting(place, model): return invert(model, place.film[:4], 'a bear walking', steps=2, inner_steps=1)


def editing(place, model):
    made = Inversion.load(place.inversion)
    made.model = None
    return edit(model, made, 'a tiger walking')


ERROR = FloatingPointError
MAKING = {f'a broken {part}': (lambda p, part=part: broken(part), (ERROR, words)) for part, words in dict(
    unet='inversion step.*not finite', encoder='VAE encodes.*not finite', text='text encoder.*not finite').items()}
EDITING = {f'a broken {part}': (lambda p, part=part: broken(part), (ERROR, words)) for part, words in dict(
    unet='editing step 0.*not finite', decoder='VAE decodes.*not finite', text='text encoder.*not finite').items()}


def pair(place, value):
    clip = place.film.clone()
    clip[1, 0, 2, 3] = value
    return clip


MEASURED = {f'{name} of {word}': (lambda p, v=value, f=measure: (p, v, f), 'not finite') for word, value in (('NaN', NAN), ('infinity', INF)) for name, measure in (
    ('psnr', lambda p, x: psnr(x, p.film)), ('psnr the other way round', lambda p, x: psnr(p.film, x)), ('ssim', lambda p, x: ssim(x, p.film)),
    ('smoothness', lambda p, x: motion_smoothness(x)), ('motion error', lambda p, x: motion_error(x, p.film, torch.ones(6, 32, 48) > 0)))}
def spoiled(load, part):
    "A network that judges, some of whose weights are NaN."
    judge = load()
    torch.nn.init.constant_(part(judge), NAN)
    return judge


MEASURED |= {f'{name} of {word}': (lambda p, v=value, f=measure: (p, v, f), ((ERROR, ValueError), 'not finite')) for word, value in (('NaN', NAN), ('infinity', INF)) for name, measure in (
    ('what a judge reads', lambda p, x: load_judge().read(x)), ('what a CLIP says', lambda p, x: TextVideoScore.load()(x, 'a bear')))}
MEASURED |= {f'with NaN in {name}': (lambda p, f=measure: (p, 0., f), (ERROR, 'not finite')) for name, measure in dict(
    judge=lambda p, x: spoiled(load_judge, lambda m: m.squeeze.weight).read(x), CLIP=lambda p, x: spoiled(TextVideoScore.load, lambda s: s.model.visual_projection.weight)(x, 'a bear'),
    SAM=lambda p, x: segment(x, (12, 14), model=spoiled(load_sam2, lambda m: m.sam_mask_decoder.iou_token.weight))).items()}
MEASURED |= {'psnr of nothing': (lambda p: (p, 0., lambda p, x: psnr(x[:0], x[:0])), r'\[0, 3, 32, 48\]'), 'ssim of few pixels': (lambda p: (p, 0., lambda p, x: ssim(x[..., :4, :4], x[..., :4, :4])), '4×4')}
MEASURED['psnr of equal clips'] = lambda p: (p, p.film[1, 0, 2, 3].item(), lambda p, x: psnr(x, p.film)), judged(lambda x: x == INF)

ROWS = [
    *rows('a model:', lambda p, base: load_animatediff(base if base is None or isinstance(base, int) else str(base), device='cpu'), PIPES),
    *rows('weights:', lambda p, folder: load_parts(folder, 'cpu'), PARTS),
    *rows('a judge of texts:', lambda p, folder: TextVideoScore.load(folder), JUDGES),
    *rows('segmenting with', lambda p, source: load_sam2(source), SAMS),
    *rows('a motion adapter:', lambda p, source: load_motion_adapter(str(source)), ADAPTERS),
    *rows('a LoRA:', lambda p, source: add_lora(make_tiny_model().pipe, str(source)), LORAS),
    *rows('an inversion with', inverting, MAKING),
    *rows('an edit by', editing, EDITING),
    *rows('measuring', lambda p, given: given[2](p, pair(p, given[1])), MEASURED)]
