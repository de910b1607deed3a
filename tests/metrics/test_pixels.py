"Pixel metrics against their formulas."
from math import inf, log10

import pytest
import torch
from clips import gliding, moving_mask
from sentences import refuses
from torch.testing import assert_close

from videodirector.data.mask import Mask
from videodirector.metrics.pixels import check_pair, paste_source, psnr, ssim


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
    (lambda c, m: paste_source(c, c, m[:2]), 'The mask has shape'),
    (lambda c, m: paste_source(c, c, m.float()), 'The mask is torch.float32')])
def test_errors_are_sentences(call, message):
    with pytest.raises(ValueError, match=message): call(gliding(), torch.zeros(5, 64, 96, dtype=torch.bool))


def test_psnr_is_the_textbook_formula():
    clip = gliding()
    other = (clip + .1).clamp(-1, 1)
    a, b = [(x.double().numpy() + 1) / 2 for x in (clip, other)]
    assert psnr(clip, other) == pytest.approx(10 * log10(1 / ((a - b) ** 2).mean()), abs=1e-4)
    assert psnr(clip, clip) == inf


def test_psnr_looks_at_the_mask_only():
    clip, mask = gliding(), Mask(moving_mask(5, 64, 96))
    changed = torch.where(mask.hard[:, None], clip + .2, clip)
    assert psnr(clip, changed, ~mask) == inf
    assert psnr(clip, changed, mask) == pytest.approx(10 * log10(4 / .04), abs=1e-3)


@pytest.mark.parametrize('other, mask, words', [
    (gliding()[:3], None, 'one shape'), (gliding(), torch.zeros(5, 64, 96), 'give booleans'),
    (gliding(), torch.ones(5, 8, 8) > 0, 'is 8×8 and the clip 64×96'), (gliding(), torch.zeros(5, 64, 96) > 0, 'is empty')])
def test_psnr_of_what_does_not_fit(other, mask, words): refuses(words, psnr, gliding(), other, mask)
