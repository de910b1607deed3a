"Views are figures whose limits are shared, whose axes are named, and which show the numbers they were given."
import base64
import io

import matplotlib
matplotlib.use('Agg')
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from browser import write_notebook
from PIL import Image
from videodirector.attention.recording import Recording
from videodirector.attention.words import Word
from videodirector.parts.control import refine, replace_words
from videodirector.show.cross_attention import (
    show_alignment, show_attention, show_change, show_layers, show_steps)
from videodirector.show.grid import limits_of, show_difference, show_maps, show_matrices, spread
from videodirector.show.inversion import show_guidance, show_losses, show_null
from videodirector.show.paint import attention_video
from videodirector.show.playing import Playing
from videodirector.show.self_attention import (
    frame_attention, show_components, show_keys, show_point, show_ribbons, show_temporal)

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


def recorded():
    "Two sites of different size, steps 1 and 4; the second word has the values 1, 4, 10 and 40 (site × step)."
    made = Recording()
    made.words = {'edit_cond': [Word('a', (1,), (0,)), Word('bear', (2,), (1,))]}
    for site, size, factor in (('fine', (h, w), 1), ('coarse', (2, 3), 10)):
        made.kind_of[site] = 'cross'
        for step in (1, 4):
            made.maps[site, step, 'edit_cond'] = torch.zeros(F, *size, L)
            made.maps[site, step, 'edit_cond'][..., 2] = step * factor
    return made


def test_steps_and_layers_of_a_word():
    fig = show_steps(recorded(), ['bear'], clip(), frame=2)
    assert titles(fig)[:2] == ['step 1', 'step 4'] and rows(fig) == ['bear\n(max 22.00)']
    assert [axis.images[-1].get_array().max() for axis in fig.axes[:2]] == [5.5, 22.]  # both sites averaged
    fig = show_layers(recorded(), 'bear', clip())
    assert rows(fig) == ['fine\n(max 4.00)', 'coarse\n(max 40.00)']
    assert [axis.images[-1].get_array().max() for axis in fig.axes[:4]] == [1., 4., 10., 40.]
    with pytest.raises(ValueError, match="'cat' is no word"): show_steps(recorded(), ['cat'], clip())


def test_ribbons_are_stacked_from_past_to_future():
    maps = torch.eye(F).roll(1, 1)  # each looks at the next one, the last at the first
    fig = show_ribbons({'next': maps, 'self': torch.eye(F)})
    heights = [[[c.get_paths()[0].vertices[:, 1].max() for c in axis.collections][i] for i in (0, F - 1, F)] for axis in fig.axes[:2]]
    assert heights == [[1., 1., 1.], [0., 1., 1.]]  # after F − 1 frames before, itself, and the next one
    spans = [c.get_paths()[0].vertices for c in fig.axes[1].collections]
    assert [v[:, 1].max() - v[:, 1].min() for v in spans].index(1.) == F - 1 and len(spans) == 2 * F - 1


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


def test_change_has_one_scale_for_maps_and_one_around_zero():
    a, b = draw(F, h, w), 3 * draw(F, h, w, seed=1)
    fig = show_change(a, b, clip(), frames=2)
    assert rows(fig)[:4] == ['source', 'map of source', 'map of edit', 'edit − source'] and len(scales(fig)) == 1
    difference = fig.axes[6].images[0]
    torch.testing.assert_close(torch.as_tensor(difference.get_array().data), b[0] - a[0])
    assert difference.get_clim()[0] == -difference.get_clim()[1]


def test_losses_and_guidance_over_steps():
    curves = [line.get_xydata().tolist() for line in show_losses([[3., 2.], [5., 4., 1.]]).axes[0].lines]
    assert curves == [[[0, 3], [1, 2]], [[2, 5], [3, 4], [4, 1]]]
    gradients = torch.zeros(3, 4, F, h, w)
    gradients[1, :2] = torch.tensor([3., 4.])[:, None, None, None]
    fig = show_guidance(gradients, clip(), steps=[1, 2])
    assert rows(fig) == ['step 1\n(max 5)', 'step 2\n(max 0)']


def test_attention_as_a_video():
    maps = torch.zeros(F, h, w)
    maps[1, 0, 0] = 1
    played = attention_video(maps, torch.ones(F, 3, 8 * h, 8 * w), (0., 1.))
    assert played.shape == (F, 3, 8 * h, 8 * w) and len(played[0].unique()) == 1  # a dimmed white frame
    assert played[1, 0, 0, 0] > .9 and torch.equal(played[1, :, -8:], played[0, :, -8:])


def test_matrices_can_be_saved(tmp_path):
    show_matrices({'m': draw(3, 4)}, 'x', 'y', list('abcd'), list('efg')).savefig(tmp_path / 'm.png')
    assert (tmp_path / 'm.png').stat().st_size > 1000


PLAY = """import torch
from videodirector.show import Playing
Playing({'a': torch.rand(6, 3, 32, 33) * 2 - 1, 'b': torch.zeros(6, 3, 32, 48)}, zoom=2)"""


def test_clips_are_saved_as_gif():
    playing = Playing(clip())
    data, about = playing._repr_mimebundle_()
    assert about == {'image/png': {'width': 72}}
    picture = Image.open(io.BytesIO(base64.b64decode(data['image/png'])))
    assert (picture.format, picture.n_frames, picture.size) == ('GIF', 3, (8 * w, 8 * h))
    assert 'application/vnd.jupyter.widget-view+json' in data and 'kB of H.264' in data['text/plain']


def test_clips_play_in_a_browser(lab, tmp_path):
    lab.open(write_notebook(tmp_path / 'play.ipynb', PLAY, "print('it' + ' plays')"))
    lab.run_all('it plays')
    lab.page.wait_for_function('() => document.querySelector("video")?.currentTime > 0')
    assert lab.page.evaluate('() => { const v = document.querySelector("video"); return [v.videoWidth % 2, v.videoWidth > 80, v.loop] }') == [0, True, True]
    assert lab.errors == []
