"The course in a folder of the reader's: what is copied, what is kept, what is said, and how JupyterLab is opened."
import os
import subprocess
import sys
from pathlib import Path

import pytest
from lessons import NBS, ROOT, lessons

from videodirector.app import lessons as course
from videodirector.app.cli import main


@pytest.fixture
def home(tmp_path, monkeypatch):
    "A small course; its files can be changed."
    folder = tmp_path / 'course'
    for name in ('index.ipynb', '01_second.ipynb', '00_first.ipynb', 'shelf/a.ipynb', '.hidden', '.ipynb_checkpoints/b.ipynb'):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    monkeypatch.setattr(course, 'course_folder', lambda: folder)
    return folder


@pytest.fixture
def call(tmp_path, capsys):
    "Runs `videodirector lessons --no-open` into a folder; returns exit code, stdout, stderr."
    def call(*words, out=tmp_path / 'mine'):
        capsys.readouterr()
        return main(['lessons', '--out', str(out), *words]), *capsys.readouterr()
    return call


def test_the_course_is_found_and_its_first_lesson_is_the_first():
    assert course.course_folder() == NBS
    assert course.first_lesson(course.course_files(NBS)) == lessons()[0].name
    assert course.first_lesson(['index.ipynb', 'world/00_x.ipynb']) == 'index.ipynb'


def test_everything_is_copied_once(home, call, tmp_path):
    code, out, _ = call('--no-open')
    mine = tmp_path / 'mine'
    assert code == 0 and '4 new, of 4 files' in out and f'jupyter lab {mine}/00_first.ipynb' in out
    assert (mine / 'shelf/a.ipynb').read_text() == 'shelf/a.ipynb' and not (mine / '.hidden').exists()
    assert 'nothing is new' in call('--no-open')[1]


def test_what_is_unchanged_is_renewed_and_what_the_reader_changed_is_kept(home, call, tmp_path):
    call('--no-open')
    mine = tmp_path / 'mine'
    for name in ('00_first.ipynb', '01_second.ipynb', 'index.ipynb'): (home / name).write_text('newer')
    (mine / '00_first.ipynb').write_text('my notes')
    (mine / 'index.ipynb').unlink()
    (mine / 'own.ipynb').write_text('mine')
    _, out, _ = call('--no-open')
    assert '1 new, 1 renewed' in out and 'You have changed 00_first.ipynb: kept as you left it.' in out
    assert [(mine / name).read_text() for name in ('00_first.ipynb', '01_second.ipynb', 'own.ipynb')] == ['my notes', 'newer', 'mine']
    assert 'You have changed 00_first.ipynb' in call('--no-open')[1]  # and so it stays
    (mine / '00_first.ipynb').write_text('newer')
    assert 'You have changed' not in call('--no-open')[1]


def test_what_the_course_has_no_more_goes_unless_it_was_changed(home, call, tmp_path):
    call('--no-open')
    for name in ('01_second.ipynb', 'shelf/a.ipynb'): (home / name).unlink()
    (tmp_path / 'mine/shelf/a.ipynb').write_text('my notes')
    assert '1 gone, of 2 files' in call('--no-open')[1]
    assert not (tmp_path / 'mine/01_second.ipynb').exists() and (tmp_path / 'mine/shelf/a.ipynb').exists()


@pytest.mark.parametrize('record', ['{', '[]', '{"../kept": "x"}', '{"../kept": null}', '{"00_first.ipynb": 3}'])
def test_a_record_that_is_none_costs_nothing(home, call, tmp_path, record):
    call('--no-open')
    (tmp_path / 'kept').write_text('x')
    (tmp_path / 'mine' / course.RECORD).write_text(record)
    (tmp_path / 'mine/00_first.ipynb').write_text('my notes')
    assert 'You have changed 00_first.ipynb' in call('--no-open')[1]
    assert (tmp_path / 'kept').exists()


def test_files_that_were_there_before_and_links_are_kept(home, call, tmp_path):
    mine = tmp_path / 'mine'
    mine.mkdir()
    (mine / '00_first.ipynb').write_text('from elsewhere')
    (mine / 'index.ipynb').symlink_to(home / '.hidden')
    assert 'You have changed 00_first.ipynb, index.ipynb: kept as you left them.' in call('--no-open')[1]
    assert (mine / '00_first.ipynb').read_text() == 'from elsewhere' and (home / '.hidden').read_text() == '.hidden'


def test_a_folder_that_cannot_be_written_is_a_sentence(home, call, tmp_path):
    (tmp_path / 'file').touch()
    for out in (tmp_path / 'file', tmp_path / 'file/below'):
        code, said, error = call('--no-open', out=out)
        assert (code, said) == (2, '') and error.count('\n') == 1 and str(tmp_path / 'file') in error


@pytest.mark.skipif(os.geteuid() == 0, reason='root may write everywhere')
def test_a_folder_without_leave_to_write_is_a_sentence(home, call, tmp_path):
    (tmp_path / 'mine').mkdir(mode=0o500)
    code, _, error = call('--no-open')
    assert code == 2 and 'Permission denied' in error and error.count('\n') == 1


def test_without_jupyterlab_a_sentence_says_how_to_get_it(home, call, tmp_path, monkeypatch):
    real = course.find_spec
    monkeypatch.setattr(course, 'find_spec', lambda name: None if name == 'jupyterlab' else real(name))
    code, _, error = call()
    assert code == 2 and 'pip install "videodirector[lab]"' in error and not (tmp_path / 'mine').exists()
    assert call('--no-open')[0] == 0


def test_it_becomes_jupyterlab_at_the_first_lesson(home, call, tmp_path, monkeypatch):
    ran = []
    monkeypatch.setattr(os, 'execv', lambda *command: ran.append((Path.cwd(), *command)))
    monkeypatch.chdir(tmp_path)
    code, out, _ = call()
    assert code == 0 and 'JupyterLab opens' in out
    assert ran == [(tmp_path / 'mine', sys.executable, [sys.executable, '-m', 'jupyterlab', '00_first.ipynb'])]


def test_a_wheel_carries_the_course(tmp_path):
    stale = tmp_path / 'videodirector/course/99_gone.ipynb'
    stale.parent.mkdir(parents=True)
    stale.touch()
    command = [sys.executable, 'setup.py', '-q', 'egg_info', '--egg-base', tmp_path, 'build_py', '--build-lib', tmp_path]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    assert course.course_files(stale.parent).keys() == course.course_files(NBS).keys()
