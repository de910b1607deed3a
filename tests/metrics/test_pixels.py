"Pixel metrics against their formulas."
import pytest
import torch
from clips import gliding
from torch.testing import assert_close

from videodirector.metrics.pixels import check_pair, paste_source, ssim


def test_ssim_of_flat_pictures_is_the_formula():
    a, b = torch.full((2, 3, 32, 32), -.5), torch.full((2, 3, 32, 32), .1)  # brightness .25 and .55
    assert_close(ssim(a, b), (2 * .25 * .55 + 1e-4) / (.25 ** 2 + .55 ** 2 + 1e-4), rtol=1e-4, atol=0)


def test_ssim_orders_noise():
    clip = gliding()
    noise = torch.randn(clip.shape, generator=torch.manual_seed(1))
    assert ssim(clip, clip) == pytest.approx(1)
    assert 1 > ssim(clip, clip + .05 * noise) > ssim(clip, clip + .3 * noise)


def test_pasting_leaves_only_what_lies_outside():
    a, b, region = gliding(), gliding(seed=1), torch.zeros(5, 64, 96, dtype=torch.bool)
    region[:, 10:20] = True
    rest = paste_source(a, b, region)
    assert torch.equal(rest[:, :, 10:20], b[:, :, 10:20]) and torch.equal(rest[:, :, 20:], a[:, :, 20:])


@pytest.mark.parametrize('call, message', [
    (lambda c, m: check_pair(c[0], c[0]), 'Clips of shapes'),
    (lambda c, m: ssim(c, c[:2]), 'Clips of shapes'),
    (lambda c, m: paste_source(c, c, m[:2]), 'The mask has shape')])
def test_errors_are_sentences(call, message):
    with pytest.raises(ValueError, match=message): call(gliding(), torch.zeros(5, 64, 96, dtype=torch.bool))
