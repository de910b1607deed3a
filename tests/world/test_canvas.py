"Pixels: where they are and how much of each is covered."
import torch

from videodirector.world.canvas import cover, paint, pixel_places


def test_the_unit_is_the_shorter_side():
    x, y = pixel_places(2, 4)
    assert x.shape == (1, 1, 4) and x.flatten().tolist() == [-.75, -.25, .25, .75]
    assert y.shape == (1, 2, 1) and y.flatten().tolist() == [-.25, .25]


def test_cover_is_half_at_the_edge():
    assert cover(torch.tensor([-1., 0., 1.]), 10).tolist() == [1, .5, 0]


def test_paint_mixes_by_coverage():
    image = paint(torch.zeros(1, 3, 1, 2), (1., .5, 0.), torch.tensor([[[1., .5]]]))
    assert image[0, :, 0].tolist() == [[1, .5], [.5, .25], [0, 0]]
