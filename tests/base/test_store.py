"Files are whole or not there."
import os
import subprocess
import sys

import pytest
import torch

from videodirector.base import store
from videodirector.base.store import read_tensors, write_tensors


def test_tensors_and_facts_come_back(tmp_path):
    path = tmp_path / 'new' / 'x.safetensors'
    write_tensors(path, 'Example', {'x': torch.arange(3)}, dict(unit='dB'))
    tensors, facts = read_tensors(path, 'Example')
    assert tensors['x'].tolist() == [0, 1, 2] and facts == dict(unit='dB')
    with pytest.raises(ValueError, match='does not hold an other'): read_tensors(path, 'Other')
    with pytest.raises(FileNotFoundError, match='There is no file'): read_tensors(tmp_path / 'none', 'Example')


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / 'x.safetensors'
    write_tensors(path, 'Example', {'x': torch.ones(2)}, {})
    before = path.read_bytes()
    monkeypatch.setattr(store.os, 'replace', lambda *a: 1 / 0)
    with pytest.raises(ZeroDivisionError): write_tensors(path, 'Example', {}, {})
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ['x.safetensors']


def test_places_where_no_file_can_stand(tmp_path):
    (tmp_path / 'link').symlink_to(tmp_path / 'nowhere')
    for path, message in ((tmp_path, 'is a folder'), (tmp_path / 'link', 'link to nothing'), ('', 'is a folder')):
        with pytest.raises(ValueError, match=message), store.atomic_path(path): pass


def test_files_are_readable_as_the_umask_says(tmp_path):
    (tmp_path / 'plain').touch()
    write_tensors(tmp_path / 'x.safetensors', 'Example', {'x': torch.ones(2)}, {})
    assert (tmp_path / 'x.safetensors').stat().st_mode == (tmp_path / 'plain').stat().st_mode


def test_threads_do_not_share_a_temporary_file(tmp_path):
    with store.atomic_path(tmp_path / 'x') as one, store.atomic_path(tmp_path / 'x') as other: assert one != other


NAMES = {'edited.mp4', 'mask.gif', 'metrics.json'}


def results(folder, *names):
    for name in names: (folder / name).write_text('x')


def test_results_of_another_run_are_neither_lost_nor_mixed(tmp_path):
    out = tmp_path / 'out'
    with store.staging(out, NAMES) as folder: results(folder, 'edited.mp4', 'mask.gif', 'metrics.json')
    (out / 'notes.txt').write_text('mine')
    with pytest.raises(ValueError, match=r'holds the results of another run \(edited\.mp4\).*--overwrite'), store.staging(out, NAMES): raise AssertionError
    with pytest.raises(KeyError), store.staging(out, NAMES, overwrite=True): raise KeyError
    assert (out / 'mask.gif').exists()
    with store.staging(out, NAMES, overwrite=True) as folder: results(folder, 'edited.mp4', 'metrics.json')
    assert sorted(p.name for p in out.iterdir()) == ['edited.mp4', 'metrics.json', 'notes.txt']


def test_places_of_results_are_looked_at_before_the_work(tmp_path):
    (tmp_path / 'edited.mp4').mkdir()
    for overwrite in (False, True):
        with pytest.raises(ValueError, match=r'edited\.mp4.* is a folder'), store.staging(tmp_path, NAMES, overwrite): raise AssertionError


def test_folders_that_cannot_be_written_to(tmp_path):
    (tmp_path / 'file').touch(), (tmp_path / 'link').symlink_to(tmp_path / 'nowhere')
    for out, message in ((tmp_path / 'file', 'is a file'), (tmp_path / 'link', 'link to nothing'), (' ', 'no name')):
        with pytest.raises(ValueError, match=message), store.staging(out): pass


def test_what_dead_processes_left_is_swept(tmp_path):
    process = subprocess.run([sys.executable, '-c', 'import os; print(os.getpid())'], capture_output=True, text=True)
    dead, alive, foreign = (tmp_path / f'.videodirector-{name}-x' for name in (process.stdout.strip(), os.getpid(), 'y'))
    for folder in (dead, alive, foreign): folder.mkdir()
    with store.staging(tmp_path / 'out'): pass
    assert not dead.exists() and alive.exists() and foreign.exists()
