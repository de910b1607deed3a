"Motion read from a clip, and a new clip that is given it."
import pytest
import torch
from clips import moving_clip
from conftest import make_tiny_model

from videodirector.attention.recording import Recording
from videodirector.attention.sites import Site
from videodirector.base.run import Run
from videodirector.methods.api import Clip
from videodirector.methods.motionclone import (
    OFFICIAL, CloneSettings, Cloning, MotionClone, MotionSettings, motion_loss, ramps, read_motion, seeded, uneven_schedule)
from videodirector.models.image import ImageModel
from videodirector.parts.guidance import listen
from videodirector.parts.inversion import sample_ddim
from videodirector.parts.settings import InvertSettings

QUIET, PROMPT, FEW = Run(progress=False), 'a tiger walking', dict(steps=4, guided=2, ramp=1, strength=2000., guidance_scale=7.5)
CLIP = Clip(moving_clip(4, 32, 32), 'a bear walking')


@pytest.fixture
def state(tiny_model): return MotionClone().prepare(tiny_model, CLIP, run=QUIET)


def cloned(state, prompt=PROMPT, record=None, run=QUIET, **changes):
    return MotionClone().edit(state, prompt, CloneSettings(**FEW | changes), run, record)


def test_motion_loss_is_a_plain_loop():
    draw = torch.Generator().manual_seed(0)
    before, now = ({Site(n, 'temporal'): torch.rand(2, 3, 2, 4, 4, generator=draw, dtype=torch.float64).softmax(-1) for n in 'ab'} for _ in range(2))
    total = 0.
    for site, A in before.items():
        terms = []
        for p in torch.cartesian_prod(*(torch.arange(n) for n in A.shape[:4])).tolist():
            row, other = A[tuple(p)], now[site][tuple(p)]
            k = max(range(4), key=lambda k: row[k])
            terms.append((other[k] - row[k])**2)
        total += sum(terms) / len(terms)
    top = {site: tuple(A.max(-1)) for site, A in before.items()}
    assert motion_loss(top, now).item() == pytest.approx(total.item(), abs=1e-10)
    assert motion_loss(top, before) == 0


@pytest.mark.parametrize('guided, ramp', [(50, 10), (180, 10), (15, 3), (6, 10), (1, 1)])
def test_ramps_are_a_plain_loop(guided, ramp):
    for i in range(guided + 5):
        s = 1.
        if i < ramp: s = (i + 1) / ramp
        if i > guided - ramp: s = (guided - i) / ramp
        if i >= guided: s = 0.
        assert ramps(i, guided, ramp) == pytest.approx(s, abs=1e-10)


@pytest.mark.parametrize('s', [*OFFICIAL.values(), CloneSettings(), CloneSettings(steps=3, guided=1)], ids=str)
def test_timesteps_are_a_plain_loop(tiny_model, s):
    def evenly(a, b, n): return [a + (b - a) * i / max(1, n - 1) for i in range(n)]
    border = 1000 * (1 - s.noisy)
    wanted = [*evenly(0, border - 1, s.steps - s.guided), *evenly(border, 999, s.guided)][::-1]
    plan, abar = uneven_schedule(tiny_model, s), tiny_model.scheduler.alphas_cumprod.double()
    assert list(plan.timesteps) == [round(t) for t in wanted] and len(set(plan.timesteps)) == len(plan) == s.steps
    assert plan.alphas == pytest.approx([abar[t].item() for t in plan.timesteps], abs=1e-10)
    assert plan.next_alphas == (*plan.alphas[1:], 1.) and plan.cfg == 'videodirector' and plan.guidance_scale == s.guidance_scale


def test_the_official_settings():
    assert [(s.steps, s.guided, s.noisy) for s in OFFICIAL.values()] == [(100, 50, .3), (300, 180, .4)]
    assert all((s.ramp, s.strength, s.guidance_scale, s.cfg) == (10, 2000, 7.5, 'videodirector') for s in OFFICIAL.values())
    assert MotionSettings().t == 400


def test_motion_is_read_at_one_level_of_the_second_block(tiny_model):
    heard = []
    predict = tiny_model.predict
    tiny_model.predict = lambda z, t, text: (heard.append((z, t, text)), predict(z, t, text))[1]
    motion = read_motion(tiny_model, CLIP, MotionSettings(read_seed=3))
    (z, t, text), = heard
    abar, z0 = tiny_model.scheduler.alphas_cumprod[400].item(), tiny_model.encode(CLIP.video)
    torch.testing.assert_close(z, abar**.5 * z0 + (1 - abar)**.5 * seeded(z0.shape, 3, 'cpu'))
    assert t == 400 and torch.equal(text, tiny_model.embed(''))
    assert [*motion.top] == tiny_model.sites('temporal', 'up_blocks.1.*') and motion.shape == z0.shape
    for v, k in motion.top.values(): assert v.shape == k.shape == (2, 2, 2, 4) and v.min() >= 1 / 4 and k.max() < 4


def test_a_step_by_hand(state):
    model, motion = state
    cloning, z = Cloning(model, motion, PROMPT, CloneSettings(**FEW)), seeded(motion.shape, 1, 'cpu')
    plan, t = cloning.schedule, cloning.schedule.timesteps[0]
    with torch.no_grad(): stepped = cloning.step(0, z)
    g, eps_c = cloning.pull(0, z, 2000.)
    eps_u = model.predict(z, t, model.embed(''))
    a, b = plan.alphas[0], plan.next_alphas[0]
    eps = eps_c + 7.5 * (eps_c - eps_u)
    by_hand = b**.5 * (z - (1 - a)**.5 * eps) / a**.5 + (1 - b)**.5 * (eps - (1 - a)**.5 * g)
    torch.testing.assert_close(stepped, by_hand.detach())
    def loss(z): return motion_loss(motion.top, listen(model, z, t, model.embed(PROMPT), [*motion.top])[0])
    with torch.no_grad(): assert loss(z - 1e-2 * g / g.norm()) < loss(z), 'the gradient leads uphill'


def test_guidance_of_weight_0_is_plain_sampling(state):
    model, motion = state
    free = cloned(state, strength=0.)
    plan = uneven_schedule(model, CloneSettings(**FEW))
    plain = sample_ddim(model, seeded(motion.shape, 0, 'cpu'), model.embed(PROMPT), model.embed(''), plan, QUIET)
    torch.testing.assert_close(free.latents, plain, atol=1e-3, rtol=1e-3)
    assert not torch.equal(cloned(state, strength=1e6).latents, free.latents)


def test_seeds_fix_everything(tiny_model, state):
    again = MotionClone().prepare(tiny_model, CLIP, run=QUIET)
    for (v, k), (v2, k2) in zip(state[1].top.values(), again[1].top.values()): assert torch.equal(v, v2) and torch.equal(k, k2)
    torch.manual_seed(5)  # the global one has no part in it
    one, two, other = cloned(state), cloned(again), cloned(state, noise_seed=1)
    assert torch.equal(one.video, two.video) and not torch.equal(one.video, other.video)
    elsewhere = read_motion(tiny_model, CLIP, MotionSettings(read_seed=1))
    assert any(not torch.equal(v, w) for (v, _), (w, _) in zip(state[1].top.values(), elsewhere.top.values()))


def test_an_edit_says_how_it_was_made_and_can_be_recorded(state, tmp_path):
    record = Recording(kinds=('cross', 'temporal'), sites='up_blocks.*')
    made, silent = cloned(state, record=record), cloned(state)
    torch.testing.assert_close(made.latents, silent.latents, rtol=1e-2, atol=1e-3)
    assert (made.method, made.prompt, made.source_prompt) == ('motionclone', PROMPT, 'a bear walking') and made.settings['strength'] == 2000
    assert {key[1:] for key in record.maps} == {(i, slot) for i in range(4) for slot in ('edit_uncond', 'edit_cond')}
    assert [w.text for w in record.words['edit_cond']] == PROMPT.split()
    made.save(tmp_path / 'edit.safetensors')
    assert torch.equal(type(made).load(tmp_path / 'edit.safetensors').video, made.video)


def test_all_is_given_back_after_an_exception(state):
    model, _ = state
    def as_it_is(): return dict(model.unet.attn_processors), [p.requires_grad for p in model.unet.parameters()], sum(len(m._forward_pre_hooks) for m in model.unet.modules())
    def stop(part, i, total):
        if i == 1: raise KeyboardInterrupt
    before = as_it_is()
    with pytest.raises(KeyboardInterrupt): cloned(state, run=Run(progress=False, on_step=stop))
    assert as_it_is() == before
    model.embed = lambda prompt: torch.full((1, 16, 16), torch.nan)
    with pytest.raises(FloatingPointError, match='step 0'): cloned(state)
    assert as_it_is() == before


def test_what_does_not_fit_is_a_sentence(tiny_model, state):
    method = MotionClone()
    with pytest.raises(ValueError, match='MotionClone runs on video models, and this is an image model'): method.prepare(ImageModel(make_tiny_model().pipe), CLIP)
    with pytest.raises(ValueError, match='30 frames'): method.prepare(tiny_model, Clip(moving_clip(30, 32, 32), 'a bear'))
    with pytest.raises(ValueError, match='no temporal attention matches'): method.prepare(tiny_model, CLIP, MotionSettings(block='up_blocks.7'))
    with pytest.raises(ValueError, match='The target prompt is empty'): cloned(state, prompt=' ')
    with pytest.raises(TypeError, match='give a value `MotionSettings`'): method.prepare(tiny_model, CLIP, InvertSettings())
    for wrong in (dict(guided=4), dict(noisy=0.), dict(steps=900, guided=10), dict(steps=700, guided=400)):
        with pytest.raises(ValueError, match='do not fit; guide fewer'): cloned(state, **wrong)


def test_what_was_read_is_kept(tiny_model, state, tmp_path, monkeypatch):
    method, kept = MotionClone(), Run(progress=False, folder=tmp_path)
    one = method.prepare(tiny_model, CLIP, run=kept)
    monkeypatch.setattr('videodirector.methods.motionclone.listen', lambda *args, **kwargs: pytest.fail('read again'))
    two = method.prepare(tiny_model, CLIP, run=Run(progress=False, folder=tmp_path))
    for _, motion in one, two:
        assert motion.top.keys() == state[1].top.keys()
        for pair, plain in zip(motion.top.values(), state[1].top.values()): assert all(map(torch.equal, pair, plain))
    assert torch.equal(cloned(two).latents, cloned(state).latents)
    with pytest.raises(ValueError, match=r'from other inputs \(settings\)'): method.prepare(tiny_model, CLIP, MotionSettings(read_seed=1), Run(progress=False, folder=tmp_path))
