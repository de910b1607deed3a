"What the tests of the methods on an image model share: a tiny one, a clip, and every way to look at a result."
from dataclasses import replace

import torch
from conftest import make_tiny_pipe

from videodirector.base.run import Run
from videodirector.methods.api import Clip
from videodirector.models.animatediff import AnimateDiff
from videodirector.models.image import ImageModel
from videodirector.parts.inversion import sample_ddim

SOURCE, TARGET = 'a brown bear walking on grass', 'a brown tiger walking on grass'
HEIGHT, WIDTH = 32, 48
QUIET = Run(progress=False)


def image_model(seed=0):
    "The tiny pipeline with an image UNet."
    pipe = make_tiny_pipe(seed)
    torch.manual_seed(seed)
    pipe.unet = tiny_unet()
    return ImageModel(pipe)


def tiny_unet(layers=1, blocks=3):
    "A random UNet with attention at all levels but the coarsest: of three levels as the embedded one's, of four as Stable Diffusion 1.5's."
    from diffusers import UNet2DConditionModel
    return UNet2DConditionModel(
        sample_size=8, block_out_channels=(8, *[16] * (blocks - 1)), layers_per_block=layers, norm_num_groups=4, attention_head_dim=2,
        cross_attention_dim=16, down_block_types=(*['CrossAttnDownBlock2D'] * (blocks - 1), 'DownBlock2D'),
        up_block_types=('UpBlock2D', *['CrossAttnUpBlock2D'] * (blocks - 1))).eval()


def clip(frames=5, height=HEIGHT, width=WIDTH):
    return Clip(torch.rand(frames, 3, height, width, generator=torch.manual_seed(0)) * 2 - 1, SOURCE)


def video_model(): return AnimateDiff(make_tiny_pipe())


def plain(model, source, prompt, scale):
    "The clip that DDIM with guidance makes of the noise, frame by frame."
    plan = model.schedule(len(source.schedule), scale)
    return sample_ddim(model, source.pivots[-1:], model.embed(prompt), model.embed(''), plan, QUIET)


def sampled(model, source, prompt):
    "The same noise, but with latents that sampling passes, so that sampling beside them can be exact."
    path = sample_ddim(model, source.pivots[-1:], model.embed(prompt), None, source.schedule, QUIET, path=True)
    return replace(source, pivots=path.flip(0))


def state_of(unet):
    "All that a run may leave behind in a UNet."
    return dict(unet.attn_processors), [len(m._forward_hooks) for m in unet.modules()], [p.requires_grad for p in unet.parameters()]
