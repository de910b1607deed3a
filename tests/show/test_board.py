"The board: how a run is followed and stopped, and what one sees of it; at last in a browser."
import re
from io import BytesIO

import nbformat
import pytest
import torch
from board_cases import START, TARGET, board, runs, some_runs  # noqa: F401
from conftest import make_tiny_model
from lessons import NBS, WIDGET_VIEW
from nbformat import v4
from PIL import Image

from videodirector.show.board import Board


def wait(board): board.thread.join(60); assert not board.thread.is_alive()


def test_changes_are_from_the_start(board):
    board.run(tau_c=0.)
    assert board.run(tau_s=0.).settings == START.but(tau_s=0.)
    assert board.controls.read() == START.but(tau_s=0.)
    board.controls.mutual.value = False
    assert board.run().settings == START.but(tau_s=0., mutual=False)


def test_the_button_runs_what_the_controls_say(board):
    board.controls.dials['tau_c'].switch.value = False
    board.go.click(); wait(board)
    assert list(board.runs.made) == list(board.cards) == [START.but(tau_c=0.)]
    assert board.stage.value == board.runs.made[START.but(tau_c=0.)].beside_source
    assert (board.go.disabled, board.cancel.disabled, board.message.value) == (False, True, '')


def test_a_change_that_the_click_overtook_still_counts(board):
    board.go.click()
    board.controls.dials['tau_c'].switch.value = False
    wait(board)
    assert list(board.cards) == [START.but(tau_c=0.)]


@pytest.mark.parametrize('part, kept', [('inversion', 0), ('null text', 0), ('edit', 1)])
def test_cancel_ends_the_run_before_its_next_step(board, monkeypatch, part, kept):
    begun, tick = [], board.tick
    def watch(clock, *step):
        begun.append(step)
        if step[:2] == (part, 1): board.cancel.click()
        tick(clock, *step)
    monkeypatch.setattr(board, 'tick', watch)
    board.go.click(); wait(board)
    assert begun[-1][:2] == (part, 1)
    assert board.message.value == 'Cancelled.' and not board.cards and not board.runs.made
    assert len(board.runs.states) == kept
    monkeypatch.undo()
    board.go.click(); wait(board)
    assert len(board.cards) == 1 and board.message.value == ''
    assert torch.equal(board.runs.made[START].edit.video, some_runs(make_tiny_model()).run(START).edit.video)


def test_an_error_is_a_sentence_and_the_board_goes_on(board, monkeypatch):
    board.controls.prompt.value = '<b>' * 30
    board.go.click(); wait(board)
    assert 'role="alert"' in board.message.value and 'shorten it' in board.message.value
    monkeypatch.setattr(board.runs, 'run', lambda *args: [][1])
    board.go.click(); wait(board)
    assert 'IndexError: list index out of range' in board.message.value and isinstance(board.error, IndexError)
    monkeypatch.undo()
    board.controls.prompt.value = TARGET
    board.go.click(); wait(board)
    assert len(board.cards) == 1 and board.message.value == ''


def test_one_run_at_a_time(board):
    with board.running():
        assert board.go.disabled and not board.cancel.disabled
        with pytest.raises(ValueError, match='A run is going on'): board.run()
    assert not board.go.disabled
    board.run()


def test_a_kept_run_is_shown_without_the_model(board):
    first, second = board.run(), board.run(tau_c=0.)
    board.runs.model.unet.register_forward_hook(lambda *args: pytest.fail('the model ran'))
    for run, other in ((first, second), (second, first)):
        board.controls.show(run.settings)
        assert board.stage.value == run.beside_source != other.beside_source
    board.controls.dials['tau_c'].switch.value = True
    assert board.stage.value == first.beside_source
    board.controls.mutual.value = False
    assert 'takes an edit' in board.message.value
    board.controls.guidance_scale.value = 6
    assert 'takes a new inversion and an edit' in board.message.value


def test_the_newest_run_comes_first_and_once(board):
    one, two = board.run(), board.run(tau_c=0.)
    board.run()
    assert [card.run for card in board.cards.values()] == [one, two]
    assert board.gallery.children == tuple(board.cards[run.settings].box for run in (two, one))
    assert '<b>2</b> · CA off' in board.cards[two.settings].words.value


def test_two_can_be_pinned(board):
    for changes in dict(tau_c=0.), dict(tau_s=0.), dict(mutual=False): board.run(**changes)
    one, two, three = board.cards.values()
    one.pin.value = True
    assert 'Pin another run' in board.compare_words.value and board.compare.layout.display == 'none'
    two.pin.value = True
    assert board.pinned == [one, two] and board.compare.layout.display == ''
    layout, words = f'τ_s {START.edit.tau_s:g}', f'τ_c {START.edit.tau_c:g}'
    assert re.findall('>([^<>]+)<', board.compare_words.value)[:8] == ['run 1', 'run 2', 'SA-I', layout, 'off', 'CA', 'off', words]
    assert f'CA {words} ' not in one.words.value and f'SA-I off · CA {words}' in two.words.value  # compared with the first pinned
    before = board.compare.value
    three.pin.value = True
    assert board.pinned == [two, three] and not one.pin.value and board.compare.value != before
    two.pin.value = three.pin.value = False
    assert board.pinned == [] and board.compare.layout.display == 'none' and board.compare_words.value == ''


def test_a_pinned_run_can_be_loaded(board):
    one, _ = board.run(), board.run(tau_c=0., weights={'tiger': 2.})
    load = board.cards[one.settings].box.children[-1].children[-1]
    load.click()
    assert board.controls.read() == one.settings and board.stage.value == one.beside_source


def test_the_board_shows_itself_live_and_as_a_picture(board):
    assert 'image/png' not in board._repr_mimebundle_()
    with pytest.raises(ValueError, match='no runs to draw yet'): board.still()
    board.run()
    low = Image.open(BytesIO(board.still().data)).size[1]
    board.run(tau_c=0.)
    bundle = board._repr_mimebundle_()
    assert {WIDGET_VIEW, 'image/png'} <= bundle.keys()
    assert low < Image.open(BytesIO(board.still().data)).size[1] and board.still(rows=1).data != board.still().data
    assert [*Board(board.runs, TARGET).cards] == [*board.cards]  # another board of the same runs


def test_the_lesson_in_a_browser(lab, tmp_path):
    nb = nbformat.read(NBS / 'show/ablation_board.ipynb', 4)
    live = [i for i, cell in enumerate(nb.cells) if cell.source.splitlines()[-1:] == ['board']][-1]
    nb.cells.append(v4.new_code_cell("print('all' + ' done')"))
    nbformat.write(nb, tmp_path / 'board.ipynb')
    lab.page.route('https://colab.research.google.com/**', lambda route: route.fulfill(content_type='image/svg+xml', body='<svg xmlns="http://www.w3.org/2000/svg"/>'))
    lab.open(tmp_path / 'board.ipynb')
    lab.run_all('all done', 300)
    drive(lab, lab.output(live))
    assert lab.errors == []


def drive(lab, out):
    "Move controls by keyboard and mouse, and see what happens."
    from playwright.sync_api import expect
    page, cards, stage = lab.page, out.get_by_role('button', name='Pin'), out.locator('img.widget-image').first
    run, cancel = (out.get_by_role('button', name=re.compile(f'{name}$')) for name in ('Run', 'Cancel'))  # an icon comes first
    made, picture = cards.count(), stage.get_attribute('src')
    assert made >= 5

    handle = out.locator('.widget-hslider', has=page.get_by_text('τ_c', exact=True)).locator('.noUi-handle')
    handle.focus()
    page.keyboard.press('PageDown')
    expect(out.get_by_text('Not run yet: takes an edit')).to_be_visible()
    run.click()
    expect(cards).to_have_count(made + 1, timeout=60_000)
    assert stage.get_attribute('src') != picture

    out.get_by_label('SA-II').uncheck()
    run.click()
    expect(out.get_by_text(' s left')).to_be_visible(timeout=30_000)
    cancel.click()
    expect(out.get_by_text('Cancelled.')).to_be_visible(timeout=30_000)
    expect(run).to_be_enabled()
    expect(cards).to_have_count(made + 1)

    prompt = out.locator('input[type=text]').first
    prompt.fill('a dragon driving left on a city street')
    run.click()
    expect(out.get_by_role('alert')).to_contain_text("no word 'dragon'", timeout=30_000)
    out.get_by_role('button', name='Load').last.click()
    expect(out.get_by_role('alert')).to_have_count(0)
    assert prompt.input_value() == 'a green car driving left on a city street'

    for i in (0, made): cards.nth(i).click()  # the newest and the first
    expect(out.get_by_text('run 1', exact=True)).to_be_visible()
    expect(out.locator('img.widget-image').nth(1)).to_be_visible()
