"The second edit of an inversion takes its source from the first, computes less, and is the same; what is of another source is forgotten."
from dataclasses import replace

import pytest
import torch
from conftest import make_tiny_model
from torch.testing import assert_close

from videodirector.attention.features import SOURCES, SourceFeatures
from videodirector.attention.processor import AttentionControl, Here, attend
from videodirector.attention.recording import Recording
from videodirector.attention.sites import Site
from videodirector.base.run import Run
from videodirector.methods.api import Clip
from videodirector.methods.videodirector import VideoDirector, edit, invert
from videodirector.models.api import Wrapped
from videodirector.parts.control import SLOTS, LayoutControl, MutualControl
from videodirector.show.board_runs import Runs


SOURCE, TARGET, OTHER = 'a brown bear walking on grass', 'a brown tiger walking on grass', 'a red bear walking on snow'
STEPS, QUIET = 4, Run(progress=False)


@pytest.fixture(scope='module')
def inversion(tiny_model_of_module):
    video = torch.rand(3, 3, 32, 48, generator=torch.manual_seed(0)) * 2 - 1
    mask = torch.zeros(3, 32, 48, dtype=torch.bool)
    mask[:, :16, :24] = True
    return invert(tiny_model_of_module, video, SOURCE, mask, run=QUIET, steps=STEPS, inner_steps=1)


@pytest.fixture(scope='module')
def tiny_model_of_module():
    return make_tiny_model()


class Counted:
    "A model that counts the clips it is given."
    def __init__(self, model):
        self.clips = 0
        def around(predict, z, t, text): self.clips += len(z); return predict(z, t, text)
        self.model = Wrapped(model, around)


def edited(model, inversion, features=None, prompt=TARGET, **settings):
    "The latents, and how many clips went through the UNet."
    counted = Counted(model)
    made = edit(counted.model, inversion, prompt, run=QUIET, features=features, **settings)
    return made.latents, counted.clips


@pytest.mark.parametrize('settings', [{}, dict(neutral=False, tau_c=1., weights={'tiger': 3.}), dict(blend=('bear', 'tiger')),
                                      dict(blend=(['bear'], []), tau_c=0.), dict(blend=(['bear'], [])),
                                      dict(layout=False, region='background')], ids=str)
def test_the_second_edit_is_the_same_without_its_source(tiny_model, inversion, settings):
    alone, many = edited(tiny_model, inversion, **settings)
    features = SourceFeatures()
    first, as_many = edited(tiny_model, inversion, features, **settings)
    second, fewer = edited(tiny_model, inversion, features, **settings)
    assert torch.equal(first, alone) and as_many == many > fewer == 2 * STEPS
    assert_close(second, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('first', [True, False])
@pytest.mark.parametrize('pairs', [MutualControl.pairs, MutualControl.pairs[1:], ()], ids=len)
def test_sa_ii_with_what_was_kept_stands_beside_a_control_of_ones_own(tiny_model, first, pairs):
    class Own(AttentionControl):
        "Says nothing of what it changes."
        kinds = ('spatial',)
        def qkv(self, q, k, v, bias, here): return 2 * q, k, v, bias
    controls, features = [MutualControl(range(9), pairs=pairs), Own()], SourceFeatures()
    if not first: controls.reverse()
    z, text = torch.randn(4, 4, 3, 4, 6, generator=torch.manual_seed(0)), tiny_model.embed('a bear').expand(4, -1, -1)
    def called(n):
        with attend(tiny_model.unet, controls, features=features) as at, torch.no_grad():
            at.begin(0, SLOTS[:n], 3, 4, 6, kept=SLOTS[n:])
            eps = tiny_model.predict(z[:n], 500, text[:n])
        features.complete(0, controls)
        return eps[:2]
    assert_close(*map(called, (4, 2)), rtol=1e-4, atol=1e-5)


def test_another_prompt_takes_the_same_source(tiny_model, inversion):
    features = SourceFeatures()
    edited(tiny_model, inversion, features)
    alone, _ = edited(tiny_model, inversion, prompt=OTHER)
    there, clips = edited(tiny_model, inversion, features, OTHER)
    assert clips == 2 * STEPS
    assert_close(there, alone, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(alone, edited(tiny_model, inversion)[0], atol=1e-3)


def test_steps_that_take_something_else_are_computed_and_then_known(tiny_model, inversion):
    features = SourceFeatures()
    edited(tiny_model, inversion, features, tau_s=.8)
    alone, many = edited(tiny_model, inversion, tau_s=.2)
    first, some = edited(tiny_model, inversion, features, tau_s=.2)
    second, fewer = edited(tiny_model, inversion, features, tau_s=.2)
    assert many > some > fewer == 2 * STEPS
    for made in (first, second): assert_close(made, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('change', [lambda x: replace(x, pivots=x.pivots.clone()),
                                    lambda x: replace(x, null=replace(x.null, embeddings=x.null.embeddings * 1.5))], ids=['pivots', 'null text'])
def test_what_came_of_another_inversion_is_forgotten(tiny_model, inversion, change):
    features, other = SourceFeatures(), change(inversion)
    edited(tiny_model, inversion, features)
    alone, many = edited(tiny_model, other)
    there, as_many = edited(tiny_model, other, features)
    assert torch.equal(there, alone) and as_many == many


def test_what_came_of_another_text_in_the_unconditional_slot_is_forgotten(tiny_model, inversion):
    features = SourceFeatures()
    edited(tiny_model, inversion, features)
    alone, many = edited(tiny_model, inversion, neutral=False)
    there, as_many = edited(tiny_model, inversion, features, neutral=False)
    assert torch.equal(there, alone) and as_many == many


def test_what_came_of_another_precision_is_forgotten(inversion):
    model, features = make_tiny_model(), SourceFeatures()
    edited(model, inversion, features)
    model.unet.double()
    there, _ = edited(model, inversion, features)
    assert {row.dtype for row in features.rows.values()} == {torch.float64}
    assert_close(there, edited(model, inversion)[0])


def test_a_budget_that_does_not_last_keeps_the_first_steps(tiny_model, inversion):
    whole = SourceFeatures()
    alone, many = edited(tiny_model, inversion, whole)
    features = SourceFeatures(whole.bytes / 2**20 / 2)
    for _ in range(2): made, some = edited(tiny_model, inversion, features)
    assert 2 * STEPS < some < many and 0 < features.bytes <= whole.bytes / 2
    assert features.bytes == sum(x.numel() * x.element_size() for x in features.rows.values())
    assert_close(made, alone, rtol=1e-4, atol=1e-5)
    nothing = SourceFeatures(0)
    assert [edited(tiny_model, inversion, nothing)[1] for _ in range(2)] == [many, many] and not nothing.rows


def test_only_what_is_taken_is_kept(tiny_model, inversion):
    features = SourceFeatures()
    edited(tiny_model, inversion, features, tau_c=0., mutual=False)
    assert {(slot, letter) for *_, slot, letter in features.rows} == {('source_cond', 'q'), ('source_cond', 'k')}
    features.forget()
    edited(tiny_model, inversion, features, tau_c=0., layout=False)
    assert {(slot, letter) for *_, slot, letter in features.rows} == {(slot, letter) for slot in SOURCES for letter in 'kv'}
    assert all(site.startswith('up_blocks') for _, site, *_ in features.rows)


def test_a_recording_sees_the_source_and_keeps_nothing(tiny_model, inversion):
    features, maps = SourceFeatures(), [Recording(), Recording()]
    for record, given in zip(maps, (features, None)):
        if given is not None: edited(tiny_model, inversion, given)
        edit(tiny_model, inversion, TARGET, run=QUIET, record=record, features=given)
    assert maps[0].maps.keys() == maps[1].maps.keys() and any(slot == 'source_cond' for *_, slot in maps[0].maps)
    for key, seen in maps[0].maps.items(): assert torch.equal(seen, maps[1].maps[key])


def test_a_recording_around_an_edit_sees_the_source_too(tiny_model, inversion):
    features, maps = SourceFeatures(), [Recording(('cross', 'spatial')), Recording(('cross', 'spatial'))]
    edited(tiny_model, inversion, features)
    for record, given in zip(maps, (features, None)):
        with attend(tiny_model.unet, record=record): edited(tiny_model, inversion, given)
    assert maps[0].maps.keys() == maps[1].maps.keys()
    for key, seen in maps[0].maps.items(): assert torch.equal(seen, maps[1].maps[key])
    assert edited(tiny_model, inversion, features)[1] == 2 * STEPS  # what was kept is still there


def test_windows_of_a_long_clip_are_told_apart(tiny_model):
    model = tiny_model.in_windows(3, 1)
    video = torch.rand(7, 3, 32, 48, generator=torch.manual_seed(0)) * 2 - 1
    long, features = invert(model, video, SOURCE, run=QUIET, steps=STEPS, inner_steps=0), SourceFeatures()
    alone, first, second = (edited(model, long, given)[0] for given in (None, features, features))
    assert torch.equal(alone, first) and len({window for _, _, window, *_ in features.rows}) > 2
    assert_close(second, alone, rtol=1e-4, atol=1e-5)


def test_a_stopped_edit_leaves_nothing_wrong(tiny_model, inversion):
    class Stop(Exception): pass

    def stop(part, i, total):
        if i == 3: raise Stop
    features = SourceFeatures()
    with pytest.raises(Stop): edit(tiny_model, inversion, TARGET, run=Run(progress=False, on_step=stop), features=features)
    alone, many = edited(tiny_model, inversion)
    there, some = edited(tiny_model, inversion, features)
    assert some < many
    assert_close(there, alone, rtol=1e-4, atol=1e-5)


def test_a_state_may_bring_its_features_and_the_board_does(tiny_model, inversion):
    features = SourceFeatures()
    states = (tiny_model, inversion, features), (tiny_model, inversion)
    made = [VideoDirector().edit(state, TARGET, run=QUIET).latents for state in states]
    assert torch.equal(*made) and features.rows
    clip = Clip(torch.rand(3, 3, 32, 48, generator=torch.manual_seed(0)) * 2 - 1, SOURCE, inversion.mask)
    counted = Counted(tiny_model)
    runs = Runs.of(counted.model, clip, inversion)
    runs.run(runs.start(prompt=TARGET))
    before = counted.clips
    runs.run(runs.start(prompt=OTHER))
    assert counted.clips - before == 2 * STEPS


def test_what_nobody_takes_is_not_there():
    features, q = SourceFeatures(), torch.rand(2, 3, 1, 4, 2)
    control, place = MutualControl(range(9)), dict(step=0, frames=3, height=2, width=2, size=(2, 2))
    site = Site('up_blocks.0.attn1', 'spatial')
    full = Here(slots=('edit_uncond', 'edit_cond', *SOURCES), site=site, **place)
    features.meet([control], *[torch.cat([q, q])] * 3, full)
    features.complete(0, [control])
    assert features.holds(0, [control]) and not features.holds(1, [control]) and not features.holds(0, [LayoutControl(range(9))])
    now = Here(slots=full.slots[:2], kept=SOURCES, site=site, **place)
    here = features.meet([control], q, q, q, now)
    assert here.slots == now.slots and here.known.keys() == {(slot, letter) for slot in SOURCES for letter in 'kv'}
    for slot, row in zip(SOURCES, q): assert torch.equal(here.row('k', slot, q), row) and torch.equal(here.row('v', slot, q), row)
    assert torch.equal(here.row('q', 'edit_cond', q), q[1])
    for unmet in (here, now):
        with pytest.raises(ValueError, match="'q' of 'source_cond' was not kept"): unmet.row('q', 'source_cond', q)


def test_what_is_refused(tiny_model, inversion):
    with pytest.raises(TypeError, match='SourceFeatures'): edit(tiny_model, inversion, TARGET, run=QUIET, features={})
    with attend(tiny_model.unet) as at, pytest.raises(ValueError, match='repeat'):
        at.begin(0, ('edit_uncond', 'edit_cond'), 3, 4, 6, kept=('edit_cond',))


def test_it_says_what_it_holds(tiny_model, inversion):
    features = SourceFeatures()
    assert str(features) == 'SourceFeatures(0 steps, 0 MiB)'
    edited(tiny_model, inversion, features)
    assert str(features).startswith(f'SourceFeatures({STEPS} steps')
