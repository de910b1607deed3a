"Motion smoothness and motion error against constructed clips."
import pytest
import torch
from clips import gliding
from torch.testing import assert_close

from videodirector.metrics.motion import halfway, interpolator, motion_error, motion_smoothness


def test_halfway_finds_the_frame_between():
    clip, inside = gliding(3), (..., slice(12, -12), slice(12, -12))
    error = (halfway(clip[0], clip[2]) - clip[1])[inside].abs().mean()
    assert error < .2 * ((clip[0] + clip[2]) / 2 - clip[1])[inside].abs().mean()


def test_smoothness_drops_every_second_frame():
    seen = []
    clip = torch.zeros(6, 3, 8, 8)
    clip[1], clip[3], clip[5] = .5, 1, -1  # the last has no frame after it
    score = motion_smoothness(clip, lambda a, b: seen.append(1) or (a + b) / 2)
    assert len(seen) == 2 and score == pytest.approx(1 - (.5 + 1) / 2 / 2)


def test_smoothness_orders_still_gliding_and_flickering():
    clip = gliding()
    flicker = (clip + .1 * torch.tensor([1., -1, 1, -1, 1])[:, None, None, None]).clamp(-1, 1)
    assert motion_smoothness(clip[:1].expand(5, -1, -1, -1)) > .9999
    assert 1 > motion_smoothness(clip) > motion_smoothness(flicker) + .02


def later(a, b):
    "Stands in for AMT, and is as particular about what it is given."
    assert a.shape == b.shape and len(a) == 1 and not any(side % 16 for side in a.shape[2:]) and a.min() >= 0 and b.max() <= 1
    return (a + 3 * b) / 4


@pytest.mark.parametrize('size', [(64, 96), (60, 83)])
def test_an_interpolator_gets_what_it_wants_and_fits(size):
    clip = gliding()[..., :size[0], :size[1]]
    assert_close(interpolator(later)(clip[0], clip[2]), (clip[0] + 3 * clip[2]) / 4, rtol=0, atol=1e-5)


def test_frames_are_widened_by_their_edges():
    clip, seen = gliding()[..., :60, :83], []
    interpolator(lambda a, b: seen.append(a) or a)(clip[0], clip[2])
    wide = seen[0][0] * 2 - 1
    assert wide.shape == (3, 64, 96)
    assert_close(wide[:, 2:62, 6:89], clip[0])
    assert_close(wide[:, 2:62, :6], clip[0][..., :1].expand(-1, -1, 6))


def test_motion_error_is_the_difference_of_speeds():
    mask = torch.zeros(5, 64, 96, dtype=torch.bool)
    mask[:, 16:-16, 16:-16] = True
    assert motion_error(gliding(2), gliding(2), mask) == 0
    assert motion_error(gliding(2), gliding(4), mask) == pytest.approx(2, abs=.3)


@pytest.mark.parametrize('call, message', [
    (lambda c, m: motion_smoothness(c[:2]), 'has 2 frames'),
    (lambda c, m: motion_error(c[:1], c[:1], m[:1]), 'one frame'),
    (lambda c, m: motion_error(c, c, m), 'foreground is empty')])
def test_errors_are_sentences(call, message):
    with pytest.raises(ValueError, match=message): call(gliding(), torch.zeros(5, 64, 96, dtype=torch.bool))
