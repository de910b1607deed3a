"TokenFlow against plain loops, and as a method on a tiny random model."
import math

import pytest
import torch
from image_cases import QUIET, SOURCE, TARGET, clip, image_model, plain, sampled, state_of, tiny_unet, video_model
from sentences import refuses
from torch.testing import assert_close

from videodirector.attention.processor import Here
from videodirector.attention.recording import Recording
from videodirector.attention.sites import Site
from videodirector.base.run import Run
from videodirector.methods import tokenflow as module
from videodirector.methods.api import Edit
from videodirector.methods.tokenflow import (
    Keyframes, Propagation, TokenFlow, TokenFlowEdit, TokenFlowInvert, draw_keyframes, nearest_tokens, neighbours)
from videodirector.parts.inject import SLOTS

NEUTRAL = dict(tau_f=0., tau_qk=0., chunk=1, blend='linear', extended=False)
METHOD, STEPS, F, K, N, HEADS, D = TokenFlow(), 3, 6, 2, 4, 2, 3
HERE = Here(0, SLOTS, K, 2, 2, Site('up', 'spatial'), (2, 2))


def random(*shape, seed=0): return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
def exactly(a, b): assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.fixture(scope='module')
def model(): return image_model()


@pytest.fixture(scope='module')
def state(model): return METHOD.prepare(model, clip(), TokenFlowInvert(steps=STEPS), QUIET)


@pytest.fixture(scope='module')
def usual(state): return edited(state).latents


def edited(state, prompt=TARGET, run=QUIET, record=None, **settings):
    return METHOD.edit(state, prompt, TokenFlowEdit(**dict(chunk=2) | settings), run, record)


# the operations, in double precision, as METHODS.md writes them

def test_fields_point_to_the_most_similar_token():
    h, kf = random(F, 5, 7), random(F, 4, 7, seed=1)
    for f in range(F):
        for p in range(5):
            cosines = [float(h[f, p] @ kf[f, q] / (h[f, p].norm() * kf[f, q].norm())) for q in range(4)]
            assert nearest_tokens(h, kf)[f, p] == cosines.index(max(cosines))


def test_official_weights():
    b, frames = 3, 8  # chunks 0 1 2, 3 4 5, 6 7
    a, before, w = neighbours(frames, torch.tensor([1, 3, 7]), b, 'official')
    for i in range(frames):
        j = i // b
        assert (a[i], before[i]) == (j, max(j - 1, 0))
        if j == 0: assert w[i] == 1; continue
        d1, d2 = abs(i - (j * b + b // 2)), abs(i - ((j - 1) * b + b // 2))
        assert w[i].item() == pytest.approx(1 / (1 + math.exp(-d2 / (d1 + d2))), abs=1e-12)


def test_linear_weights():
    a, b, w = neighbours(8, torch.tensor([1, 3, 6]), 3, 'linear')
    assert a.tolist() == [0, 0, 0, 1, 1, 1, 2, 2] and b.tolist() == [0, 1, 1, 2, 2, 2, 2, 2]
    assert_close(w, torch.tensor([1, 1, 1 / 2, 1, 2 / 3, 1 / 3, 1, 1], dtype=torch.float64))


def test_every_chunk_has_a_keyframe():
    draws = torch.stack([draw_keyframes(8, 3, torch.Generator().manual_seed(i)) for i in range(50)])
    assert draws.shape == (50, 3) and (draws // 3 == torch.arange(3)).all() and draws.max() == 7
    assert [len(set(column.tolist())) for column in draws.T] == [3, 3, 2]


def test_keyframes_look_at_each_other_and_the_source_at_itself():
    q, k, v = random(3, 3, K, HEADS, N, D).unbind()
    found, alone = (Keyframes(extended).compute(q, k, v, None, HERE) for extended in (True, False))
    for slot in range(3):
        for f in range(K):
            for h in range(HEADS):
                frames = range(K) if slot else [f]
                keys, values = (torch.cat([x[slot, g, h] for g in frames]) for x in (k, v))
                exactly(found[slot, f, h], (q[slot, f, h] @ keys.T / math.sqrt(D)).softmax(-1) @ values)
                exactly(alone[slot, f, h], (q[slot, f, h] @ k[slot, f, h].T / math.sqrt(D)).softmax(-1) @ v[slot, f, h])


@pytest.mark.parametrize('blend', ['official', 'linear'])
def test_propagation_blends_what_the_nearest_tokens_found(blend):
    held, h_kf, found, h = Keyframes(), random(3, K, N, 5), random(3, K, HEADS, N, D, seed=1), random(3, F, N, 5, seed=2)
    held.input(h_kf, HERE), held.output(found, HERE)
    a, b, w = neighbours(F, torch.tensor([1, 4]), 3, blend)
    control, here = Propagation(held, a, b, w), Here(0, SLOTS, F, 2, 2, HERE.site, HERE.size)
    assert control.input(h, here) is h
    out = control.compute(random(3, F, HEADS, N, D), None, None, None, here)
    def pi(f, p, kf): return max(range(N), key=lambda q: float(h[0, f, p] @ h_kf[0, kf, q] / h_kf[0, kf, q].norm()))
    for slot in range(3):
        for f in range(F):
            for p in range(N):
                one, two = (found[slot, kf, :, pi(f, p, kf)] for kf in (a[f], b[f]))
                exactly(out[slot, f, :, p], w[f] * one + (1 - w[f]) * two)


# the method

def test_neutral_settings_change_nothing(model, state):
    for scale in (1., 4.):
        made = edited(state, guidance_scale=scale, **NEUTRAL)
        assert_close(made.latents, plain(model, state[1], TARGET, scale), rtol=1e-3, atol=1e-4)


def test_keyframes_everywhere_hand_nothing_on(model, state, monkeypatch):
    settings = NEUTRAL | dict(extended=True)
    usual = edited(state, **settings)
    class Dense(Propagation):
        def compute(self, q, k, v, bias, here): return self.keyframes.found[here.site.name]
    monkeypatch.setattr(module, 'Propagation', Dense)
    assert_close(edited(state, **settings).latents, usual.latents, rtol=1e-4, atol=1e-5)


def test_same_prompt_and_the_sources_features_reproduce_the_source(model, state):
    source = sampled(model, state[1], SOURCE)
    made = edited((model, source), SOURCE, **NEUTRAL | dict(guidance_scale=1., tau_f=1., tau_qk=1.))
    assert_close(made.latents, source.pivots[:1], rtol=1e-3, atol=1e-3)
    assert not torch.allclose(edited((model, source), TARGET, **NEUTRAL | dict(guidance_scale=1.)).latents, source.pivots[:1], atol=1e-2)


@pytest.mark.parametrize('change', [dict(guidance_scale=7.), dict(negative_prompt='a red hat'), dict(tau_f=0.), dict(tau_qk=0.), dict(chunk=3),
                                    dict(blend='linear'), dict(extended=False), dict(keyframe_seed=1)], ids=str)
def test_every_setting_changes_the_edit(state, usual, change):
    assert not torch.equal(usual, edited(state, **change).latents)


def test_the_seed_decides_everything(model, state):
    torch.manual_seed(3)
    first = edited(state, keyframe_seed=5)
    torch.manual_seed(4)
    anew = METHOD.prepare(model, clip(), TokenFlowInvert(steps=STEPS), QUIET)
    assert torch.equal(first.video, edited(anew, keyframe_seed=5).video) and torch.equal(anew[1].pivots, state[1].pivots)


class Stop(Exception): pass


def test_everything_is_given_back(model, state, monkeypatch):
    before = state_of(model.unet)
    def stop(*step):
        if step[1] == 2: raise Stop
    with pytest.raises(Stop): edited(state, run=Run(False, stop))
    assert state_of(model.unet) == before
    monkeypatch.setattr(module, 'nearest_tokens', lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError): edited(state)
    assert state_of(model.unet) == before


def test_an_edit_says_how_it_was_made(state, tmp_path):
    made = edited(state)
    made.save(tmp_path / 'edit')
    back = Edit.load(tmp_path / 'edit')
    assert back.method == 'tokenflow' and torch.equal(back.video, made.video) and made.video.shape == clip().video.shape
    assert back.settings == made.settings and {'steps', 'finer', 'blend', 'chunk'} <= made.settings.keys()


def test_words_can_be_recorded_for_all_frames(state, usual):
    record = Recording('cross', 'up_blocks.*', slots=('edit_cond',))
    made = edited(state, record=record)
    assert record.cross('edit_cond').shape[0] == 5 and record.cross['tiger'].shape[0] == 5
    assert_close(made.latents, usual, rtol=1e-3, atol=1e-4)


def test_steps_are_kept(model, tmp_path):
    first, again = (METHOD.prepare(model, clip(2), TokenFlowInvert(steps=2), Run(False, folder=tmp_path)) for _ in range(2))
    assert torch.equal(first[1].pivots, again[1].pivots) and (tmp_path / 'inputs.json').exists()
    refuses('computed from other inputs', METHOD.prepare, model, clip(2), TokenFlowInvert(steps=3), Run(False, folder=tmp_path))


def test_what_does_not_fit_is_said_in_a_sentence(model, state):
    refuses('has 5 frames and TokenFlow takes a keyframe for every 8', METHOD.edit, state, TARGET)
    refuses('runs on image models, and this is a video model', METHOD.prepare, video_model(), clip())
    refuses('target prompt is empty', METHOD.edit, state, ' ')
    refuses('multiples of 8', METHOD.prepare, model, clip(width=44))
    refuses("choose one of 'official', 'linear'", TokenFlowEdit, blend='x')


def test_a_unet_like_stable_diffusions_goes_through(model):
    other = image_model()
    torch.manual_seed(0)
    other.pipe.unet = other.unet = tiny_unet(layers=2, blocks=4)
    made = METHOD.edit(METHOD.prepare(other, clip(3, 64, 64), TokenFlowInvert(steps=2), QUIET), TARGET, TokenFlowEdit(chunk=2), QUIET)
    assert made.video.shape == (3, 3, 64, 64) and made.video.isfinite().all()
