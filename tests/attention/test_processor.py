"The processor equals diffusers' own, changes what it is told to, and leaves nothing behind."
import pytest
import torch
from diffusers import UNet2DConditionModel
from videodirector.attention.grouped import clip_group, first_frame_keys, frame_groups, grouped_attention
from videodirector.attention.processor import AttentionControl, attend, fast_attention, probabilities
from videodirector.attention.recording import Recording
from videodirector.attention.sites import KINDS, find_sites

F, L, C = 3, 16, 16
SIZES = [(8, 8), (6, 10), (5, 7)]


def inputs(h, w, slots=2, dtype=torch.float32, seed=0):
    rng = torch.Generator().manual_seed(seed)
    def draw(*shape): return torch.randn(*shape, generator=rng).to(dtype)
    return draw(slots, 4, F, h, w), draw(slots * F, L, C)


def run(unet, z, text): return unet(z, 7, text).sample


def neutral(kinds): return type('Neutral', (AttentionControl,), dict(kinds=kinds))()


def image_unet():
    torch.manual_seed(0)
    return UNet2DConditionModel(
        sample_size=8, block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4, attention_head_dim=2,
        cross_attention_dim=C, down_block_types=('CrossAttnDownBlock2D', 'DownBlock2D'),
        up_block_types=('UpBlock2D', 'CrossAttnUpBlock2D')).eval()


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
    call = lambda: unet(frames, 7, text, encoder_attention_mask=mask).sample
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


# seams: other computations, outputs, groups of tokens

class Together(AttentionControl):
    "All frames attend to each other, with or without saying how."
    kinds = ('spatial',)
    def __init__(self, groups, keys=None, tell=False): self.groups, self.keys, self.tell = groups, keys, tell

    def compute(self, q, k, v, bias, here):
        groups = self.groups(here.frames, here.tokens)
        out = grouped_attention(q, k, v, groups, None if self.keys is None else self.keys(here.frames, here.tokens))
        return (out, probabilities(q, k, bias)) if self.tell else out


class Scaled(AttentionControl):
    kinds = ('spatial', 'cross', 'temporal')
    def __init__(self, factor): self.factor = factor
    def output(self, out, here): return self.factor * out


def through(unet, z, text, *controls, record=None):
    with torch.no_grad(), attend(unet, controls, record) as at:
        at.begin(0, ('a', 'b'), F, *z.shape[-2:])
        return run(unet, z if z.ndim == 5 and hasattr(unet.config, 'motion_max_seq_length') else z.transpose(1, 2).flatten(0, 1), text)


@pytest.mark.parametrize('make', [lambda pipe: pipe.unet, lambda pipe: image_unet()])
def test_a_control_can_take_over_the_computation(tiny_pipe, make):
    unet, (z, text) = make(tiny_pipe), inputs(6, 10)
    plain = through(unet, z, text)
    torch.testing.assert_close(through(unet, z, text, Together(frame_groups)), plain, rtol=1e-4, atol=1e-5)
    assert (through(unet, z, text, Together(clip_group)) - plain).abs().max() > 1e-3
    assert (through(unet, z, text, Together(frame_groups, first_frame_keys)) - plain).abs().max() > 1e-3


def test_outputs_can_be_replaced(tiny_pipe):
    unet, (z, text) = tiny_pipe.unet, inputs(6, 10)
    assert torch.equal(through(unet, z, text, Scaled(1)), through(unet, z, text, neutral(KINDS)))
    assert (through(unet, z, text, Scaled(0)) - through(unet, z, text)).abs().max() > 1e-3


def test_what_took_over_is_recorded_or_refused(tiny_pipe):
    unet, (z, text) = tiny_pipe.unet, inputs(6, 10)
    kept = Recording('spatial')
    through(unet, z, text, Together(frame_groups, tell=True), record=kept)
    assert kept.maps
    with pytest.raises(ValueError, match='computes the attention without probabilities'): through(unet, z, text, Together(frame_groups), record=Recording('spatial'))
    with pytest.raises(ValueError, match='Together and Together both compute'): through(unet, z, text, Together(frame_groups), Together(clip_group))


def test_groups_are_plain_loops():
    draw = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(3, 2, F, 2, 4, 8, generator=draw, dtype=torch.float64).unbind()
    groups = torch.tensor([[0, 5, 10], [3, 7, -1], [0, 1, 2]])
    keys = torch.tensor([[0, 1], [11, -1], [4, 6]])
    for others in (None, keys):
        got, seen = grouped_attention(q, k, v, groups, others), groups if others is None else others
        flat = [x.transpose(2, 3).flatten(1, 2) for x in (q, k, v)]  # slot, token, head, d
        found = {}
        for queries, looked in zip(groups.tolist(), seen.tolist()):
            looked = [j for j in looked if j >= 0]
            for i in (i for i in queries if i >= 0):
                for s in range(2):
                    for head in range(2):
                        logits = torch.stack([flat[0][s, i, head] @ flat[1][s, j, head] for j in looked]) / 8**.5
                        found.setdefault((s, i, head), []).append(sum(p * flat[2][s, j, head] for p, j in zip(logits.softmax(0), looked)))
        for s in range(2):
            for i in range(12):
                for head in range(2):
                    answers = found.get((s, i, head))
                    expected = sum(answers) / len(answers) if answers else torch.zeros(8, dtype=torch.float64)
                    torch.testing.assert_close(got[s, i // 4, head, i % 4], expected, rtol=1e-10, atol=1e-10)
    with pytest.raises(ValueError, match='hold token 12'): grouped_attention(q, k, v, groups + 2)
    with pytest.raises(ValueError, match='queries and no keys'): grouped_attention(q, k, v, groups, torch.full((3, 2), -1))


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
