"Fields that know their default, their range and what they mean."
from dataclasses import dataclass, fields

import pytest

from videodirector.base.settings import changed, check_options, option, parse_value
from videodirector.parts.settings import EditSettings, InvertSettings


@dataclass(frozen=True)
class Walk:
    steps: int = option(20, 'number of steps', low=2)
    share: float | tuple = option(.5, 'a share', low=0, high=1)
    form: str = option('plain', 'a form', choices=('plain', 'odd'))
    words: dict = option({}, 'factors', low=0)
    loud: bool = option(False, 'say more')

    def __post_init__(self): check_options(self)


@pytest.mark.parametrize('bad, message', [
    (dict(steps=1), 'steps is 1; give a finite number of 2 or more'), (dict(share=1.5), 'share is 1.5; give a number from 0 to 1'),
    (dict(share=float('nan')), 'share is nan'), (dict(share=(.2, 1.2)), r'share is \(0.2, 1.2\)'),
    (dict(form='x'), "form is 'x'; choose one of 'plain', 'odd'"), (dict(words={'a': -1}), 'words is')])
def test_values_that_are_not_allowed(bad, message):
    with pytest.raises(ValueError, match=message): Walk(**bad)


@pytest.mark.parametrize('bad, message', [
    (dict(steps=float('inf')), 'steps is inf, a float; give a whole number'), (dict(steps='5'), "steps is '5', a str; give a whole number"),
    (dict(loud='no'), "loud is 'no', a str; give true or false"), (dict(words={3: 1.}), 'words is {3: 1.0}')])
def test_values_of_another_kind(bad, message):
    with pytest.raises(TypeError, match=message): Walk(**bad)


def test_changes_name_fields():
    assert changed(Walk(), dict(steps=3, share=(0, .5))) == Walk(3, (0, .5)) and Walk().words is not Walk().words
    with pytest.raises(TypeError, match='Walk has no stpes; its fields are steps, share'): changed(Walk(), dict(stpes=3))


def test_values_are_read_from_text():
    read = {name: parse_value(Walk, name, text) for name, text in dict(steps='7', share='.25', form='odd', loud='true').items()}
    assert read == dict(steps=7, share=.25, form='odd', loud=True)
    with pytest.raises(ValueError, match="'x' is no value for steps; give a whole number"): parse_value(Walk, 'steps', 'x')


@pytest.mark.parametrize('settings', [InvertSettings, EditSettings])
def test_every_setting_explains_itself(settings):
    for f in fields(settings): assert len(f.metadata['help']) > 15 and not f.metadata['help'].endswith('.'), f.name
