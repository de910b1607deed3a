"The time that is left, and what the widgets say."
import pytest
from board_cases import START, board, runs  # noqa: F401

from videodirector.parts.settings import STDG, TERMS
from videodirector.show.board_controls import Clock, Controls


def test_the_clock_counts_work():
    time = iter(range(0, 100, 2))
    clock = Clock({'inversion': 4., 'edit': 12.}, now=lambda: next(time))  # runs from the first step on
    clock.at('inversion', 0, 4)
    assert (clock.share, clock.left, clock.text) == (0, None, 'inversion, step 1 of 4')
    clock.at('inversion', 2, 4)  # 2 of 16 in 2 s
    assert (clock.share, clock.left, clock.text) == (2 / 16, 14, 'inversion, step 3 of 4 · about 14 s left')
    clock.at('edit', 2, 4)  # 10 of 16 in 4 s
    assert clock.left == pytest.approx(2.4)


def test_the_clock_starts_with_the_pace_of_before():
    clock = Clock({'edit': 10.}, pace=.5, now=lambda: 0.)
    clock.at('edit', 0, 5)
    assert clock.left == 5


@pytest.mark.parametrize('changes', [
    {}, dict(tau_s=0., tau_c=.3, mutual=False), dict(eta_f=0., eta_b=5., zeta_f=.25, zeta_b=0.), dict(weights={'brown tiger': 2., 'grass': .5}),
    dict(prompt='a red bear', null='shared', guidance_scale=7.5, region='background'),
    dict(null='none', eta_f=0., eta_b=0., zeta_b=0.), dict(null='proximal'), dict(clip='other', prompt='x' * 200)], ids=str)
def test_controls_say_what_they_were_set_to(runs, changes):
    settings = START.but(**changes)
    controls = Controls(runs, START, lambda: None)
    controls.show(settings)
    assert controls.read() == settings


def test_direct_inversion_switches_guidance_off(board):
    controls = board.controls
    controls.null_text.value = 'none'
    assert controls.read().invert.stdg is None and all(controls.dials[name].switch.disabled for name in TERMS)
    controls.null_text.value = 'source'
    assert controls.read() == board.start.but(null='source')


def test_words_get_sliders_that_follow_the_prompt(board):
    controls = board.controls
    assert list(controls.words) == ['brown', 'tiger', 'walking', 'grass']
    controls.words['tiger'].value = 2
    controls.prompt.value = 'a red tiger'
    assert list(controls.words) == ['red', 'tiger'] and controls.read().edit.weights == {'tiger': 2.}
    controls.prompt.value = 'a red bear'
    assert controls.read().edit.weights == {}


def test_a_slider_keeps_its_place_while_its_part_is_off(board):
    dial = board.controls.dials['tau_s']
    dial.slider.value = .8
    dial.switch.value = False
    assert board.controls.read().edit.tau_s == 0 and dial.slider.disabled and dial.slider.value == .8
    dial.switch.value = True
    assert board.controls.read().edit.tau_s == .8 and not dial.slider.disabled


def test_a_weight_of_guidance_waits_at_its_usual_strength(board):
    "Also where the default is 0: the spatial term of the foreground."
    assert board.controls.dials['zeta_f'].slider.value == STDG.zeta_b and board.controls.dials['eta_f'].slider.value == STDG.eta_f
