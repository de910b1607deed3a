"Small clips, and a board of them."
import pytest
import torch

from videodirector.methods.api import Clip
from videodirector.methods.videodirector import VideoDirector
from videodirector.parts.settings import STDG, InvertSettings
from videodirector.show.board import Board
from videodirector.show.board_runs import Runs, Settings

SOURCE, TARGET = 'a brown bear walking on grass', 'a brown tiger walking on grass'
STEPS = 3
COMMON = dict(steps=STEPS, inner_steps=1, lr=.3)
START = Settings('clip', TARGET, InvertSettings(**COMMON, stdg=STDG()))
FEW = dict(video_p2p=dict(tuning_steps=1), motionclone=dict(steps=3, guided=1), tokenflow=dict(chunk=2))  # settings of other methods by which they take no time
STRONG = (('up_blocks.1', 2e7, 2e7),)


def video(seed=0): return torch.rand(3, 3, 32, 48, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def box():
    mask = torch.zeros(3, 32, 48, dtype=torch.bool)
    mask[:, :16, :24] = True
    return mask


def some_runs(model, **clip):
    clips = {'clip': Clip(video(), SOURCE, **{'mask': box(), **clip}), 'other': Clip(video(1), SOURCE, box())}
    return Runs(model, clips, **COMMON)


@pytest.fixture
def runs(tiny_model): return some_runs(tiny_model)


@pytest.fixture
def board(runs): return Board(runs, TARGET)


@pytest.fixture
def inversions(monkeypatch):
    "One entry for each inversion that is begun."
    begun, prepare = [], VideoDirector.prepare
    monkeypatch.setattr(VideoDirector, 'prepare', lambda *args: begun.append(args) or prepare(*args))
    return begun
