"Seams and drift of clips made by hand, and the measurement tried on a few frames."
import json
import math

import pytest
import torch
from bench_cases import model  # noqa: F401

from videodirector.attention.windows import Windows
from videodirector.bench import long_clips
from videodirector.bench.long_clips import (HARD, at_borders, background_colours, drift, frame_steps, long_table, main,
                                            measure_memory, seam, seam_in)
from videodirector.data.mask import Mask


def walking(places): return torch.stack([torch.zeros(3, 8, 40).index_fill(2, torch.arange(x, x + 4), 1.) for x in places])


def test_steps_and_borders():
    assert frame_steps(torch.arange(4.).view(4, 1, 1, 1).expand(-1, 3, 2, 2).square()).tolist() == [1, 3, 5]
    assert at_borders(Windows(4, 0).of(8)).nonzero().flatten().tolist() == [3]
    assert at_borders(Windows(4, 1).of(7)).nonzero().flatten().tolist() == [2, 3]  # frame 3 is shared
    assert not at_borders(Windows(8, 0).of(8)).any()


def test_a_jump_at_a_border_is_a_seam_and_elsewhere_is_none():
    border = at_borders(Windows(8, 0).of(16))
    assert seam(frame_steps(walking(range(16))), border) == pytest.approx(0, abs=1e-6)
    assert seam(frame_steps(walking([*range(8), *range(10, 18)])), border) == pytest.approx(2)
    assert seam(frame_steps(walking([*range(3), *range(5, 18)])), border) == pytest.approx(0, abs=1e-6)  # too far from it to count
    with pytest.raises(ValueError, match='one window has no borders'): seam(torch.ones(7), torch.zeros(7, dtype=torch.bool))


def test_windows_that_move_are_held_against_their_own_borders():
    moving, steps, at = Windows(8, 0, 16), torch.ones(39), (999, 500)
    for t in at: steps[at_borders(moving.at(40, t))] = 2.
    assert seam_in(steps, moving, [at[0]]) > .5 < seam_in(steps, moving, [at[1]]) and seam_in(torch.ones(39), moving, at) == pytest.approx(0, abs=1e-6)
    assert seam_in(steps, moving, at) == pytest.approx(sum(seam(steps, at_borders(moving.at(40, t))) for t in at) / 2)


def test_drift_is_of_the_background_and_forgives_another_colour():
    truth, mask = torch.zeros(6, 3, 4, 4), torch.zeros(6, 4, 4, dtype=torch.bool)
    mask[:, :2] = True
    other = truth + .2
    other[:, :, :2] = torch.rand(6, 3, 2, 4)
    assert background_colours(other, Mask(mask)).tolist() == [[pytest.approx(.2)] * 3] * 6 and drift(other, truth, Mask(mask)) == pytest.approx(0, abs=1e-4)
    other[3:, :, 2:] += .02
    assert drift(other, truth, Mask(mask)) == pytest.approx(.01 * 255 / 2, rel=1e-4)


def test_still_windows_stay(): assert HARD.at(64, 0) == HARD.at(64, 999) == Windows(16, 0).of(64) != Windows(16, 0, 32).at(64, 999)


def test_the_whole_measurement(tmp_path, monkeypatch, model):  # noqa: F811
    monkeypatch.setattr(long_clips, 'load_world_model', lambda device: model.in_windows(4))
    main(['--clips', '1', '--frames', '6', '--steps', '2', '--out', str(tmp_path / 'x.json')])
    report = json.loads((tmp_path / 'x.json').read_text())
    assert report['what'] == dict(frames=6, steps=2)
    clip, = report['clips']
    assert [len(clip[name]['steps']) for name in ('truth', 'hard', 'moved')] == [5] * 3 and len(clip['moved']['colours']) == 6
    assert clip['truth']['drift'] == 0 < clip['hard']['drift'] != clip['moved']['drift'] > 0 and clip['moved']['seconds'] > 0 < clip['short']['seconds']
    cut = {name: dict(clip[name], steps=[1.] * 10 + [3.] + [1.] * 10 + [3.] + [1.] * 11) for name in ('truth', 'hard', 'moved')}
    table = long_table(dict(what=dict(frames=34, steps=2), clips=[clip | cut] * 2)).splitlines()
    assert [row.split(' | ')[1:3] for row in table[2:4]] == [['200.00 [200.00, 200.00]', '3.00 [3.00, 3.00]']] * 2 and table[4].startswith('| moved')


def test_memory_is_counted_in_mib(monkeypatch, model):  # noqa: F811
    class Counted:
        def __init__(self, model, *size): self.size, self.shapes = size, self
        def call(self): return self.size
        def update(self): return 2, *self.size
        def most(self, run): return math.prod(run()) * 2**20
    monkeypatch.setattr(long_clips, 'load_world_model', lambda device: model)
    monkeypatch.setattr(long_clips, 'Parts', Counted)
    side = model.limits.side
    assert measure_memory(None, 3) == dict(call=3 * side**2, update=6 * side**2)
