"Figures in prose are those of the stored results."
import json
from pathlib import Path

import nbformat
import pytest
from lessons import NBS, name_of, notebooks, number_of, quoted, stored_figure, wrong_figures

QUOTING = [path for path in notebooks() if '<!-- figures of' in path.read_text(encoding='utf-8')]


@pytest.mark.parametrize('path', QUOTING, ids=name_of)
def test_figures_are_the_stored_ones(path):
    cells = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == 'markdown']
    assert [complaint for source in cells for complaint in wrong_figures(source, path.parent)] == []


def test_the_index_quotes_its_figures(): assert NBS / 'index.ipynb' in QUOTING


RESULTS = {'model': {'subject': .995, 'colour': 1.}, 'rows': [{'kind': 'colour', 'dB': 20.}, {'kind': 'background', 'dB': 13.}, {'kind': 'colour', 'dB': 23.}],
           'pairs': {'full': {'colour 1': {'dB': 25.}, 'colour 2': {'dB': 27.}, 'hat 3': {'dB': 30.}}, 'w/o CA': {'colour 1': {'dB': 24.5}, 'hat 3': {'dB': 22.}}}}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / 'results.json').write_text(json.dumps(RESULTS))
    return tmp_path


def cell(prose, *lines): return prose + '\n\n<!-- figures of results.json\n' + '\n'.join(lines) + '\n-->'


@pytest.mark.parametrize('path, value', [
    ('model / subject', .995), ('rows / kind=colour / dB', 21.5), ('least rows / * / dB', 13.), ('count rows / kind=colour / dB', 2), ('pairs / full / * / dB', 82 / 3),
    ('pairs / full / colour * / dB', 26.), ('pairs / {full − w/o CA} / * / dB', 4.25), ('pairs / {w/o CA − full} / hat * / dB', -8.), ('low pairs / full / colour * / dB', 25.)])
def test_paths_lead_to_numbers(path, value): assert stored_figure(RESULTS, path) == pytest.approx(value)


def test_right_figures_pass(folder):
    source = cell('Right in 99.5 % or 1.0 of the clips, the colour in all; CA is worth 4.2 dB (−8.0 dB for hats), 13 to 23 dB.', '99.5 % = model / subject', '1.0 = model / subject',
                  'all = model / colour', '4.2 = pairs / {full − w/o CA} / * / dB', '−8.0 = pairs / {w/o CA − full} / hat * / dB', '13 = least rows / * / dB', '23 = greatest rows / * / dB')
    assert len(quoted(source)) == 7 and wrong_figures(source, folder) == []


@pytest.mark.parametrize('prose, line, complaint', [
    ('Right in 99.4 %.', '99.4 % = model / subject', "'99.4 %' is 99.5 in results.json"), ('Right in 0.98.', '0.98 = model / subject', 'is 0.995'),
    ('Right in 99.4 %.', '99.5 % = model / subject', "'99.5 %' is not in the prose"), ('Right in 199.5 %.', '99.5 % = model / subject', 'not in the prose'),
    ('In all.', 'all = model / subject', 'is 0.995'), ('13 dB.', '13 = rows / kind=hat / dB', 'has no'), ('13 dB.', '13 = model / motion', 'has no')])
def test_wrong_figures_are_found(folder, prose, line, complaint):
    found = wrong_figures(cell(prose, line), folder)
    assert found and complaint in found[0]


def test_results_that_are_gone_are_found(): assert 'has no' in wrong_figures(cell('In 1 clip.', '1 = model / subject'), Path('nowhere'))[0]
def test_signs_and_units(): assert number_of('−0.02') == (-.02, .01) and number_of('99.5 %') == (99.5, .1) and number_of('75') == (75., 0.)
