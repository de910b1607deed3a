"The training of the judge."
import pytest
import torch

from videodirector.models.judge import Judge, world_classes
from videodirector.train.folder import save_part
from videodirector.train.judge import JudgeBatches, JudgeLoss, blemish, mirrored_labels, place_anew
from videodirector.train.recipe import Recipe
from videodirector.train.stage import Worker


def test_blemishes():
    clips, draw = torch.zeros(2, 16, 3, 64, 64), torch.Generator().manual_seed(0)
    spoiled = blemish(clips, draw)
    assert spoiled.shape == clips.shape and (spoiled != 0).any() and not torch.equal(spoiled[0], spoiled[1])


def test_a_batch_draws_true_and_reconstructed_clips():
    views = dict(true=torch.zeros(3, 16, 3, 64, 64, dtype=torch.uint8), seen=torch.full((3, 16, 3, 64, 64), 255, dtype=torch.uint8),
                 labels=torch.arange(15, dtype=torch.uint8).view(3, 5))
    clips, labels = JudgeBatches(views, Recipe(judge_batch=8), Worker(0, 1, torch.device('cpu')))(0)
    dark = clips.flatten(1).mean(1) < 0
    assert dark.any() and not dark.all() and {tuple(row) for row in labels.tolist()} <= {tuple(row) for row in views['labels'].tolist()}


def test_clips_beyond_the_reconstructed_ones_are_true_ones():
    views = dict(true=torch.zeros(4, 16, 3, 64, 64, dtype=torch.uint8), seen=torch.full((1, 16, 3, 64, 64), 255, dtype=torch.uint8),
                 labels=torch.arange(4, dtype=torch.uint8)[:, None] + 3 * torch.ones(1, 5, dtype=torch.uint8))
    clips, labels = JudgeBatches(views, Recipe(judge_batch=32), Worker(0, 1, torch.device('cpu')))(0)
    bright = clips.flatten(1).mean(1) > 0
    assert bright.any() and (labels[bright] == 3).all() and {*labels[~bright][:, 0].tolist()} == {3, 4, 5, 6}


def test_a_mirrored_clip_is_mirrored_and_so_is_what_there_is_to_read():
    ramp = torch.linspace(-1, 1, 64).expand(2, 16, 3, 64, 64)
    same, other = place_anew(ramp, torch.tensor([False, True]), torch.Generator().manual_seed(0)).mean((1, 2, 3))
    assert same[40] - same[20] > .5 and other[40] - other[20] < -.5
    words, column = world_classes()['motion'], [*world_classes()].index('motion')
    labels = torch.zeros(len(words), 5, dtype=torch.long)
    labels[:, column] = torch.arange(len(words))
    for mirror, expected in ((False, words), (True, [{'left': 'right', 'right': 'left'}.get(w, w) for w in words])):
        got = mirrored_labels(labels, torch.full((len(words),), mirror))
        assert [words[i] for i in got[:, column]] == [*expected] and not got[:, [i for i in range(5) if i != column]].any()


def test_a_stored_judge_learns_what_it_learned(tmp_path):
    "Stored, its heads come back in another order; the loss of right labels is the same."
    torch.manual_seed(0)
    judge, clips = Judge(world_classes()), torch.rand(2, 16, 3, 64, 64) * 2 - 1
    labels = torch.tensor([[len(words) - 1 for words in world_classes().values()]] * 2)
    save_part(judge, tmp_path)
    again = Judge.from_pretrained(tmp_path, torch_dtype=torch.float32, local_files_only=True)
    loss, figures = JudgeLoss(judge)(clips, labels)
    assert list(again.heads) != list(judge.heads) and list(figures) == list(world_classes())
    assert JudgeLoss(again)(clips, labels)[0].item() == pytest.approx(loss.item(), rel=.02)
