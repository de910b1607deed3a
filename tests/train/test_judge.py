"The training of the judge."
import torch

from videodirector.train.judge import JudgeBatches, blemish
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
