"The commands that measure."
import json

import pytest
from PIL import Image

from videodirector.app import measure
from videodirector.app.cli import main
from videodirector.bench.generation import GenerateSettings
from videodirector.bench.model_card import Counts
from videodirector.parts.settings import EditSettings, InvertSettings

REPORT = dict(summary=dict(new=1.), rows=[dict(seed=1)], kinds={}, settings={}, machine={})


@pytest.fixture
def asked(monkeypatch):
    "What the library is asked to measure: the arguments of the last call."
    seen = []
    monkeypatch.setattr(measure, 'load_parts', lambda weights, device: ('model', 'judge'))
    for name in ('evaluate_edits', 'evaluate_model'):
        monkeypatch.setattr(measure, name, lambda *given: seen.append(given) or REPORT)
    return seen


def refused(words, capsys) -> str:
    "The sentence with which a command is refused."
    assert main(words) == 2
    out, error = capsys.readouterr()
    assert not out and error.startswith('videodirector: ') and len(error.splitlines()) == 1
    return error


def test_command_refuses_in_one_sentence(tmp_path, capsys):
    assert 'holds no' in refused(['evaluate-model', '--weights', str(tmp_path)], capsys)
    assert 'no device' in refused(['evaluate-edits', '--device', 'gpu'], capsys)
    assert 'no setting' in refused(['benchmark', '--configs', 'x', '--out', str(tmp_path / 'x')], capsys)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('command, option', [('evaluate-model', '--out'), ('evaluate-model', '--sheet'), ('evaluate-edits', '--out'),
                                             ('evaluate-edits', '--rows')])
def test_a_folder_is_refused_at_once(asked, tmp_path, capsys, command, option):
    assert 'is a folder' in refused([command, option, str(tmp_path)], capsys) and not asked


def test_a_file_is_no_folder_for_a_benchmark(tmp_path, capsys):
    (tmp_path / 'file').touch()
    assert 'is a file' in refused(['benchmark', '--out', str(tmp_path / 'file')], capsys)


def test_no_clip_is_written_over(asked, tmp_path, capsys):
    Image.new('RGB', (8, 8)).save(tmp_path / 'clip.gif')
    clip = str(tmp_path / 'clip.gif')
    assert 'named twice' in refused(['evaluate-model', '--clips', clip, '--out', clip], capsys) and not asked


def test_command_prints_json_and_writes_it(asked, tmp_path, capsys):
    assert main(['evaluate-edits', '--edits', '1', '--json', '--out', str(tmp_path / 'out.json')]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((tmp_path / 'out.json').read_text()) and printed['rows'][0]['seed'] == 1


def test_what_cannot_be_stored_is_printed(asked, tmp_path, capsys, monkeypatch):
    def full(path): raise ValueError('The disk is full.')
    monkeypatch.setattr(measure, 'atomic_path', full)
    assert main(['evaluate-edits', '--json', '--out', str(tmp_path / 'out.json')]) == 2
    out, error = capsys.readouterr()
    assert json.loads(out)['rows'] and error == 'videodirector: The disk is full.\n'


def test_options_become_settings(asked, tmp_path):
    assert main(['evaluate-edits', '--edits', '3', '--steps', '5', '--tau-s', '0', '--no-layout', '--json']) == 0
    assert asked[-1][:5] == ('model', 'judge', 3, InvertSettings(steps=5), EditSettings(tau_s=0., layout=False))
    assert main(['evaluate-model', '--steps', '2', '--prompts', '1', '--vae', '2', '--json']) == 0
    assert asked[-1][:5] == ('model', 'judge', GenerateSettings(steps=2), Counts(prompts=1, vae=2), [])
