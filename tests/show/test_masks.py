"Masks and clicks drawn into their clip."
import torch
from clips import moving_disc

from videodirector.data.mask import Mask
from videodirector.show.masks import mark, overlay


def test_overlay_marks_the_thing():
    video, disc = torch.zeros(3, 3, 40, 60), Mask(moving_disc())
    out = overlay(video, disc)
    assert out.shape == video.shape and out.abs().max() <= 1 and not video.any()
    assert not torch.equal(out[0, :, 18, 20], out[0, :, 0, 0])
    assert not torch.equal(overlay(video, disc, (.2, .5, 1)), out)


def test_clicks_are_drawn_where_they_were_made():
    video = torch.zeros(2, 3, 40, 60)
    out = mark(video, [(10, 20), (40, 5, 0)], frame=1)
    red, green, _ = out[1]
    assert green[20, 10] > red[20, 10] and red[5, 40] > green[5, 40]
    assert not out[0].any() and not out[1, :, 30:, 30:].any() and not video.any()
