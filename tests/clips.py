"Clips made of nothing, for tests that need motion or texture."
import torch
import torch.nn.functional as F
from PIL import Image


def texture(height=64, width=96, seed=0):
    "A smooth random picture [3,H,W] in [-1,1]."
    small = torch.rand(1, 3, height // 8, width // 8, generator=torch.manual_seed(seed)) * 2 - 1
    return F.interpolate(small, (height, width), mode='bicubic').clamp(-1, 1)[0]


def gliding(speed=2, frames=5, seed=0):
    "A clip whose picture glides to the right, `speed` pixels a frame."
    wide = texture(64, 160, seed)
    return torch.stack([wide[..., 40 - speed * i:40 - speed * i + 96] for i in range(frames)])


def moving_clip(frames=6, height=32, width=48):
    "Soft moving waves: smooth enough for a codec, different in every frame."
    t = torch.arange(frames).view(-1, 1, 1, 1) / frames
    y = torch.linspace(0, 1, height).view(1, 1, -1, 1)
    x = torch.linspace(0, 1, width).view(1, 1, 1, -1)
    phase = torch.tensor([0., 1, 2]).view(1, 3, 1, 1)
    return torch.sin(6 * (t + x) + phase) * torch.cos(3 * y + phase)


def moving_mask(frames=6, height=32, width=48):
    "A square that moves right, as booleans [F,H,W]."
    mask = torch.zeros(frames, height, width, dtype=torch.bool)
    for i in range(frames): mask[i, 8:24, 4 + 2 * i:20 + 2 * i] = True
    return mask


def moving_disc(frames=3, height=40, width=60):
    "A disc of radius 10 that moves right, as booleans [F,H,W]."
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing='ij')
    return torch.stack([(x - 20 - 5 * f) ** 2 + (y - 18) ** 2 <= 100 for f in range(frames)])


def write_frames(folder, arrays):
    "A folder with one picture for each array."
    folder.mkdir()
    for i, array in enumerate(arrays): Image.fromarray(array).save(folder / f'{i}.png')
    return folder
