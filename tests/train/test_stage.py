"Stages: learning rate, moving average, checkpoints."
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from videodirector.train.stage import Stage, StageSettings, Worker, cosine


CPU = Worker(0, 1, torch.device('cpu'))
SETTINGS = StageSettings('tiny', steps=9, lr=0.1, every=1, save_every=-1)


class Tiny(nn.Module):
    "Two convolutions and a line, in channels_last; the smallest thing that a Stage can train."
    def __init__(self, width: int = 6):
        super().__init__()
        torch.manual_seed(0)
        self.wide, self.point, self.line = nn.Conv2d(3, width, 3, padding=1), nn.Conv2d(width, 4, 1), nn.Linear(4, 1)
        self.to(memory_format=torch.channels_last)

    def forward(self, x, y): return ((self.line(self.point(self.wide(x).relu()).mean((2, 3))) - y) ** 2).mean(), {}


def draw(step):
    x = torch.randn(8, 3, 5, 5, generator=CPU.generator(0, step))
    return x, x.mean((1, 2, 3))[:, None]


def train(out: Path, stop: int | None = None) -> Stage:
    def batch(step):
        if step == stop: raise KeyboardInterrupt
        return draw(step)
    out.mkdir(exist_ok=True)
    stage = Stage(Tiny(), SETTINGS, CPU, out)
    stage.run(batch)
    return stage


def state_of(stage: Stage) -> dict:
    moments = {f'{key} {name}': stage.adam.state[p][key] for name, p in stage.params.items() for key in ('exp_avg', 'exp_avg_sq', 'step')}
    return moments | {f'average {name}': x for name, x in stage.average.items()} | stage.module.state_dict()


def test_a_killed_stage_goes_on_as_if_nothing_had_happened(tmp_path):
    whole = train(tmp_path / 'whole')
    with pytest.raises(KeyboardInterrupt): train(tmp_path / 'killed', stop=4)
    resumed = train(tmp_path / 'killed')
    assert resumed.step == whole.step == 9
    for name, x in state_of(whole).items(): assert torch.equal(x, state_of(resumed)[name]), name
    whole, resumed = ((tmp_path / name / 'tiny.checkpoint.safetensors').read_bytes() for name in ('whole', 'killed'))
    assert whole == resumed


def test_what_is_resumed_lies_in_memory_as_its_parameter_does(tmp_path):
    train(tmp_path)
    stage = Stage(Tiny(), replace(SETTINGS, steps=10), CPU, tmp_path)
    assert stage.params['wide.weight'].stride() != stage.params['wide.weight'].contiguous().stride()
    def lie_alike(stage):
        for name, p in stage.params.items():
            for x in (stage.adam.state[p]['exp_avg'], stage.adam.state[p]['exp_avg_sq'], stage.average[name]):
                assert x.stride() == p.stride() and x.dtype == p.dtype and x.device == p.device, name
    lie_alike(stage)
    stage.run(draw)
    lie_alike(stage)


def test_another_network_s_checkpoint_is_refused(tmp_path):
    train(tmp_path)
    with pytest.raises(ValueError, match="tiny.checkpoint.* is of another network: its 'wide.weight'"):
        Stage(Tiny(width=8), SETTINGS, CPU, tmp_path)


def test_a_finished_stage_leaves_its_averages_and_no_unfinished_file(tmp_path):
    stage = train(tmp_path)
    assert all(torch.equal(p, stage.average[name]) for name, p in stage.params.items())
    assert {file.name for file in tmp_path.iterdir()} == {'tiny.checkpoint.safetensors', 'tiny.curve.jsonl'}


def test_a_diverged_stage_names_the_step(tmp_path):
    stage = Stage(Tiny(), SETTINGS, CPU, tmp_path)
    with pytest.raises(FloatingPointError, match='tiny: .* step 1'):
        stage.run(lambda step: (torch.full((1, 3, 5, 5), float('nan')), torch.zeros(1, 1)))


def test_other_processes_write_nothing(tmp_path):
    stage = Stage(Tiny(), SETTINGS, replace(CPU, rank=1), tmp_path)
    stage.run(draw)
    assert list(tmp_path.iterdir()) == []


def test_cosine():
    assert cosine(0, 1000) < 0.01 and cosine(199, 1000) == 1 and cosine(1000, 1000) < 1e-9
