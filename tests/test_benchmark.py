"Settings, their measurement on pairs, what is stored, and the statistics of the table."
import json
from dataclasses import asdict

import pytest
import torch

from videodirector import cli
from videodirector.benchmark import (COLUMNS, ROWS, SWEEPS, Setting, contact_sheet, groups_of, interval, main, names_of, read_figures, read_row,
                                     setting_of, summary, table)
from videodirector.director import invert
from videodirector.evaluate import edit_pairs

QUICK = 'steps=3,inner_steps=0,eta=0,zeta=0,tau_s=0.67'


def test_names_stand_for_settings():
    assert setting_of('full') == Setting()
    assert setting_of('w/o SA') == Setting(layout=False, mutual=False)
    assert setting_of('tau_s=0.2,shared=true,cfg=videodirector,inner_steps=3') == Setting(tau_s=.2, shared=True, cfg='videodirector', inner_steps=3)
    assert names_of(['rows', 'full', 'eta']) == [*ROWS, *(f'eta={v}' for v in SWEEPS['eta'])]
    assert all(name in names_of(['sweeps']) for field in SWEEPS for name in names_of([field]))


@pytest.mark.parametrize('name', ['w/o nothing', 'tau_x=1', 'tau_s=much', 'inner_steps=1.5', 'shared=yes', 'tau_s'])
def test_other_names_are_refused(name):
    with pytest.raises(ValueError, match=r'is no (setting|value)'): setting_of(name)


def test_each_row_switches_off_one_part():
    full = Setting()
    assert full.inverting('foreground')['stdg'] and ROWS['w/o STDG'].inverting('foreground')['stdg'] is None
    assert full.inverting('background')['stdg'].region == 'background'
    assert ROWS['shared null text'].inverting('foreground')['shared'] and not full.inverting('foreground')['shared']
    assert ROWS['w/o CA'].editing()['tau_c'] == 0
    assert ROWS['w/o SA-I'].editing() == full.editing() | dict(tau_s=(.4, .4))  # SA-II begins where it did
    assert ROWS['w/o SA-II'].editing() == full.editing() | dict(mutual=False)
    assert ROWS['w/o SA'].editing() == full.editing() | dict(mutual=False, tau_s=(.4, .4))


def test_settings_that_invert_alike_share_an_inversion():
    groups = groups_of(list(ROWS))
    assert sorted(map(len, groups)) == [1, 1, 5]
    assert ['shared null text'] in groups and ['w/o STDG'] in groups
    assert len(groups_of(['full', 'mask=click'])) == 2


def test_interval_by_hand():
    assert interval(torch.full((9,), 2.5)) == (2.5, 2.5, 2.5)
    x = torch.randn(400, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    mean, low, high = interval(x)
    error = x.std().item() / 20
    assert mean == pytest.approx(x.mean().item())
    assert (mean - low) / error == pytest.approx(1.96, abs=.1) and (high - mean) / error == pytest.approx(1.96, abs=.1)


def test_differences_are_taken_pair_by_pair():
    figure = {key: 0. for key, *_ in COLUMNS.values()}
    rows = lambda shift, count: {f'subject {i}': figure | dict(masked_psnr=20. + 5 * i + shift) for i in range(count)}
    figures = {'full': rows(0, 8), 'w/o CA': rows(-3, 6)}
    means = summary(figures)
    assert means['full']['m.P (dB)'][0] == pytest.approx(32.5)  # the six pairs that both have
    assert means['full']['m.P (dB)'][2] - means['full']['m.P (dB)'][1] > 5
    assert summary(figures, 'full')['w/o CA']['m.P (dB)'] == pytest.approx((-3, -3, -3))
    assert '| w/o CA | -3.00 [-3.00, -3.00] |' in table(summary(figures, 'full'), ['m.P (dB)'])
    with pytest.raises(ValueError, match='No pair has been measured'): summary(figures | {'w/o SA': {}})


def test_columns_that_only_some_rows_have_are_left_out():
    figure = {key: 0. for key, *_ in COLUMNS.values()}
    without = {k: v for k, v in figure.items() if k != 'WorldCLIP'}
    text = table(summary({'full': {'a 1': figure}, 'w/o CA': {'a 1': without}}))
    assert 'WorldCLIP' not in text and 'm.P' in text


@pytest.fixture(scope='module')
def done(tmp_path_factory):
    "Three pairs of different kinds, two settings, by the command."
    out = tmp_path_factory.mktemp('benchmark')
    assert cli.main(['benchmark', '--pairs', '3', '--configs', QUICK, f'{QUICK},tau_c=0', '--device', 'cpu', '--out', str(out), '--quiet']) == 0
    return out


def test_three_pairs(done):
    report = json.loads((done / 'report.json').read_text())
    held, free = report['figures'][QUICK], report['figures'][f'{QUICK},tau_c=0']
    assert len(held) == len(free) == 3 and {pair.split()[0] for pair in held} == {kind for kind, *_ in edit_pairs(3)}
    assert sum(held[p]['masked_psnr'] for p in held) > sum(free[p]['masked_psnr'] for p in held)  # control guards what lies outside
    assert all({key for key, *_ in COLUMNS.values()} <= row.keys() for row in held.values())
    assert report['settings'][QUICK] == asdict(setting_of(QUICK))
    assert (done / 'table.md').read_text() == table(summary(report['figures'])) + '\n'
    names = [QUICK, f'{QUICK},tau_c=0']
    assert contact_sheet(done, names, range(3)).size == (4 * 3 * 128, 3 * 128)


def test_what_is_stored_is_not_done_again(done, capsys, monkeypatch):
    calls = []
    monkeypatch.setattr('videodirector.benchmark.invert', lambda *args, **how: calls.append(how) or invert(*args, **how))
    before = {f: f.stat().st_mtime_ns for f in done.glob('*/*.json')}
    assert main(['--pairs', '2', '--configs', QUICK, '--device', 'cpu', '--out', str(done), '--quiet']) == 0
    assert calls == [] and {f: f.stat().st_mtime_ns for f in done.glob('*/*.json')} == before
    assert set(read_figures(done, [QUICK])[QUICK]) == {f'{kind} {source.seed}' for kind, source, _ in edit_pairs(3)}


def test_a_row_of_another_meaning_is_not_taken(done, monkeypatch):
    folder = done / '000'
    assert read_row(folder, QUICK)
    monkeypatch.setitem(ROWS, 'changed', setting_of(QUICK))
    (folder / 'changed.json').write_text(json.dumps(dict(setting=asdict(Setting()), figures={})))
    assert read_row(folder, 'changed') is None
    (folder / 'changed.json').unlink()


def test_two_processes_find_the_same(done, tmp_path):
    names = [QUICK, f'{QUICK},mask=click']
    main(['--pairs', '1', '--configs', *names, '--device', 'cpu', '--workers', '2', '--out', str(tmp_path), '--quiet'])
    one, two, click = (next(iter(read_figures(folder, [name])[name].values())) for folder, name in ((done, QUICK), (tmp_path, QUICK), (tmp_path, names[1])))
    assert two['masked_psnr'] == pytest.approx(one['masked_psnr'], abs=.05)
    assert click['masked_psnr'] != two['masked_psnr'] and click['masked_psnr'] == pytest.approx(two['masked_psnr'], abs=3)


@pytest.mark.parametrize('words, sentence', [(['--configs', 'rose'], 'is no setting'), (['--pairs', '0'], 'give 1 or more')])
def test_bad_options_are_a_sentence(tmp_path, capsys, words, sentence):
    assert main([*words, '--out', str(tmp_path / 'out')]) == 2
    assert sentence in capsys.readouterr().err
