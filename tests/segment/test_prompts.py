"Clicks, boxes and masks of one frame."
import pytest
import torch
import torch.nn.functional as F
from clips import moving_disc
from sentences import refuses

from videodirector.data.mask import Mask
from videodirector.segment.prompts import check_prompts, clicks_by_frame, middle, sam2_prompts

CLIP = (3, 3, 40, 60)


class Square:
    "All that prompts want to know of a model."
    image_size, device = 64, 'cpu'


def test_clicks_come_in_many_forms():
    assert clicks_by_frame((3, 4)) == {0: [(3, 4, 1)]} and clicks_by_frame(None) == {}
    assert clicks_by_frame({2: [(3, 4, 0), (5, 6)], 5: (7, 8)}) == {2: [(3, 4, 0), (5, 6, 1)], 5: [(7, 8, 1)]}
    for wrong in ([(5, 5, 7)], [(5,)]): refuses('is no click', clicks_by_frame, wrong)


def test_the_middle_is_farthest_from_the_edge():
    assert middle(torch.ones(5, 9, dtype=torch.bool))[1] == 2, 'the edge of the frame is an edge, too'
    assert [middle(frame) for frame in moving_disc()] == [(20, 18), (25, 18), (30, 18)]


@pytest.mark.parametrize('seed', range(6))
def test_the_middle_is_what_all_distances_say(seed):
    noise = torch.rand(1, 23, 31, generator=torch.Generator().manual_seed(seed))
    frame = F.avg_pool2d(noise, 5, 1, 2)[0] > .5
    places, edge = frame.nonzero().double(), (~F.pad(frame, [1] * 4)).nonzero().double() - 1
    deepest = (places[:, None] - edge).norm(dim=2).amin(1).argmax()
    assert middle(frame) == tuple(places[deepest].int().flip(0).tolist())


@pytest.mark.parametrize('prompts, words', [
    (dict(), 'Nothing says what'), (dict(clicks={3: [(5, 5, 1)]}), 'Frame 3 is not in the clip'),
    (dict(box=(1, 1, 5, 5), frame=-1), 'Frame -1 is not in the clip'), (dict(clicks={0: [(5, 5, 0)]}), 'only clicks beside'),
    (dict(clicks={0: [(60, 5, 1)]}), 'lies outside the 60×40 frame'), (dict(box=(5, 5, 5, 9)), 'covers no pixel'),
    (dict(clicks={0: [(5, 5, 1)]}, mask=torch.ones(40, 60)), 'one or the other'),
    (dict(box=(1, 1, 5, 5), mask=torch.ones(40, 60)), 'one or the other')])
def test_prompts_that_do_not_fit(prompts, words): refuses(words, check_prompts, CLIP, **dict(clicks={}) | prompts)


def test_prompts_that_fit():
    check_prompts(CLIP, {0: [(5, 5, 0)]}, box=(1, 1, 9, 9))
    check_prompts(CLIP, {0: [(5, 5, 1), (9, 9, 0)], 2: [(59, 39, 1)]})
    check_prompts(CLIP, {1: [(5, 5, 1)]}, mask=torch.ones(40, 60))


def test_a_box_is_two_clicks_before_the_others():
    made = sam2_prompts(CLIP, {1: [(29, 19, 1)]}, (0, 0, 60, 40), None, 1, Square)
    inputs = made[1]['point_inputs']
    assert list(made) == [1] and inputs['point_labels'].tolist() == [[2, 3, 1]]
    torch.testing.assert_close(inputs['point_coords'][0], torch.tensor([[0., 0], [64, 64], [29.5 * 64 / 60, 19.5 * 64 / 40]]))


def test_a_mask_is_made_square():
    disc = Mask(moving_disc())
    made = sam2_prompts(CLIP, {}, None, disc, 2, Square)[2]['mask_inputs']
    assert made.shape == (1, 1, 64, 64) and set(made.unique().tolist()) == {0, 1}
    assert made.mean() == pytest.approx(disc.area[2].item(), abs=.01)
    assert torch.equal(sam2_prompts(CLIP, {}, None, disc.hard[2], 2, Square)[2]['mask_inputs'], made)
    refuses('The mask is 20×60 and the clip 40×60', sam2_prompts, CLIP, {}, None, disc.hard[0, :20], 0, Square)
    refuses('frame 0 is empty', sam2_prompts, CLIP, {}, None, torch.zeros(40, 60), 0, Square)
