"Rank correlations of stored figures with the truth, and where the two disagree."
import json

import pytest
import torch
from PIL import Image
from torchmetrics.functional import kendall_rank_corrcoef, spearman_corrcoef

from videodirector.bench import correlation
from videodirector.bench.correlation import (OVER, Result, agreement, agreement_table, column, comparisons, disagreement_sheet,
                                             disagreement_table, disagreements, figures_of, meaning, rank_correlation, ranks,
                                             read_results, show_agreement)
from videodirector.bench.suite import store


def numbers(*shape, seed=0, ties=5): return torch.randint(ties, shape, generator=torch.Generator().manual_seed(seed)).double()


def made(edit, names='abcd', **figures):
    "Results of one edit: of each figure a value for each setting."
    return [Result(name, edit, {f: values[i] for f, values in figures.items()}, f'"{name}"') for i, name in enumerate(names)]


def test_ranks_share_and_take_infinities():
    assert ranks(torch.tensor([3., 1, 3, torch.inf, -torch.inf, torch.inf])).tolist() == [3.5, 2, 3.5, 5.5, 1, 5.5]
    many = numbers(3, 2, 9)
    torch.testing.assert_close(ranks(many)[1, 1], ranks(many[1, 1]))
    torch.testing.assert_close(ranks(many.transpose(0, 2))[0, 1], ranks(many[:, 1, 0]))


@pytest.mark.parametrize('seed', range(5))
@pytest.mark.parametrize('how, theirs', [('kendall', kendall_rank_corrcoef), ('spearman', spearman_corrcoef)])
def test_both_are_what_torchmetrics_finds(how, theirs, seed):
    x, y = numbers(2, 30, seed=seed)
    torch.testing.assert_close(rank_correlation(x, y, how), theirs(x, y), check_dtype=False)
    torch.testing.assert_close(rank_correlation(x, y, how), rank_correlation(y, x.exp(), how))
    torch.testing.assert_close(rank_correlation(x, -y, how), -rank_correlation(x, y, how))


@pytest.mark.parametrize('how', ['kendall', 'spearman'])
def test_the_ends_of_the_scale(how):
    x = torch.arange(7.)
    assert rank_correlation(x, x**3, how).item() == pytest.approx(1) and rank_correlation(x, -x, how).item() == pytest.approx(-1)
    assert rank_correlation(x, torch.ones(7), how).isnan()
    with pytest.raises(ValueError, match="no rank correlation 'pearson'"): comparisons(x, 'pearson')


def test_hard_scenes_and_good_settings_are_told_apart():
    "In each edit the metric is wrong, but it knows which edits are easy."
    results = [r for i in range(8) for r in made(f'colour {i}', truth_psnr=[10 * i + k for k in range(4)], masked_psnr=[10 * i - k for k in range(4)])]
    found = {over: agreement(results, over=over)['masked_psnr']['all kinds'] for over in OVER}
    assert found['edit'] == pytest.approx((-1, -1, -1)) and found['table'] == pytest.approx((-1, -1, -1)) and found['all'][0] > .7


def test_less_is_better_where_the_tables_say_so():
    results = made('colour 1', truth_psnr=[1, 2, 3, 4], motion_error=[4, 3, 2, 1], brand_new=[1, 2, 4, 3], seconds=[1, 1, 2, 2])
    found = agreement(results)
    assert found['motion_error']['colour'][0] == pytest.approx(1) and found['brand_new']['colour'][0] == pytest.approx(2 / 3)
    assert list(found) == ['motion_error', 'brand_new'] and figures_of(results) == ['truth_psnr', 'motion_error', 'brand_new']
    assert meaning('motion_error')[2] == -1 and meaning('brand_new') == ('brand_new', 3, 1)
    assert column([Result('a', 'colour 1', dict(masked_psnr=None), '')], 'masked_psnr').tolist() == [torch.inf]


def test_kinds_are_kept_apart_and_what_tells_nothing_has_a_dash():
    results = made('colour 1', truth_psnr=[1, 2, 3, 4], new=[1, 1, 1, 1], masked_psnr=[1, 2, 3, 4])
    results += made('subject 2', truth_psnr=[1, 2, 3, 4], new=[0, 0, 1, 1], masked_psnr=[4, 3, 2, 1])
    found, nan = agreement(results), pytest.approx(float('nan'), nan_ok=True)
    assert found['masked_psnr']['colour'][0] == 1 and found['masked_psnr']['subject'][0] == -1 and found['masked_psnr']['all kinds'][0] == 0
    assert found['new']['colour'] == (nan, nan, nan) and found['new']['all kinds'][0] == found['new']['subject'][0] > 0
    lines = agreement_table(found).splitlines()
    assert lines[0] == '|  | all kinds ↑ | subject ↑ | colour ↑ |' and lines[2].startswith('| new word |') and lines[2].endswith(' – |')


def test_edits_are_drawn_with_all_their_results(monkeypatch):
    "The sums over edits give what the results of the edits drawn give, each as often as it was drawn."
    sizes = [3, 5, 4, 6]
    x, y = numbers(2, sum(sizes), ties=50)
    results = [Result('a', f'colour {i}', {}, '') for i, n in enumerate(sizes) for _ in range(n)]
    parts, at = torch.arange(sum(sizes)).split(sizes), []
    monkeypatch.setattr(correlation, '_spread', lambda found, edits: at.append(found))
    OVER['all'](results, x, y, 'kendall')
    for drawn, value in list(zip(correlation._drawn(4), at[0]))[:4]:
        chosen = torch.cat([parts[i] for i in drawn.tolist()])
        torch.testing.assert_close(value, rank_correlation(x[chosen], y[chosen]))


def test_an_interval_knows_that_results_of_an_edit_are_alike():
    "Twelve edits, in each of which all results are the same: as many results say no more than twelve."
    x, y = numbers(2, 12, ties=1000)
    results = [r for i in range(12) for r in made(f'colour {i}', truth_psnr=[x[i].item()] * 4, masked_psnr=[y[i].item()] * 4)]
    value, low, high = agreement(results, over='all')['masked_psnr']['all kinds']
    assert low < value < high and high - low > .5


def test_a_table_compares_those_that_were_measured_alike():
    "A setting that saw one edit only is left out, and means that are equal are a tie."
    results = [r for i in range(3) for r in made(f'colour {i}', 'abc', truth_psnr=[1, 2, 3], new=[(.1, .2, .3)[i], (.2, .3, .1)[i], 1])]
    results += made('colour 0', 'd', truth_psnr=[9], new=[0])
    assert agreement(results, over='table')['new']['colour'][0] == pytest.approx(2 / 6**.5)
    apart = made('colour 0', 'a', truth_psnr=[1], new=[1]) + made('colour 1', 'b', truth_psnr=[2], new=[2])
    assert all(value != value for value in agreement(apart, over='table')['new']['colour'])


@pytest.mark.parametrize('over', OVER)
def test_one_edit_has_no_interval(over):
    value, low, high = agreement(made('colour 1', truth_psnr=[1, 2, 3, 4], masked_psnr=[1, 2, 4, 3]), over=over)['masked_psnr']['all kinds']
    assert value == pytest.approx(2 / 3) and low != low and high != high


def test_what_cannot_be_asked_is_a_sentence():
    results = made('colour 1', truth_psnr=[1, 2, 3, 4])
    with pytest.raises(ValueError, match="No result has 'judge_right'; choose from truth_psnr"): agreement(results, 'judge_right')
    with pytest.raises(ValueError, match="over 'clips'; choose from edit, all, table"): agreement(results, over='clips')


def test_a_report_and_its_folder_hold_the_same(tmp_path):
    settings, video = {'w/o CA': dict(tau_c=0), 'full': dict(tau_c=1), 'tau_c=1': dict(tau_c=1)}, torch.zeros(3, 3, 8, 8)
    figures = {name: {'colour 7': dict(truth_psnr=20. + n), 'subject 8': dict(truth_psnr=None)} for n, name in enumerate(settings)}
    for n, edit in enumerate(('colour 7', 'subject 8')):
        kind, seed = edit.split()
        for name, setting in settings.items():
            store(tmp_path / f'{n:03d}', name, video, dict(kind=kind, seed=int(seed), setting=setting, figures=figures[name][edit]))
    (tmp_path / '000/.full.0123.json').touch()  # another process is writing this
    before = read_results(tmp_path)
    (tmp_path / 'report.json').write_text(json.dumps(dict(settings=settings, figures=figures)))
    report, folder = read_results(tmp_path / 'report.json'), read_results(tmp_path)
    assert {(r.name, r.edit) for r in folder} == {(r.name, r.edit) for r in report} == {(n, e) for n in ('w/o CA', 'full') for e in figures['full']}
    assert {(r.edit, r.setting): r.figures for r in folder} == {(r.edit, r.setting): r.figures for r in report}
    assert all(r.strip.exists() for r in folder) and all(r.strip is None for r in report) and folder[0].kind == 'colour'
    assert {r.name for r in before} == {'w_o_CA', 'full'}  # a run that has not ended has no report, which knows the names
    assert len(read_results(tmp_path, tmp_path / 'report.json')) == 4


@pytest.mark.parametrize('text', ['', 'x', '[]', '{}', '{"figures": []}', '{"figures": {"a": {"colour 1": {}}}}', '{"figures": {}, "settings": {}}'])
def test_what_holds_no_results_is_a_sentence(tmp_path, text):
    (tmp_path / 'r.json').write_text(text)
    for place in (tmp_path / 'r.json', tmp_path, tmp_path / 'none.json'):
        with pytest.raises(ValueError, match='holds no results that can be read'): read_results(place)


def test_the_worst_disagreements():
    results = made('colour 1', truth_psnr=[1, 2, 3, 4], masked_psnr=[None, 2, 3, 1])  # the last against the first
    results += made('colour 2', truth_psnr=[5, 6, 7, 8], masked_psnr=[5, 6, 8, 7]) + made('colour 3', truth_psnr=[9], masked_psnr=[9], names='a')
    first, second = disagreements(results, 'masked_psnr')
    assert (first.preferred.name, first.better.name, first.preferred.edit) == ('a', 'd', 'colour 1') and first.share == pytest.approx(3 / 9)
    assert (second.preferred.name, second.better.name, second.better.edit) == ('c', 'd', 'colour 2') and second.share == pytest.approx(1 / 9)
    assert disagreements(results, 'masked_psnr', count=1) == [first] and disagreements(results, 'truth_psnr') == []
    lines = disagreement_table([first, second]).splitlines()
    assert lines[2] == '| m.P (dB) | colour 1 | a (m.P (dB) infinite, truth PSNR (dB) 1.00) | d (m.P (dB) 1.00, truth PSNR (dB) 4.00) | 33% |'
    with pytest.raises(ValueError, match='keeps no filmstrips'): disagreement_sheet([first])
    with pytest.raises(ValueError, match='No disagreement'): disagreement_sheet([])


def test_filmstrips_stand_beside_their_scores(tmp_path):
    for n, name in enumerate(('source', 'truth', 'a', 'b')): Image.new('RGB', (60, 20), (50 * n + 50, 0, 0)).save(tmp_path / f'{name}.png')
    results = [Result(name, 'colour 1', dict(truth_psnr=t, masked_psnr=m), name, tmp_path / f'{name}.png') for name, t, m in (('a', 1, 2), ('b', 2, 1))]
    sheet = disagreement_sheet(disagreements(results, 'masked_psnr') * 2)
    assert {sheet.crop(((x := 66 * (n % 2)) + 5, y, x + 6, y + 1)).getpixel((0, 0)) for n in range(4) for y in range(sheet.height)} >= {
        (50 * n + 50, 0, 0) for n in range(4)}
    assert sheet.width == 126 and sheet.height % 2 == 0 and sheet.crop((0, 0, 126, sheet.height // 2)).tobytes() == sheet.crop((0, sheet.height // 2, 126, sheet.height)).tobytes()


def test_a_panel_for_each_question(monkeypatch):
    monkeypatch.setattr(correlation.plt, 'show', lambda: None)
    results = made('colour 1', truth_psnr=[1, 2, 3, 4], masked_psnr=[1, 3, 2, 4]) + made('subject 1', truth_psnr=[1, 2, 3, 4], new=[1, 1, 1, 1])
    show_agreement({over: agreement(results, over=over) for over in OVER})
    axes = correlation.plt.gcf().axes
    assert [axis.get_title() for axis in axes] == list(OVER) and [t.get_text() for t in axes[0].get_yticklabels()] == ['m.P (dB)', 'new word']
    assert [line.get_label() for line in axes[0].lines][:3] == ['all kinds', 'subject', 'colour']
    correlation.plt.close('all')
