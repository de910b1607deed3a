"Options are the fields of the settings: none is missing, none is written twice."
import argparse
import re
from dataclasses import fields

import pytest

from videodirector.app.checks import ask_preset, settings_in
from videodirector.app.cli import parser
from videodirector.app.measure import measure_parser
from videodirector.app.options import changes_in, flag_of, settings_options
from videodirector.base.settings import changed, kind_of
from videodirector.bench.generation import GenerateSettings
from videodirector.bench.model_card import Counts
from videodirector.methods.presets import PRESETS, find_preset
from videodirector.methods.registry import METHODS
from videodirector.parts.settings import STDG, EditSettings, InvertSettings

EDIT = ['edit', 'x.mp4', '--target', 'a tiger']
FIELDS = [(kind, f) for kind in (InvertSettings, STDG, EditSettings) for f in fields(kind)
          if kind is not STDG or f.name not in ('region', 'blocks')]  # of which the first is the edit's


def options_of(words) -> dict:
    "Flag → action, of the parser of a command."
    top = measure_parser() if words[0].startswith('evaluate') else parser()
    commands = next(a for a in top._actions if isinstance(a, argparse._SubParsersAction))
    return {flag: action for action in commands.choices[words[0]]._actions for flag in action.option_strings}


@pytest.mark.parametrize('settings, f', FIELDS, ids=lambda x: getattr(x, 'name', None))
def test_every_field_is_an_option_with_its_help_and_default(settings, f):
    flag, options = flag_of(settings, f), options_of(EDIT)
    assert (flag in options) == (not f.metadata['expert'])
    if f.metadata['expert']: return
    default = getattr(settings(), f.name)
    words = {True: 'on', False: 'off'}[bool(default)] if kind_of(settings, f.name) in (bool, STDG) else 'none' if default in (None, {}) else default
    said = 'empty' if default == '' else str(words)
    assert options[flag].help.replace('%%', '%').startswith(f.metadata['help'])
    assert options[flag].help.endswith(f'(default {said})') and options[flag].default is None


@pytest.mark.parametrize('command', ['demo', 'edit', 'evaluate-edits'])
def test_the_commands_that_edit_share_the_options(command):
    expected = {flag_of(kind, f) for kind, f in FIELDS if not f.metadata['expert']}
    if command != 'edit': expected -= {'--region'}  # the scenes say it
    assert expected <= options_of([command]).keys() and ('--region' in options_of([command])) == (command == 'edit')


@pytest.mark.parametrize('name', METHODS)
def test_a_method_that_is_named_has_its_own_options(name, capsys):
    kinds = METHODS[name].invert_settings, METHODS[name].edit_settings
    words = [*EDIT, '--method', name]
    with pytest.raises(SystemExit): parser(words).parse_args([*words, '--help'])
    text = capsys.readouterr().out
    assert all(re.search(rf'^  {flag_of(kind, f)}[ ,]', text, re.M) for kind in kinds for f in fields(kind) if not f.metadata['expert'])
    assert tuple(map(type, settings_in(parser(words).parse_args(words)))) == kinds


def test_the_evaluation_of_the_model_too():
    expected = {flag_of(kind, f) for kind in (GenerateSettings, Counts) for f in fields(kind) if not f.metadata['expert']}
    assert expected <= options_of(['evaluate-model']).keys()


def test_no_option_is_written_twice():
    with pytest.raises(argparse.ArgumentError, match='conflicting'):  # argparse itself sees to it
        settings_options(argparse.ArgumentParser(parents=[made(InvertSettings)], add_help=False), InvertSettings)


def made(settings):
    "A parser of these settings."
    options = argparse.ArgumentParser(add_help=False)
    settings_options(options, settings)
    return options


def test_help_prints(capsys):
    with pytest.raises(SystemExit): parser().parse_args(['edit', '--help'])
    text = capsys.readouterr().out
    for kind, f in FIELDS:
        assert len(re.findall(rf'^  {flag_of(kind, f)}[ ,]', text, re.M)) == (not f.metadata['expert'])


@pytest.mark.parametrize('words, invert, edit', [
    ([], {}, {}),
    (['--steps', '5', '--guidance-scale', '7', '--lr', '.1'], dict(steps=5, guidance_scale=7., lr=.1), {}),
    (['--null', 'shared', '--stdg'], dict(null='shared', stdg=STDG()), {}),
    (['--inversion', 'fixed-point', '--evaluations', '3', '--null', 'none'], dict(inversion='fixed-point', evaluations=3, null='none'), {}),
    (['--no-layout', '--no-mutual', '--tau-c', '0'], {}, dict(layout=False, mutual=False, tau_c=0.)),
    (['--weight', 'tiger=2', '--weight', 'red=-1'], {}, dict(weights=dict(tiger=2., red=-1.))),
    (['--eta-f', '.3', '--zeta-b', '0'], dict(stdg=STDG(eta_f=.3, zeta_b=0.)), {}),
    (['--stdg', '--eta-b', '1'], dict(stdg=STDG(eta_b=1.)), {}),
    (['--blend', 'brown bear, tiger'], {}, dict(blend=('brown bear', 'tiger'))),
    (['--tau-word', 'tiger=0'], {}, dict(tau_words=dict(tiger=0.)))], ids=str)
def test_what_is_typed_is_what_is_set(words, invert, edit):
    args = parser().parse_args([*EDIT, *words])
    assert (changes_in(args, InvertSettings()), changes_in(args, EditSettings())) == (invert, edit)
    assert settings_in(args) == (changed(InvertSettings(), invert), changed(EditSettings(), edit))


@pytest.mark.parametrize('name', PRESETS)
def test_an_option_changes_one_setting_of_a_preset(name):
    preset = find_preset(name)
    assert settings_in(parser().parse_args([*EDIT, '--preset', name])) == (preset.invert, preset.edit)
    args = parser().parse_args([*EDIT, '--preset', name, '--steps', '5'])
    assert settings_in(args) == (changed(preset.invert, dict(steps=5)), preset.edit)
    args = parser().parse_args([*EDIT, '--preset', name, '--no-stdg', '--tau-s', '.1'])
    assert settings_in(args) == (changed(preset.invert, dict(stdg=None)), changed(preset.edit, dict(tau_s=.1)))


def test_guidance_that_a_preset_has_keeps_its_weights():
    walk = find_preset('walk').invert
    def asked(*words): return settings_in(parser().parse_args([*EDIT, '--preset', 'walk', *words]))[0].stdg
    assert asked() == asked('--stdg') == walk.stdg != STDG()
    assert asked('--eta-b', '.25') == changed(walk.stdg, dict(eta_b=.25))
    assert asked('--eta-f', '0', '--eta-b', '0', '--zeta-f', '0', '--zeta-b', '0') is None


@pytest.mark.parametrize('words, message', [
    (['--no-stdg', '--eta-b', '1'], '--eta-b says more about what --no-stdg switches off'),
    (['--eta-f', '-1'], 'eta_f is -1'), (['--zeta-f', 'inf'], 'zeta_f is inf'),
    (['--blend', 'bear'], "'bear' is no pair of words"), (['--blend', 'bear,,tiger'], 'is no pair of words'), (['--blend', ',tiger'], 'is no pair')])
def test_weights_and_blends_that_cannot_be(words, message, capsys):
    with pytest.raises((ValueError, SystemExit)) as error: settings_in(parser().parse_args([*EDIT, *words]))
    assert message in str(error.value) + capsys.readouterr().err


def test_a_preset_brings_what_is_not_given():
    def asked(*words):
        args = parser().parse_args(['edit', 'x.mp4', *words])
        ask_preset(args)
        return args.source, args.target, args.size
    bear = find_preset('bear')
    assert asked('--preset', 'bear') == (bear.source, bear.target, (512, 512)) and asked() == (None, None, None)
    assert asked('--preset', 'bear', '--source', 'a', '--target', 'b', '--size', '64x32') == ('a', 'b', (64, 32))
    assert asked('--preset', 'bear', '--stored', 'x') == (None, bear.target, None)
