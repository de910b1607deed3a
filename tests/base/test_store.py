"Files are whole or not there."
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
