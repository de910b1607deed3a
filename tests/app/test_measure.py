"The commands that measure."
import json

from videodirector.bench.suite import measure
from videodirector.app.cli import main


def test_command_refuses_in_one_sentence(tmp_path, capsys):
    assert main(['evaluate-model', '--weights', str(tmp_path)]) == 2
    assert main(['evaluate-edits', '--device', 'gpu']) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 2 and all(line.startswith('videodirector: ') for line in lines)


def test_command_prints_json_and_writes_it(tmp_path, capsys, monkeypatch):
    report = dict(summary=dict(new=1.), rows=[dict(seed=1)], kinds={}, settings={}, machine={})
    monkeypatch.setattr(measure, 'evaluate_edits', lambda **given: report)
    assert main(['evaluate-edits', '--edits', '1', '--json', '--out', str(tmp_path / 'out.json')]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((tmp_path / 'out.json').read_text()) and printed['rows'][0]['seed'] == 1
