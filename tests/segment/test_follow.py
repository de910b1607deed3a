"SAM 2 through clips: what is found, from which prompts, and what the memory is for."
import json

import pytest
import torch
from PIL import Image
from sentences import refuses

from videodirector.data.mask import iou
from videodirector.data.video import read_video, resize, to_bytes
from videodirector.models.folder import weights_folder
from videodirector.segment.follow import encode_frames, normalise, record_memory, segment, shuffled_memory
from videodirector.segment.prompts import middle
from videodirector.segment.sam2 import build_sam2, load_sam2
from videodirector.train.distractors import random_pair
from videodirector.train.sam2_measure import follow_pairs
from videodirector.train.sam2_model import tiny_config
from videodirector.world.scene import Scene, random_scene

FOX, UNSEEN, TWO = .9, .85, .83  # IoU that is asked of the shipped weights; they reach .94, .91 and .89


@pytest.fixture(scope='module')
def model(): return load_sam2()


@pytest.fixture(scope='module')
def render(): return Scene('fox', 'meadow', 'right', accessory='scarf', seed=4).render()


def test_a_fox_from_one_click(render, model):
    mask = segment(render.video, points=(36, 72), model=model)
    assert mask.values.shape == (16, 128, 128) and not mask.is_soft
    assert iou(mask, render.mask).mean() > FOX


def test_other_prompts(render, model):
    truth = render.mask
    late = segment(render.video, points={15: [middle(truth.hard[15])]}, model=model)
    box, given = segment(render.video, box=truth.boxes[0], model=model), segment(render.video, mask=truth, model=model)
    for mask in (late, box, given): assert iou(mask, truth).mean() > FOX - .05
    assert iou(given, truth)[0] > .95, 'the mask that was given is kept'
    x, y = middle(truth.hard[0])
    one, more = (segment(render.video, points=p, model=model) for p in ((x, y), [(x, y), (3, 3, 0), (x + 4, y)]))
    assert not torch.equal(one.values, more.values), 'further clicks change nothing'


def test_what_cannot_be_segmented(render, model):
    video = render.video
    refuses('The clip has shape', segment, video[:, :2], points=(5, 5), model=model)
    refuses('lies outside the 128×128 frame', segment, video, points=(128, 5), model=model)
    refuses('is empty', segment, video, mask=torch.zeros(128, 128), model=model)
    blank = build_sam2(tiny_config(64))
    last = blank.sam_mask_decoder.output_hypernetworks_mlps[0].layers[-1]
    for p in last.parameters(): torch.nn.init.zeros_(p)
    refuses('Nothing was found', segment, video, points=(5, 5), model=blank)


def test_following_is_what_metas_predictor_does(render, model, tmp_path):
    config = json.loads((weights_folder() / 'sam2/config.json').read_text())
    predictor = build_sam2(config | dict(_target_='sam2.sam2_video_predictor.SAM2VideoPredictor', fill_hole_area=0))
    predictor.load_state_dict(model.state_dict())
    size = model.image_size
    for i, frame in enumerate(to_bytes(resize(render.video, (size, size)))):
        Image.fromarray(frame).save(tmp_path / f'{i:05d}.jpg')
    state = predictor.init_state(str(tmp_path))
    x, y = (c * size / 128 for c in middle(render.mask.hard[0]))
    predictor.add_new_points_or_box(state, 0, 1, points=[(x, y)], labels=[1])
    theirs = torch.stack([logits[0, 0] > 0 for _, _, logits in predictor.propagate_in_video(state)])
    ours = segment(read_video(tmp_path, None), points=(x - .5, y - .5), model=model)
    assert (theirs == ours.hard).float().mean() > .999


def test_frames_may_be_encoded_a_few_at_a_time(model, render):
    size = model.image_size
    frames = normalise(resize(render.video[:5], (size, size)))[:, None]
    with torch.no_grad(): whole, parts = encode_frames(model, frames), encode_frames(model, frames, 2 * size * size)
    assert whole[2] == parts[2]
    for a, b in zip(whole[0] + whole[1], parts[0] + parts[1]): torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_memory_is_looked_at_and_matters(model):
    pairs = [random_pair(seed, 1., 1., apart=True, frames=6) for seed in (5, 6)]
    found, _ = follow_pairs(model, pairs)
    with record_memory(model) as seen, shuffled_memory(model): swapped, _ = follow_pairs(model, pairs)
    assert len(seen) == 5 and all(torch.allclose(p.sum(-1), torch.ones(())) for p in seen)
    assert torch.equal(found[0].hard[0], swapped[0].hard[0]), 'the frame that was clicked in needs no memory'
    assert not torch.equal(found[0].hard[5], swapped[0].hard[5])
    again, _ = follow_pairs(model, pairs)
    assert torch.equal(found[0].values, again[0].values), 'a hook was left behind'


def test_normalised_colours():
    black = normalise(torch.full((3, 1, 1), -1.)).flatten().tolist()
    assert black == pytest.approx([-2.118, -2.036, -1.804], abs=1e-3)


def mean_iou(found, truth):
    "After the frame that was clicked in."
    return torch.stack([iou(a, b)[1:].mean() for a, b in zip(found, truth)]).mean()


def test_the_tiny_model_on_unseen_scenes(model):
    renders = [random_scene(seed).render() for seed in range(800_100, 800_106)]
    assert mean_iou(*follow_pairs(model, renders)) > UNSEEN


def test_the_tiny_model_tells_two_of_a_kind_apart_by_its_memory(model):
    pairs = [random_pair(seed, 1., 1., apart=True, frames=8) for seed in range(800_100, 800_106)]
    own = mean_iou(*follow_pairs(model, pairs))
    with shuffled_memory(model): others = mean_iou(*follow_pairs(model, pairs))
    assert own > TWO and others < own - .15
