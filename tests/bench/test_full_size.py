"The official schedule and this package find the same, part by part, and the command goes through all of it on a thin model."
import json
from dataclasses import replace

import pytest
import torch

from videodirector.bench import full_size as module
from videodirector.bench.full_size import PARTS, Clock, compare, main, make_case
from videodirector.bench.untrained import TINY, build_model
from videodirector.parts.settings import STDG

CPU = torch.device('cpu')


@pytest.fixture(scope='module')
def compared():
    "Both in double precision, every weight of the guidance at work."
    case = make_case(TINY, steps=2, updates=2)  # SA-I in the first step, SA-II in the second, where guidance pulls
    settings = replace(case.invert, stdg=STDG(.5, 1., .25, .5))
    case = replace(case, invert=settings, ours=settings, edit=replace(case.edit, tau_s=.5, weights={'tiger': 2}))
    return compare(build_model(TINY, CPU, torch.float64), case)


@pytest.mark.parametrize('part', ['pivots', 'null', 'end', 'guidance', 'latents', 'video'])
def test_both_find_the_same(compared, part):
    _, theirs, ours = compared
    found, expected = ours[part], theirs[part]
    assert found.shape == expected.shape and expected.abs().max() > 0
    away = ((found - expected).abs().max() / expected.abs().max()).item()
    assert away < (1e-6 if part == 'video' else 1e-10), away  # a clip is kept in single precision


def test_every_part_is_timed(compared):
    row, *_ = compared
    assert [*row['parts']] == [*PARTS] and all(part['plain'] > 0 and part['ours'] > 0 for part in row['parts'].values())
    total = sum(row['parts'][name]['ours'] for name in PARTS[:5])
    assert row['parts']['inversion']['ours'] == pytest.approx(total)


def test_fewer_updates_of_another_kind_are_ours_alone():
    case = make_case(TINY, steps=2, updates=10, cg=3)
    assert (case.invert.optimiser, case.invert.inner_steps) == ('adam', 10)
    assert (case.ours.optimiser, case.ours.inner_steps) == ('cg', 3)
    row, theirs, ours = compare(build_model(TINY, CPU, torch.float64), case)
    assert (row['updates'], row['optimiser'], row['our_updates']) == (10, 'cg', 3)
    assert torch.allclose(ours['pivots'], theirs['pivots']) and not torch.allclose(ours['null'], theirs['null'])
    assert 'ours 3 by conjugate gradients' in module.table(row)


def test_a_clock_knows_only_parts_that_were_named():
    clock = Clock(CPU)
    for part in ('a', 'a', 'b', 'a', None, None): clock.turn(part)
    assert [*clock.seconds] == ['a', 'b'] and clock.peak == {}


def test_the_command_writes_what_it_measured(compared, tmp_path, capsys, monkeypatch):
    asked, plain = [], []
    def seen(model, case, official=None):
        asked.append((model.dtype, case.invert.steps, case.ours.inner_steps, official))
        return compared
    def timed(run, model, case):
        plain.append(case.invert.steps)
        return f'official, {case.invert.steps} steps'
    monkeypatch.setattr(module, 'compare', seen)
    monkeypatch.setattr(module, 'timed', timed)
    main(['--tiny', '--device', 'cpu', '--steps', '5', '7', '--updates', '4', '--cg', '2', '3', '--out', str(tmp_path / 'a.json')])
    rows = [(torch.float32, S, n, f'official, {S} steps') for S in (5, 7) for n in (2, 3)]
    assert asked == [(torch.float32, 2, 1, None), *rows], 'first it warms up'
    assert plain == [5, 7], 'the official schedule once for each number of steps'
    report = json.loads((tmp_path / 'a.json').read_text())
    assert [row['parts'].keys() for row in report['rows']] == 4 * [compared[0]['parts'].keys()] and report['dtype'] == 'float32'
    assert report['call'] > 0 and report['ceilings'].keys() == {'tflops', 'gbs'}
    assert capsys.readouterr().out.count('| inversion |') == 4 and [*tmp_path.iterdir()] == [tmp_path / 'a.json']


@pytest.mark.parametrize('options, message', [(['--steps', '1'], 'steps is 1'), (['--cg', '2', '-3'], 'inner_steps is -3')])
def test_numbers_that_nothing_can_be_timed_with(options, message, capsys):
    with pytest.raises(SystemExit): main(['--tiny', '--device', 'cpu', *options])
    assert message in capsys.readouterr().err


def test_an_official_schedule_that_was_timed_is_not_timed_again(monkeypatch):
    model, case = build_model(TINY, CPU, torch.float64), make_case(TINY, 2, 1)
    official = module.timed(module.run_plain, model, case)
    monkeypatch.setattr(module, 'run_plain', None)
    row, theirs, _ = compare(model, case, official)
    assert theirs is official[1] and row['parts']['DDIM']['plain'] == official[0].seconds['DDIM']


def test_no_place_for_the_figures_is_told_before_the_work(tmp_path):
    with pytest.raises(ValueError, match='is a folder'): main(['--tiny', '--out', str(tmp_path)])
