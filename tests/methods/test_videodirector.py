"The whole method on a tiny random model: neutral settings change nothing, strong ones do, bad input is refused in one sentence."
import multiprocessing
import shutil
import time
import warnings
from dataclasses import replace

import pytest
import torch
from conftest import make_tiny_model
from torch.testing import assert_close

from videodirector.attention.recording import Recording
from videodirector.attention.words import find_words
from videodirector.base.run import Run
from videodirector.data.mask import Mask
from videodirector.data.regions import ellipse, feather
from videodirector.methods import videodirector as module
from videodirector.methods.api import Clip, Edit
from videodirector.methods.videodirector import (
    Inversion, VideoDirector, edit, guidance_term, invert, plan_controls, reconstruct)
from videodirector.models.sources import as_model
from videodirector.models.api import Wrapped
from videodirector.parts.control import SLOTS, slots_at
from videodirector.parts.guidance import Guide
from videodirector.parts.settings import STDG
from videodirector.parts.inversion import sample_ddim
from videodirector.parts.settings import EditSettings


SOURCE, TARGET = 'a brown bear walking on grass', 'a brown tiger walking on grass'
STEPS, HEIGHT, WIDTH = 5, 32, 48
OFF = dict(tau_c=0., tau_s=0., mutual=False)


def clip(frames=3, height=HEIGHT, width=WIDTH):
    return torch.rand(frames, 3, height, width, generator=torch.manual_seed(0)) * 2 - 1


def box(frames=3, height=HEIGHT, width=WIDTH):
    mask = torch.zeros(frames, height, width, dtype=torch.bool)
    mask[:, : height // 2, : width // 2] = True
    return mask


def inverted(model, video=None, mask=None, run=None, **settings):
    settings = dict(steps=STEPS, inner_steps=1) | settings
    return invert(model, clip() if video is None else video, SOURCE, mask, run=run, **settings)


def edited(model, inversion, prompt=TARGET, **settings): return edit(model, inversion, prompt, **settings)
def planned(model, inversion, **settings): return plan_controls(model, inversion, TARGET, EditSettings(**settings))


@pytest.fixture(scope='module')
def inversion(): return inverted(make_tiny_model(), mask=box())  # of a model equal to `tiny_model`; no test changes it


# following a run step by step

def test_a_run_tells_of_every_step_and_is_the_same_for_it(tiny_model, inversion):
    told = []
    followed = inverted(tiny_model, mask=box(), run=Run(on_step=lambda *step: told.append(step)))
    edit_followed = edited(tiny_model, followed, run=Run(on_step=lambda *step: told.append(step)))
    assert told == [(part, i, STEPS) for part in ('inversion', 'null text', 'edit') for i in range(STEPS)]
    assert torch.equal(followed.pivots, inversion.pivots)
    assert torch.equal(followed.null.embeddings, inversion.null.embeddings)
    assert torch.equal(edit_followed.video, edited(tiny_model, inversion).video)


class Stop(Exception): pass


@pytest.mark.parametrize('part', ['inversion', 'null text', 'edit'])
def test_a_run_can_be_stopped_before_any_step(tiny_model, inversion, monkeypatch, part):
    calls = []
    def on_step(now, i, total):
        if (now, i) == (part, 2):
            calls.clear()
            raise Stop
    for name in ('encode', 'decode'):
        work = getattr(tiny_model, name)
        monkeypatch.setattr(tiny_model, name, lambda *args, work=work, name=name: calls.append(name) or work(*args))
    tiny_model.unet.register_forward_hook(lambda *args: calls.append('unet'))
    flags, processors = [p.requires_grad for p in tiny_model.unet.parameters()], dict(tiny_model.unet.attn_processors)
    with pytest.raises(Stop):
        if part == 'edit': edited(tiny_model, inversion, run=Run(on_step=on_step))
        else: inverted(tiny_model, mask=box(), run=Run(on_step=on_step))
    assert calls == []
    assert flags == [p.requires_grad for p in tiny_model.unet.parameters()]
    assert processors == tiny_model.unet.attn_processors


# what outlives the process

def climb_slowly(folder):
    "An inversion that keeps its steps; a process of its own, to be killed."
    from videodirector.base import run as steps_module
    write, calm = steps_module.write_tensors, time.sleep
    def write_slowly(*args): write(*args); calm(.1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps_module, 'write_tensors', write_slowly)
        inverted(make_tiny_model(), mask=box(), inner_steps=3, stdg=STDG(), run=Run(folder=folder))


@pytest.fixture(scope='module')
def killed(tmp_path_factory):
    "The steps that an inversion had kept when it was killed while tuning, oldest first."
    folder = tmp_path_factory.mktemp('killed')
    process = multiprocessing.get_context('spawn').Process(target=climb_slowly, args=(folder,))
    process.start()
    def done(): return sorted(folder.glob('[!.]*.safetensors'), key=lambda path: path.stat().st_mtime_ns)
    while len(done()) < 2 * STEPS and process.is_alive(): time.sleep(.005)
    process.kill(); process.join()
    assert 2 * STEPS <= len(done()) < 3 * STEPS and process.exitcode < 0, 'it was not killed on the way'
    return done()


@pytest.mark.parametrize('until', [3, None])  # files: while climbing, while tuning
def test_a_killed_inversion_goes_on_and_ends_bit_equal(killed, tmp_path, until):
    for path in (killed[0].with_name('inputs.json'), *killed[:until]): shutil.copy2(path, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    settings = dict(mask=box(), inner_steps=3, stdg=STDG())
    again, whole = inverted(make_tiny_model(), run=Run(folder=tmp_path), **settings), inverted(make_tiny_model(), **settings)
    assert torch.equal(again.pivots, whole.pivots) and torch.equal(again.null.embeddings, whole.null.embeddings)
    assert torch.equal(again.null.latents, whole.null.latents) and again.null.losses == whole.null.losses
    assert torch.equal(again.guidance.gradients, whole.guidance.gradients) and again.guidance.losses == whole.guidance.losses
    assert all(path.stat().st_mtime_ns == then for path, then in before.items()), 'a step was computed twice'


def test_kept_steps_of_another_inversion_are_refused(tiny_model, tmp_path):
    inverted(tiny_model, run=Run(folder=tmp_path))
    for settings, name in ((dict(guidance_scale=7.), 'schedule, settings'), (dict(mask=box()), 'mask'), (dict(video=clip().flip(0)), 'clip')):
        with pytest.raises(ValueError, match=rf'other inputs \({name}\); give another folder'): inverted(tiny_model, run=Run(folder=tmp_path), **settings)
    other = make_tiny_model()
    with torch.no_grad(): other.unet.conv_out.weight.mul_(2)
    with pytest.raises(ValueError, match=r'other inputs \(model\)'): inverted(other, run=Run(folder=tmp_path))


# what must not change

def test_same_prompt_is_the_reconstruction(tiny_model, inversion):
    same, back = edited(tiny_model, inversion, SOURCE), reconstruct(tiny_model, inversion)
    assert torch.equal(same.latents, back.latents) and torch.equal(same.video, back.video)
    assert torch.equal(edited(tiny_model, inversion, f' {SOURCE} ', weights={'bear': 1}).latents, back.latents)


def test_reconstruction_is_guided_sampling_with_the_null_text(tiny_model, inversion):
    text = tiny_model.embed(SOURCE)
    plain = sample_ddim(tiny_model, inversion.pivots[-1:], text, inversion.null.embeddings, inversion.schedule)
    assert torch.equal(reconstruct(tiny_model, inversion).latents, plain)


def test_controls_switched_off_are_plain_sampling(tiny_model, inversion):
    text = tiny_model.embed(TARGET)
    plain = sample_ddim(tiny_model, inversion.pivots[-1:], text, inversion.null.embeddings, inversion.schedule)
    assert planned(tiny_model, inversion, **OFF) == []
    assert torch.equal(edited(tiny_model, inversion, **OFF).latents, plain)


@pytest.mark.parametrize('neutral', [dict(weights={}), dict(weights={'tiger': 1.}), dict(tau_words={'brown': EditSettings().tau_c}), dict(align='refine'), dict(region='foreground')])
def test_neutral_values_change_nothing(tiny_model, inversion, neutral):
    assert torch.equal(edited(tiny_model, inversion, **neutral).latents, edited(tiny_model, inversion).latents)


@pytest.mark.parametrize('strong', [dict(tau_c=0.), dict(tau_s=1.), dict(mutual=False), dict(weights={'tiger': 8}), dict(tau_words={'brown': 0.}),
                                    dict(region='background'), dict(align='replace')])
def test_strong_values_change_the_edit(tiny_model, inversion, strong):
    base = edited(tiny_model, inversion)
    assert (edited(tiny_model, inversion, **strong).latents - base.latents).abs().max() > 1e-6


def test_single_words_have_windows_of_their_own(tiny_model, inversion):
    words = {'brown': .2, 'on grass': (.5, 1.), 'tiger': 0.}
    cross = planned(tiny_model, inversion, tau_c=.5, tau_words=words)[0]
    rows = {word: cross.schedule[:STEPS, list(find_words(tiny_model.tokenizer, TARGET, word))] for word in ('a', 'walking', *words)}
    steps = {word: alpha.any(1).nonzero().flatten().tolist() for word, alpha in rows.items()}
    assert steps == {'a': [0, 1, 2], 'walking': [0, 1, 2], 'brown': [0], 'on grass': [3, 4], 'tiger': []}
    only = planned(tiny_model, inversion, **{**OFF, 'tau_words': {'brown': .5}})  # no other word has a window
    assert [type(e).__name__ for e in only] == ['CrossControl']
    assert only[0].schedule.any(0).nonzero().flatten().tolist() == list(find_words(tiny_model.tokenizer, TARGET, 'brown'))


def test_each_control_alone_changes_the_edit(tiny_model, inversion):
    plain = edited(tiny_model, inversion, **OFF).latents
    for alone in (dict(tau_c=1.), dict(tau_s=1.), dict(mutual=True)):
        assert not torch.equal(edited(tiny_model, inversion, **{**OFF, **alone}).latents, plain), alone


def test_the_model_is_given_back(tiny_model, inversion):
    before = dict(tiny_model.unet.attn_processors)
    edited(tiny_model, inversion)
    assert dict(tiny_model.unet.attn_processors) == before
    with pytest.raises(ZeroDivisionError): edited(Wrapped(tiny_model, lambda *a: 1 / 0), inversion)
    assert dict(tiny_model.unet.attn_processors) == before


# local blend

def test_blend_keeps_the_rest_as_it_was(tiny_model, inversion, monkeypatch):
    made = []
    class Spied(module.LocalBlend):
        def __init__(self, *args, **settings): super().__init__(*args, **settings); made.append(self)
    monkeypatch.setattr(module, 'LocalBlend', Spied)
    plain = edited(tiny_model, inversion)
    assert made == []
    blended = edited(tiny_model, inversion, blend=('bear', 'tiger'), blend_threshold=.9)
    free, first = made[0].region(4, 6), inversion.pivots[:1]
    assert 0 < free.float().mean() < 1
    assert torch.equal(blended.latents[:, :, ~free], first[:, :, ~free]) and not torch.equal(blended.latents[:, :, free], first[:, :, free])
    assert torch.equal(edited(tiny_model, inversion, blend=('bear', 'tiger'), blend_threshold=1.).latents, first)
    everything = edited(tiny_model, inversion, blend=('bear', 'tiger'), blend_threshold=0.)
    assert_close(everything.latents, plain.latents, rtol=1e-4, atol=1e-4)


def test_blend_follows_the_pivots_from_its_first_step_on(tiny_model, inversion):
    seen = []
    def spy(predict, latents, t, text): seen.append(latents[:1].clone()); return predict(latents, t, text)
    edited(Wrapped(tiny_model, spy), inversion, blend=('bear', 'tiger'), blend_threshold=1.)  # nothing is free
    same = [torch.equal(z[0], inversion.pivots[STEPS - i]) for i, z in enumerate(seen)]
    assert same == [True, False, True, True, True]  # S = 5: blended after step 1 and all later ones


def test_blend_is_written_down(tiny_model, inversion, tmp_path):
    result = edited(tiny_model, inversion, blend=(['brown', 'bear'], 'tiger'))
    result.save(tmp_path / 'tiger.safetensors')
    assert result.settings['blend'] == (('brown', 'bear'), 'tiger') and result.settings['blend_threshold'] == .3
    assert EditSettings(**Edit.load(tmp_path / 'tiger.safetensors').settings) == EditSettings(**result.settings)
    assert edited(tiny_model, inversion).settings['blend'] is None


# the official code's timesteps

def test_the_edit_alone_can_run_at_other_timesteps(tiny_model, guided):
    calls = []
    def spy(predict, latents, t, text): calls.append((t, latents.clone(), text.clone())); return predict(latents, t, text)
    spied = Wrapped(tiny_model, spy)
    plain, shifted = edited(spied, guided), edited(spied, guided, leading=True)
    assert [t for t, *_ in calls] == [*guided.schedule.timesteps, 801, 601, 401, 201, 1] and guided.schedule.timesteps[0] == 999
    for i, (_t, latents, text) in enumerate(calls[STEPS:]):
        assert torch.equal(text[0], guided.null.embeddings[i]) and torch.equal(latents[-1], guided.pivots[STEPS - i])
    assert not torch.equal(shifted.latents, plain.latents) and torch.isfinite(shifted.video).all()
    assert shifted.settings['leading'] is True and plain.settings['leading'] is False
    none = torch.equal(shifted.latents, edited(tiny_model, replace(guided, guidance=None), leading=True).latents)
    assert not none, 'the stored guidance is not replayed'


# guidance

STRONG = STDG(.3, .7, .2, 1.1, blocks=(('up_blocks.1', 2e4, 2e3), ('up_blocks.2', 1e4, 1e3)))


@pytest.fixture(scope='module')
def guided(): return inverted(make_tiny_model(), mask=box(), stdg=STRONG)  # likewise not changed by any test


def test_guidance_of_no_weight_changes_nothing(tiny_model, inversion):
    off = inverted(tiny_model, mask=box(), stdg=STDG(0, 0, 0, 0))
    assert off.guidance is None and torch.equal(off.null.embeddings, inversion.null.embeddings)
    assert off.null.losses == inversion.null.losses and repr(off) == repr(inversion)


def test_guidance_is_stored_and_repeated(tiny_model, inversion, guided):
    g = guided.guidance.gradients
    assert g.shape == (STEPS, 4, 3, 4, 6) and g.dtype == torch.float32 and len(guided.guidance.losses) == STEPS
    assert not g[0].any() and g[1:].flatten(1).any(1).all()  # both paths start at the same noise
    assert torch.equal(guided.pivots, inversion.pivots) and not torch.equal(guided.null.embeddings, inversion.null.embeddings)
    assert_close(reconstruct(tiny_model, guided).latents, guided.null.latents, rtol=1e-4, atol=1e-4)
    for prompt in (SOURCE, TARGET):
        without = edited(tiny_model, replace(guided, guidance=None), prompt)
        assert (edited(tiny_model, guided, prompt).latents - without.latents).abs().max() > 1e-4


def test_guidance_of_another_region_is_warned_about(tiny_model, guided):
    with pytest.warns(UserWarning, match=r"changing the foreground and this edit changes the background; invert again with STDG\(region='background'\)"):
        edited(tiny_model, guided, region='background')
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        edited(tiny_model, guided)
        reconstruct(tiny_model, guided)


def test_guidance_bends_the_end_of_each_step(tiny_model, guided):
    schedule, z, null = guided.schedule, guided.pivots[-1:], guided.null.embeddings
    text = tiny_model.embed(SOURCE).expand(3, -1, -1)
    with torch.no_grad():
        for i, t in enumerate(schedule.timesteps):
            eps_c, eps_u = (tiny_model.predict(z, t, x[None]) for x in (text, null[i]))
            eps, a, b = eps_u + schedule.guidance_scale * (eps_c - eps_u), schedule.alphas[i], schedule.next_alphas[i]
            z0, bent = (z - (1 - a)**.5 * eps) / a**.5, eps - (1 - a)**.5 * guided.guidance.gradients[i]
            z = b**.5 * z0 + (1 - b)**.5 * bent
    assert_close(reconstruct(tiny_model, guided).latents, z, rtol=1e-3, atol=1e-3)


def test_guidance_can_be_recomputed_on_the_path_of_the_edit(tiny_model, guided):
    again = edited(tiny_model, guided, SOURCE, recompute_guidance=True)  # the same path, so the same guidance
    assert_close(again.latents, reconstruct(tiny_model, guided).latents, rtol=1e-3, atol=1e-3)
    heard = Recording(kinds=('cross',))
    replayed, fresh = (edited(tiny_model, guided, recompute_guidance=new, record=heard) for new in (False, True))
    assert (replayed.latents - fresh.latents).abs().max() > 1e-5
    assert {step for _, step, _ in heard.maps} == set(range(STEPS)) and 'video' not in {slot for *_, slot in heard.maps}
    assert [x.settings['recompute_guidance'] for x in (replayed, fresh)] == [False, True]


def test_guidance_survives_the_file(tiny_model, guided, tmp_path):
    guided.save(tmp_path / 'bear.safetensors')
    loaded = Inversion.load(tmp_path / 'bear.safetensors')
    assert torch.equal(loaded.guidance.gradients, guided.guidance.gradients)
    assert loaded.guidance.stdg == STRONG and loaded.guidance.losses == guided.guidance.losses
    assert repr(loaded) == repr(guided) and 'Guidance(5 steps, η_f 0.3, η_b 0.7, ζ_f 0.2, ζ_b 1.1)' in repr(loaded)
    for new in (False, True):
        assert torch.equal(*(edited(tiny_model, x, recompute_guidance=new).latents for x in (loaded, guided)))


def test_guidance_for_a_background_edit_is_swapped(tiny_model):
    mask = torch.zeros(3, 32, 64, dtype=torch.bool)
    mask[..., :32] = True  # half, and no cell of any site is cut
    swapped, other, plain = (inverted(tiny_model, clip(3, 32, 64), m, steps=3, stdg=s) for m, s in
                             ((mask, replace(STRONG, region='background')), (~mask, STRONG), (mask, STRONG)))
    assert_close(swapped.guidance.gradients, other.guidance.gradients, rtol=1e-3, atol=1e-5)
    assert (swapped.guidance.gradients - plain.guidance.gradients).abs().max() > 1e-2 * plain.guidance.gradients.abs().max()


def test_guidance_needs_a_mask_and_an_inversion_that_has_it(tiny_model, inversion):
    with pytest.raises(ValueError, match='there is no mask; give one'): inverted(tiny_model, stdg=STDG())
    with pytest.raises(ValueError, match='without guidance'): edited(tiny_model, inversion, recompute_guidance=True)


def test_a_guide_remembers_what_it_found(tiny_model, guided):
    guide = Guide(tiny_model, STRONG, guided.pivots, guided.schedule, tiny_model.embed(SOURCE), Mask(box()))
    z = guided.pivots[2:3] + .1
    eps, term = guide(STEPS - 2, z)
    with torch.no_grad(): plain = tiny_model.predict(z, guided.schedule.timesteps[-2], tiny_model.embed(SOURCE))
    assert_close(eps, plain, rtol=1e-4, atol=1e-5)
    found = guide.guidance()
    assert found.stdg == STRONG and len(found.losses) == len(found.gradients) == 1
    assert_close(term, -((1 - guided.schedule.alphas[-2]) * (1 - guided.schedule.alphas[-1]))**.5 * found.gradients)


# masks with soft edges

def soft(frames=3): return feather(Mask(box(frames)), 3)


def test_a_hard_mask_is_its_booleans(tiny_model, guided, inversion):
    asked = inverted(tiny_model, mask=Mask(box()), stdg=STRONG)
    assert not asked.mask.is_soft and torch.equal(asked.mask.hard, box()) and repr(asked) == repr(guided)
    assert torch.equal(asked.guidance.gradients, guided.guidance.gradients)
    assert torch.equal(edited(tiny_model, asked).latents, edited(tiny_model, guided).latents)
    widened = ellipse(Mask(box()))
    assert widened.hard.sum() > box().sum() and torch.equal(inverted(tiny_model, mask=widened, inner_steps=0).mask.hard, widened.hard)


def test_soft_edges_reach_guidance_and_only_it(tiny_model, guided):
    asked = inverted(tiny_model, mask=soft(), stdg=STRONG)
    assert torch.equal(asked.mask.values, soft().values)
    z, text = asked.pivots[2:3] + .1, tiny_model.embed(SOURCE)
    by_share, by_half = (Guide(tiny_model, STRONG, asked.pivots, asked.schedule, text, m)(3, z)[1] for m in (soft(), Mask(box())))
    assert torch.equal(guidance_term(tiny_model, asked, recompute=True)(3, z), by_share) and not torch.equal(by_share, by_half)
    assert (asked.guidance.gradients - guided.guidance.gradients).abs().max() > 1e-3 * guided.guidance.gradients.abs().max()
    for region in ('foreground', 'background'):  # SA-II hides whole pixels
        hard, same = (edited(tiny_model, replace(asked, mask=m, guidance=None), region=region) for m in (Mask(soft().hard), soft()))
        assert torch.equal(hard.latents, same.latents)


def test_a_soft_mask_survives_the_file(tiny_model, tmp_path):
    asked = inverted(tiny_model, mask=soft(), stdg=STRONG)
    asked.save(tmp_path / 'bear.safetensors')
    loaded = Inversion.load(tmp_path / 'bear.safetensors')
    assert loaded.mask.is_soft and torch.equal(loaded.mask.values, asked.mask.values)
    assert repr(loaded) == repr(asked) and 'foreground with soft edges' in repr(asked)
    assert torch.equal(*(edited(tiny_model, x, recompute_guidance=True).latents for x in (asked, loaded)))


# what the official code does otherwise

def test_the_mask_can_be_widened_by_an_ellipse(tiny_model):
    frame = box()
    frame[:, 4:12, 4:20] = False  # an ellipse fills it
    asked, by_hand, plain = (inverted(tiny_model, mask=m, stdg=STRONG, ellipse=e) for m, e in ((frame, True), (ellipse(Mask(frame)), False), (frame, False)))
    assert torch.equal(asked.mask.values, by_hand.mask.values) and torch.equal(asked.guidance.gradients, by_hand.guidance.gradients)
    assert not torch.equal(asked.guidance.gradients, plain.guidance.gradients)
    with pytest.raises(ValueError, match='ellipse widens a mask and there is no mask'): inverted(tiny_model, ellipse=True)


def test_a_mask_can_come_to_the_grids_by_nearest_pixel(tiny_model, tmp_path):
    thing = torch.zeros(3, HEIGHT, WIDTH, dtype=torch.bool)
    thing[:, 5:23, 9:30] = True  # across cells
    near, area = (inverted(tiny_model, mask=thing, stdg=STRONG, nearest=x) for x in (True, False))
    assert not torch.equal(near.guidance.gradients, area.guidance.gradients)
    edits = [edited(tiny_model, replace(x, guidance=None)).latents for x in (near, replace(near, mask=Mask(thing)))]
    assert not torch.equal(*edits), 'SA-II hides the same cells'
    near.save(tmp_path / 'bear.safetensors')
    assert torch.equal(edited(tiny_model, Inversion.load(tmp_path / 'bear.safetensors')).latents, edited(tiny_model, near).latents)


def test_latents_can_be_a_sample_of_the_posterior(tiny_model, inversion):
    with torch.no_grad(): tiny_model.vae.quant_conv.bias[4:] += 5  # as it comes, the posterior is a point
    first, again, other = (inverted(tiny_model, mask=box(), posterior=seed).pivots[0] for seed in (42, 42, 1))
    assert torch.equal(first, again) and not torch.equal(first, other) and not torch.equal(first, inversion.pivots[0])
    assert torch.equal(inverted(tiny_model, mask=box()).pivots[0], inversion.pivots[0])


def test_steps_can_end_at_a_stride(tiny_model, inversion):
    strided = inverted(tiny_model, mask=box(), steps=7, stride=True)
    assert strided.schedule == tiny_model.schedule(7, stride=True)
    assert not torch.equal(strided.pivots, inverted(tiny_model, mask=box(), steps=7).pivots)
    assert torch.isfinite(edited(tiny_model, strided, leading=True).video).all()


# slots

def test_slots_are_those_the_controls_read(tiny_model, inversion):
    def plan(**settings): return planned(tiny_model, inversion, **settings)
    def lengths(**settings): return [len(slots_at(plan(**settings), i)) for i in range(STEPS)]
    assert slots_at([], 0) == SLOTS[:2]
    assert slots_at(plan(), 0) == ('edit_uncond', 'edit_cond', 'source_cond')
    assert slots_at(plan(), STEPS - 1) == SLOTS
    assert lengths(tau_s=.8) == [3, 3, 3, 3, 4] and lengths(tau_s=.4) == [3, 3, 4, 4, 4]
    assert lengths(tau_c=.8, tau_s=.8, mutual=False) == [3, 3, 3, 3, 2]
    assert lengths(**OFF) == [2] * STEPS
    assert lengths(tau_c=0., tau_s=1.) == [3] * STEPS


@pytest.mark.parametrize('neutral', [True, False])
def test_each_slot_holds_its_latent_and_text(tiny_model, inversion, neutral):
    calls = []
    def spy(predict, latents, t, text):
        calls.append((latents.clone(), t, text.clone()))
        return predict(latents, t, text)
    edited(Wrapped(tiny_model, spy), inversion, neutral=neutral)
    def same_text(a, b): assert_close(a, tiny_model.embed(b).expand(3, -1, -1))
    for i, (latents, t, text) in enumerate(calls):
        slots = slots_at(planned(tiny_model, inversion), i)
        assert t == inversion.schedule.timesteps[i] and torch.equal(latents[0], latents[1])
        assert torch.equal(text[0], inversion.null.embeddings[i])
        same_text(text[1], TARGET), same_text(text[slots.index('source_cond')], SOURCE)
        if 'source_uncond' in slots and neutral: assert torch.equal(text[2], inversion.null.embeddings[i])
        if 'source_uncond' in slots and not neutral: same_text(text[2], '')
        for k in range(2, len(slots)): assert torch.equal(latents[k], inversion.pivots[STEPS - i])
    assert torch.equal(calls[0][0][0], inversion.pivots[-1])


def test_recording_hears_the_named_slots(tiny_model, inversion):
    heard = Recording(kinds=('cross',), steps=[0])
    result = edited(tiny_model, inversion, record=heard)
    assert result.attention is heard and {slot for _, _, slot in heard.maps} == {'edit_uncond', 'edit_cond', 'source_cond'}
    assert all(step == 0 for _, step, _ in heard.maps)


# shapes, files, devices

@pytest.mark.parametrize('frames, height, width', [(1, 32, 32), (5, 32, 48), (4, 40, 24), (24, 16, 16)])
def test_any_size_and_length(tiny_model, frames, height, width):
    video, mask = clip(frames, height, width), box(frames, height, width)
    inversion = inverted(tiny_model, video, mask, steps=3)
    result = edited(tiny_model, inversion, blend=('bear', 'tiger'))
    assert result.video.shape == video.shape and torch.isfinite(result.video).all()
    assert inversion.null.embeddings.shape[:2] == (3, frames)


@pytest.mark.parametrize('settings', [dict(), dict(null='shared', cfg='videodirector', negative_prompt='red')])
@pytest.mark.parametrize('mask', [None, box()])
def test_inversion_survives_its_file(tiny_model, tmp_path, mask, settings):
    inversion = inverted(tiny_model, mask=mask, steps=3, **settings)
    inversion.save(tmp_path / 'bear.safetensors')
    loaded = Inversion.load(tmp_path / 'bear.safetensors')
    assert torch.equal(loaded.pivots, inversion.pivots) and torch.equal(loaded.null.embeddings, inversion.null.embeddings)
    assert mask is None and loaded.mask is None or torch.equal(loaded.mask.hard, mask)
    for name in ('schedule', 'prompt', 'settings', 'seconds', 'psnr'): assert getattr(loaded, name) == getattr(inversion, name)
    assert loaded.null.losses == inversion.null.losses and repr(loaded) == repr(inversion)
    assert torch.equal(edited(tiny_model, loaded).latents, edited(tiny_model, inversion).latents)
    assert [p.name for p in tmp_path.iterdir()] == ['bear.safetensors']


def test_edit_survives_its_file(tiny_model, inversion, tmp_path):
    result = edited(tiny_model, inversion, weights={'tiger': 2}, tau_words={'brown': .2})
    assert result.settings['tau_words'] == {'brown': .2}
    result.save(tmp_path / 'tiger.safetensors')
    loaded = Edit.load(tmp_path / 'tiger.safetensors')
    assert torch.equal(loaded.video, result.video) and torch.equal(loaded.latents, result.latents)
    assert loaded.settings == result.settings and loaded.seconds == result.seconds and repr(loaded) == repr(result)


def test_other_files_are_refused(tiny_model, inversion, tmp_path):
    path = tmp_path / 'x.safetensors'
    with pytest.raises(FileNotFoundError, match='no file'): Inversion.load(path)
    path.write_text('no tensors')
    with pytest.raises(ValueError, match='not a readable'): Inversion.load(path)
    inversion.save(path)
    with pytest.raises(ValueError, match='does not hold an edit'): Edit.load(path)


def test_reprs_say_the_useful_things(tiny_model, inversion):
    assert repr(inversion).startswith(f"Inversion('{SOURCE}', 3 frames of 4×6 latents, 25% foreground, Schedule(5 steps")
    assert f"'{SOURCE}' → '{TARGET}'" in repr(edited(tiny_model, inversion))


@pytest.mark.parametrize('device', ['cuda', 'mps'])
def test_runs_on_an_accelerator(tiny_model, device):
    if not getattr(torch, {'cuda': 'cuda', 'mps': 'mps'}[device]).is_available(): pytest.skip(f'no {device} here')
    tiny_model.pipe.to(device, torch.float16 if device == 'cuda' else torch.float32)
    inversion = inverted(tiny_model, mask=box(), inner_steps=3)
    assert inversion.pivots.dtype == inversion.null.embeddings.dtype == torch.float32
    assert torch.isfinite(edited(tiny_model, inversion).video).all()


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_half_precision_weights(tiny_model, dtype):
    tiny_model.pipe.to(dtype=dtype)
    inversion = inverted(tiny_model, mask=box(), steps=3, inner_steps=2)
    result = edited(tiny_model, inversion)
    assert result.latents.dtype == inversion.pivots.dtype == inversion.null.embeddings.dtype == torch.float32
    assert torch.isfinite(result.video).all()


# bad input, in one sentence

@pytest.mark.parametrize('video, message', [
    (clip()[:, :2], r'shape \[3, 2, 32, 48\]'), (clip(0), 'has 0 frames'),
    (clip(3, 32, 44), '32×44.*multiples of 8'), (clip() * 255, r'scale it to \[-1, 1\]'), (clip() * float('nan'), 'not finite')])
def test_bad_clips(tiny_model, video, message):
    with pytest.raises(ValueError, match=message): inverted(tiny_model, video)


@pytest.mark.parametrize('mask, message', [
    (box(2), 'mask has 2 frames and the clip 3'), (box(3, 32, 32), 'mask is 32×32 and the clip 32×48'),
    (box() & False, 'empty'), (Mask(box() * .4), 'empty'), (Mask(box(2)), 'mask has 2 frames'), (box().float(), r'torch.float32 of shape \[3, 32, 48\]'), (box()[0], r'of shape \[32, 48\]')])
def test_bad_masks(tiny_model, mask, message):
    with pytest.raises(ValueError, match=message): inverted(tiny_model, mask=mask)


def test_bad_prompts(tiny_model, inversion):
    long = 'a bear with hat ' * 9
    with pytest.raises(ValueError, match='source prompt is empty'): invert(tiny_model, clip(), ' ')
    with pytest.raises(ValueError, match='source prompt has 38 tokens and the model reads 16'): invert(tiny_model, clip(), long)
    with pytest.raises(ValueError, match='negative prompt has 38'): inverted(tiny_model, negative_prompt=long)
    with pytest.raises(ValueError, match='target prompt is empty'): edited(tiny_model, inversion, '')
    with pytest.raises(ValueError, match='target prompt has 38 tokens'): edited(tiny_model, inversion, long)


@pytest.mark.parametrize('settings, message', [
    (dict(tau_c=1.5), '1.5'), (dict(tau_s=-.1), '-0.1'), (dict(weights={'zebra': 2}), 'zebra'), (dict(tau_words={'zebra': .2}), 'zebra'),
    (dict(tau_words={'brown': 1.5}), '1.5'),
    (dict(blend=('bear', 'zebra')), 'zebra'), (dict(blend=('bear',)), 'words of the source and words of the target'), (dict(blend=('bear', 'tiger'), blend_threshold=2), 'threshold is 2'), (dict(align='guess'), 'guess'),
    (dict(region='left'), 'left'), (dict(align='replace', prompt='a tiger'), 'equally many words')])
def test_bad_settings(tiny_model, inversion, settings, message):
    with pytest.raises(ValueError, match=message): edited(tiny_model, inversion, **settings)


def test_bad_schedules(tiny_model):
    with pytest.raises(ValueError, match='steps is 1'): inverted(tiny_model, steps=1)
    with pytest.raises(ValueError, match="cfg is 'x'"): inverted(tiny_model, cfg='x')


def test_numbers_that_blow_up_name_the_step(tiny_model, inversion):
    def broken(predict, z, t, text): return predict(z, t, text) * (float('inf') if t == inversion.schedule.timesteps[3] else 1)
    with pytest.raises(FloatingPointError, match='editing step 3'): edited(Wrapped(tiny_model, broken), inversion)


# settings, pipelines, the method's own door

def test_settings_and_changes_are_the_same(tiny_model, inversion):
    by_value, by_name = edited(tiny_model, inversion, settings=EditSettings(tau_c=.2)), edited(tiny_model, inversion, tau_c=.2)
    assert torch.equal(by_value.latents, by_name.latents) and by_value.settings == by_name.settings
    over = edited(tiny_model, inversion, settings=EditSettings(tau_c=.2, tau_s=.8), tau_s=EditSettings().tau_s)
    assert torch.equal(over.latents, by_name.latents)
    with pytest.raises(TypeError, match='InvertSettings has no stpes; its fields are steps, '): inverted(tiny_model, stpes=3)
    with pytest.raises(TypeError, match='EditSettings has no tau;'): edited(tiny_model, inversion, tau=.3)


def test_without_layout_control_is_sa_ii_after_the_same_steps(tiny_model, inversion):
    without = planned(tiny_model, inversion, tau_s=.4, layout=False)
    assert [type(c).__name__ for c in without] == ['CrossControl', 'MutualControl']
    assert without[1].steps == planned(tiny_model, inversion, tau_s=.4)[2].steps == range(2, STEPS)


def test_a_pipeline_is_as_good_as_a_model(tiny_model, inversion):
    assert torch.equal(inverted(tiny_model.pipe, mask=box()).null.embeddings, inversion.null.embeddings)
    assert torch.equal(edited(tiny_model.pipe, inversion).latents, edited(tiny_model, inversion).latents)
    with pytest.raises(TypeError, match='The model is a str; give what load_world_model'): inverted('world')


def test_the_method_prepares_and_edits(tiny_model, inversion):
    method = VideoDirector()
    state = method.prepare(tiny_model, Clip(clip(), SOURCE, box()), method.invert_settings(steps=STEPS, inner_steps=1))
    assert torch.equal(method.edit(state, TARGET).latents, edited(tiny_model, inversion).latents)


def test_files_without_settings_are_refused(inversion, tmp_path):
    from videodirector.base.store import write_tensors
    write_tensors(tmp_path / 'old.safetensors', 'Inversion', {'pivots': inversion.pivots, 'null': inversion.null.embeddings}, dict(prompt=SOURCE))
    with pytest.raises(ValueError, match='lacks parts of an inversion'): Inversion.load(tmp_path / 'old.safetensors')


# what does not belong together

def test_an_inversion_of_another_model_is_refused(tiny_model, inversion, tmp_path):
    inversion.save(tmp_path / 'bear.safetensors')
    other = make_tiny_model(1)
    for given in (inversion, Inversion.load(tmp_path / 'bear.safetensors')):
        with pytest.raises(ValueError, match='was made by another model'): edited(other, given)
    tiny_model.unet.to(torch.bfloat16)  # is still the same one
    edited(tiny_model, inversion)


def test_types_are_said(tiny_model, inversion):
    with pytest.raises(TypeError, match='The clip is a str; give a tensor'): invert(tiny_model, 'clip.mp4', SOURCE)
    with pytest.raises(TypeError, match='The source prompt is a list; give a text'): invert(tiny_model, clip(), [SOURCE])
    with pytest.raises(TypeError, match='The target prompt is a NoneType'): edited(tiny_model, inversion, None)
    with pytest.raises(TypeError, match='The inversion is a dict'): edited(tiny_model, {})
    with pytest.raises(ValueError, match='source prompt is empty'): invert(tiny_model, clip(), '\u200b\u2060 ')


def test_two_threads_wait_for_each_other(tiny_model, inversion):
    from concurrent.futures import ThreadPoolExecutor
    alone = edited(tiny_model, inversion).latents
    with ThreadPoolExecutor(4) as pool: found = list(pool.map(lambda _: edited(tiny_model, inversion).latents, range(6)))
    assert all(torch.equal(z, alone) for z in found)


def test_threads_that_share_a_pipeline_wait_for_each_other(tiny_model):
    assert as_model(tiny_model.pipe).lock is tiny_model.lock is not make_tiny_model().lock


@pytest.mark.parametrize('controls', [{}, dict(tau_c=0., tau_s=0., mutual=False)])
def test_an_edit_remembers_no_gradients(tiny_model, inversion, controls):
    assert not edited(tiny_model, inversion, **controls).latents.requires_grad


def test_inverts_within_inference_mode(tiny_model, inversion):
    with torch.inference_mode(): inside = inverted(tiny_model, mask=box())
    assert torch.equal(inside.null.embeddings, inversion.null.embeddings)


def test_a_decoder_that_fails_is_named(tiny_model, inversion):
    with torch.no_grad(): tiny_model.vae.decoder.conv_out.bias.fill_(float('nan'))
    with pytest.raises(FloatingPointError, match='What the VAE decodes the latents to is not finite'): edited(tiny_model, inversion)
    with torch.no_grad(): tiny_model.vae.encoder.conv_out.bias.fill_(float('nan'))
    with pytest.raises(FloatingPointError, match='What the VAE encodes the clip to'): inverted(tiny_model)
