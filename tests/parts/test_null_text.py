"Null text: it repairs the guided path, touches nothing else, and does what the papers say."
import pytest
import torch
from torch.testing import assert_close


from videodirector.models.api import Wrapped, frozen
from videodirector.parts.inversion import invert_ddim, per_frame, sample_ddim
from videodirector.parts.null_text import ConjugateGradients, fit_null, optimise_null, tune_step
from videodirector.parts.settings import InvertSettings

FRAMES = 3


@pytest.fixture
def case(tiny_model):
    "model, pivots, text, schedule"
    schedule, text = tiny_model.schedule(4, 4.), tiny_model.embed('a brown bear on grass')
    z0 = torch.randn(1, 4, FRAMES, 4, 6, generator=torch.manual_seed(0))
    return tiny_model, invert_ddim(tiny_model, z0, text, schedule), text, schedule


def tuned(case, **settings): return optimise_null(*case, **dict(lr=.01, inner_steps=4) | settings)


@pytest.mark.parametrize('null, frames', [('multi-frame', FRAMES), ('shared', 1)])
@pytest.mark.parametrize('cfg', ['standard', 'videodirector'])
def test_guided_path_comes_closer_to_the_clip(case, null, frames, cfg):
    model, pivots, text, _ = case
    schedule = model.schedule(4, 4., cfg)
    found = tuned((model, pivots, text, schedule), null=null)
    assert found.embeddings.shape == (4, frames, 16, 16) and found.embeddings.dtype == torch.float32
    def error(embedding): return (sample_ddim(model, pivots[-1:], text, embedding, schedule) - pivots[:1]).square().mean()
    assert error(found.embeddings) < .9 * error(model.embed(''))
    assert len(found.losses) == 4 and all(1 <= len(curve) <= 4 for curve in found.losses)


def test_frames_get_embeddings_of_their_own(case):
    apart, shared = tuned(case), tuned(case, null='shared')
    assert (apart.embeddings[:, 0] - apart.embeddings[:, 1]).abs().max() > 1e-4
    assert repr(shared).startswith('NullText(4 steps, shared, ')


def test_no_updates_leave_the_negative_prompt(case):
    null = tuned(case, inner_steps=0, negative_prompt='red hat')
    assert torch.equal(null.embeddings, case[0].embed('red hat').expand(4, FRAMES, -1, -1))
    assert null.losses == [[]] * 4


def test_a_generous_tolerance_stops_after_the_first_update(case):
    null = tuned(case, tolerance=1e9)
    assert [len(curve) for curve in null.losses] == [1] * 4
    assert not torch.equal(null.embeddings[0], case[0].embed('').expand(FRAMES, -1, -1))


def fitted(case, i, **settings):
    "The null text before and after some updates of step i, and the losses."
    model, pivots, text, schedule = case
    z, t, phi = pivots[4 - i][None], schedule.timesteps[i], model.embed('')
    with torch.no_grad(): eps_c = model.predict(z, t, text)
    def landing(phi):
        eps_u = model.predict(z, t, phi.expand(1, FRAMES, -1, -1))
        return eps_u, schedule.step(schedule.guide(eps_c, eps_u), z, i)
    return phi, *fit_null(landing, pivots[3 - i][None], phi, schedule, i, InvertSettings(lr=.01, **settings))


def test_tolerance_grows_with_the_step(case):
    *_, (first,) = fitted(case, 3, inner_steps=1)
    assert len(fitted(case, 3, inner_steps=5, tolerance=first - 6e-5 + 1e-6)[2]) == 1
    assert len(fitted(case, 3, inner_steps=5, tolerance=-1.)[2]) == 5


def test_learning_rate_fades_and_adam_is_fresh(case):
    for i in (0, 2):
        before, after, _ = fitted(case, i, inner_steps=1)
        assert_close((after - before).abs().max().item(), .01 * (1 - i / 8), rtol=1e-3, atol=0)  # Adam's first update is the learning rate itself


def test_equals_the_plain_loop(case):
    "The same algorithm in one flat loop, as the papers state it."
    model, pivots, text, schedule = case
    phi, z = model.embed('').repeat(FRAMES, 1, 1), pivots[-1:]
    null = tuned(case, inner_steps=3)
    for i, t in enumerate(schedule.timesteps):
        phi = phi.detach().requires_grad_()
        adam = torch.optim.Adam([phi], lr=.01 * (1 - i / (2 * 4)))
        eps_c = model.predict(z, t, text).detach()
        for _ in range(3):
            eps_u = model.predict(z, t, phi[None])
            loss = torch.nn.functional.mse_loss(schedule.step(eps_u + 4 * (eps_c - eps_u), z, i), pivots[3 - i][None])
            adam.zero_grad(), loss.backward(), adam.step()
            if loss.item() < 1e-5 + i * 2e-5: break
        eps_u = model.predict(z, t, phi[None]).detach()
        z = schedule.step(eps_u + 4 * (eps_c - eps_u), z, i)
        assert_close(null.embeddings[i], phi.detach(), atol=1e-4, rtol=1e-3)


def test_the_model_is_given_back_untouched(case):
    model = case[0]
    next(model.unet.parameters()).requires_grad_(False)
    flags = [p.requires_grad for p in model.unet.parameters()]
    weights = [p.clone() for p in model.unet.parameters()]
    tuned(case, inner_steps=2)
    assert [p.requires_grad for p in model.unet.parameters()] == flags
    assert all(p.grad is None for p in model.unet.parameters())
    assert all(torch.equal(a, b) for a, b in zip(weights, model.unet.parameters()))


def test_frozen_gives_back_after_an_exception():
    layer = torch.nn.Linear(2, 2)
    with pytest.raises(KeyError), frozen(layer):
        assert not layer.weight.requires_grad
        raise KeyError
    assert layer.weight.requires_grad


def test_works_where_gradients_are_off(case):
    expected = tuned(case, inner_steps=2)
    with torch.no_grad(): assert torch.equal(tuned(case, inner_steps=2).embeddings, expected.embeddings)


def test_bad_numbers_stop_with_the_step(case):
    model, *rest = case
    def broken(predict, z, t, text): return predict(z, t, text) * (float('nan') if t == case[3].timesteps[2] else 1)
    with pytest.raises(FloatingPointError, match='step 2'): tuned((Wrapped(model, broken), *rest), inner_steps=2)
    assert all(p.requires_grad for p in case[0].unet.parameters())


def test_pivots_must_fit_the_schedule(case):
    model, pivots, text, schedule = case
    with pytest.raises(ValueError, match='4 pivots were given for 4 steps'): tuned((model, pivots[:-1], text, schedule))


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_half_precision_weights_keep_float32_where_it_counts(case, dtype):
    model, pivots, text, schedule = case
    model.unet.to(dtype)
    null = tuned(case, inner_steps=3)
    assert null.embeddings.dtype == torch.float32 and all(c[-1] < c[0] for c in null.losses if len(c) > 1)


@pytest.mark.parametrize('null', ['multi-frame', 'shared'])
def test_conjugate_gradients_do_more_with_as_many_updates(case, null):
    model, pivots, text, schedule = case
    def error(**how):
        found = tuned(case, null=null, inner_steps=3, tolerance=-1., **how)
        return (sample_ddim(model, pivots[-1:], text, found.embeddings, schedule) - pivots[:1]).square().mean()
    assert error(optimiser='cg', lr=.02) < .9 * error()


def frames_of(A, phi): return torch.einsum('fcn,fn->cf', A, phi.flatten(1))[None, ..., None, None]


def linear(frames, seed):
    "A linear step of twelve numbers a frame: the best null text, and null text → gradient and miss."
    dice = torch.manual_seed(seed)
    A = torch.eye(12).double() + .1 * torch.randn(frames, 12, 12, generator=dice, dtype=torch.float64)
    best = torch.randn(frames, 3, 4, generator=dice, dtype=torch.float64)
    def look(phi):
        phi = phi.requires_grad_()
        miss = frames_of(A, phi) - frames_of(A, best)
        g, = torch.autograd.grad(miss.square().mean(), phi)
        return g, miss.detach()
    return best, look


@pytest.mark.parametrize('frames', [1, 3])
def test_conjugate_gradients_find_the_least_squares_of_a_linear_step(frames):
    "With a matrix near the identity, twelve updates leave next to nothing."
    best, look = linear(frames, seed=1)
    phi, update, losses = torch.zeros_like(best), ConjugateGradients(torch.full((12, frames), 1.5), 6.), []
    for _ in range(12):
        phi = update(phi.detach(), *look(phi))
        losses.append(update.last[2].square().mean().item())
    assert all(later < before for before, later in zip(losses, losses[1:]))
    assert losses[-1] < .02 * losses[0]


def test_a_move_is_corrected_to_where_it_is_best():
    "What is left of a linear miss stands at right angles to the move, in each frame; miss and gradient are those of that place."
    best, look = linear(3, seed=2)
    update, zero = ConjugateGradients(torch.full((2, 3), .5), 2.), torch.zeros_like(best)
    g, miss = look(zero)
    there = update(zero, g, miss)
    assert_close(there.square().mean((1, 2)).sqrt(), torch.full((3,), .5, dtype=torch.float64))
    update(there.detach(), *look(there))
    phi, g, left, _ = update.last
    assert_close((left * (left - miss)).sum((0, 1, 3, 4)), torch.zeros(3, dtype=torch.float64), atol=1e-6, rtol=0)
    for x, y in zip((g, left), look(phi)): assert_close(x, y)


def test_the_next_step_begins_with_the_length_that_was_best():
    best, look = linear(3, seed=3)
    zero = torch.zeros_like(best)
    first = ConjugateGradients(torch.full((1, 3), 1., dtype=torch.float64), 4.)
    there = first(zero, *look(zero))
    alpha = first.learn(look(there)[1])
    assert ((.5 < alpha) & (alpha < 2)).all() and (alpha - 1).abs().min() > .01
    second = ConjugateGradients(first.reach, 4.)
    again = second(zero, *look(zero))
    assert_close(second.learn(look(again)[1]), torch.ones(3, dtype=torch.float64))


@pytest.mark.parametrize('bound, most', [(.04, .02), (.015, .015)])
def test_lengths_grow_at_most_twofold_at_once_and_up_to_a_bound(bound, most):
    best, look = linear(3, seed=3)
    zero, short = torch.zeros_like(best), ConjugateGradients(torch.full((1, 3), .01), bound)
    alpha = short.learn(look(short(zero, *look(zero)))[1])
    assert (alpha > 2).all()
    assert_close(short.reach, torch.full((1, 3), most))


def test_no_length_exceeds_four_times_the_learning_rate(case):
    "A step that cannot be met, far away: moves that only ever fall short."
    model, pivots, text, schedule = case
    settings = InvertSettings(steps=4, optimiser='cg', inner_steps=2, lr=.001, tolerance=-1.)
    state = dict(z=pivots[-1:], phi=per_frame(model.embed(''), pivots.shape[2])[0], reach=torch.full((2, pivots.shape[2]), .001))
    seen = []
    for i in range(4):
        with frozen(model.unet): state = tune_step(model, state, pivots[3 - i][None] + 5, None, text, schedule, i, settings)
        seen.append(state['reach'].max().item())
    assert seen[0] == pytest.approx(.002) and seen[1] == seen[2] == seen[3] == pytest.approx(.004)


@pytest.mark.parametrize('null', ['multi-frame', 'shared'])
def test_conjugate_gradients_ask_no_more_of_the_model_than_adam(case, null):
    def asked(optimiser):
        calls = []
        def told(predict, *given): calls.append(1); return predict(*given)
        tuned((Wrapped(case[0], told), *case[1:]), null=null, optimiser=optimiser, inner_steps=2, tolerance=-1.)
        return len(calls)
    assert asked('cg') == asked('adam') == 4 * (2 + 2)
