"Words over frames, steps and layers: rows are the words asked for, and the numbers are those recorded."
import pytest
import torch
from figures import F, L, clip, draw, h, rows, scales, titles, w

from videodirector.attention.recording import Recording
from videodirector.attention.words import Word
from videodirector.parts.control import refine, replace_words
from videodirector.show.cross_attention import show_alignment, show_attention, show_change, show_layers, show_steps


def test_attention_sums_the_pieces_of_a_word(tiny_pipe):
    maps = draw(F, h, w, L)
    fig = show_attention(maps, tiny_pipe.tokenizer, 'a red zoo, on grass', clip())
    assert [row.split('\n')[0] for row in rows(fig)] == ['red', 'zoo', 'grass']
    zoo = next(axis for axis in fig.axes if axis.get_ylabel().startswith('zoo')).images[-1]
    torch.testing.assert_close(torch.as_tensor(zoo.get_array().data), maps[0, ..., 3:6].sum(-1))
    chosen = show_attention(maps, tiny_pipe.tokenizer, 'a red zoo, on grass', clip(), words=['on'], limits=None)
    assert rows(chosen)[0].startswith('on')


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


def test_change_has_one_scale_for_maps_and_one_around_zero():
    a, b = draw(F, h, w), 3 * draw(F, h, w, seed=1)
    fig = show_change(a, b, clip(), frames=2)
    assert rows(fig)[:4] == ['source', 'map of source', 'map of edit', 'edit − source'] and len(scales(fig)) == 1
    difference = fig.axes[6].images[0]
    torch.testing.assert_close(torch.as_tensor(difference.get_array().data), b[0] - a[0])
    assert difference.get_clim()[0] == -difference.get_clim()[1]


def test_alignment_names_tokens_and_marks_new_words(tiny_pipe):
    fig = show_alignment(refine(tiny_pipe.tokenizer, 'a bear on grass', 'a zoo on grass'))
    labels = fig.axes[0].get_xticklabels()
    assert [x.get_text() for x in labels] == ['[start]', 'a', 'zoo', '·', '·', 'on', 'grass', '[end]']
    assert [x.get_text() for x in labels if x.get_fontweight() == 'bold'] == ['zoo', '·', '·']
    assert show_alignment(replace_words(tiny_pipe.tokenizer, 'a bear', 'a zoo')).axes
