"Memory counted from shapes, and the measurement tried where there is no GPU."
import json

import pytest
import torch
from torch import nn

from videodirector.bench import memory as module
from videodirector.bench.counting import Shapes
from videodirector.bench.memory import Parts, held_to, main, memory_table
from videodirector.bench.untrained import FULL, build_model
from videodirector.methods.cost import BYTES
from videodirector.models.animatediff import load_world_model
from videodirector.models.cards import CARDS, GIB, RECOMPUTED
from videodirector.models.memory import weight_of
from videodirector.models.recompute import set_recomputed
from videodirector.parts.control import MutualControl

DRY = '--tiny --device cpu --dtype float32 --frames 1 --height 64 --width 64 --steps 2 --updates 2'.split()


@pytest.fixture(scope='module')
def full(): return build_model(FULL, torch.device('meta'), torch.float16)


def test_a_count_by_hand():
    shapes, layers = Shapes(), nn.Sequential(nn.Linear(256, 1024), nn.ReLU(), nn.Linear(1024, 256))
    made, kib = shapes.of(layers), 1024

    def ask(grad=False):
        x = torch.empty(256, 256, requires_grad=grad)
        with torch.set_grad_enabled(grad): made(x)
    assert shapes.most(ask) == (256 + 1024 + 1024) * kib  # what was given, and both sides of the ReLU
    assert shapes.most(lambda: ask(True)) == shapes.most(ask)  # of frozen layers only the ReLU remembers something
    assert shapes.flops(ask) == 2 * 2 * 256 * 256 * 1024
    assert all(not p.requires_grad for p in made.parameters()) and all(p.requires_grad for p in layers.parameters())


def test_attention_writes_no_table_down():
    shapes, size = Shapes(), (1, 2, 512, 64)

    def ask(): nn.functional.scaled_dot_product_attention(*(torch.empty(size) for _ in range(3)))
    assert shapes.most(ask) < 6 * 2 * 512 * 64 * 4
    assert shapes.flops(ask) == 4 * 2 * 512 * 512 * 64


def test_the_true_architecture_takes_what_is_told(full):
    parts = Parts(full, 16, 64, 64)
    set_recomputed(parts.model.unet, RECOMPUTED)
    assert parts.shapes.most(parts.update) / (16 * 64 * 64) == pytest.approx(BYTES[FULL.unet]['update'][RECOMPUTED], rel=.01)


def test_the_embedded_model_takes_what_is_told():
    model = load_world_model('cpu', torch.float16)
    parts, told = Parts(model, 16, 16, 16), BYTES[tuple(model.unet.config.block_out_channels)]
    for part, run in dict(call=parts.call, edit=lambda: parts.edit(MutualControl(range(1), neutral=True))).items():
        assert parts.shapes.most(run) / 16**3 == pytest.approx(told[part], rel=.01), part


@pytest.mark.parametrize('part, again, gib', [('call', None, 3.8), ('update', (), 22.8), ('update', ('blocks',), 13.9)])
def test_what_was_measured_on_an_h100(full, part, again, gib):
    taken = BYTES[FULL.unet][part] if again is None else BYTES[FULL.unet][part][again]
    assert (weight_of(*full.parts) + taken * 16 * 64 * 64) / GIB == pytest.approx(gib, abs=.1)


def test_the_measurement_runs_dry(tmp_path, capsys):
    main([*DRY, '--card', 't4', '--out', str(tmp_path / 'memory.json')])
    report = json.loads((tmp_path / 'memory.json').read_text())
    row, = report['rows']
    assert row['card'] == 't4' and all(part['seconds'] > 0 and part['gib'] is None for part in row['parts'].values())
    assert [timed['updates'] for timed in row['timed']] == [1, 2]
    assert memory_table(report) in capsys.readouterr().out


def test_a_preset_that_does_not_fit_does_not_end_the_others(monkeypatch, capsys):
    def full(*_): raise torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 2 GiB.')
    monkeypatch.setattr(module, 'measure_card', full)
    main(DRY)
    out = capsys.readouterr().out
    assert out.count('CUDA out of memory') == len(CARDS)


def test_only_a_gpu_is_held():
    with held_to(torch.device('cpu'), 1e-9): torch.empty(1000)


def test_no_place_for_the_figures_is_told_before_the_work(tmp_path):
    with pytest.raises(ValueError, match='is a folder'): main([*DRY, '--out', str(tmp_path)])
