"Attention against masks."
import pytest
import torch
from bench_cases import model  # noqa: F401

from videodirector.bench.readability import cell_mask, map_iou, role_tokens, word_maps
from videodirector.data.mask import Mask
from videodirector.world.scene import Scene


def test_cell_mask_asks_for_more_than_half():
    mask = torch.zeros(1, 8, 8, dtype=torch.bool)
    mask[0, :4, :2] = True  # half of the first cell
    mask[0, 4:, 4:7] = True  # three quarters of the last
    assert cell_mask(Mask(mask), (2, 2)).tolist() == [[[False, False], [False, True]]]


def test_map_iou_by_hand():
    mask = torch.tensor([[[1, 1, 0], [0, 0, 0]]], dtype=torch.bool)
    assert map_iou(torch.tensor([[[.9, .8, .1], [0, 0, 0]]]), mask) == 1
    assert map_iou(torch.tensor([[[.9, .1, .8], [0, 0, 0]]]), mask) == pytest.approx(1 / 3)
    assert map_iou(torch.tensor([[[.1, .2, .3], [0, .9, .8]]]), mask) == 0


def test_map_iou_is_a_mean_over_frames_that_show_something():
    heat = torch.tensor([[[.9, .1]], [[.9, .1]], [[.9, .1]]])
    mask = torch.tensor([[[1, 0]], [[0, 1]], [[0, 0]]], dtype=torch.bool)
    assert map_iou(heat, mask) == .5
    assert map_iou(heat[2:], mask[2:]) is None


def test_map_iou_does_not_mind_the_scale():
    heat, mask = torch.rand(4, 6, 5), torch.rand(4, 6, 5) > .7
    assert map_iou(heat, mask) == map_iou(3 * heat + 1, mask)


def test_role_tokens_find_every_naming_word(model):
    scene = Scene('bear', 'rocks', 'left', colour='red', accessory='hat', pan='left')
    tokens = role_tokens(model, scene)
    ids = model.tokenizer(scene.caption).input_ids
    text = {role: model.tokenizer.decode([ids[i] for i in where]) for role, where in tokens.items()}
    assert {role: words.replace(' ', '') for role, words in text.items()} == dict(
        subject='bear', colour='red', accessory='hat', motion='walkingleft', background='rockygroundstonewall')


def test_word_maps_at_full_size_only(model):
    scene = Scene('bear', 'rocks', 'left', colour='red')
    video = scene.render(frames=3, height=64, width=96).video
    maps = word_maps(model, scene, video)
    assert set(maps) == {'subject', 'colour', 'background', 'motion'}
    assert all(m.shape == (3, 8, 12) and m.isfinite().all() and m.min() >= 0 for m in maps.values())
    torch.testing.assert_close(maps['subject'], word_maps(model, scene, video)['subject'])
