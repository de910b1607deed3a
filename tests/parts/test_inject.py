"Features of the source in the edit, by place, for as long as a context lasts."
import pytest
import torch
from image_cases import QUIET, SOURCE, clip, image_model, tiny_unet
from sentences import refuses
from torch.testing import assert_close

from videodirector.methods.flatten import places as flatten_places
from videodirector.methods.tokenflow import TokenFlowInvert
from videodirector.methods.tokenflow import places as tokenflow_places
from videodirector.parts.inject import SLOTS, climb, in_parts, share_features
from videodirector.parts.inversion import invert_ddim

ATTN = '.transformer_blocks.0.attn1'


class Stop(Exception): pass


def test_places_are_the_official_ones_on_a_unet_like_stable_diffusions():
    unet = tiny_unet(layers=2, blocks=4)
    convs, sites = tokenflow_places(unet)
    assert convs == ['up_blocks.1.resnets.1.conv2']
    assert sites == [f'up_blocks.{b}.attentions.{i}{ATTN}' for b in (1, 2, 3) for i in range(3)][1:]
    convs, sites = flatten_places(unet)
    assert convs == [f'{name}.conv2' for name in ('up_blocks.1.resnets.0', 'up_blocks.1.resnets.1', 'up_blocks.2.resnets.0')]
    assert sites == [f'{name}{ATTN}' for name in ('up_blocks.1.attentions.1', 'up_blocks.1.attentions.2', *(
        f'up_blocks.2.attentions.{i}' for i in range(3)), 'up_blocks.3.attentions.0')]


def test_places_on_a_unet_like_the_embedded_one_are_its_coarsest_and_its_finest_block():
    unet = tiny_unet()
    assert tokenflow_places(unet) == (['up_blocks.1.resnets.1.conv2'], [
        f'up_blocks.{name}{ATTN}' for name in ('1.attentions.1', '2.attentions.0', '2.attentions.1')])
    assert flatten_places(unet) == ([f'up_blocks.1.resnets.{i}.conv2' for i in range(2)], [
        f'up_blocks.{name}{ATTN}' for name in ('1.attentions.1', '2.attentions.0')])
    refuses('has attention in 1 block, and 2 are needed', tokenflow_places, tiny_unet(blocks=2))


@pytest.mark.parametrize('slots', [SLOTS, SLOTS[::-1]])
def test_features_are_the_sources_within_and_the_layers_own_after(slots):
    layers = torch.nn.Sequential(torch.nn.Conv2d(4, 4, 3), torch.nn.Conv2d(4, 4, 3))
    batch = torch.randn(3 * 2, 4, 8, 8)
    before = layers(batch)
    with share_features(layers, ['1'], slots): within = layers(batch)
    source = slots.index('source_cond')
    assert all(torch.equal(x, before.chunk(3)[source]) for x in within.chunk(3))
    with pytest.raises(Stop), share_features(layers, ['0', '1'], slots): raise Stop
    assert torch.equal(layers(batch), before) and not any(m._forward_hooks for m in layers.modules())
    with share_features(layers, [], slots[:2]): assert torch.equal(layers(batch), before)
    with pytest.raises(AttributeError), share_features(layers, ['0', 'x'], slots): pass
    assert not any(m._forward_hooks for m in layers.modules())


@pytest.mark.parametrize('finer', [1, 2, 5])
def test_levels_of_a_finer_climb_are_those_of_the_sampling(finer):
    model = image_model()
    z0, quick = model.encode(clip().video), TokenFlowInvert(steps=3, finer=finer)
    source = climb(in_parts(model, 2), z0, SOURCE, SOURCE, quick, QUIET)
    assert len(source.pivots) == 4 and torch.equal(source.pivots[:1], z0) and '3 steps' in repr(source)
    whole = invert_ddim(model, z0, model.embed(SOURCE), model.schedule(2 * finer + 1), QUIET)
    assert_close(source.pivots, whole[[0, *range(1, 2 * finer + 2, finer)]], rtol=1e-4, atol=1e-5)
    plan, usual = source.schedule, model.schedule(3)
    assert plan.next_alphas == (*plan.alphas[1:], 1.) and all(abs(a - b) <= 1 for a, b in zip(plan.timesteps, usual.timesteps))
    assert finer > 1 or plan == usual


def test_too_many_levels_are_refused():
    model = image_model()
    refuses('90 steps in 12 parts each are too many', climb, model, torch.zeros(1, 4, 2, 4, 4), SOURCE, '', TokenFlowInvert(steps=90, finer=12), QUIET)
