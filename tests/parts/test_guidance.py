"STDG: one gradient equals four, each part answers to its own region, nothing is run or kept that no loss needs."
from dataclasses import replace
from functools import cache

import pytest
import torch
from conftest import make_tiny_model
from torch.testing import assert_close

from videodirector.parts import guidance as module
from videodirector.attention.processor import attend
from videodirector.attention.recording import Recording
from videodirector.data.mask import Mask
from videodirector.models.api import Wrapped
from videodirector.parts.guidance import (
    decoupled_guidance, decoupled_losses, listen, nudge, on_grid, spatial_loss, temporal_loss)
from videodirector.parts.settings import SD15_BLOCKS, STDG, TERMS
from videodirector.sampling.schedule import ddim


FRAMES, HEIGHT, WIDTH, T = 3, 4, 6, 500
ALL = dict(eta_f=.3, eta_b=.7, zeta_f=.2, zeta_b=1.1, blocks=(('up_blocks.1', 20., 3.), ('up_blocks.2', 10., 5.)))


def box(frames=FRAMES, height=8 * HEIGHT, width=8 * WIDTH):
    mask = torch.zeros(frames, height, width, dtype=torch.bool)
    mask[:, : height // 2, : width // 2] = True
    return Mask(mask)


@cache
def shared_pipe(dtype):
    "Built once for all tests that leave it as it is."
    model = make_tiny_model()
    model.unet.to(dtype)
    return model


def case(dtype=torch.float32, frames=FRAMES, height=HEIGHT, width=WIDTH, model=None):
    "model; then reference, latents, t, text, mask"
    model = model or shared_pipe(dtype)
    make = torch.manual_seed(0)
    reference = torch.randn(1, 4, frames, height, width, generator=make)
    latents = reference + .3 * torch.randn(1, 4, frames, height, width, generator=make)
    if dtype == torch.float64: reference, latents = reference.double(), latents.double()
    return model, reference, latents, T, model.embed('a brown bear on grass'), box(frames, 8 * height, 8 * width)


def guided(model, *rest, stdg=STDG(**ALL)): return decoupled_guidance(model, stdg, *rest)


# the gradient

def four_gradients(model, reference, latents, t, text, mask, stdg):
    "As the paper states it: a loss of its own, an own pass and an own gradient for each of the four, from recorded maps."
    def activations(z):
        ear = Recording(kinds=('temporal', 'spatial'), sites='up_blocks.*', reduce=(), keys=True, live=True)
        with attend(model.unet, record=ear) as at:
            at.begin(0, ('video',), *z.shape[2:])
            model.predict(z, t, text)
        return ear
    total = 0
    for name, kind in TERMS.items():
        z = latents.clone().requires_grad_()
        plus, minus, losses = activations(reference), activations(z), []
        for block, *weights in stdg.blocks:
            weight = dict(zip(('temporal', 'spatial'), weights))[kind]
            for site in model.sites(kind, f'{block}.*'):
                key = site.name, 0, 'video'
                if kind == 'temporal':  # h w head q k
                    a, b = plus.maps[key].detach(), minus.maps[key]
                    one_hot = torch.nn.functional.one_hot(a.argmax(-1), a.shape[-1])
                    m = on_grid(mask, *a.shape[:2]).bool().permute(1, 2, 0)  # h w q
                    m = (m if name.endswith('f') else ~m)[:, :, None].expand(a.shape[:-1])
                    losses.append(weight * ((one_hot * (a - b)) ** 2).sum(-1)[m].mean())
                else:  # f h w c
                    a, b = plus.keys[key].detach(), minus.keys[key]
                    m = on_grid(mask, *a.shape[1:3])[..., None].double()
                    m = m if name.endswith('f') else 1 - m
                    mu = [(m * k).sum((1, 2)) / (m.sum((1, 2)) + 1e-5) for k in (a, b)]
                    losses.append(weight * (mu[0] - mu[1]).square().mean())
        loss = sum(losses) / len(losses)
        total = total + getattr(stdg, name) * torch.autograd.grad(loss, z)[0]
    return total


def test_one_gradient_equals_four_separate_ones():
    given = case(torch.float64)
    stdg = STDG(**ALL)
    pull, expected = guided(*given, stdg=stdg), four_gradients(*given, stdg)
    assert pull.gradient.dtype == torch.float64 and expected.abs().max() > 1e-6
    assert_close(pull.gradient, expected, rtol=1e-9, atol=1e-9 * expected.abs().max().item())


def test_the_gradient_is_linear_in_the_four_weights():
    given = case(torch.float64)
    off = {term: 0. for term in TERMS}
    parts = {term: guided(*given, stdg=STDG(**ALL | off | {term: ALL[term]})).gradient for term in TERMS}
    assert all(part.abs().max() > 1e-8 for part in parts.values())
    whole = guided(*given).gradient
    assert_close(sum(parts.values()), whole, rtol=1e-9, atol=1e-9 * whole.abs().max().item())


def test_the_gradient_agrees_with_finite_differences():
    model, reference, latents, t, text, mask = case(torch.float64)
    stdg = STDG(**ALL)
    def total(z):
        sites = stdg.sites(model)
        with torch.no_grad(): plus, minus = (listen(model, x, t, text, list(sites), stop=True)[0] for x in (reference, z))
        losses = decoupled_losses(plus, minus, mask, sites)
        return sum(stdg.terms[name] * loss for name, loss in losses.items())
    way = torch.randn(latents.shape, dtype=torch.float64, generator=torch.manual_seed(1))
    slope = (total(latents + 1e-5 * way) - total(latents - 1e-5 * way)) / 2e-5
    assert_close(slope, (guided(model, reference, latents, t, text, mask).gradient * way).sum(), rtol=1e-5, atol=1e-12)


def test_the_reference_itself_is_not_pulled():
    model, reference, _, *rest = case()
    pull = guided(model, reference, reference, *rest)
    assert not pull.gradient.any() and all(loss == 0 for loss in pull.losses.values())


def test_the_prediction_on_the_way_is_the_plain_one():
    model, reference, latents, t, text, mask = case()
    with torch.no_grad(): plain = model.predict(latents, t, text)
    assert_close(guided(model, reference, latents, t, text, mask).eps, plain, rtol=1e-5, atol=1e-6)


def test_descending_makes_the_losses_smaller():
    model, reference, latents, *rest = case(torch.float64)
    pull = guided(model, reference, latents, *rest)
    def total(z): return sum(ALL[name] * loss for name, loss in guided(model, reference, z, *rest).losses.items())
    assert total(latents - 1e-2 * pull.gradient / pull.gradient.norm()) < total(latents)


# the losses

def test_losses_by_hand():
    a, b = torch.tensor([.7, .3]), torch.tensor([.6, .4])
    before, now = a.expand(1, 2, 1, 2, 2).clone(), b.expand(1, 2, 1, 2, 2).clone()  # h=1 w=2 head=1 q=2 k=2
    now[0, 1, 0, 1] = torch.tensor([.2, .8])  # at the second position, second frame: differs by .5
    left, right = torch.tensor([[[1., 0.]], [[1., 0.]]]), torch.tensor([[[0., 1.]], [[0., 1.]]])  # f h w
    assert_close(temporal_loss(before, now, left), torch.tensor(.01))
    assert_close(temporal_loss(before, now, right), torch.tensor((.01 + .25) / 2))
    keys = torch.tensor([[[[1., 0.], [3., 0.]]]])  # f=1 h=1 w=2 c=2
    assert_close(spatial_loss(keys, keys + torch.tensor([0., 2.]), torch.ones(1, 1, 2)), torch.tensor(2.), rtol=1e-4, atol=0)
    assert_close(spatial_loss(keys, keys.flip(2), torch.ones(1, 1, 2)), torch.tensor(0.))  # only the mean counts
    assert_close(spatial_loss(keys, keys.flip(2), torch.tensor([[[1., 0.]]])), torch.tensor(2.), rtol=1e-4, atol=0)


def test_only_the_reference_s_strongest_frame_counts():
    before, now = torch.tensor([.5, .3, .2]).expand(1, 1, 1, 3, 3), torch.tensor([.5, .1, .4]).expand(1, 1, 1, 3, 3)
    assert temporal_loss(before, now, torch.ones(3, 1, 1)) == 0


def test_an_empty_region_is_no_loss():
    model, reference, latents, t, text, mask = case()
    for empty in (Mask(mask.values * 0), Mask(mask.values * 0 + 1)):
        pull = guided(model, reference, latents, t, text, empty)
        assert torch.isfinite(pull.gradient).all()
        for name, loss in pull.losses.items(): assert (loss == 0) == (name.endswith('f') != bool(empty.hard.all())), name


def test_masks_on_a_grid():
    hard = torch.zeros(1, 4, 8, dtype=torch.bool)
    hard[:, :, :3] = True
    assert on_grid(Mask(hard), 2, 4).tolist() == [[[1, 1, 0, 0]] * 2]  # half covered is covered
    assert on_grid(Mask(hard * .5), 2, 4).tolist() == [[[.5, .25, 0, 0]] * 2]  # soft masks keep their shares
    assert on_grid(Mask(hard), 3, 5).shape == (1, 3, 5)


def test_a_mask_is_brought_to_each_grid_once():
    asked = []

    class Asked(Mask):
        def at(self, h, w): asked.append((h, w)); return super().at(h, w)
    model, reference, latents, *rest, mask = case()
    guided(model, reference, latents, *rest, Asked(mask.values))
    assert len(asked) == 2 and len({*asked}) == 2  # those of the two blocks


def test_soft_masks_lie_between_hard_ones():
    model, reference, latents, t, text, mask = case()
    soft = Mask(mask.values * .5)
    pull = guided(model, reference, latents, t, text, soft)
    assert torch.isfinite(pull.gradient).all() and pull.losses['eta_f'] > 0


# what is run

def test_default_sites_are_the_two_up_blocks_by_name(tiny_model):
    assert [block for block, *_ in SD15_BLOCKS] == ['up_blocks.1', 'up_blocks.2']
    names = [site.name for site in STDG().sites(tiny_model)]
    assert all(name.startswith(('up_blocks.1.', 'up_blocks.2.')) for name in names)
    assert sum('.motion_modules.' in n for n in names) == 8 and sum(n.endswith('attentions.0.transformer_blocks.0.attn1') for n in names) == 2
    assert not any('.attentions.' in n and n.endswith('attn2') for n in names)


def test_the_depth_that_no_loss_needs_is_not_run():
    model, reference, latents, t, text, mask = case()
    seen = []
    hooks = [block.register_forward_hook(lambda *_, i=i: seen.append(i)) for i, block in enumerate(model.unet.up_blocks)]
    stdg = STDG(**ALL | dict(blocks=(('up_blocks.1', 1., 1.),)))
    guided(model, reference, latents, t, text, mask, stdg=stdg)
    assert seen == [0, 0, 1, 2]  # the reference stops within block 1, the other pass goes on to a prediction
    for hook in hooks: hook.remove()
    assert listen(model, latents, t, text, list(stdg.sites(model)), stop=True)[1] is None


def test_no_graph_is_kept_after_the_last_site():
    model, _, latents, t, text, _ = case(model=make_tiny_model())
    sites, z = model.sites('temporal', 'up_blocks.1.*'), latents.requires_grad_()
    model.unet.requires_grad_(False)
    heard, eps = listen(model, z, t, text, sites)
    assert all(x.requires_grad for x in heard.values()) and not eps.requires_grad
    assert model.predict(z, t, text).requires_grad  # the hooks are gone again


def test_kinds_that_no_term_needs_are_not_listened_to(tiny_model):
    def kinds(**settings): return {s.kind for s in STDG(**settings).sites(tiny_model)}
    assert kinds() == {'temporal', 'spatial'}
    assert kinds(zeta_b=0) == {'temporal'} and kinds(eta_f=0, eta_b=0) == {'spatial'}
    assert kinds(blocks=(('up_blocks.1', 1, 0),)) == {'temporal'}


def test_a_block_of_weight_0_counts_in_the_mean_and_is_not_listened_to():
    given, stdg = case(), STDG(**ALL | dict(blocks=(('up_blocks.1', 20., 3.), ('up_blocks.2', 0., 0.))))
    alone, both = (guided(*given, stdg=replace(stdg, blocks=blocks)).losses for blocks in (stdg.blocks[:1], stdg.blocks))
    sites = STDG(**ALL).sites(given[0])
    for name, kind in TERMS.items():
        first, all_ = (sum(s.kind == kind and s.name.startswith(b) for s in sites) for b in ('up_blocks.1', 'up_blocks'))
        assert both[name] == pytest.approx(alone[name] * first / all_)


def test_a_term_without_any_block_says_nothing():
    given, only = case(), (('up_blocks.1', 20., 0.),)
    pull = guided(*given, stdg=STDG(**ALL | dict(blocks=only)))
    assert pull.losses.keys() == {'eta_f', 'eta_b'}
    assert torch.equal(pull.gradient, guided(*given, stdg=STDG(**ALL | dict(blocks=only, zeta_f=0, zeta_b=0))).gradient)


def test_off_is_off(tiny_model):
    assert STDG() and not STDG(0, 0, 0, 0) and not STDG(blocks=(('up_blocks.1', 0, 0),))
    assert not STDG(eta_f=0, eta_b=0, blocks=(('up_blocks.1', 5, 0),))


def test_the_model_is_given_back():
    given = case(model=make_tiny_model())
    model = given[0]
    next(model.unet.parameters()).requires_grad_(False)
    before, flags = dict(model.unet.attn_processors), [p.requires_grad for p in model.unet.parameters()]
    def same():
        return (dict(model.unet.attn_processors) == before and flags == [p.requires_grad for p in model.unet.parameters()]
                and all(p.grad is None for p in model.unet.parameters())
                and not any(m._forward_pre_hooks for m in model.unet.modules()))
    guided(*given)
    assert same()
    with pytest.raises(ZeroDivisionError): guided(Wrapped(model, lambda *a: 1 / 0), *given[1:])
    assert same()


# foreground and background

def test_background_editing_swaps_the_weights():
    stdg = STDG(.1, .2, .3, .4)
    assert stdg.terms == dict(eta_f=.1, eta_b=.2, zeta_f=.3, zeta_b=.4)
    assert replace(stdg, region='background').terms == dict(eta_f=.2, eta_b=.1, zeta_f=.4, zeta_b=.3)


def test_background_editing_is_foreground_editing_with_the_other_mask():
    model, reference, latents, t, text, mask = case(torch.float64, width=8)  # whose half falls between cells of all sites
    swapped = guided(model, reference, latents, t, text, mask, stdg=STDG(**ALL, region='background')).gradient
    assert_close(swapped, guided(model, reference, latents, t, text, ~mask).gradient)


def test_spatial_terms_answer_to_their_region():
    "A change of the picture outside a region moves that region's keys less than one inside."
    model, reference, _, t, text, mask = case()
    inside = on_grid(mask, HEIGHT, WIDTH)[None, None]
    change = torch.randn(reference.shape, generator=torch.manual_seed(2))
    stdg = STDG(0, 0, 1, 1, blocks=(('up_blocks.2', 0, 1),))
    here, there = (guided(model, reference, reference + change * m, t, text, mask, stdg=stdg).losses for m in (inside, 1 - inside))
    assert here['zeta_f'] > there['zeta_f'] and there['zeta_b'] > here['zeta_b']


# the step

def test_guidance_in_the_direction_term_descends_and_in_both_ascends(tiny_model):
    schedule = tiny_model.schedule(10)
    eps, z, g = torch.randn(3, 5, generator=torch.manual_seed(0))
    for i in range(9):
        a, b = schedule.alphas[i], schedule.next_alphas[i]
        tilde = eps - (1 - a)**.5 * g
        z0 = (z - (1 - a)**.5 * eps) / a**.5
        by_hand = b**.5 * z0 + (1 - b)**.5 * tilde
        assert_close(schedule.step(eps, z, i) + nudge(schedule, g, i), by_hand, rtol=1e-4, atol=1e-4)
        moved = ddim(tilde, z, a, b) - ddim(eps, z, a, b)
        assert (moved * g).sum() > 0 > (nudge(schedule, g, i) * g).sum()
    assert not nudge(schedule, g, 9).any()  # the last step ends without noise, there is no direction to bend


# sizes, precision, bad input

@pytest.mark.parametrize('frames, height, width', [(1, 4, 4), (5, 5, 3), (2, 7, 2)])
def test_any_size_and_length(frames, height, width):
    pull = guided(*case(frames=frames, height=height, width=width))
    assert pull.gradient.shape == (1, 4, frames, height, width) and torch.isfinite(pull.gradient).all()


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_half_precision_weights(dtype):
    half, full = guided(*case(dtype)), guided(*case())
    assert half.gradient.dtype == half.eps.dtype == torch.float32
    assert torch.nn.functional.cosine_similarity(half.gradient.flatten(), full.gradient.flatten(), 0) > .9


@pytest.mark.parametrize('settings, message', [
    (dict(eta_f=-1), 'is -1'), (dict(zeta_b=float('nan')), 'is nan'), (dict(region='left'), "'left'"),
    (dict(blocks=(('up_blocks.1', 1, -2),)), r'is -2')])
def test_bad_weights(settings, message):
    with pytest.raises(ValueError, match=message): STDG(**settings)


def test_unknown_blocks_are_named(tiny_model):
    with pytest.raises(ValueError, match='no temporal attention matches'): STDG(blocks=(('up_blocks.9', 1, 1),)).sites(tiny_model)


def test_numbers_that_blow_up_name_the_timestep(monkeypatch):
    given = case()
    monkeypatch.setattr(module, 'temporal_loss', lambda *a: a[1].sum() * float('nan'))
    with pytest.raises(FloatingPointError, match='guidance at t = 500'): guided(*given)
