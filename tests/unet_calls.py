"A random image UNet, and what a UNet is called with."
import torch
from diffusers import UNet2DConditionModel

F, L, C = 3, 16, 16  # frames, tokens, width of a token


def inputs(h, w, slots=2, dtype=torch.float32, seed=0):
    rng = torch.Generator().manual_seed(seed)
    def draw(*shape): return torch.randn(*shape, generator=rng).to(dtype)
    return draw(slots, 4, F, h, w), draw(slots * F, L, C)


def run(unet, z, text): return unet(z, 7, text).sample


def image_unet():
    torch.manual_seed(0)
    return UNet2DConditionModel(
        sample_size=8, block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4, attention_head_dim=2,
        cross_attention_dim=C, down_block_types=('CrossAttnDownBlock2D', 'DownBlock2D'),
        up_block_types=('UpBlock2D', 'CrossAttnUpBlock2D')).eval()
