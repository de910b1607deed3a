"Hostile inputs of every class, each refused with a sentence that says what was found, or understood."
import os
import signal

import pytest
import rows_commands
import rows_files
import rows_kept
import rows_masks
import rows_models
import rows_settings
import rows_types
import torch
from clips import moving_mask
from conftest import make_tiny_model
from table import FRAMES, HEIGHT, WIDTH, Place

from videodirector.data.video import read_video, write_video
from videodirector.methods.videodirector import invert

MODULES = (rows_files, rows_masks, rows_settings, rows_commands, rows_kept, rows_models, rows_types)
ROWS = [row for module in MODULES for row in module.ROWS]


@pytest.fixture(scope='module')
def tiny(): return make_tiny_model()


@pytest.fixture(scope='module')
def ready(tiny, tmp_path_factory):
    "A clip, an inversion of it, and the tiny model's pipeline, as files."
    folder = tmp_path_factory.mktemp('ready')
    place = Place(folder, folder, tiny, None, None)
    write_video(place.clip, place.film)
    made = invert(tiny, read_video(place.clip, frames=4), 'a bear walking', moving_mask(FRAMES, HEIGHT, WIDTH)[:4], steps=2, inner_steps=1)
    made.save(place.inversion)
    tiny.pipe.save_pretrained(folder / 'pipe', safe_serialization=True)
    return folder


@pytest.fixture
def limited():
    "Nothing may hang: after half a minute a row has failed."
    def late(number, frame): raise TimeoutError('it hangs')
    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(15)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def place(tmp_path, ready, tiny, capsys, monkeypatch, limited):
    before = torch.get_num_threads(), os.getcwd()
    yield Place(tmp_path, ready, tiny, capsys, monkeypatch)
    assert before == (torch.get_num_threads(), os.getcwd())


@pytest.mark.parametrize('row', ROWS, ids=str)
def test_row(row, place): row.check(place)


def test_the_table_is_large_enough():
    names = [str(row) for row in ROWS]
    assert len(set(names)) == len(names) >= 300
