"Positions and frames: averaged by mask, marked, stacked and coloured as they should be."
import numpy as np
import pytest
import torch
from figures import F, clip, draw, h, rows, w

from videodirector.show.self_attention import (frame_attention, show_components, show_keys, show_point, show_ribbons,
                                               show_temporal)


def test_frame_attention_weighs_by_query_frame():
    maps = torch.zeros(h, w, F, F)
    maps[0, 0, :, 1], maps[3, 5, :, 4] = 1, 1
    mask = torch.zeros(F, 8 * h, 8 * w, dtype=torch.bool)
    mask[:2, :8, :8] = True  # the first cell in frames 0 and 1, the last one afterwards
    mask[2:, -8:, -8:] = True
    got = frame_attention(maps, mask)
    assert got.argmax(1).tolist() == [1, 1, 4, 4, 4] and torch.equal(got.sum(1), torch.ones(F))
    torch.testing.assert_close(frame_attention(maps), maps.mean((0, 1)))
    with pytest.raises(ValueError, match='empty in some frame'): frame_attention(maps, mask & False)
    fig = show_temporal({'a': got, 'b': got / 2})
    assert len({axis.images[0].get_clim() for axis in fig.axes[:2]}) == 1
    assert fig.axes[0].get_xlabel() == 'looks at frame'


def test_ribbons_are_stacked_from_past_to_future():
    maps = torch.eye(F).roll(1, 1)  # each looks at the next one, the last at the first
    fig = show_ribbons({'next': maps, 'self': torch.eye(F)})
    heights = [[[c.get_paths()[0].vertices[:, 1].max() for c in axis.collections][i] for i in (0, F - 1, F)] for axis in fig.axes[:2]]
    assert heights == [[1., 1., 1.], [0., 1., 1.]]  # after F − 1 frames before, itself, and the next one
    spans = [c.get_paths()[0].vertices for c in fig.axes[1].collections]
    assert [v[:, 1].max() - v[:, 1].min() for v in spans].index(1.) == F - 1 and len(spans) == 2 * F - 1


def test_point_is_marked():
    fig = show_point(draw(F, h, w, h * w), 1, 2, clip(), frames=2)
    assert [line.get_xydata().tolist() for axis in fig.axes[:2] for line in axis.lines] == [[[20., 12.]]] * 2
    both = draw(F, h, w, 2 * h * w)  # SA-II's maps hold the source's keys first
    shown = show_point(both, 1, 2, clip()).axes[0].images[-1].get_array()
    torch.testing.assert_close(torch.as_tensor(shown.data).flatten(), both[0, 1, 2, h * w:])


def test_components_tell_apart_what_looks_at_different_places():
    maps = torch.zeros(F, h, w, h * w)
    maps[:, :, :3, 0], maps[:, :, 3:, 7] = 1, 1  # the left half looks at the first position, the right one at another
    shown = show_components(maps, clip(), frames=1).axes[1].images[0].get_array()
    assert abs(shown[:, :3] - shown[:, 3:]).max() > .9 and np.ptp(shown[:, :3], (0, 1)).max() < .1 > np.ptp(shown[:, 3:], (0, 1)).max()


def test_hidden_keys_are_dark():
    mask = torch.zeros(F, 8 * h, 8 * w, dtype=torch.bool)
    mask[0, 3, 3] = True  # a single pixel, in the first cell
    fig = show_keys(torch.ones(F, 3, 8 * h, 8 * w), mask, [(h, w), (2, 3)], frames=2)
    fine, coarse = (fig.axes[i].images[0].get_array()[..., 0] < 100 for i in (0, 2))
    assert rows(fig) == ['4×6', '2×3'] and fine[:8, :8].all() and fine.sum() == 64 and coarse.sum() == 256
    assert fig.axes[1].images[0].get_array().min() == 255  # nothing is hidden in the last frame
    assert show_keys(torch.ones(F, 3, 8 * h, 8 * w), mask, [(h, w)], coverage=.5).axes[0].images[0].get_array().min() == 255
