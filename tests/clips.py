"Clips made of nothing, for tests that need motion or texture."
import torch
import torch.nn.functional as F


def texture(height=64, width=96, seed=0):
    "A smooth random picture [3,H,W] in [-1,1]."
    small = torch.rand(1, 3, height // 8, width // 8, generator=torch.manual_seed(seed)) * 2 - 1
    return F.interpolate(small, (height, width), mode='bicubic').clamp(-1, 1)[0]


def gliding(speed=2, frames=5, seed=0):
    "A clip whose picture glides to the right, `speed` pixels a frame."
    wide = texture(64, 160, seed)
    return torch.stack([wide[..., 40 - speed * i:40 - speed * i + 96] for i in range(frames)])
