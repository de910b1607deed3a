"Two figures in one place."
import torch

from videodirector.train.distractors import Figure, random_pair, render_pair
from videodirector.world.scene import Scene


def test_two_figures_in_one_place():
    scene, other = (Scene('bear', 'beach', 'standing', seed=s) for s in (1, 2))
    alone = render_pair(Figure(scene), frames=2)
    assert torch.equal(alone.video, scene.render(2).video) and torch.equal(alone.mask.values, scene.render(2).mask.values)
    pair = render_pair(Figure(scene, (-.2, 0), .7), Figure(other, (.2, 0), .7), frames=2)
    assert pair.mask.area.all() and pair.other.area.all() and not (pair.mask & pair.other).area.any()
    left, right = Figure(scene, (-.05, 0)), Figure(other, (.05, 0))
    behind, before = (render_pair(left, right, front, frames=2) for front in (False, True))
    assert before.mask.values.sum() < behind.mask.values.sum() and not torch.equal(before.video, behind.video)


def test_a_random_pair_may_be_alone_and_is_the_same_again():
    assert not random_pair(3, distractor=0, frames=2).other.area.any()
    pair, again = (random_pair(3, distractor=1, frames=2, height=64, width=96) for _ in range(2))
    assert pair.video.shape == (2, 3, 64, 96) and pair.other.area.any() and torch.equal(pair.video, again.video)
    assert torch.equal(pair.mask.values, again.mask.values) and torch.equal(pair.other.values, again.other.values)
