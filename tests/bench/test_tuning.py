"Settings of each method, chosen as VideoDirector's were: as many trials, other pairs, one rule."
import json
from types import SimpleNamespace

import matplotlib.pyplot as plt
import pytest
import torch
from bench_cases import judge, model  # noqa: F401
from lessons import NBS

from videodirector.app.cli import main
from videodirector.bench import tuning
from videodirector.bench.rivals import ENTRIES, entry_of
from videodirector.bench.rows import Setting, setting_of
from videodirector.bench.score import Judges
from videodirector.bench.suite import as_stored
from videodirector.bench.tuning import FINER, MOST, TRIALS, points_of, best_trial, by_method, frontier, grid, show_frontiers, trials_of, tuning_table
from videodirector.methods.api import Edit
from videodirector.methods.registry import METHODS
from videodirector.world.pairs import TUNING_SEED, edit_pairs


def rows(*found): return {f'colour {i}': dict(new=new, truth_psnr=psnr, masked_psnr=kept[0] if kept else 20.) for i, (new, psnr, *kept) in enumerate(found)}


def test_a_grid_is_all_of_one_with_all_of_the_other():
    assert grid(tau_s=(0., .5), layout=(True, False)) == ['tau_s=0.0,layout=True', 'tau_s=0.0,layout=False', 'tau_s=0.5,layout=True', 'tau_s=0.5,layout=False']


@pytest.mark.parametrize('method', TRIALS)
def test_every_trial_is_another_setting_and_a_round_has_no_more_than_ours(method):
    entries = [entry_of(name) for name in trials_of(method)]
    assert 1 < len(TRIALS[method]) <= MOST and len(FINER.get(method, [])) <= MOST and {entry.method for entry in entries} == {method}
    assert {name.partition(': ')[2] for name in trials_of(method)} == {*TRIALS[method], *FINER.get(method, [])}
    assert len({str(entry) for entry in entries}) == len(entries)
    assert entry_of(method) in entries, 'the default is among them'


def test_all_that_have_something_to_tune():
    assert trials_of('all') == [name for method in TRIALS for name in trials_of(method)]
    assert trials_of('rave, rave,tokenflow') == trials_of('rave') + trials_of('tokenflow')
    assert {name for name in METHODS if name not in TRIALS} == {'do_nothing'}


def test_the_nearest_to_the_truth_of_those_that_show_nine_words_of_ten():
    ten = {'much held': rows(*[(1., 20.)] * 8, *[(0., 20.)] * 2), 'some': rows(*[(1., 18.)] * 9, (0., 18.)), 'none': rows(*[(1., 17.)] * 10)}
    assert best_trial(ten) == 'some'


def test_where_none_shows_so_many_it_is_one_of_those_within_two_points_of_the_most():
    hundred = {name: rows(*[(1., psnr)] * count, *[(0., psnr)] * (100 - count)) for name, count, psnr in
               (('far', 60, 25.), ('near', 68, 19.), ('most', 70, 18.))}
    assert best_trial(hundred) == 'near'


def test_of_trials_that_come_as_near_the_one_that_keeps_more_of_the_place():
    assert best_trial(dict(near=rows((1., 19., 22.)), alike=rows((1., 18.95, 23.)), far=rows((1., 18.8, 24.)))) == 'alike'


def test_trials_that_were_out_before_the_last_pairs_cannot_be_chosen():
    assert best_trial(dict(out=rows((1., 30.)), a=rows((1., 18.), (1., 19.)), b=rows((1., 18.), (1., 18.)))) == 'a'


def test_the_rule_is_the_one_that_chose_our_settings():
    figures = json.loads((NBS / 'results' / 'tuning.json').read_text())['figures']
    assert setting_of(best_trial(figures)) == Setting()
    assert [setting_of(name) for name in figures] == [Setting(entry.invert, entry.edit) for entry in map(entry_of, trials_of('videodirector'))]


def stored(file): return json.loads((NBS / 'results' / f'{file}.json').read_text())['figures']


def test_the_trials_that_are_stored_are_those_of_both_rounds():
    found = stored('rivals_tuning')
    assert {*found} == {name for method in TRIALS if method != 'videodirector' for name in trials_of(method)}
    assert all(len(found[f'{method}: {changes}']) == 24 for method, finer in FINER.items() for changes in finer), 'nothing was halved'
    assert len([name for finer in FINER.values() for name in finer]) == 89


def test_what_the_rule_chose_of_both_rounds_is_in_the_main_table():
    assert {best_trial(rows) for rows in by_method(stored('rivals_tuning')).values()} <= {*stored('rivals')}


def test_in_nearness_to_the_truth_our_frontier_lies_above_the_others():
    def best(rows, share): return max((value for words, value in points_of(rows, 'truth PSNR (dB)').values() if words >= share), default=0.)
    for rows in by_method(stored('rivals_tuning')).values():
        assert all(best(stored('tuning'), n / 24) > best(rows, n / 24) for n in range(25))


def test_what_no_other_point_beats():
    assert frontier([(.5, 19.), (.7, 18.), (.7, 17.), (.6, 18.), (.8, 18.)]) == [(.5, 19.), (.8, 18.)]


def test_a_picture_of_words_against_nearness():
    figures = {'rave: grid=1': rows((1., 18.), (0., 18.)), 'rave: grid=2': rows((1., 17.), (1., 17.)), 'flatten: tau=.5': rows((1., 16.), (1., 16.)), 'flatten: tau=.6': rows((1., 30.))}
    fig = show_frontiers(figures)
    assert [axis.get_title() for axis in fig.axes] == ['truth PSNR (dB)', 'm.P (dB)']
    lines = {line.get_label(): line.get_xydata().tolist() for line in fig.axes[0].lines}
    assert lines['RAVE w/o ControlNet'] == [[.5, 18.], [1., 17.]] and lines['FLATTEN'] == [[1., 16.]], 'finalists alone'
    assert {text.get_text() for text in fig.legends[0].get_texts()} == {'RAVE w/o ControlNet', 'FLATTEN', 'nine words of ten'}
    plt.close(fig)


@pytest.mark.parametrize('file', ['rivals', 'rivals_tuning'])
def test_names_of_stored_rows_stand_for_what_was_run(file):
    settings = json.loads((NBS / 'results' / f'{file}.json').read_text())['settings']
    for name, stored in settings.items():
        now = as_stored(entry_of(name))
        assert stored['method'] == now['method'] and all(now[part] | stored[part] == now[part] for part in ('invert', 'edit')), name


def test_tables_by_method_say_which_was_chosen():
    text = tuning_table({'rave: grid=1': rows((1., 18.)), 'rave: grid=2': rows((1., 19.)), 'flatten: tau=.5': rows((1., 17.))})
    assert text.count('truth PSNR (dB) ↑') == 2 and '**rave**, 2 trials, 2 of them on 1 pair; chosen: `grid=2`' in text and '**flatten**, 1 trial, 1 of them on 1 pair; chosen: `tau=.5`' in text


@pytest.fixture
def tuned(monkeypatch, model, judge):  # noqa: F811
    "A grid of one method that edits at once, darker and darker, in ten words."
    def edit(state, prompt, settings=None, run=None, record=None):
        return Edit(state.video * settings.guidance_scale, torch.zeros(1, 4, 1, 1, 1), prompt, state.prompt, {})
    monkeypatch.setattr(METHODS['invert_and_prompt'], 'prepare', lambda model, clip, settings, run: clip, raising=False)
    monkeypatch.setattr(METHODS['invert_and_prompt'], 'edit', edit, raising=False)
    monkeypatch.setattr(tuning, 'TRIALS', dict(invert_and_prompt=grid(guidance_scale=(.5, .9))))
    monkeypatch.setattr(tuning, 'FINER', {})
    models = SimpleNamespace(fit=lambda method: model)
    monkeypatch.setattr('videodirector.app.measure.ENTRIES', ENTRIES._replace(load=lambda weights, device: (models, Judges(judge))))


def test_by_the_command(tuned, tmp_path):
    command = ['benchmark', '--methods', 'all', '--tune', '1', '--device', 'cpu', '--out', str(tmp_path / 'out'), '--quiet']
    assert main(command) == 0
    report = json.loads((tmp_path / 'out' / 'tuning.json').read_text())
    names = [f'invert_and_prompt: guidance_scale={x}' for x in (.5, .9)]
    assert (report['pairs'], report['chosen']) == (1, dict(invert_and_prompt=best_trial(report['figures'])))
    assert list(report['settings']) == list(report['figures']) == names
    pairs = [f'{kind} {source.seed}' for kind, source, _ in edit_pairs(1, TUNING_SEED)]
    assert all(list(found) == pairs for found in report['figures'].values()), 'pairs that no table uses'
    assert (tmp_path / 'out' / 'tuning.md').read_text() == tuning_table(report['figures']) + '\n'
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / 'out').glob('*/*')}
    assert main(command) == 0 and {file: file.stat().st_mtime_ns for file in before} == before, 'nothing is done again'


@pytest.mark.parametrize('words, sentence', [(['--methods', 'do_nothing'], "no method to tune 'do_nothing'; choose one of videodirector"),
                                             (['--methods', 'rave: grid=2'], "no method to tune 'rave: grid=2'"), ([], '--tune belongs to --methods')])
def test_what_cannot_be_tuned_is_a_sentence(words, sentence, tmp_path, capsys):
    assert main(['benchmark', '--tune', '2', *words, '--out', str(tmp_path / 'out')]) == 2
    assert sentence in capsys.readouterr().err and not (tmp_path / 'out').exists()
