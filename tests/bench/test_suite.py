"Settings on pairs, by the command, and what is stored."
import json

import pytest

from videodirector.app.cli import main
from videodirector.bench.correlation import agreement, disagreement_sheet, disagreements, read_results
from videodirector.bench.rows import ROWS, Setting, setting_of
from videodirector.bench.suite import as_stored, read_figures, read_row
from videodirector.bench.tables import COLUMNS, contact_sheet, summary, table
from videodirector.methods.videodirector import VideoDirector
from videodirector.world.pairs import edit_pairs

QUICK = 'steps=2,inner_steps=0,eta=0,zeta=0,tau_s=0'


@pytest.fixture(scope='module')
def done(tmp_path_factory):
    "Two pairs of different kinds, two settings, by the command."
    out = tmp_path_factory.mktemp('benchmark')
    assert main(['benchmark', '--pairs', '2', '--configs', QUICK, f'{QUICK},tau_c=0', '--device', 'cpu', '--out', str(out), '--quiet']) == 0
    return out


def test_two_pairs(done):
    report = json.loads((done / 'report.json').read_text())
    held, free = report['figures'][QUICK], report['figures'][f'{QUICK},tau_c=0']
    assert len(held) == len(free) == 2 and {pair.split()[0] for pair in held} == {kind for kind, *_ in edit_pairs(2)}
    assert sum(held[p]['masked_psnr'] for p in held) > sum(free[p]['masked_psnr'] for p in held)  # control guards what lies outside
    assert all({key for key, *_ in COLUMNS.values()} <= row.keys() for row in held.values())
    assert report['settings'][QUICK] == as_stored(setting_of(QUICK))
    assert (done / 'table.md').read_text() == table(summary(report['figures'])) + '\n'
    names = [QUICK, f'{QUICK},tau_c=0']
    assert contact_sheet(done, names, range(2)).size == (4 * 3 * 128, 2 * 128)


def test_its_folder_says_which_metric_lies(done):
    results = read_results(done)
    assert len(results) == len(read_results(done / 'report.json')) == 4 and {r.name for r in results} == {QUICK, f'{QUICK},tau_c=0'}
    assert {'masked_psnr', 'MS (DIS)', 'WorldCLIP'} <= agreement(results).keys()
    worst = [d for figure in agreement(results) for d in disagreements(results, figure)]
    assert worst and disagreement_sheet(worst[:1]).width == 2 * 3 * 128 + 6


def test_what_is_stored_is_not_done_again(done, capsys, monkeypatch):
    calls = []
    monkeypatch.setattr(VideoDirector, 'prepare', lambda *args: calls.append(args))
    before = {f: f.stat().st_mtime_ns for f in done.glob('*/*.json')}
    assert main(['benchmark', '--pairs', '1', '--configs', QUICK, '--device', 'cpu', '--out', str(done), '--quiet']) == 0
    assert calls == [] and {f: f.stat().st_mtime_ns for f in done.glob('*/*.json')} == before
    assert set(read_figures(done, [QUICK])[QUICK]) == {f'{kind} {source.seed}' for kind, source, _ in edit_pairs(2)}


def test_a_row_of_another_meaning_is_not_taken(done, monkeypatch):
    folder = done / '000'
    assert read_row(folder, QUICK)
    monkeypatch.setitem(ROWS, 'changed', dict(steps=3))
    (folder / 'changed.json').write_text(json.dumps(dict(setting=as_stored(Setting()), figures={})))
    assert read_row(folder, 'changed') is None
    (folder / 'changed.json').unlink()


def test_two_processes_find_the_same(done, tmp_path):
    names = [QUICK, f'{QUICK},mask=click']
    main(['benchmark', '--pairs', '1', '--configs', *names, '--device', 'cpu', '--workers', '2', '--out', str(tmp_path), '--quiet'])
    one, two, click = (next(iter(read_figures(folder, [name])[name].values())) for folder, name in ((done, QUICK), (tmp_path, QUICK), (tmp_path, names[1])))
    assert two['masked_psnr'] == pytest.approx(one['masked_psnr'], abs=.05)
    assert click['masked_psnr'] != two['masked_psnr'] and click['masked_psnr'] == pytest.approx(two['masked_psnr'], abs=3)


@pytest.mark.parametrize('words, sentence', [(['--configs', 'rose'], 'is no setting'), (['--configs', 'tau_s=much'], 'is no value')])
def test_bad_options_are_a_sentence(tmp_path, capsys, words, sentence):
    assert main(['benchmark', *words, '--out', str(tmp_path / 'out')]) == 2
    assert sentence in capsys.readouterr().err
