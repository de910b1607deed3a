"Which commands there are, and how each ends."
import os
import signal
import subprocess
import sys
import time
from configparser import ConfigParser

import pytest
from app_cases import clip, run, tiny  # noqa: F401
from lessons import ROOT

from videodirector.app.cli import main, parser, stoppable
from videodirector.methods.presets import PRESETS
from videodirector.methods.registry import METHODS

EDIT = ['edit', 'x.mp4', '--target', 'a']
WRONG = [[], ['edit'], ['dance'], ['demo', '--seed', 'x'], ['demo', '--region', 'background'],
         ['mask', 'x.mp4', '--out', 'x', '--fps', '0'], ['mask', 'x.mp4', '--out', ''],
         ['mask', 'x.mp4', '--out', 'x', '--box', 'nan,1,2,3'], ['demo', '--guidance-scale', 'nan'], ['demo', '--frames', '-3'],
         *([*EDIT, *words.split(' ')] for words in (
             '--size 12', '--fps 0', '--fps -1', '--fps nan', '--weight tiger', '--weight tiger=nan', '--tau-word tiger=much',
             '--steps 0', '--steps 2.5', '--steps nan', '--tau-c nan', '--tau-c 1.5', '--tau-s -1', '--inner-steps -1', '--lr inf',
             '--frames 0', '--cfg x', '--align x', '--out ', '--keep ', '--mask ', '--stored ', '--inversion x', '--null x', '--evaluations 1')),
         ['evaluate-model', '--prompts', '0'], ['evaluate-edits', '--steps', '0'], ['evaluate-edits', '--rows', ''],
         ['benchmark', '--out', '']]


@pytest.mark.parametrize('words', WRONG, ids=' '.join)
def test_wrong_usage_exits_with_2_and_one_sentence(words, capsys):
    with pytest.raises(SystemExit) as exit: main(words)
    usage, _, said = capsys.readouterr().err.partition('error: ')
    assert exit.value.code == 2 and usage.startswith('usage: ') and len(said.strip().splitlines()) == 1


def test_debug_shows_the_traceback(run, tmp_path):
    with pytest.raises(FileNotFoundError): run('--debug', video=tmp_path / 'gone.mp4')


@pytest.mark.parametrize('kept', [False, True])
def test_stopped_says_what_is_left(run, tmp_path, monkeypatch, kept):
    def stopped(*args, **kwargs): raise KeyboardInterrupt
    monkeypatch.setattr('videodirector.methods.videodirector.invert', stopped)
    if kept: (tmp_path / 'kept').mkdir()
    code, _, error = run(keep=tmp_path / 'kept')
    assert code == 130 and ('--keep' in error) == kept and ('nothing was written' in error) != kept


@pytest.mark.parametrize('name', ['SIGTERM', 'SIGHUP', 'SIGINT'])
def test_a_signal_ends_an_edit_and_nothing_is_left_behind(run, tmp_path, monkeypatch, name):
    number, seen = getattr(signal, name), []
    def stopped(*args, **kwargs):
        seen.extend(tmp_path.iterdir())
        os.kill(os.getpid(), number)
        time.sleep(10)
    monkeypatch.setattr('videodirector.methods.videodirector.edit', stopped)
    before = signal.signal(number, signal.default_int_handler)  # whatever the tests themselves were started with
    try: code, out, error = run()
    finally: left = signal.signal(number, before)
    assert seen and not list(tmp_path.iterdir()), 'a hidden folder was there, and is no more'
    assert (code, out) == (128 + number, '') and error == 'videodirector: stopped; nothing was written.\n'
    assert left is signal.default_int_handler


def test_nohup_is_respected():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stoppable(): os.kill(os.getpid(), signal.SIGHUP)
    finally: signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize('command, names', [('methods', METHODS), ('presets', PRESETS)])
def test_lists(command, names, capsys):
    assert main([command]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if line[0] != ' '] == list(names)
    assert main([command, '--json']) == 0 and '"rows"' in capsys.readouterr().out


@pytest.mark.parametrize('command', ['evaluate-model', 'evaluate-edits', 'benchmark'])
def test_commands_that_measure_have_options_of_their_own(command, capsys):
    with pytest.raises(SystemExit) as exit: main([command, '--help'])
    assert exit.value.code == 0 and '--json' in capsys.readouterr().out


def test_every_command_is_in_the_help(capsys):
    with pytest.raises(SystemExit): parser().parse_args(['--help'])
    text = capsys.readouterr().out
    assert all(name in text for name in ('demo', 'edit', 'batch', 'mask', 'lessons', 'methods', 'presets', 'evaluate-model', 'evaluate-edits', 'benchmark'))


def test_import_and_help_do_not_load_torch():
    program = ('import sys, videodirector, videodirector.app.cli as cli\n'
               'for words in (["--help"], ["edit", "--help"], ["edit", "x", "--target", "a", "--steps", "0"]):\n'
               '    try: cli.main(words)\n'
               '    except SystemExit: pass\n'
               'sys.exit(any(name in sys.modules for name in ("torch", "numpy", "matplotlib")))')
    subprocess.run([sys.executable, '-c', program], check=True, capture_output=True)


def test_what_is_installed_as_the_command_is_this():
    settings = ConfigParser(interpolation=None)
    settings.read(ROOT / 'settings.ini')
    assert settings['DEFAULT']['console_scripts'] == f'videodirector={main.__module__}:{main.__name__}'
