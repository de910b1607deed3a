"Grids share their limits, name their axes, and show the numbers they were given."
import torch
from figures import F, clip, draw, h, rows, scales, titles, w

from videodirector.show.grid import Axis, limits_of, show_difference, show_maps, show_matrices, spread


def test_spread(): assert spread(16, 6) == [0, 3, 6, 9, 12, 15] and spread(3, 6) == [0, 1, 2] and spread(1, 6) == [0]


def test_limits_are_common_and_ignore_single_outliers():
    a, b = torch.linspace(0, 1, 1000), torch.linspace(0, 2, 1000)
    assert limits_of([a, b]) == limits_of([b, a]) and 1.9 < limits_of([a, b])[1] <= 2
    b[0] = 100
    assert limits_of([a, b])[1] <= 2
    assert limits_of([torch.zeros(3)])[1] > 0 and limits_of([torch.tensor([-1., 1.])])[0] == -1


def test_maps_share_their_scale():
    fig = show_maps({'weak': draw(F, h, w) / 10, 'strong': draw(F, h, w, seed=1)}, {'source': clip()}, frames=3)
    assert titles(fig)[:3] == ['frame 0', 'frame 2', 'frame 4']
    assert rows(fig)[:3] == ['source', 'weak', 'strong'] and len(scales(fig)) == 1
    each = show_maps({'weak': draw(F, h, w) / 10, 'strong': draw(F, h, w, seed=1)}, limits='each')
    assert len(scales(each)) == 2


def test_difference_shares_its_scale():
    reference = clip()
    fig = show_difference({'same': reference, 'other': clip(1)}, reference, frames=2)
    assert rows(fig)[:5] == ['reference', 'same', 'other', '|same − reference|', '|other − reference|']
    assert len(scales(fig)) == 1


def test_rows_and_columns_of_matrices_are_named(tmp_path):
    fig = show_matrices({'m': draw(3, 4)}, Axis('x', list('abcd')), Axis('y', list('efg')))
    axis = fig.axes[0]
    assert [axis.get_xlabel(), axis.get_ylabel()] == ['x', 'y']
    assert [[tick.get_text() for tick in ticks] for ticks in (axis.get_xticklabels(), axis.get_yticklabels())] == [list('abcd'), list('efg')]
    fig.savefig(tmp_path / 'm.png')
    assert (tmp_path / 'm.png').stat().st_size > 1000
