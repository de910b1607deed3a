"Views are figures whose limits are shared, whose axes are named, and which show the numbers they were given."
import matplotlib
matplotlib.use('Agg')
import matplotlib.pyplot as plt
import pytest
import torch
from videodirector.control import refine, replace_words
from videodirector.show import (frame_attention, limits_of, show_alignment, show_attention, show_difference, show_maps,
                                show_matrices, show_null, show_point, show_temporal, spread)

F, h, w, L = 5, 4, 6, 16


def draw(*shape, seed=0): return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))
def clip(seed=0): return draw(F, 3, 8 * h, 8 * w, seed=seed) * 2 - 1
def titles(fig): return [axis.get_title() for axis in fig.axes]
def rows(fig): return [axis.get_ylabel() for axis in fig.axes if axis.get_ylabel()]
def images(fig): return [image for axis in fig.axes for image in axis.images]
def scales(fig): return {image.get_clim() for image in images(fig) if image.get_cmap().name == 'magma'}


@pytest.fixture(autouse=True)
def nothing_left_open():
    yield
    assert not plt.get_fignums()


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


def test_attention_sums_the_pieces_of_a_word(tiny_pipe):
    maps = draw(F, h, w, L)
    fig = show_attention(maps, tiny_pipe.tokenizer, 'a red zoo, on grass', clip())
    assert [row.split('\n')[0] for row in rows(fig)] == ['red', 'zoo', 'grass']
    zoo = next(axis for axis in fig.axes if axis.get_ylabel().startswith('zoo')).images[-1]
    torch.testing.assert_close(torch.as_tensor(zoo.get_array().data), maps[0, ..., 3:6].sum(-1))
    chosen = show_attention(maps, tiny_pipe.tokenizer, 'a red zoo, on grass', clip(), words=['on'], limits=None)
    assert rows(chosen)[0].startswith('on')


def test_alignment_names_tokens_and_marks_new_words(tiny_pipe):
    fig = show_alignment(refine(tiny_pipe.tokenizer, 'a bear on grass', 'a zoo on grass'))
    labels = fig.axes[0].get_xticklabels()
    assert [x.get_text() for x in labels] == ['[start]', 'a', 'zoo', '·', '·', 'on', 'grass', '[end]']
    assert [x.get_text() for x in labels if x.get_fontweight() == 'bold'] == ['zoo', '·', '·']
    assert show_alignment(replace_words(tiny_pipe.tokenizer, 'a bear', 'a zoo')).axes


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


def test_point_is_marked():
    fig = show_point(draw(F, h, w, h * w), 1, 2, clip(), frames=2)
    assert [line.get_xydata().tolist() for axis in fig.axes[:2] for line in axis.lines] == [[[20., 12.]]] * 2
    both = draw(F, h, w, 2 * h * w)  # SA-II's maps hold the source's keys first
    shown = show_point(both, 1, 2, clip()).axes[0].images[-1].get_array()
    torch.testing.assert_close(torch.as_tensor(shown.data).flatten(), both[0, 1, 2, h * w:])


def test_difference_and_null_text():
    reference = clip()
    fig = show_difference({'same': reference, 'other': clip(1)}, reference, frames=2)
    assert rows(fig)[:5] == ['reference', 'same', 'other', '|same − reference|', '|other − reference|']
    assert len(scales(fig)) == 1
    null = show_null(torch.ones(7, F, L, 3), torch.zeros(1, L, 3))
    assert null.axes[0].images[0].get_array().shape == (F, 7) and null.axes[0].images[0].get_array().max() == 1


def test_matrices_can_be_saved(tmp_path):
    show_matrices({'m': draw(3, 4)}, 'x', 'y', list('abcd'), list('efg')).savefig(tmp_path / 'm.png')
    assert (tmp_path / 'm.png').stat().st_size > 1000
