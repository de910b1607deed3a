"Other methods on the board: their widgets, their model, their prepared clips."
import re
from dataclasses import fields

import pytest
import torch
from board_cases import COMMON, FEW, SOURCE, START, STEPS, TARGET, box, video
from browser import write_notebook
from conftest import make_tiny_image_model, make_tiny_model
from lessons import ROOT

from videodirector.base.run import Run
from videodirector.bench.rivals import entry_of
from videodirector.methods.api import Clip
from videodirector.methods.registry import METHODS
from videodirector.methods.tokenflow import TokenFlowEdit, TokenFlowInvert
from videodirector.show.board import Board
from videodirector.show.board_fields import Fields
from videodirector.show.board_runs import Runs, Settings, differing

OTHERS = [name for name in METHODS if name != 'videodirector']


@pytest.fixture(scope='module')
def models(): return make_tiny_model(), make_tiny_image_model()


@pytest.fixture
def board(models):
    runs = Runs(models[0], {'clip': Clip(video(), SOURCE, box()), 'other': Clip(video(1), SOURCE)}, image=lambda: models[1], **COMMON)
    return Board(runs, TARGET)


def choose(board, name):
    board.controls.method.value = name
    return board.controls.fields[name].widgets


@pytest.mark.parametrize('name', OTHERS)
def test_every_method_runs_on_the_board(board, name):
    made = board.run(method=name, **FEW.get(name, {}))
    assert made.edit.method == name and made.settings == START.by(name).but(**FEW.get(name, {}))
    assert board.runs.run(made.settings) is made and made.settings.prepared in board.runs.states


def test_a_run_is_what_its_widgets_say(board, models):
    widgets = choose(board, 'tokenflow')
    widgets['invert']['finer'].value, widgets['edit']['tau_qk'].value, widgets['edit']['extended'].value = 1, .25, False
    widgets['edit']['chunk'].value = 2
    made = board.run()
    invert, edit = TokenFlowInvert(STEPS, 1), TokenFlowEdit(tau_qk=.25, chunk=2, extended=False)
    assert (made.settings.invert, made.settings.edit) == (invert, edit)
    method, quiet = METHODS['tokenflow'], Run(progress=False)
    plain = method.edit(method.prepare(models[1], Clip(video(), SOURCE), invert, quiet), TARGET, edit, quiet)
    assert torch.equal(made.edit.video, plain.video)


def test_methods_stand_side_by_side_and_a_card_brings_its_method_back(board):
    first, second = board.run(tau_c=0.), board.run(method='rave', grid=1)
    title = board.cards[second.settings].title(board.reference)
    assert title == 'method RAVE w/o ControlNet · grid 1'
    one, two = board.cards.values()
    for card in one, two: card.pin.value = True
    assert 'VideoDirector' in board.compare_words.value and 'grid' in board.compare_words.value and 'SA-I' not in board.compare_words.value
    for run in first, second:
        board.load(board.cards[run.settings])
        assert board.controls.read() == run.settings and board.stage.value == run.beside_source


def test_each_method_keeps_its_settings_and_all_share_clip_and_prompt(board):
    board.controls.dials['tau_s'].slider.value = .8
    widgets = choose(board, 'rave')
    widgets['edit']['grid'].value = 3
    board.controls.prompt.value = 'a red bear'
    choose(board, 'do_nothing')
    for name, field, value in ('rave', 'grid', 3), ('videodirector', 'tau_s', .8):
        board.controls.method.value = name
        said = board.controls.read()
        assert getattr(said.edit, field) == value and said.prompt == 'a red bear' and said.method == name
    assert 'takes a new inversion and an edit' in board.message.value


def test_a_prepared_clip_is_kept_for_each_method(board, monkeypatch):
    first = board.run(method='invert_and_prompt')
    monkeypatch.setattr(type(METHODS['invert_and_prompt']), 'prepare', lambda *args: pytest.fail('prepared again'))
    second = board.run(method='invert_and_prompt', guidance_scale=9.)
    assert not torch.equal(first.edit.video, second.edit.video) and list(board.runs.work(second.settings.but(guidance_scale=2.))) == ['edit', 'measuring']
    assert START.prepared not in board.runs.states


def test_the_weights_of_words_are_shown_to_methods_that_have_them(board):
    controls = board.controls
    for name in METHODS:
        controls.method.value = name
        assert (controls.weights in controls.box.children) == (name in ('videodirector', 'video_p2p')), name
    controls.method.value = 'video_p2p'
    controls.words['tiger'].value = 2.
    assert controls.read().edit.weights == {'tiger': 2.}
    controls.show(START.by('video_p2p').but(weights={'grass': .5}))
    assert controls.read().edit.weights == {'grass': .5}


@pytest.mark.parametrize('name', OTHERS)
def test_widgets_say_what_they_were_set_to_and_what_the_field_says(name):
    usual = Settings('clip', TARGET, method=name)
    made = Fields(METHODS[name], usual, print)
    assert made.read(usual) == dict(invert=entry_of(name).invert, edit=entry_of(name).edit)
    for part, widgets in made.widgets.items():
        for f in fields(getattr(usual, part)):
            if f.name not in widgets: assert f.metadata['expert'] or f.name in ('weights', 'blend')
            else: assert f.metadata['help'] in widgets[f.name].tooltip


def test_a_range_is_kept():
    steps = Fields(METHODS['rave'], START.by('rave'), print).widgets['invert']['steps']
    steps.value = 1
    assert steps.value == 2 and '2 or more' in steps.tooltip


def test_the_image_model_is_loaded_once_and_when_it_is_needed(models):
    loaded = []
    def load(): loaded.append(1); return models[1]
    runs = Runs(models[0], Clip(video(), SOURCE), image=load, **COMMON)
    start = runs.start(prompt=TARGET)
    runs.check(start), runs.check(start.by('invert_and_prompt'))
    assert loaded == []
    for name in ('rave', 'flatten'): assert runs.fit(METHODS[name]) is models[1] and runs.check(start.by(name))
    assert loaded == [1] and runs.fit(METHODS['invert_and_prompt']) is models[0]


def test_what_is_missing_is_said_before_the_first_step(models):
    runs, never = Runs(models[0], Clip(video(), SOURCE), **COMMON), lambda *step: pytest.fail('a step was begun')
    with pytest.raises(ValueError, match=r'TokenFlow runs on image models and the board has none; give one with Runs\(…, image=…\)'):
        runs.run(runs.start(prompt=TARGET, method='tokenflow'), never)
    runs = Runs(models[1], Clip(video(), SOURCE), **COMMON)
    with pytest.raises(ValueError, match='MotionClone runs on video models and the board has none'): runs.run(runs.start(method='motionclone'), never)
    assert runs.check(runs.start(prompt=TARGET, method='tokenflow'))
    with pytest.raises(ValueError, match="no method 'x'"): runs.start(method='x')
    with pytest.raises(TypeError, match="no setting 'tau_c'; its settings are those of Settings, RaveInvert, RaveEdit"): runs.start(method='rave', tau_c=1)


def test_another_method_takes_over_what_its_inversion_shares():
    p2p = START.by('video_p2p').invert
    assert (p2p.steps, p2p.inner_steps, p2p.lr) == (STEPS, 1, .3) and p2p.tuning_steps == entry_of('video_p2p').invert.tuning_steps
    assert START.by('videodirector') is START and START.by('rave').by('tokenflow').invert.steps == STEPS
    assert differing(START.but(method='tokenflow', clip='other', finer=3), START) == {'method': 'TokenFlow', 'clip': 'other', 'finer': '3'}


# ---- in a browser ----

MAKE = f"""import sys
sys.path[:0] = {[str(ROOT / folder) for folder in ('tests', 'tests/show')]}
from board_cases import COMMON, SOURCE, TARGET, Board, Clip, Runs, box, video
from conftest import make_tiny_image_model, make_tiny_model
board = Board(Runs(make_tiny_model(), Clip(video(), SOURCE, box()), image=make_tiny_image_model, **COMMON), TARGET)
board"""


def test_another_method_is_chosen_and_run_in_a_browser(lab, tmp_path):
    from playwright.sync_api import expect
    lab.open(write_notebook(tmp_path / 'board.ipynb', MAKE, "print('it' + ' stands')", 'run, = board.runs.made.values()\nprint(run.edit.method, run.edit.settings["finer"], run.edit.settings["extended"])'))
    for number, text in enumerate(('', 'it stands')): lab.run_cell(number, text)
    out = lab.output(0)
    expect(out.get_by_text('SA-II: sees the source')).to_be_visible()
    out.get_by_label('method').select_option(label='FLATTEN')
    expect(out.get_by_text('SA-II: sees the source')).to_have_count(0)
    out.get_by_label('method').select_option(label='TokenFlow')
    expect(out.get_by_text('Keyframes that look at each other')).to_be_visible()
    for name, value in ('finer', '1'), ('chunk', '2'):
        number = out.get_by_label(name)
        number.fill(value)
        number.press('Tab')
    out.get_by_label('extended').uncheck()
    out.get_by_role('button', name=re.compile('Run$')).click()
    expect(out.get_by_role('button', name='Pin')).to_have_count(1, timeout=30_000)
    lab.run_cell(2, 'tokenflow 1 False')
    assert lab.errors == []
