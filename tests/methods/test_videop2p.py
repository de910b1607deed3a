"Video-P2P is plain loops over frames and slots; what is neutral changes nothing, and weights and attention are given back."
import pytest
import torch
from conftest import make_tiny_image_model, make_tiny_model, tiny_tokenizer
from torch.testing import assert_close

from videodirector.attention.grouped import first_frame_keys, frame_groups, grouped_attention
from videodirector.attention.arithmetic import fast_attention
from videodirector.attention.processor import Here, attend
from videodirector.attention.recording import Recording
from videodirector.base.run import Run
from videodirector.methods.api import Clip
from videodirector.methods.videop2p import (
    FrameZero, VideoP2P, VideoP2PEdit, VideoP2PInvert, decoupled, plan_edit, tune_clip)
from videodirector.models.patch import patched
from videodirector.parts.blend import LocalBlend, changed_words
from videodirector.parts.control import CrossControl, LayoutControl
from videodirector.parts.inversion import invert_ddim, sample_ddim
from videodirector.sampling.schedule import Schedule

SOURCE, TARGET, STEPS, FRAMES = 'a brown bear walking on grass', 'a brown tiger walking on grass', 3, 4
QUIET = Run(progress=False)
OFF = dict(tau_c=0., tau_self=0., blend=False)


class Stop(Exception): pass


def clip(): return Clip(torch.rand(FRAMES, 3, 32, 48, generator=torch.manual_seed(0)) * 2 - 1, SOURCE)


@pytest.fixture
def model(): return make_tiny_image_model()


@pytest.fixture(scope='module')
def state(): return prepared(make_tiny_image_model())  # of a model equal to `model`; no test changes it


def prepared(model, run=QUIET, **changes):
    settings = dict(steps=STEPS, inner_steps=1, tuning_steps=2) | changes
    return VideoP2P().prepare(model, clip(), VideoP2PInvert(**settings), run)


def edited(state, prompt=TARGET, run=QUIET, record=None, **settings):
    return VideoP2P().edit(state, prompt, VideoP2PEdit(**settings), run, record)


# the operations, against loops

def test_frame_attention_is_a_loop_and_a_grouping():
    q, k, v = torch.randn(3, 2, 3, 2, 4, 8, dtype=torch.float64, generator=torch.manual_seed(0)).unbind()
    got = fast_attention(*FrameZero().qkv(q, k, v, None, None))
    for s in range(2):
        for f in range(3):
            for head in range(2):
                for n in range(4):
                    p = torch.stack([q[s, f, head, n] @ k[s, 0, head, m] / 8**.5 for m in range(4)]).softmax(0)
                    assert_close(got[s, f, head, n], sum(p[m] * v[s, 0, head, m] for m in range(4)), rtol=1e-10, atol=1e-10)
    assert_close(got, grouped_attention(q, k, v, frame_groups(3, 4), first_frame_keys(3, 4)), rtol=1e-10, atol=1e-10)


def test_decoupled_guidance_is_its_equations(model):
    plan, slots = Schedule.of(model.scheduler, 4, 7.5), ('edit_uncond', 'edit_cond', 'source_uncond', 'source_cond')
    eps = dict(zip(slots, torch.randn(4, 1, 4, 2, 3, 3, dtype=torch.float64)))
    both = decoupled(eps, plan)
    expected = {side: torch.empty(1, 4, 2, 3, 3, dtype=torch.float64) for side in ('edit', 'source')}
    for side, out in expected.items():
        u, c = eps[f'{side}_uncond'].flatten(), eps[f'{side}_cond'].flatten()
        for i in range(out.numel()): out.view(-1)[i] = u[i] + 7.5 * (c[i] - u[i])
    for side in expected: assert_close(both[side], expected[side], rtol=1e-10, atol=1e-10)
    fast = decoupled({slot: eps[slot] for slot in slots if slot != 'source_uncond'}, plan)
    assert torch.equal(fast['source'], eps['source_cond']) and torch.equal(fast['edit'], both['edit'])  # source ε := ε_c
    assert list(decoupled({slot: eps[slot] for slot in slots[2:]}, plan)) == ['source']


def test_each_slot_hears_its_own_text(model):
    "The four videos of the first call: one noise, and the texts φ, '', source and target where METHODS puts them."
    seen, state = [], prepared(model, tuning_steps=0)
    class Listening(type(model)):
        def predict(self, latents, t, text):
            seen.append((latents, text))
            return super().predict(latents, t, text)
    edited((Listening(model.pipe), state[1]))
    (z, text), (later, _), *_ = seen
    assert all(torch.equal(x, state[1].pivots[-1]) for x in z)
    words = [model.embed(''), model.embed(TARGET), state[1].null.embeddings[0], model.embed(SOURCE)]
    assert torch.equal(text, torch.cat(words)) and len(seen) == STEPS
    assert torch.equal(later[0], later[1]) and torch.equal(later[2], later[3]) and not torch.equal(later[0], later[2])


# tuning

def test_tuning_is_the_plain_recipe(model):
    "ε-loss at random noise levels, AdamW, clipped to 1, on the queries alone."
    z0, text, settings = model.encode(clip().video), model.embed(SOURCE), VideoP2PInvert(STEPS, tuning_steps=3, tuning_lr=.01, tuning_seed=4)
    got = tune_clip(model, z0, text, settings, QUIET)
    other, dice, abar = make_tiny_image_model(), torch.Generator().manual_seed(4), model.scheduler.alphas_cumprod
    queries = {name: p for name, p in other.unet.named_parameters() if name.endswith('to_q.weight')}
    adam = torch.optim.AdamW(queries.values(), lr=.01, weight_decay=.01)
    with attend(other.unet, [FrameZero()]) as at:
        at.begin(0, ('video',), *z0.shape[2:])
        for _ in range(3):
            t, noise = int(torch.randint(1000, (), generator=dice)), torch.randn(z0.shape, generator=dice)
            adam.zero_grad()
            (other.predict(abar[t].sqrt() * z0 + (1 - abar[t]).sqrt() * noise, t, text) - noise).square().mean().backward()
            torch.nn.utils.clip_grad_norm_(queries.values(), 1.)
            adam.step()
    assert got.keys() == queries.keys() and len(got) == 2 * len(model.sites('spatial'))
    for name in got: assert_close(got[name], queries[name].detach(), rtol=1e-3, atol=1e-5)


def weights_of(model): return {name: p.detach().clone() for name, p in model.unet.named_parameters()}
def same_weights(model, before): return all(torch.equal(p, before[name]) for name, p in model.unet.named_parameters())


def test_weights_attention_and_flags_are_given_back(model):
    before, processors = weights_of(model), dict(model.unet.attn_processors)
    flags = [p.requires_grad for p in model.unet.parameters()]
    def untouched():
        now = [p.requires_grad for p in model.unet.parameters()]
        return same_weights(model, before) and dict(model.unet.attn_processors) == processors and now == flags
    def stopping(part):
        def on_step(now, i, total):
            if (now, i) == (part, 1): raise Stop
        return Run(progress=False, on_step=on_step)
    for part in ('tuning', 'inversion', 'null text'):
        with pytest.raises(Stop): prepared(model, stopping(part))
        assert untouched()
    state = prepared(model)
    assert untouched() and any((w - before[name]).abs().max() > 0 for name, w in state[1].weights.items())
    with pytest.raises(Stop): edited(state, run=stopping('edit'), record=Recording())
    assert untouched()
    edited(state)
    assert untouched()


# inversion

def test_preparing_is_inversion_with_tuned_weights_that_all_look_at_frame_zero(model, state):
    source, z0 = state[1], model.encode(clip().video)
    with patched(model.unet, source.weights), attend(model.unet, [FrameZero()]) as at:
        at.begin(0, ('video',), *z0.shape[2:])
        assert torch.equal(source.pivots, invert_ddim(model, z0, model.embed(SOURCE), source.schedule, QUIET))
    assert source.null.embeddings.shape == (STEPS, 1, *model.embed('').shape[1:]) and list(source.seconds) == ['tuning', 'invert', 'null_text']


def test_variants_have_names(model):
    names = {(inner, tuned): VideoP2PInvert(STEPS, inner_steps=inner, tuning_steps=tuned).variant for inner in (0, 1) for tuned in (0, 1)}
    assert names == {(1, 1): 'Video-P2P', (0, 1): 'Video-P2P-Fast', (1, 0): 'Video-P2P w/o tuning', (0, 0): 'Video-P2P-Fast w/o tuning'}
    plain = prepared(model, inner_steps=0, tuning_steps=0)
    assert plain[1].null is None and plain[1].weights == {} and 'Fast w/o tuning' in repr(plain[1])
    made = edited(plain)
    assert made.settings['variant'] == 'Video-P2P-Fast w/o tuning' and made.settings['tau_c'] == VideoP2PEdit().tau_c and made.method == 'video_p2p'


# what is neutral

def test_the_same_prompt_is_the_reconstruction(model, state):
    again = edited(state, SOURCE)
    assert_close(again.latents, state[1].null.latents, rtol=1e-3, atol=1e-3)  # where the tuning of the null text ended
    assert torch.equal(again.latents, edited(state, SOURCE).latents) and again.prompt == again.source_prompt
    plain = prepared(model, inner_steps=0, tuning_steps=0)
    with attend(model.unet, [FrameZero()]) as at:
        at.begin(0, ('video',), *plain[1].pivots.shape[2:])
        assert_close(edited(plain, SOURCE).latents, sample_ddim(model, plain[1].pivots[-1:], model.embed(SOURCE), None, plain[1].schedule, QUIET))


def test_without_controls_it_is_guided_sampling_from_the_empty_prompt(model):
    plain = prepared(model, tuning_steps=0)
    with attend(model.unet, [FrameZero()]) as at:
        at.begin(0, ('video',), *plain[1].pivots.shape[2:])
        class Twice:  # both halves of a guided batch are videos of the same call
            def predict(self, z, t, text):
                at.begin(0, ('a', 'b')[:len(z)], *z.shape[2:])
                return model.predict(z, t, text)
        guided = sample_ddim(Twice(), plain[1].pivots[-1:], model.embed(TARGET), model.embed(''), plain[1].schedule, QUIET)
    made = edited(plain, **OFF).latents
    assert_close(made, guided, rtol=1e-3, atol=1e-3)
    assert_close(edited(plain, **OFF, weights=dict(tiger=1.)).latents, made)


def test_settings_reach_the_result(state):
    base = edited(state).latents
    assert torch.equal(base, edited(state).latents)
    for change in (dict(tau_c=.8), dict(tau_self=0.), dict(tau_c=.8, weights=dict(tiger=4.)), dict(blend=False), dict(blend_threshold=.99)):
        other = edited(state, **change).latents
        assert (other - base).abs().max() > 1e-4, change
        if 'tau_c' in change: base = other  # weights act where the control does


def test_a_seed_fixes_everything(state):
    other = prepared(make_tiny_image_model())
    assert torch.equal(other[1].pivots, state[1].pivots) and torch.equal(edited(other).video, edited(state).video)
    text, z0 = other[0].embed(SOURCE), state[1].pivots[:1]
    one, two = (tune_clip(other[0], z0, text, VideoP2PInvert(tuning_steps=1, tuning_seed=seed), QUIET) for seed in (0, 1))
    assert any((one[name] - two[name]).abs().max() > 0 for name in one)


def test_a_run_is_resumed_and_others_inputs_refused(model, tmp_path):
    told = []
    first = prepared(model, Run(progress=False, folder=tmp_path))
    again = prepared(model, Run(progress=False, folder=tmp_path, on_step=lambda part, *_: told.append(part)))
    assert 'tuning' not in told and torch.equal(first[1].pivots, again[1].pivots)
    assert all(torch.equal(w, again[1].weights[name]) for name, w in first[1].weights.items())
    with pytest.raises(ValueError, match='other inputs'): prepared(model, Run(progress=False, folder=tmp_path), tuning_seed=1)


# controls

def test_controls_are_prompt_to_prompts():
    words = tiny_tokenizer()
    controls, blend = plan_edit(words, SOURCE, TARGET, 10, VideoP2PEdit())
    assert [type(c) for c in controls] == [CrossControl, LayoutControl, LocalBlend] and controls[2] is blend
    assert controls[0].schedule[:, 0].tolist() == [1] * 4 + [0] * 7 and controls[1].steps == range(5)
    assert {slot: len(tokens) for slot, tokens in blend.words.items()} == dict(source_cond=1, edit_cond=1)
    assert plan_edit(words, SOURCE, SOURCE, 10, VideoP2PEdit()) == ([], None)
    controls, blend = plan_edit(words, SOURCE, SOURCE, 10, VideoP2PEdit(weights=dict(bear=2.)))
    assert len(controls) == 2 and blend is None  # a word weighs more, and none has changed
    assert changed_words(words, 'a bear on grass', 'a tiger with a hat on grass') == (['bear'], ['tiger', 'with', 'hat'])


def test_self_replacement_is_the_sources_map_over_the_edits_values():
    q, k, v = torch.randn(3, 2, 3, 2, 4, 8, dtype=torch.float64, generator=torch.manual_seed(0)).unbind()
    here = Here(0, ('edit_cond', 'source_cond'), 3, 2, 2, size=(2, 2))
    given = FrameZero().qkv(q, k, v, None, here)
    out = fast_attention(*LayoutControl(range(1)).qkv(*given, here))
    p = (q[1] @ k[1, :1].transpose(-1, -2) / 8**.5).softmax(-1)  # frames of the source at its frame 0
    assert_close(out[0], p @ v[0, :1], rtol=1e-10, atol=1e-10)
    assert_close(out[1], p @ v[1, :1], rtol=1e-10, atol=1e-10)


def test_attention_can_be_recorded(state):
    record = Recording(('cross', 'spatial'))
    made = edited(state, record=record)
    assert made.attention is record and record.cross['tiger', 0].shape[0] == FRAMES
    with pytest.raises(ValueError, match='is no word of'): record.cross['giraffe']


# what is refused

def test_errors_are_sentences(model, state):
    with pytest.raises(ValueError, match='Video-P2P runs on image models, and this is a'): VideoP2P().prepare(make_tiny_model(), clip())
    with pytest.raises(ValueError, match='target prompt is empty'): edited(state, ' ')
    with pytest.raises(ValueError, match="'giraffe' is not in the prompt"): edited(state, weights=dict(giraffe=2.))
    with pytest.raises(ValueError, match='equally many words'): edited(state, 'a bear', align='replace')
    with pytest.raises(ValueError, match='tau_c is 2'): VideoP2PEdit(tau_c=2.)
    with pytest.raises(TypeError, match='The settings is a VideoP2PInvert; give'): VideoP2P().edit(state, TARGET, VideoP2PInvert())
