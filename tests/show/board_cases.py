"Small clips, and a board of them."
import pytest
import torch

from videodirector.show import board_runs
from videodirector.show.board import Board
from videodirector.show.board_runs import Clip, Runs, Settings
from videodirector.methods.videodirector import invert


SOURCE, TARGET = 'a brown bear walking on grass', 'a brown tiger walking on grass'
STEPS = 4
START = Settings('clip', TARGET)
STRONG = (('up_blocks.1', 2e7, 2e7),)


def video(seed=0): return torch.rand(3, 3, 32, 48, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def box():
    mask = torch.zeros(3, 32, 48, dtype=torch.bool)
    mask[:, :16, :24] = True
    return mask


def some_runs(model, **clip):
    clips = {'clip': Clip(video(), SOURCE, **{'mask': box(), **clip}), 'other': Clip(video(1), SOURCE, box())}
    return Runs(model, clips, steps=STEPS, inner_steps=1, lr=.3)


@pytest.fixture
def runs(tiny_pipe): return some_runs(tiny_pipe)


@pytest.fixture
def board(runs): return Board(runs, TARGET)


@pytest.fixture
def inversions(monkeypatch):
    "One entry for each inversion that is begun."
    begun = []
    monkeypatch.setattr(board_runs, 'invert', lambda *args, **kwargs: begun.append(kwargs) or invert(*args, **kwargs))
    return begun
