"The training of the judge."
import pytest
import torch

from videodirector.models.judge import Judge, world_classes
from videodirector.train.folder import save_part
from videodirector.train.judge import JudgeBatches, JudgeLoss, blemish
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
