"""The models module: loading in every published format, encoding, noise prediction, the judge."""
import re
import shutil
from fnmatch import fnmatch
from types import SimpleNamespace

import pytest
import torch
from conftest import make_tiny_model, tiny_text_encoder, tiny_tokenizer
from diffusers import (AnimateDiffPipeline, AutoencoderKL, DDIMScheduler, MotionAdapter, PNDMScheduler,
                       StableDiffusionPipeline, UNet2DConditionModel)
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file

from videodirector.base.run import Run
from videodirector.bench.untrained import TINY, build_model
from videodirector.methods.videodirector import edit, invert
from videodirector.models.animatediff import AnimateDiff, load_world_model, move
from videodirector.models.api import VideoModel, Wrapped, unknown_words
from videodirector.models.folder import default_device, weights_folder
from videodirector.models.frame_norm import FrameNorm, norm_by_frame
from videodirector.models.image import ImageModel, load_world_image_model
from videodirector.models.judge import Judge, judge_view, load_judge, world_classes
from videodirector.models.sources import (
    as_model, base_parts, check_source, is_checkpoint, load_animatediff, load_image_model, load_motion_adapter,
    split_file)
from videodirector.metrics.pixels import psnr
from videodirector.parts.settings import STDG
from videodirector.world.captions import VOCABULARY
from videodirector.world.scene import random_scene

WIDTHS = (32, 64)  # divisible by AnimateDiff's 32 groups and 8 heads


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setenv('HF_HUB_OFFLINE', '1')
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', True)


# ---- tiny checkpoints in the published formats ----

def make_image_pipe(widths: tuple = WIDTHS) -> StableDiffusionPipeline:
    "A random Stable Diffusion pipeline with its own PNDM scheduler."
    plain = len(widths) - 1  # blocks without attention
    torch.manual_seed(0)
    tokenizer = tiny_tokenizer()
    text = tiny_text_encoder(tokenizer)
    unet = UNet2DConditionModel(
        sample_size=8, block_out_channels=widths, layers_per_block=1, attention_head_dim=4, cross_attention_dim=16,
        down_block_types=('CrossAttnDownBlock2D', *['DownBlock2D'] * plain), up_block_types=(*['UpBlock2D'] * plain, 'CrossAttnUpBlock2D'))
    vae = AutoencoderKL(block_out_channels=WIDTHS, layers_per_block=1, down_block_types=('DownEncoderBlock2D',) * 2,
                        up_block_types=('UpDecoderBlock2D',) * 2)
    scheduler = PNDMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule='scaled_linear', skip_prk_steps=True)
    return StableDiffusionPipeline(vae=vae.eval(), text_encoder=text, tokenizer=tokenizer, unet=unet.eval(),
                                   scheduler=scheduler, safety_checker=None, feature_extractor=None,
                                   requires_safety_checker=False)


def make_adapter(seed: int = 1, widths: tuple = WIDTHS, frames: int = 24, mid: bool = True) -> MotionAdapter:
    "Random motion modules whose last layers are not zero, so that they are seen in the output."
    torch.manual_seed(seed)
    adapter = MotionAdapter(block_out_channels=widths, motion_layers_per_block=1, motion_max_seq_length=frames, use_motion_mid_block=mid)
    for name, weight in adapter.named_parameters():
        if 'proj_out' in name: torch.nn.init.normal_(weight, std=0.2)
    return adapter


def original_adapter_keys(state: dict) -> dict:
    "A motion adapter in the key layout of AnimateDiff's own files, positions included."
    def rename(key):
        key = re.sub(r'(motion_modules\.\d+)\.', r'\1.temporal_transformer.', key)
        for new, _old in ((r'\.norm([12])\.', None), (r'\.attn([12])\.', None)):
            kind = 'norms' if 'norm' in new else 'attention_blocks'
            key = re.sub(new, lambda m, kind=kind: f'.{kind}.{int(m[1]) - 1}.', key)
        key = re.sub(r'(transformer_blocks\.\d+)\.pos_embed\.pe', r'\1.attention_blocks.0.pos_encoder.pe', key)
        return key.replace('.norm3.', '.ff_norm.')
    renamed = {rename(key): value for key, value in state.items()}
    return renamed | {key.replace('blocks.0.pos_encoder', 'blocks.1.pos_encoder'): value.clone()
                      for key, value in renamed.items() if 'pos_encoder' in key}


def original_unet_key(key: str, layers: int = 1) -> str:
    "The latent-diffusion name of a diffusers UNet weight."
    n = layers + 1
    down, up = lambda i, j: n * int(i) + int(j) + 1, lambda i, j: n * int(i) + int(j)
    for pattern, place in (
            (r'time_embedding\.linear_([12])', lambda m: f'time_embed.{2 * int(m[1]) - 2}'),
            (r'^conv_in', lambda m: 'input_blocks.0.0'),
            (r'^conv_norm_out', lambda m: 'out.0'),
            (r'^conv_out', lambda m: 'out.2'),
            (r'down_blocks\.(\d)\.resnets\.(\d)', lambda m: f'input_blocks.{down(m[1], m[2])}.0'),
            (r'down_blocks\.(\d)\.attentions\.(\d)', lambda m: f'input_blocks.{down(m[1], m[2])}.1'),
            (r'down_blocks\.(\d)\.downsamplers\.0\.conv', lambda m: f'input_blocks.{n * (int(m[1]) + 1)}.0.op'),
            (r'up_blocks\.(\d)\.resnets\.(\d)', lambda m: f'output_blocks.{up(m[1], m[2])}.0'),
            (r'up_blocks\.(\d)\.attentions\.(\d)', lambda m: f'output_blocks.{up(m[1], m[2])}.1'),
            (r'up_blocks\.0\.upsamplers\.0', lambda m: f'output_blocks.{layers}.1'),
            (r'mid_block\.resnets\.(\d)', lambda m: f'middle_block.{2 * int(m[1])}'),
            (r'mid_block\.attentions\.0', lambda m: 'middle_block.1')):
        key = re.sub(pattern, place, key)
    if 'transformer_blocks' in key or '.1.' in key and 'proj' in key and 'time_emb' not in key: return key
    for new, old in (('norm1', 'in_layers.0'), ('conv1', 'in_layers.2'), ('time_emb_proj', 'emb_layers.1'),
                     ('norm2', 'out_layers.0'), ('conv2', 'out_layers.3'), ('conv_shortcut', 'skip_connection')):
        key = key.replace(new, old)
    return key


def original_vae_key(key: str, levels: int = len(WIDTHS)) -> str:
    "The latent-diffusion name of a diffusers VAE weight."
    for pattern, place in (
            (r'down_blocks\.(\d)\.resnets', lambda m: f'down.{m[1]}.block'),
            (r'down_blocks\.(\d)\.downsamplers\.0', lambda m: f'down.{m[1]}.downsample'),
            (r'up_blocks\.(\d)\.resnets', lambda m: f'up.{levels - 1 - int(m[1])}.block'),
            (r'up_blocks\.(\d)\.upsamplers\.0', lambda m: f'up.{levels - 1 - int(m[1])}.upsample'),
            (r'mid_block\.resnets\.(\d)', lambda m: f'mid.block_{int(m[1]) + 1}'),
            (r'mid_block\.attentions\.0', lambda m: 'mid.attn_1'),
            (r'\.group_norm\.', lambda m: '.norm.'), (r'\.to_([qkv])\.', lambda m: f'.{m[1]}.'),
            (r'\.to_out\.0\.', lambda m: '.proj_out.'), ('conv_norm_out', lambda m: 'norm_out'),
            ('conv_shortcut', lambda m: 'nin_shortcut')):
        key = re.sub(pattern, place, key)
    return key


def original_checkpoint(model: StableDiffusionPipeline) -> dict:
    "All weights of a pipeline in one dict with the key layout of the original Stable Diffusion files."
    state = {'model.diffusion_model.' + original_unet_key(k): v for k, v in model.unet.state_dict().items()}
    for key, value in model.vae.state_dict().items():
        key = original_vae_key(key)
        if '.attn_1.' in key and value.ndim == 2: value = value[:, :, None, None]  # attention was 1×1 convolutions
        state['first_stage_model.' + key] = value
    for key, value in model.text_encoder.state_dict().items():
        key = key if key.startswith('text_model.') else 'text_model.' + key
        state['cond_stage_model.transformer.' + key] = value
    return {key: value.contiguous() for key, value in state.items()}


@pytest.fixture(scope='module')
def saved(tmp_path_factory):
    "One folder with every format, and the pipeline that all of them should give."
    root, image, adapter = tmp_path_factory.mktemp('models'), make_image_pipe(), make_adapter()
    image.save_pretrained(root / 'image')
    adapter.save_pretrained(root / 'adapter')
    (root / 'files').mkdir()
    save_file(original_adapter_keys(adapter.state_dict()), root / 'files' / 'motion.safetensors')
    save_file(original_checkpoint(image), root / 'files' / 'image.safetensors')
    whole = AnimateDiffPipeline(vae=image.vae, text_encoder=image.text_encoder, tokenizer=image.tokenizer, unet=image.unet,
                                motion_adapter=adapter, scheduler=DDIMScheduler(beta_schedule='linear', clip_sample=False))
    whole.save_pretrained(root / 'whole')
    config = root / 'config'  # configurations alone, no weights
    for file in [*(root / 'image').rglob('*'), *(root / 'whole').glob('motion_adapter/*')]:
        if file.is_file() and file.suffix != '.safetensors':
            place = config / file.relative_to(root / ('image' if root / 'image' in file.parents else 'whole'))
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(file.read_bytes())
    torch.manual_seed(2)
    image.unet.add_adapter(LoraConfig(r=2, init_lora_weights=False, target_modules=['to_q', 'to_k', 'to_v', 'to_out.0']))
    StableDiffusionPipeline.save_lora_weights(root / 'lora', unet_lora_layers=get_peft_model_state_dict(image.unet))
    image.unet.delete_adapters(['default'])
    norm_by_frame(whole.unet)
    return root, AnimateDiff(whole)


def answer(model) -> torch.Tensor:
    "A noise prediction that every weight of text encoder, UNet and motion modules has a part in."
    latents = torch.randn(1, 4, 3, 4, 6, generator=torch.Generator().manual_seed(3))
    return model.predict(latents, 300, model.embed('a brown bear'))


def same(model, other) -> None:
    "Both pipelines predict the same noise and decode the same clip."
    torch.testing.assert_close(answer(model), answer(other))
    latents = torch.randn(1, 4, 2, 4, 4, generator=torch.Generator().manual_seed(4))
    torch.testing.assert_close(model.decode(latents), other.decode(latents))


def load(base, *args, **kwargs):
    return load_animatediff(str(base), *map(str, args), device='cpu', **kwargs)


# ---- loading ----

def test_whole_folder(saved):
    root, whole = saved
    same(load(root / 'whole'), whole)


def test_image_folder_with_adapter_folder(saved):
    root, whole = saved
    model = load(root / 'image', root / 'adapter')
    same(model, whole)
    assert isinstance(model.scheduler, DDIMScheduler) and model.scheduler.config.beta_schedule == 'linear'
    assert model.scheduler.config.beta_end == 0.012 and not model.scheduler.config.clip_sample


def test_folder_of_image_unet_and_adapter(saved, tmp_path):
    "The layout of the embedded model: the UNet stays an image UNet on disk, the adapter lies beside it."
    root, whole = saved
    folder = tmp_path / 'split'
    make_image_pipe().save_pretrained(folder)
    make_adapter().save_pretrained(folder / 'motion_adapter')
    index = (folder / 'model_index.json').read_text()
    (folder / 'model_index.json').write_text(index.replace('StableDiffusionPipeline', 'AnimateDiffPipeline').replace(
        '"unet":', '"motion_adapter": ["diffusers", "MotionAdapter"],\n  "unet":'))
    assert base_parts(str(folder)) == ('UNet2DConditionModel', True)
    same(load(folder), whole)


@pytest.mark.parametrize('config', ['config', None])
def test_adapter_file_in_original_keys(saved, tmp_path, config):
    root, whole = saved
    keys = original_adapter_keys(make_adapter().state_dict())
    assert 'down_blocks.0.motion_modules.0.temporal_transformer.transformer_blocks.0.attention_blocks.0.pos_encoder.pe' in keys
    file = root / 'files' / 'motion.safetensors'
    if config: same(load(root / 'image', file, config=str(root / config)), whole)
    else:  # the configuration lies beside the file
        (tmp_path / 'motion.safetensors').write_bytes(file.read_bytes())
        (tmp_path / 'config.json').write_bytes((root / 'adapter' / 'config.json').read_bytes())
        same(load(root / 'image', tmp_path / 'motion.safetensors'), whole)


def test_adapter_file_in_diffusers_keys(saved):
    root, whole = saved
    same(load(root / 'image', root / 'adapter' / 'diffusion_pytorch_model.safetensors'), whole)


def test_checkpoint_file_in_original_keys(saved):
    root, whole = saved
    file = root / 'files' / 'image.safetensors'
    same(load(file, root / 'adapter', config=str(root / 'config')), whole)
    model = load(file, root / 'files' / 'motion.safetensors', config=str(root / 'config'))
    same(model, whole)
    assert model.scheduler.config.beta_schedule == 'linear'


def test_half_precision(saved, tmp_path):
    whole = load(saved[0] / 'whole')
    whole.pipe.to(torch.float16)
    whole.pipe.save_pretrained(tmp_path)
    assert {part.dtype for part in load(str(tmp_path)).pipe.components.values() if isinstance(part, torch.nn.Module)} == {torch.float32}
    model = load(saved[0] / 'image', saved[0] / 'adapter', dtype=torch.float16)
    assert model.unet.dtype == model.vae.dtype == model.text_encoder.dtype == torch.float16


@pytest.mark.parametrize('where', ['lora', 'lora/pytorch_lora_weights.safetensors'])
def test_lora(saved, where):
    root, whole = saved
    on, off = (load(root / 'whole', lora=str(root / where), lora_scale=scale) for scale in (1.0, 0.0))
    assert (answer(on) - answer(whole)).abs().max() > 1e-3
    torch.testing.assert_close(answer(off), answer(whole))


def test_image_models_in_every_format(saved):
    root, _ = saved
    fresh = ImageModel(make_image_pipe())
    for base, more in ((root / 'image', {}), (root / 'files' / 'image.safetensors', dict(config=str(root / 'config')))):
        model = load_image_model(str(base), device='cpu', **more)
        assert model.traits.kind == 'image' and model.unet.dtype == torch.float32
        same(model, fresh)
    torch.testing.assert_close(answer(load_image_model(str(root / 'image'), str(root / 'lora'), 0., device='cpu')), answer(fresh))
    assert (answer(load_image_model(str(root / 'image'), str(root / 'lora'), device='cpu')) - answer(fresh)).abs().max() > 1e-4


def on_the_hub(cache, name: str, folder, files='*') -> None:
    "Put files of a folder where the hub's cache keeps those of this name."
    place = cache / f'models--{name.replace("/", "--")}'
    (place / 'refs').mkdir(parents=True)
    (place / 'refs/main').write_text('0' * 40)
    shutil.copytree(folder, place / 'snapshots' / ('0' * 40), ignore=lambda _, names: [n for n in names if '.' in n and not fnmatch(n, files)])


def test_hub_ids(saved, tmp_path, monkeypatch):
    root, whole = saved
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_CACHE', str(tmp_path))
    for name in ('whole', 'image', 'adapter', 'lora'): on_the_hub(tmp_path, f'somebody/{name}', root / name)
    same(load('somebody/whole'), whole)
    same(load('somebody/image', 'somebody/adapter'), whole)
    listed = SimpleNamespace(siblings=[SimpleNamespace(rfilename='pytorch_lora_weights.safetensors')])
    monkeypatch.setattr('diffusers.loaders.lora_base.model_info', lambda *args, **how: listed)  # is asked even for what is in the cache
    torch.testing.assert_close(answer(load('somebody/whole', lora='somebody/lora')), answer(load(root / 'whole', lora=str(root / 'lora'))))


VERSIONS = {'v1-5': (24, False), 'v1-5-2': (32, True), 'v1-5-3': (32, False)}  # frames, and is there one in the middle block?


@pytest.mark.parametrize('version', VERSIONS)
def test_every_version_of_motion_modules(tmp_path, monkeypatch, version):
    "As a folder, and as AnimateDiff's own file, which tells by its keys which version it is; its settings are on the hub."
    (frames, mid), widths = VERSIONS[version], (32, 64, 64)  # the keys that tell are those of the third block
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_CACHE', str(tmp_path / 'hub'))
    adapter = make_adapter(5, widths, frames, mid)
    make_image_pipe(widths).save_pretrained(tmp_path / 'image')
    adapter.save_pretrained(tmp_path / 'adapter')
    on_the_hub(tmp_path / 'hub', f'guoyww/animatediff-motion-adapter-{version}', tmp_path / 'adapter', '*.json')
    save_file(original_adapter_keys(adapter.state_dict()), tmp_path / 'mm.safetensors')
    for source in ('adapter', 'mm.safetensors'):
        model = load(tmp_path / 'image', tmp_path / source)
        weights = {name: w for name, w in model.unet.state_dict().items() if 'motion_modules' in name}
        assert weights.keys() == adapter.state_dict().keys() and all(torch.equal(w, weights[name]) for name, w in adapter.state_dict().items())
        assert model.limits.frames == frames and any('mid_block' in site.name for site in model.sites('temporal')) == mid
        assert model.predict(torch.randn(1, 4, frames, 4, 4), 500, model.embed('a bear')).isfinite().all()


def test_clips_that_are_not_square_are_edited(saved):
    model, mask = load(saved[0] / 'image', saved[0] / 'adapter'), torch.zeros(3, 10, 18, dtype=torch.bool)
    mask[:, 2:8, 4:12] = True
    video = torch.rand(3, 3, 10, 18, generator=torch.manual_seed(0)) * 2 - 1  # latents of 5×9, which halve to 3×5
    stdg = STDG(blocks=(('up_blocks.1', 1., 1.),))
    inversion = invert(model, video, 'a bear', mask, steps=2, inner_steps=1, stdg=stdg, run=Run(progress=False))
    made = edit(model, inversion, 'a tiger', run=Run(progress=False))
    assert made.video.shape == video.shape and made.latents.shape[3:] == (5, 9) and inversion.guidance.gradients[1].any()


@pytest.mark.parametrize('make, says', [
    (lambda root: load_image_model(str(root / 'whole')), 'has motion modules; give an image model'),
    (lambda root: load_image_model(str(root / 'nowhere')), 'There is no model folder'),
    (lambda root: load_image_model(str(root / 'files' / 'motion.safetensors')), 'config='),
    (lambda root: load(root / 'nowhere'), 'There is no model folder'),
    (lambda root: load(root / 'files'), 'holds no diffusers pipeline'),
    (lambda root: load('nobody/nothing'), 'holds no diffusers pipeline'),
    (lambda root: load(root / 'nothing.safetensors'), 'There is no checkpoint file'),
    (lambda root: load(root / 'model.ckpt'), 'is a pickle'),
    (lambda root: load(root / 'image', root / 'motion.bin'), 'is a pickle'),
    (lambda root: load(root / 'whole', lora=str(root / 'lora.pt')), 'is a pickle'),
    (lambda root: load(root / 'whole', lora=str(root / 'nowhere')), 'There is no model folder'),
    (lambda root: load(root / 'image'), 'image model without motion modules'),
    (lambda root: load(root / 'files' / 'image.safetensors', config=str(root / 'config')), 'without motion modules'),
    (lambda root: load(root / 'files' / 'image.safetensors', root / 'adapter'), 'config='),
    (lambda root: load(root / 'image', root / 'files' / 'motion.safetensors'), 'config='),
    (lambda root: load(root / 'whole', lora=str(root / 'adapter')), 'LoRA could not be read'),
    (lambda root: load(root / 'image', root / 'nowhere'), 'There is no model folder'),
    (lambda root: load(root / 'whole', root / 'adapter'), 'has its motion modules already'),
])
def test_errors_are_one_sentence(saved, make, says):
    with pytest.raises(ValueError, match=says) as caught: make(saved[0])
    assert '\n' not in str(caught.value)


def test_folder_of_pickles_is_refused(saved, tmp_path):
    torch.save(make_adapter().state_dict(), tmp_path / 'diffusion_pytorch_model.bin')
    (tmp_path / 'config.json').write_bytes((saved[0] / 'adapter' / 'config.json').read_bytes())
    with pytest.raises(ValueError, match='motion adapter could not be read'): load_motion_adapter(str(tmp_path))
    with pytest.raises(ValueError, match='could not be read'): load(saved[0] / 'image', tmp_path)


def test_sources(tmp_path):
    file = tmp_path / 'x.safetensors'
    file.touch()
    assert is_checkpoint(str(file)) and not is_checkpoint('owner/name')
    assert split_file(str(file)) == (str(tmp_path), 'x.safetensors')
    assert split_file('owner/name') == ('owner/name', None)
    check_source(str(tmp_path))
    with pytest.raises(ValueError, match='hub id'): check_source('a/b/c')
    with pytest.raises(ValueError, match='hub id'): check_source('./b')


# ---- the first norm of a motion module ----

def norms(unet) -> list: return [m.norm for name, m in unet.named_modules() if re.search(r'motion_modules\.\d+$', name)]


def frame_by_frame(norm, args, pooled):
    "Statistics of every clip, frame and group by themselves: [b, c, f, h, w] → the same."
    x, out = args[0], torch.empty_like(args[0])
    for b in range(x.shape[0]):
        for f in range(x.shape[2]):
            for channels in torch.arange(x.shape[1]).chunk(norm.num_groups):
                group = x[b, channels, f]
                out[b, channels, f] = (group - group.mean()) / (group.var(unbiased=False) + norm.eps).sqrt()
    return out * norm.weight[:, None, None, None] + norm.bias[:, None, None, None]


def test_published_motion_modules_norm_each_frame(tiny_model):
    unet = tiny_model.pipe.to(dtype=torch.float64).unet
    for norm in norms(unet): torch.nn.init.normal_(norm.weight, 1, .1), torch.nn.init.normal_(norm.bias, 0, .1)
    for module in unet.modules():  # else they add nothing
        if type(module).__name__ == 'AnimateDiffTransformer3D': torch.nn.init.normal_(module.proj_out.weight, std=.2)
    latents, text = torch.randn(2, 4, 3, 4, 6).double() * torch.tensor([.3, 1., 2.])[:, None, None], tiny_model.embed('a bear').expand(2, -1, -1)
    weights = {name: weight.clone() for name, weight in unet.state_dict().items()}
    with torch.no_grad():
        pooled = tiny_model.predict(latents, 500, text)
        hooks = [norm.register_forward_hook(frame_by_frame) for norm in norms(unet)]
        expected = tiny_model.predict(latents, 500, text)
        for hook in hooks: hook.remove()
        assert torch.equal(tiny_model.predict(latents, 500, text), pooled)
        norm_by_frame(unet)
        torch.testing.assert_close(tiny_model.predict(latents, 500, text), expected, rtol=1e-12, atol=1e-12)
    assert len(norms(unet)) == 9 and (expected - pooled).norm() > 1e-3 * pooled.norm()
    assert all(torch.equal(weight, weights[name]) for name, weight in unet.state_dict().items()) and len(weights) == len(unet.state_dict())


def test_only_published_motion_modules_do(saved, world):
    root, _ = saved
    for model in (load(root / 'whole'), load(root / 'image', root / 'adapter')): assert {type(norm) for norm in norms(model.unet)} == {FrameNorm}
    for model in (load(root / 'whole', pooled=True), world, AnimateDiff(AnimateDiffPipeline.from_pretrained(root / 'whole'))):
        assert {type(norm) for norm in norms(model.unet)} == {torch.nn.GroupNorm}
    one = torch.randn(1, 4, 1, 4, 6, generator=torch.manual_seed(0))  # of one frame both say the same
    text = saved[1].embed('a bear')
    torch.testing.assert_close(load(root / 'whole').predict(one, 500, text), load(root / 'whole', pooled=True).predict(one, 500, text))


# ---- encoding and predicting ----

def test_encode_and_decode(tiny_model):
    video = torch.rand(5, 3, 32, 48) * 2 - 1
    latents = tiny_model.encode(video, chunk=2)
    assert latents.shape == (1, 4, 5, 4, 6) and latents.dtype == torch.float32
    alone = tiny_model.vae.encode(video[3:4]).latent_dist.mode() * tiny_model.vae.config.scaling_factor
    torch.testing.assert_close(latents[:, :, 3], alone)
    back = tiny_model.decode(latents, chunk=3)
    assert back.shape == video.shape and back.abs().max() <= 1
    torch.testing.assert_close(back, tiny_model.decode(latents), atol=1e-5, rtol=0)


def test_sides_must_divide(tiny_model):
    with pytest.raises(ValueError, match='30×48'): tiny_model.encode(torch.zeros(2, 3, 30, 48))


def test_prompts(tiny_model):
    text = tiny_model.embed('a brown bear')
    assert text.shape == (1, 16, 16) and text.dtype == torch.float32
    theirs = tiny_model.pipe.encode_prompt('a brown bear', 'cpu', 1, True)
    torch.testing.assert_close(text, theirs[0])
    torch.testing.assert_close(tiny_model.embed(''), theirs[1])
    with pytest.raises(ValueError, match='takes 16; shorten it'): tiny_model.embed('a bear ' * 8)


def test_unknown_words(tiny_model):
    assert unknown_words(tiny_model, 'a brown bear, walking on grass.') == []
    assert unknown_words(tiny_model, 'a zebra walking; a zebra on moss') == ['zebra', 'moss']


def test_predict_noise(tiny_model):
    latents, text = torch.randn(2, 4, 3, 4, 6), torch.randn(2, 16, 16)
    eps = tiny_model.predict(latents, 500, text)
    assert eps.shape == latents.shape and eps.dtype == torch.float32
    torch.testing.assert_close(eps, tiny_model.predict(latents, 500, text[:, None].expand(2, 3, 16, 16)))
    per_frame = torch.stack([text, text, -text], 1)
    assert not torch.allclose(eps[:, :, 2], tiny_model.predict(latents, 500, per_frame)[:, :, 2])


def test_predict_noise_gradients(tiny_model):
    latents, text = torch.randn(1, 4, 2, 4, 4, requires_grad=True), torch.randn(1, 2, 16, 16, requires_grad=True)
    tiny_model.predict(latents, 500, text).square().mean().backward()
    assert latents.grad.abs().sum() > 0 and (text.grad.abs().sum((0, 2, 3)) > 0).all()


# ---- the judge ----

def test_judge(tmp_path):
    torch.manual_seed(0)
    judge = Judge(dict(subject=['bear', 'fox'], colour=['red', 'blue', 'green']), widths=(8, 8, 8, 8), features=16).eval()
    logits = judge(torch.rand(2, 16, 3, 64, 64))
    assert {name: tuple(values.shape) for name, values in logits.items()} == dict(subject=(2, 2), colour=(2, 3))
    video = torch.rand(5, 3, 40, 56) * 2 - 1
    words = judge.read(video)
    assert words['subject'] in ('bear', 'fox') and words['colour'] in ('red', 'blue', 'green')
    judge.save_pretrained(tmp_path)
    again = Judge.from_pretrained(tmp_path)
    torch.testing.assert_close(again(judge_view(video)[None])['colour'], judge(judge_view(video)[None])['colour'])


def test_judge_view():
    video = torch.linspace(-1, 1, 7).view(7, 1, 1, 1).expand(7, 3, 32, 48)
    view = judge_view(video)
    assert view.shape == (16, 3, 64, 64)
    torch.testing.assert_close(view[[0, -1]], video[[0, -1], :, :1, :1].expand(2, 3, 64, 64))


def test_world_classes():
    classes = world_classes()
    assert list(classes) == ['subject', 'colour', 'accessory', 'background', 'motion']
    assert classes['accessory'][0] == 'none' and all(len(set(words)) == len(words) for words in classes.values())


def test_default_device():
    assert torch.device(default_device()).type in ('cpu', 'cuda', 'mps')
    assert weights_folder().name == 'weights'


# ---- what ships with the package ----

@pytest.fixture(scope='module')
def world() -> AnimateDiff:
    return load_world_model('cpu')


def test_world_model_is_plain_diffusers(world):
    assert world.limits.factor == 8 and world.vae.config.latent_channels == 8
    assert world.unet.dtype == world.text_encoder.dtype == world.vae.dtype == torch.float32
    assert world.unet.config.motion_max_seq_length == 32
    torch.testing.assert_close(world.scheduler.alphas_cumprod, (1 - torch.linspace(0.00085, 0.012, 1000)).cumprod(0))
    image = UNet2DConditionModel.from_pretrained(weights_folder() / 'world', subfolder='unet')
    inside = world.unet.state_dict()
    assert all(torch.equal(weight, inside[name]) for name, weight in image.state_dict().items())


def test_world_weights_are_small_and_no_pickles():
    files = [file for file in weights_folder().rglob('*') if file.is_file()]
    assert {file.suffix for file in files} <= {'.safetensors', '.json', '.txt', '.md'}
    assert sum(file.stat().st_size for file in files) <= 40e6
    judge = weights_folder() / 'judge'
    assert sum(file.stat().st_size for file in judge.iterdir()) <= 3e6


def test_world_words_are_single_tokens(world):
    assert unknown_words(world, ' '.join(VOCABULARY)) == []
    assert unknown_words(world, 'a brown wolverine') == ['wolverine']


def test_world_vae(world):
    video = random_scene(4).render(frames=2).video
    assert psnr(world.decode(world.encode(video)), video) > 26  # one clip; the mean over scenes is 31


def test_shipped_judge_reads_unseen_scenes():
    judge = load_judge()
    scenes = [random_scene(seed) for seed in range(12)]
    read = [judge.read(scene.render().video) for scene in scenes]
    for name in world_classes():
        assert sum(words[name] == scene.attributes[name] for words, scene in zip(read, scenes)) >= 11


# ---- models as the methods see them ----

def test_models_keep_the_protocol(tiny_model):
    image = ImageModel(tiny_model.pipe)
    for model in (tiny_model, image, Wrapped(tiny_model, None)): assert isinstance(model, VideoModel)
    assert tiny_model.limits.frames == 24 and tiny_model.limits.factor == 8 and tiny_model.limits.tokens == 16
    assert tiny_model.traits.temporal_attention and not image.traits.temporal_attention
    assert as_model(tiny_model) is tiny_model and isinstance(as_model(tiny_model.pipe), AnimateDiff)
    assert isinstance(as_model(make_image_pipe()), ImageModel)
    with pytest.raises(TypeError, match='The model is a int'): as_model(3)


def test_a_wrapped_model_predicts_what_the_function_says(tiny_model):
    z, text = torch.randn(1, 4, 3, 4, 6), tiny_model.embed('a bear')
    double = Wrapped(tiny_model, lambda predict, z, t, text: 2 * predict(z, t, text))
    with torch.no_grad(): assert torch.equal(double.predict(z, 500, text), 2 * tiny_model.predict(z, 500, text))
    assert double.unet is tiny_model.unet and double.limits == tiny_model.limits


def test_the_image_model_predicts_frame_by_frame(world):
    alone = load_world_image_model('cpu')
    z, text = torch.randn(2, 8, 3, 16, 16), torch.stack([alone.embed(p)[0] for p in ('a fox', 'a bear', 'a car')])
    with torch.no_grad():
        together = alone.predict(z, 500, text.expand(2, 3, -1, -1))
        by_frame = torch.stack([alone.unet(z[:, :, f], 500, text[f].expand(2, -1, -1)).sample for f in range(3)], 2)
    torch.testing.assert_close(together, by_frame, rtol=1e-4, atol=1e-5)
    assert world.unet.config.sample_size == alone.unet.config.sample_size
    with pytest.raises(ValueError, match='no temporal attention'): alone.sites('temporal')


@pytest.mark.parametrize('part', [['os', 'system'], ['torch', 'load'], ['diffusers', 'DiffusionPipeline'], ['transformers', 'pipeline'], ['mine', 'UNet']])
def test_pipelines_of_unknown_classes_are_not_loaded(saved, tmp_path, part):
    import json
    shutil.copytree(saved[0] / 'whole', tmp_path / 'whole')
    index = json.loads((tmp_path / 'whole' / 'model_index.json').read_text())
    (tmp_path / 'whole' / 'model_index.json').write_text(json.dumps(index | dict(text_encoder=part)))
    with pytest.raises(ValueError, match=f'makes its text_encoder of {part[0]}.{part[1]}'): load(tmp_path / 'whole')


def test_pipelines_with_code_are_not_loaded(saved, tmp_path):
    shutil.copytree(saved[0] / 'whole', tmp_path / 'whole')
    (tmp_path / 'whole' / 'unet' / 'mine.py').write_text('print("hello")')
    with pytest.raises(ValueError, match=r'brings code of its own \(mine.py\)'): load(tmp_path / 'whole')


@pytest.mark.parametrize('kind', ['video', 'image'])
def test_the_unet_is_told_the_time_where_it_computes(kind):
    "A number would be brought to a GPU in every call, and the GPU waited for."
    model = build_model(TINY, torch.device('cpu'), torch.float32, kind=kind)
    told, unet = [], model.unet
    hook = unet.register_forward_pre_hook(lambda module, args: told.append(args[1]))
    z, text = torch.randn(1, 4, 3, 8, 8), model.embed('a bear')
    try:
        with torch.no_grad(): plain, again = model.predict(z, 500, text), model.predict(z, torch.tensor(500), text)
    finally: hook.remove()
    assert all(torch.is_tensor(t) and t == 500 and t.dtype == torch.int64 and t.device == unet.device for t in told) and len(told) == 2
    assert torch.equal(plain, again)


def test_motion_modules_are_not_held_twice():
    "They are some hundreds of megabytes, which a small GPU should not hold a second time."
    pipe = make_tiny_model().pipe
    assert pipe.motion_adapter is not None
    move(pipe, 'meta', torch.float16)
    assert pipe.motion_adapter is None and pipe.device.type == 'meta' and pipe.dtype == torch.float16
    assert {pipe.unet.device.type, pipe.vae.device.type, pipe.text_encoder.device.type} == {'meta'}
    assert build_model(TINY, torch.device('cpu'), torch.float32).pipe.motion_adapter is None
