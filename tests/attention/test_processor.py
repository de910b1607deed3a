"The processor equals diffusers' own, changes what it is told to, and leaves nothing behind."
import pytest
import torch
from unet_calls import F, L, image_unet, inputs, run

from videodirector.attention.grouped import (
    clip_group,
    first_frame_keys,
    frame_groups,
    grouped_attention,
    grouped_probabilities,
)
from videodirector.attention.arithmetic import fast_attention, probabilities
from videodirector.attention.processor import AttentionControl, attend
from videodirector.attention.recording import Recording
from videodirector.attention.sites import KINDS, find_sites
from videodirector.parts.settings import STDG

SIZES = [(8, 8), (6, 10), (5, 7)]


def neutral(kinds): return type('Neutral', (AttentionControl,), dict(kinds=kinds))()


def odd_unet(unet):
    unet.get_submodule(find_sites(unet, 'cross')[0].name).residual_connection = True
    return unet


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('kind', KINDS)
def test_neutral_processor_is_diffusers_own(tiny_pipe, kind, size):
    z, text = inputs(*size)
    with torch.no_grad():
        expected = run(tiny_pipe.unet, z, text)
        with attend(tiny_pipe.unet, [neutral(kind)]) as at:
            at.begin(0, ('a', 'b'), F, *size)
            torch.testing.assert_close(run(tiny_pipe.unet, z, text), expected, rtol=0, atol=1e-6)
        with attend(tiny_pipe.unet, record=Recording(kind)) as at:
            at.begin(0, ('a', 'b'), F, *size)
            torch.testing.assert_close(run(tiny_pipe.unet, z, text), expected, rtol=1e-4, atol=1e-5)


def test_recording_equals_diffusers_in_double_precision(tiny_pipe):
    unet, (z, text) = tiny_pipe.unet.double(), inputs(6, 10, dtype=torch.float64)
    with torch.no_grad():
        expected = run(unet, z, text)
        with attend(unet, record=Recording(KINDS)) as at:
            at.begin(0, ('a', 'b'), F, 6, 10)
            torch.testing.assert_close(run(unet, z, text), expected, rtol=0, atol=1e-12)


def test_image_unet_frame_by_frame():
    unet, (z, text) = image_unet(), inputs(6, 10)
    frames = z.transpose(1, 2).flatten(0, 1)
    with torch.no_grad():
        expected = run(unet, frames, text)
        with attend(unet, record=Recording(('cross', 'spatial'))) as at:
            at.begin(0, ('a', 'b'), F, 6, 10)
            torch.testing.assert_close(run(unet, frames, text), expected, rtol=1e-4, atol=1e-5)
    assert len(at.record.maps) == 2 * len(unet.attn_processors)


def test_text_mask_is_obeyed():
    unet, (z, text) = image_unet(), inputs(8, 8)
    frames, mask = z.transpose(1, 2).flatten(0, 1), torch.arange(L).expand(2 * F, L) < 5
    def call(): return unet(frames, 7, text, encoder_attention_mask=mask).sample
    with torch.no_grad():
        expected = call()
        with attend(unet, [neutral('spatial')], Recording('cross')) as at:
            at.begin(0, ('a', 'b'), F, 8, 8)
            torch.testing.assert_close(call(), expected, rtol=1e-4, atol=1e-5)
    assert all(m[..., 5:].abs().max() < 1e-6 for m in at.record.maps.values())


def test_everything_is_given_back(tiny_pipe):
    unet, before = tiny_pipe.unet, dict(tiny_pipe.unet.attn_processors)
    with attend(unet, [neutral('cross')]): assert unet.attn_processors != before
    assert unet.attn_processors == before
    with pytest.raises(RuntimeError):
        with attend(unet, [neutral('cross')]): raise RuntimeError
    assert unet.attn_processors == before


def test_the_unet_is_not_looked_through_more_than_needed(tiny_model, monkeypatch):
    unet, looked, plain = tiny_model.unet, [], torch.nn.Module.named_modules

    def counted(self, *args, **more):
        for found in plain(self, *args, **more):
            looked.append(found[0])
            yield found
    all_of_it, where, how = len([*unet.modules()]), unet.device, unet.dtype
    monkeypatch.setattr(type(unet), 'named_modules', counted)
    with attend(unet, [neutral('cross'), neutral('spatial'), neutral('temporal')], Recording('cross')):
        assert len(looked) == 2 * all_of_it  # for the sites, and for their layers
    assert STDG().sites(tiny_model) and len(looked) == 3 * all_of_it
    looked.clear()
    assert (tiny_model.device, tiny_model.dtype) == (where, how) and len(looked) < all_of_it / 4  # every prediction asks


def test_untouched_sites_keep_their_processor(tiny_pipe):
    before = dict(tiny_pipe.unet.attn_processors)
    with attend(tiny_pipe.unet, record=Recording('cross', 'up_blocks.*')):
        for name, processor in tiny_pipe.unet.attn_processors.items():
            touched = name.startswith('up') and 'attentions' in name and 'attn2' in name
            assert (processor is before[name]) != touched


def test_mistakes_are_sentences(tiny_pipe):
    unet, (z, text) = tiny_pipe.unet, inputs(8, 8)
    with attend(unet, [neutral(KINDS)]) as at:
        with pytest.raises(ValueError, match='begin'): run(unet, z, text)
        at.begin(0, ('a', 'b', 'c'), F, 8, 8)
        with pytest.raises(ValueError, match='3 slots of 3 frames'): run(unet, z, text)
        at.begin(0, ('a', 'b'), F, 4, 4)
        with pytest.raises(ValueError, match='4×4'): run(unet, z, text)
        with pytest.raises(ValueError, match='repeat'): at.begin(0, ('a', 'a'), F, 8, 8)
    with pytest.raises(ValueError, match='plain attention'), attend(odd_unet(unet), [neutral('cross')]): pass


def test_contexts_nest(tiny_pipe):
    unet, (z, text) = tiny_pipe.unet, inputs(8, 8)
    outer, inner = Recording('cross'), Recording(('cross', 'temporal'))
    with torch.no_grad(), attend(unet, record=outer):
        before = dict(unet.attn_processors)
        with attend(unet, [neutral('spatial')], inner) as at:
            at.begin(3, ('a', 'b'), F, 8, 8)
            run(unet, z, text)
        assert unet.attn_processors == before
    assert outer.maps and all(torch.equal(m, inner.maps[key]) for key, m in outer.maps.items())


def test_probabilities_are_what_sdpa_uses():
    q, k, v = torch.randn(3, 2, F, 2, 9, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64).unbind()
    bias = torch.zeros(2, F, 1, 1, 9, dtype=torch.float64)
    bias[..., 3:] = -torch.inf
    for b in (None, bias): torch.testing.assert_close(fast_attention(q, k, v, b), probabilities(q, k, b) @ v)


# taking over: inputs, computations, outputs

class Together(AttentionControl):
    "Tokens attend in groups, with or without saying how."
    kinds = ('spatial',)
    def __init__(self, groups, keys=None, tell=False): self.groups, self.keys, self.tell = groups, keys, tell

    def compute(self, q, k, v, bias, here):
        groups = self.groups(here.frames, here.tokens)
        keys = None if self.keys is None else self.keys(here.frames, here.tokens)
        out = grouped_attention(q, k, v, groups, keys)
        return (out, grouped_probabilities(q, k, groups, keys)) if self.tell else out


class FrameZero(AttentionControl):
    "Keys and values of frame 0 for all frames."
    kinds = ('spatial',)
    def qkv(self, q, k, v, bias, here): return q, k[:, :1].expand_as(k), v[:, :1].expand_as(v), bias


class Log(AttentionControl):
    "Notes which hooks are asked, and with what shapes."
    def __init__(self, kinds, sites='*', explicit=False): self.kinds, self.sites, self.explicit, self.heard = kinds, sites, explicit, []
    def note(self, hook, x): self.heard.append((hook, tuple(x.shape))); return x
    def input(self, x, here): return self.note('input', x)
    def qkv(self, q, k, v, bias, here): return self.note('qkv', q), k, v, bias
    def compute(self, q, k, v, bias, here): self.note('compute', v)
    def probs(self, p, here): return self.note('probs', p)
    def output(self, out, here): return self.note('output', out)


class Scaled(AttentionControl):
    "What goes in or comes out, times a number."
    def __init__(self, input=1, output=1): self.factors = input, output
    def input(self, x, here): return self.factors[0] * x
    def output(self, out, here): return self.factors[1] * out


def through(unet, z, text, *controls, record=None):
    "The prediction of a video UNet, or of an image UNet that gets the frames as its batch."
    video = hasattr(unet.config, 'motion_max_seq_length')
    with torch.no_grad(), attend(unet, controls, record) as at:
        at.begin(0, ('a', 'b'), F, *z.shape[-2:])
        return run(unet, z if video else z.transpose(1, 2).flatten(0, 1), text)


either_unet = pytest.mark.parametrize('make', [lambda pipe: pipe.unet, lambda pipe: image_unet()], ids=['video', 'image'])


@either_unet
def test_hooks_are_asked_in_order(tiny_pipe, make):
    unet, (z, text), N = make(tiny_pipe), inputs(6, 10), 60
    site = next(s.name for s in find_sites(unet, 'spatial'))
    d = unet.get_submodule(site).inner_dim // unet.get_submodule(site).heads
    x, q = (2, F, N, unet.get_submodule(site).inner_dim), (2, F, unet.get_submodule(site).heads, N, d)
    quick, explicit = Log('spatial', site), Log('spatial', site, explicit=True)
    through(unet, z, text, quick), through(unet, z, text, explicit)
    assert quick.heard == [('input', x), ('qkv', q), ('compute', q), ('output', q)]
    assert explicit.heard == [('input', x), ('qkv', q), ('compute', q), ('probs', (*q[:-1], N)), ('output', q)]


@either_unet
def test_a_control_can_take_over_the_computation(tiny_pipe, make):
    unet, (z, text) = make(tiny_pipe), inputs(6, 10)
    plain, joint = through(unet, z, text), through(unet, z, text, Together(clip_group))
    torch.testing.assert_close(through(unet, z, text, Together(frame_groups)), plain, rtol=1e-4, atol=1e-5)
    first = through(unet, z, text, Together(frame_groups, first_frame_keys))
    torch.testing.assert_close(first, through(unet, z, text, FrameZero()), rtol=1e-4, atol=1e-5)
    assert (joint - plain).abs().max() > 1e-3 and (first - plain).abs().max() > 1e-3


@either_unet
def test_inputs_and_outputs_can_be_replaced(tiny_pipe, make):
    unet, (z, text) = make(tiny_pipe), inputs(6, 10)
    assert torch.equal(through(unet, z, text, Scaled()), through(unet, z, text, neutral(KINDS)))
    for other in (Scaled(input=0), Scaled(output=0)):
        assert (through(unet, z, text, other) - through(unet, z, text)).abs().max() > 1e-3


def test_the_output_hook_stands_before_the_last_layer(tiny_pipe):
    unet, (z, text) = tiny_pipe.unet, inputs(6, 10)
    site = find_sites(unet, 'spatial')[0].name
    silent, said = type('Silent', (Scaled,), dict(sites=site))(output=0), {}
    layer = unet.get_submodule(site)
    with torch.no_grad():
        hook = layer.register_forward_hook(lambda layer, args, out: said.update(out=out))
        through(unet, z, text, silent)
        hook.remove()
        torch.testing.assert_close(said['out'], layer.to_out[0].bias.expand_as(said['out']))


def test_what_took_over_is_recorded_or_refused(tiny_pipe):
    unet, (z, text) = tiny_pipe.unet, inputs(6, 10)
    kept, by_qkv = Recording('spatial'), Recording('spatial')
    through(unet, z, text, Together(frame_groups, first_frame_keys, tell=True), record=kept)
    through(unet, z, text, FrameZero(), record=by_qkv)
    assert kept.maps.keys() == by_qkv.maps.keys()
    for key, m in kept.maps.items(): torch.testing.assert_close(m, by_qkv.maps[key], rtol=0, atol=1e-3)
    whole = Recording('spatial')
    through(unet, z, text, Together(clip_group, tell=True), record=whole)
    site = next(s.name for s in find_sites(unet, 'spatial'))
    assert whole.maps[site, 0, 'a'].shape == (F, 6, 10, F * 60)
    torch.testing.assert_close(whole.maps[site, 0, 'a'].float().sum(-1), torch.ones(F, 6, 10), rtol=0, atol=5e-3)
    elsewhere = Recording('spatial', steps=[7])
    through(unet, z, text, Together(clip_group), record=elsewhere)  # nobody listens at this step
    assert not elsewhere.maps
    with pytest.raises(ValueError, match='Together computes .* no probabilities to record'):
        through(unet, z, text, Together(frame_groups), record=Recording('spatial'))


@pytest.mark.parametrize('other', [Together(clip_group), Log('spatial', explicit=True)], ids=['another', 'explicit'])
def test_only_one_takes_over(tiny_pipe, other):
    unet, (z, text) = tiny_pipe.unet, inputs(6, 10)
    for controls in ([Together(frame_groups), other], [other, Together(frame_groups)]):
        with pytest.raises(ValueError, match='Together computes .* let one of them be inactive'): through(unet, z, text, *controls)


def test_a_computation_of_another_shape_is_refused(tiny_pipe):
    short = type('Short', (AttentionControl,), dict(kinds='spatial', compute=lambda self, q, k, v, bias, here: q[..., :1]))()
    with pytest.raises(ValueError, match=r'Short computed \[2, 3, .*must be'): through(tiny_pipe.unet, *inputs(6, 10), short)


def test_two_threads_do_not_share_a_unet(tiny_pipe):
    from threading import Thread
    found = []
    def other():
        try:
            with attend(tiny_pipe.unet, [neutral('cross')]): pass
        except RuntimeError as error: found.append(str(error))
    with attend(tiny_pipe.unet, [neutral('cross')]):
        thread = Thread(target=other); thread.start(); thread.join()
    assert found and 'another thread is at work' in found[0]
