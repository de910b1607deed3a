"Which commands there are, and how each ends."
import inspect
import subprocess
import sys

import pytest
from app_cases import clip, model, run  # noqa: F401

from videodirector.app.cli import main
from videodirector.methods.videodirector import edit, invert


def test_debug_shows_the_traceback(run, tmp_path):
    with pytest.raises(FileNotFoundError): run('--debug', video=tmp_path / 'gone.mp4')


@pytest.mark.parametrize('words', [[], ['edit'], ['edit', 'x.mp4'], ['dance'], ['demo', '--seed', 'x'],
                                   ['edit', 'x.mp4', '--target', 'a', '--size', '12'],
                                   *(['edit', 'x.mp4', '--target', 'a', '--fps', rate] for rate in ('0', '-1', 'nan')),
                                   ['mask', 'x.mp4', '--out', 'x', '--fps', '0'],
                                   ['mask', 'x.mp4', '--out', 'x', '--box', 'nan,1,2,3'],
                                   ['demo', '--inner-steps', '-1'], ['demo', '--guidance-scale', 'nan'],
                                   ['edit', 'x.mp4', '--target', 'a', '--weight', 'tiger'],
                                   ['edit', 'x.mp4', '--target', 'a', '--weight', 'tiger=nan'],
                                   ['edit', 'x.mp4', '--target', 'a', '--tau-word', 'tiger=much']])
def test_wrong_usage_exits_with_2(words, capsys):
    with pytest.raises(SystemExit) as exit: main(words)
    assert exit.value.code == 2 and 'Traceback' not in capsys.readouterr().err


@pytest.mark.parametrize('kept', [False, True])
def test_stopped_says_what_is_left(run, tmp_path, monkeypatch, kept):
    def stopped(*args, **kwargs): raise KeyboardInterrupt
    monkeypatch.setattr('videodirector.director.invert', stopped)
    if kept: (tmp_path / 'kept').mkdir()
    code, _, error = run(keep=tmp_path / 'kept')
    assert code == 130 and ('--keep' in error) == kept and ('nothing was written' in error) != kept


def test_evaluate_model_has_options_of_its_own(capsys):
    with pytest.raises(SystemExit) as exit: main(['evaluate-model', '--help'])
    assert exit.value.code == 0 and '--json' in capsys.readouterr().out


@pytest.mark.parametrize('call, option', [(invert, 'steps'), (invert, 'guidance_scale'), (invert, 'inner_steps'), (invert, 'cfg'), (edit, 'tau_c'), (edit, 'tau_s')])
def test_help_names_the_defaults_of_the_library(call, option, capsys):
    with pytest.raises(SystemExit): main(['edit', '--help'])
    said = ' '.join(capsys.readouterr().out.split()).split(' --' + option.replace('_', '-') + ' ')[-1]
    assert said.split('(default ')[1].split(')')[0] == str(inspect.signature(call).parameters[option].default)


def test_import_does_not_load_torch():
    program = 'import sys, videodirector, videodirector.app.cli; sys.exit("torch" in sys.modules)'
    subprocess.run([sys.executable, '-c', program], check=True)
