"What a job is told to take: how it grows, which preset is chosen, and what is refused."
import json

import pytest
import torch
from lessons import NBS
from sentences import refuses

from videodirector.methods import cost as module
from videodirector.methods.cost import (
    TIMED, Timed, estimate_of, fit_to_card, fit_work, memory_of, seconds_of, time_call)
from videodirector.models.cards import CARDS, GIB
from videodirector.models.memory import weight_of
from videodirector.bench.untrained import FULL, build_model
from videodirector.parts.settings import STDG, InvertSettings

GUIDED = InvertSettings(steps=50, stdg=STDG())


@pytest.fixture(scope='module')
def full(): return build_model(FULL, torch.device('meta'), torch.float16)


def peaks(model, frames=16, size=(512, 512), settings=GUIDED):
    return {name: max(memory_of(model, frames, size, settings, card).values()) for name, card in CARDS.items()}


def test_each_preset_fits_on_its_card(full):
    assert all(peak <= CARDS[name].gib * GIB for name, peak in peaks(full).items())


@pytest.mark.parametrize('name', CARDS)
def test_no_peak_that_was_measured_is_above_what_is_told(full, name):
    stored = json.loads((NBS / 'results/memory.json').read_text())
    what, took = stored['what'], stored['peaks'][name]
    settings = InvertSettings(steps=what['steps'], inner_steps=what['updates'], stdg=STDG())
    for part, inverted in ('invert', False), ('edit', True):
        told = estimate_of(full, what['frames'], (what['height'], what['width']), settings, name, inverted=inverted).peak / GIB
        assert took[part] <= told <= 1.2 * took[part], (part, told)


def test_presets_are_in_order(full):
    sizes = [*peaks(full).values()]
    assert sizes == sorted(sizes, reverse=True)


def grown(full, part, frames=16, size=(512, 512), card='80gb'):
    "Without weights, and what an inversion keeps."
    settings = InvertSettings(steps=2, null='none')
    return memory_of(full, frames, size, settings, CARDS[card])[part] - weight_of(*full.parts)


def test_it_grows_with_frames_and_size(full):
    one = grown(full, 'edit')
    assert grown(full, 'edit', 32) == pytest.approx(2 * one, rel=.01)
    assert grown(full, 'edit', size=(256, 512)) == pytest.approx(one / 2, rel=.01)


def test_a_long_clip_is_seen_in_windows(full):
    def taken(model, frames): return memory_of(model, frames, (512, 512), InvertSettings(steps=2), CARDS['t4'])['null text']
    for model, seen in ((full, full.windows.longest(160)), (full.in_windows(16), 24)):  # the latter moves, and has no room to share
        assert taken(full, min(seen, 32)) <= taken(full, 32) and taken(full, 16) < taken(model, 160) < 1.2 * taken(full, seen)


def test_full_precision_takes_twice(full):
    twice = build_model(FULL, torch.device('meta'), torch.float32)
    half, whole = (max(memory_of(model, 16, (512, 512), GUIDED, CARDS['80gb']).values()) for model in (full, twice))
    assert whole == pytest.approx(2 * half, rel=.05)


def test_parts_are_those_that_are_asked_for(full):
    plain = memory_of(full, 16, (512, 512), InvertSettings(null='source'), CARDS['80gb'])
    assert plain.keys() == {'encoding', 'inversion', 'edit', 'decoding'}
    assert memory_of(full, 16, (512, 512), GUIDED, CARDS['80gb']).keys() == plain.keys() | {'null text', 'guidance'}


@pytest.mark.parametrize('gib, name', [(79, '80gb'), (25, '80gb'), (22, '24gb'), (14, 't4'), (8.5, 't4')])
def test_the_quickest_that_fits_is_chosen(full, gib, name):
    assert estimate_of(full, 16, (512, 512), GUIDED, room=gib * GIB).card.name == name


def test_what_fits_nowhere_is_refused(full):
    refuses('with the preset of memory .t4., and 6.0 GiB are free; take fewer frames, a smaller size or shorter windows',
            estimate_of, full, 16, (512, 512), GUIDED, room=6 * GIB)
    refuses('16 frames of 512×512 take .* preset of memory .80gb., and 14.0 GiB are free; .* or the preset .t4.',
            estimate_of, full, 16, (512, 512), GUIDED, '80gb', 14 * GIB)
    assert estimate_of(full, 8, (512, 512), GUIDED, room=6 * GIB).card.name == 't4'


def test_an_inverted_clip_needs_less(full):
    def chosen(**more): return estimate_of(full, 16, (512, 512), GUIDED, room=14 * GIB, inverted=True, **more).card.name
    assert chosen() == '80gb' and chosen(again=True) == '24gb', 'guidance that the edit asks for anew goes back through the UNet'


def test_other_models_are_not_refused(tiny_model):
    assert memory_of(tiny_model, 16, (64, 64), GUIDED, CARDS['80gb']) == {}
    assert estimate_of(tiny_model, 16, (64, 64), room=1).peak == 0


# time

def test_the_fit_finds_what_it_was_made_of():
    def timed(updates, steps=10): return Timed('cuda', .5, 1, 2, steps, updates, 1 + .5 * steps * (4 + 3 * updates), 2 + .5 * steps * 6)
    found = fit_work([timed(1), timed(10), timed(3, 50)])
    assert found == pytest.approx(dict(encode=2, decode=4, step=4, update=3, edit=6))


@pytest.mark.parametrize('timed', TIMED)
def test_what_was_timed_is_told(timed):
    settings = InvertSettings(steps=timed.steps, inner_steps=timed.updates, stdg=STDG())
    found = seconds_of(timed.kind, timed.call, settings, CARDS['80gb'])
    assert found['inversion'] == pytest.approx(timed.invert, rel=.05)
    if timed.edit is not None: assert found['edit'] == pytest.approx(timed.edit, rel=.05)


def test_an_inversion_that_is_not_replayed_takes_longer():
    def told(kind, card='80gb', replayed=True): return seconds_of(kind, 1., GUIDED, CARDS[card], replayed=replayed)
    assert told('cuda')['inversion'] < told('cuda', replayed=False)['inversion'] < told('cuda', '24gb')['inversion']
    assert told('cuda', '24gb') == told('cuda', '24gb', False)  # it never is
    assert told('cpu') == told('cpu', replayed=False) and told('cuda')['edit'] == told('cuda', replayed=False)['edit']


def test_time_grows_with_steps_updates_and_what_is_computed_twice():
    def told(card='80gb', **changes): return seconds_of('cuda', 1., InvertSettings(**dict(steps=10, inner_steps=2) | changes), CARDS[card])
    plain = told()
    assert all(told(steps=20)[part] > 1.8 * plain[part] for part in plain)
    assert told(inner_steps=4)['inversion'] > plain['inversion'] and told(inner_steps=4)['edit'] == plain['edit']
    assert told(null='none')['inversion'] < plain['inversion']
    assert plain['inversion'] < told('24gb')['inversion'] < told('t4')['inversion']
    assert told(inversion='fixed-point', evaluations=3)['inversion'] == pytest.approx(plain['inversion'] + 10 * 2)
    assert seconds_of('mps', 1., InvertSettings(), CARDS['80gb']) == seconds_of('cuda', 1., InvertSettings(), CARDS['80gb'])


def test_a_model_is_fitted_and_told(tiny_model, monkeypatch):
    assert time_call(tiny_model, 2, (32, 48)) > 0
    monkeypatch.setattr(module, 'time_call', lambda *_: 1.)
    told = fit_to_card(tiny_model, 2, (32, 48), InvertSettings(steps=2, null='none'), 't4')
    assert tiny_model.unet.is_gradient_checkpointing and told.card is CARDS['t4']
    assert str(told).startswith('At most ') and 'for the inversion' in str(told) and 'preset of memory t4: blocks and motion computed twice' in str(told)
    assert [*fit_to_card(tiny_model, 2, (32, 48), inverted=True).seconds] == ['edit']
    assert not tiny_model.unet.is_gradient_checkpointing


def test_what_is_recorded_is_told(tiny_model, monkeypatch):
    memory = dict(inversion=10, guidance=40, edit=30)
    monkeypatch.setattr(module, 'memory_of', lambda *_: memory)
    def told(**how): return fit_to_card(tiny_model, 2, (32, 48), InvertSettings(steps=2), **how).memory
    assert told() == memory
    monkeypatch.setattr(module, 'will_replay', lambda *_: True)
    assert told() == dict(inversion=20, guidance=80, edit=30)
    assert told(inverted=True, again=True) == dict(guidance=40, edit=30), 'an edit is not recorded'
