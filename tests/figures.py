"Maps to be drawn, and what a figure shows of them."
import torch

F, h, w, L = 5, 4, 6, 16  # frames, grid, tokens


def draw(*shape, seed=0): return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))
def clip(seed=0): return draw(F, 3, 8 * h, 8 * w, seed=seed) * 2 - 1
def titles(fig): return [axis.get_title() for axis in fig.axes]
def rows(fig): return [axis.get_ylabel() for axis in fig.axes if axis.get_ylabel()]
def images(fig): return [image for axis in fig.axes for image in axis.images]
def scales(fig): return {image.get_clim() for image in images(fig) if image.get_cmap().name == 'magma'}
