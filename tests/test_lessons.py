"The lessons run, hold the outputs they should, and the modules and README are what they export."
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from browser import browser_missing
from lessons import NBS, ROOT, WIDGET_VIEW, directives, execute_lesson, lessons, readme_text

LESSONS = [path for path in lessons() if path.stem != 'index']
MAX_BYTES = 1_500_000
IN_A_BROWSER = {'12_board', '12_explore'}
each_lesson = pytest.mark.parametrize('path', LESSONS, ids=lambda path: path.stem)
each_notebook = pytest.mark.parametrize('path', lessons(), ids=lambda path: path.stem)


def read(path): return nbformat.read(path, as_version=4)
def code_cells(path): return [cell for cell in read(path).cells if cell.cell_type == 'code']
def outputs(path): return [output for cell in code_cells(path) for output in cell.outputs]


def has_picture(output) -> bool:
    data = output.get('data', {})
    return any(kind.startswith('image/') for kind in data) or 'data:image/' in ''.join(data.get('text/html', ''))


@each_notebook
def test_lesson_runs(path, monkeypatch):
    for name in ('MALLOC_MMAP_THRESHOLD_', 'MALLOC_TRIM_THRESHOLD_'): monkeypatch.setenv(name, '1000000000')  # glibc then keeps what one layer frees for the next: a sixth faster
    if path.stem in IN_A_BROWSER and not browser_missing(): pytest.skip('the test of its widget runs it, cell by cell, in a browser')
    execute_lesson(path)


@each_notebook
def test_saved_outputs_are_clean(path):
    nb = read(path)
    assert 'widgets' not in nb.metadata, 'widget state is saved'
    assert path.stat().st_size < MAX_BYTES, f'{path.stat().st_size} bytes'
    for output in outputs(path):
        assert output.output_type != 'error', output.get('evalue')
        assert output.get('name') != 'stderr', 'a stderr stream is saved'
        assert WIDGET_VIEW not in output.get('data', {}), 'a widget view is saved'


@each_lesson
def test_lesson_shows_pictures(path):
    assert any(map(has_picture, outputs(path))), 'no picture among the saved outputs'


@each_lesson
def test_lesson_opens_and_ends_as_a_lesson(path):
    nb = read(path)
    prose = '\n'.join(cell.source for cell in nb.cells if cell.cell_type == 'markdown')
    code = '\n'.join(cell.source for cell in nb.cells if cell.cell_type == 'code')
    assert re.match(r'# .+\n+> .+', nb.cells[0].source), 'the first cell wants "# Title" and "> one sentence"'
    assert f'colab.research.google.com/github/videodirector/videodirector/blob/main/nbs/{path.name}' in prose
    assert "'google.colab' in sys.modules" in code, 'no guarded install cell'
    assert re.search(r'^#+ .*\btry\b', prose, re.I | re.M), 'no section with things to try'
    assert not re.search(r'^\s*(from|import)\s+nbdev', code, re.M), 'a lesson imports nbdev'


@each_lesson
def test_cells_are_short(path):
    sizes = sorted(len([line for line in cell.source.splitlines() if line.strip()]) for cell in code_cells(path)
                   if not {'hide', 'export', 'exports'} & directives(cell.source).keys())
    assert sizes[len(sizes) // 2] <= 5 and sizes[int(len(sizes) * .9)] <= 16, sizes


@each_notebook
def test_notebook_names_no_machine(path):
    text = path.read_text(encoding='utf-8')
    private = re.search(r'/(home|Users|root|work|tmp)/\w+|pypi\.org|files\.pythonhosted|[A-Z]:\\\\Users', text)
    assert not private, f'{private[0]!r} in {path.name}'


def test_every_lesson_is_on_the_map():
    index = (NBS / 'index.ipynb').read_text(encoding='utf-8')
    assert [path.name for path in LESSONS if f'({path.name})' not in index] == []


def test_modules_are_what_the_notebooks_export(tmp_path):
    shutil.copy(ROOT / 'settings.ini', tmp_path)
    shutil.copytree(NBS, tmp_path / 'nbs', ignore=shutil.ignore_patterns('.*'))
    shutil.copytree(ROOT / 'videodirector', tmp_path / 'videodirector',
                    ignore=lambda folder, names: [n for n in names if n != '__init__.py'])
    for program in ('from nbdev.clean import nbdev_clean; nbdev_clean()',
                    'from nbdev.doclinks import nbdev_export; nbdev_export()'):
        subprocess.run([sys.executable, '-c', program], cwd=tmp_path, check=True)
    assert generated(tmp_path).keys() == generated(ROOT).keys()
    stale = [name for name, content in generated(tmp_path).items() if content != generated(ROOT)[name]]
    assert stale == [], 'run nbdev_clean and nbdev_export'


def generated(root: Path) -> dict[str, bytes]:
    "The notebooks and modules under `root`, as relative name → content."
    files = [*(root / 'nbs').glob('*.ipynb'), *(root / 'videodirector').glob('*.py')]
    return {str(file.relative_to(root)): file.read_bytes() for file in files}


def test_readme_is_the_index_notebook():
    assert (ROOT / 'README.md').read_text(encoding='utf-8') == readme_text(), 'run: python tests/lessons.py nbs/index.ipynb'
