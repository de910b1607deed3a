"Null text: it repairs the guided path, touches nothing else, and does what the papers say."
import pytest
import torch
from torch.testing import assert_close

from videodirector import null_text as module
from videodirector.inversion import Schedule, invert_ddim, sample_ddim
from videodirector.models import encode_prompt, predict_noise
from videodirector.null_text import fit_null, frozen, optimise_null

FRAMES = 3


@pytest.fixture
def case(tiny_pipe):
    "pipe, pivots, text, schedule"
    schedule, text = Schedule.of(tiny_pipe, 4, 4.), encode_prompt(tiny_pipe, 'a brown bear on grass')
    z0 = torch.randn(1, 4, FRAMES, 4, 6, generator=torch.manual_seed(0))
    return tiny_pipe, invert_ddim(tiny_pipe, z0, text, schedule, progress=False), text, schedule


def quiet(case, **settings): return optimise_null(*case, progress=False, **settings)


@pytest.mark.parametrize('shared, frames', [(False, FRAMES), (True, 1)])
@pytest.mark.parametrize('cfg', ['standard', 'videodirector'])
def test_guided_path_comes_closer_to_the_clip(case, shared, frames, cfg):
    pipe, pivots, text, _ = case
    schedule = Schedule.of(pipe, 4, 4., cfg)
    null = quiet((pipe, pivots, text, schedule), shared=shared)
    assert null.embeddings.shape == (4, frames, 16, 16) and null.embeddings.dtype == torch.float32
    def error(embedding): return (sample_ddim(pipe, pivots[-1:], text, embedding, schedule, False) - pivots[:1]).square().mean()
    assert error(null.embeddings) < .9 * error(encode_prompt(pipe, ''))
    assert len(null.losses) == 4 and all(1 <= len(curve) <= 10 for curve in null.losses)


def test_frames_get_embeddings_of_their_own(case):
    per_frame, shared = quiet(case), quiet(case, shared=True)
    assert (per_frame.embeddings[:, 0] - per_frame.embeddings[:, 1]).abs().max() > 1e-4
    assert repr(shared).startswith('NullText(4 steps, shared, ')


def test_no_updates_leave_the_negative_prompt(case):
    null = quiet(case, inner_steps=0, negative_prompt='red hat')
    assert torch.equal(null.embeddings, encode_prompt(case[0], 'red hat').expand(4, FRAMES, -1, -1))
    assert null.losses == [[]] * 4


def test_a_generous_tolerance_stops_after_the_first_update(case):
    null = quiet(case, tolerance=1e9)
    assert [len(curve) for curve in null.losses] == [1] * 4
    assert not torch.equal(null.embeddings[0], encode_prompt(case[0], '').expand(FRAMES, -1, -1))


def test_tolerance_grows_with_the_step(case):
    pipe, pivots, text, schedule = case
    phi, z, target = encode_prompt(pipe, ''), pivots[1:2], pivots[:1]
    with torch.no_grad(): eps_c = predict_noise(pipe, z, 0, text)
    first = fit_null(pipe, phi, z, target, eps_c, schedule, 3, inner_steps=1)[1][0]
    assert len(fit_null(pipe, phi, z, target, eps_c, schedule, 3, 5, tolerance=first - 6e-5 + 1e-6)[1]) == 1
    assert len(fit_null(pipe, phi, z, target, eps_c, schedule, 3, 5, tolerance=-1.)[1]) == 5


def test_learning_rate_fades_and_adam_is_fresh(case):
    pipe, pivots, text, schedule = case
    phi = encode_prompt(pipe, '')
    for i in (0, 2):
        z, target = pivots[4 - i][None], pivots[3 - i][None]
        with torch.no_grad(): eps_c = predict_noise(pipe, z, schedule.timesteps[i], text)
        moved = (fit_null(pipe, phi, z, target, eps_c, schedule, i, inner_steps=1)[0] - phi).abs().max()
        assert_close(moved.item(), .01 * (1 - i / 8), rtol=1e-3, atol=0)  # Adam's first update is the learning rate itself


def test_equals_the_plain_loop(case):
    "The same algorithm in one flat loop, as the papers state it."
    pipe, pivots, text, schedule = case
    phi, z = encode_prompt(pipe, '').repeat(FRAMES, 1, 1), pivots[-1:]
    null = quiet(case, inner_steps=3)
    for i, t in enumerate(schedule.timesteps):
        phi = phi.detach().requires_grad_()
        adam = torch.optim.Adam([phi], lr=.01 * (1 - i / (2 * 4)))
        eps_c = predict_noise(pipe, z, t, text).detach()
        for _ in range(3):
            eps_u = predict_noise(pipe, z, t, phi[None])
            loss = torch.nn.functional.mse_loss(schedule.step(eps_u + 4 * (eps_c - eps_u), z, i), pivots[3 - i][None])
            adam.zero_grad(), loss.backward(), adam.step()
            if loss.item() < 1e-5 + i * 2e-5: break
        eps_u = predict_noise(pipe, z, t, phi[None]).detach()
        z = schedule.step(eps_u + 4 * (eps_c - eps_u), z, i)
        assert_close(null.embeddings[i], phi.detach(), atol=1e-4, rtol=1e-3)


def test_the_model_is_given_back_untouched(case):
    pipe = case[0]
    next(pipe.unet.parameters()).requires_grad_(False)
    flags = [p.requires_grad for p in pipe.unet.parameters()]
    weights = [p.clone() for p in pipe.unet.parameters()]
    quiet(case, inner_steps=2)
    assert [p.requires_grad for p in pipe.unet.parameters()] == flags
    assert all(p.grad is None for p in pipe.unet.parameters())
    assert all(torch.equal(a, b) for a, b in zip(weights, pipe.unet.parameters()))


def test_frozen_gives_back_after_an_exception():
    layer = torch.nn.Linear(2, 2)
    with pytest.raises(KeyError), frozen(layer):
        assert not layer.weight.requires_grad
        raise KeyError
    assert layer.weight.requires_grad


def test_works_where_gradients_are_off(case):
    expected = quiet(case, inner_steps=2)
    with torch.no_grad(): assert torch.equal(quiet(case, inner_steps=2).embeddings, expected.embeddings)


def test_bad_numbers_stop_with_the_step(case, monkeypatch):
    calls = []
    def predict(pipe, z, t, text):
        calls.append(t)
        return predict_noise(pipe, z, t, text) * (float('nan') if t == case[3].timesteps[2] and len(calls) else 1)
    monkeypatch.setattr(module, 'predict_noise', predict)
    with pytest.raises(FloatingPointError, match='step 2'): quiet(case, inner_steps=2)
    assert all(p.requires_grad for p in case[0].unet.parameters())


def test_pivots_must_fit_the_schedule(case):
    pipe, pivots, text, schedule = case
    with pytest.raises(ValueError, match='4 pivots were given for 4 steps'): quiet((pipe, pivots[:-1], text, schedule))


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_half_precision_weights_keep_float32_where_it_counts(case, dtype):
    pipe, pivots, text, schedule = case
    pipe.unet.to(dtype)
    null = quiet(case, inner_steps=3)
    assert null.embeddings.dtype == torch.float32 and all(c[-1] < c[0] for c in null.losses if len(c) > 1)
