"Alignment, weights, windows, SA-I and SA-II against explicit formulas; neutral changes nothing, strong does."
from dataclasses import fields
from fnmatch import fnmatch
from functools import partial

import pytest
import torch
from diffusers import UNet2DConditionModel
from videodirector.attention.arithmetic import probabilities
from videodirector.attention.processor import AttentionControl, Here, attend
from videodirector.attention.recording import Recording
from videodirector.attention.sites import Site, find_sites
from videodirector.data.mask import Mask
from videodirector.parts.blend import LocalBlend
from videodirector.parts.control import (
    Alignment, CrossControl, LayoutControl, MutualControl, cross_schedule, first_steps, match_words, refine, replace_words, slots_at,
    word_weights)

F, h, w, L = 3, 6, 10, 16
SLOTS = ('edit_uncond', 'edit_cond', 'source_uncond', 'source_cond')
SPATIAL = 'up_blocks.1.attentions.0.transformer_blocks.0.attn1'


def here(kind='spatial', step=0, slots=SLOTS, size=(h, w)): return Here(step, slots, F, h, w, Site(SPATIAL, kind), size)
def draw(*shape, seed=0): return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
def tensors(seed=0): return draw(3, 4, F, 2, h * w, 4, seed=seed).unbind()
def softmax(x): return x.exp() / x.exp().sum(-1, keepdim=True)


def call_of(unet, *edits, step=0, record=None):
    rng, like = torch.Generator().manual_seed(0), dict(dtype=unet.dtype)
    z, text = (torch.randn(*shape, generator=rng).to(**like) for shape in ((4, 4, F, h, w), (4 * F, L, 16)))
    with torch.no_grad(), attend(unet, edits, record) as at:
        at.begin(step, SLOTS, F, h, w)
        return unet(z, 7, text).sample


@pytest.fixture
def unet_call(tiny_model): return partial(call_of, tiny_model.unet)


def mask(all=False):
    m = torch.full((F, 8 * h, 8 * w), all)
    m[:, 8:24, 16:40] = True
    return Mask(m)


# windows

def test_windows_are_exact():
    active = cross_schedule(50, .8, L)[:, 3].nonzero().flatten().tolist()
    assert active == list(range(40))
    assert list(first_steps(50, .4)) == list(range(20)) and list(first_steps(50, .3)) == list(range(15))
    assert len(first_steps(100, .29)) == 29 and list(first_steps(20, (.25, .5))) == list(range(5, 10))
    assert cross_schedule(50, 1., L)[:50].all() and not cross_schedule(50, 0, L).any()


def test_windows_of_single_words():
    alpha = cross_schedule(20, .5, L, {(2, 3): .2, (5,): (.5, 1.)})
    assert alpha.shape == (21, L)
    assert alpha[:, 1].sum() == 10 and alpha[:, 2].sum() == alpha[:, 3].sum() == 4
    assert alpha[:, 5].nonzero().flatten().tolist() == list(range(10, 21))


@pytest.mark.parametrize('share', [-.1, 1.1, (.6, .4)])
def test_impossible_windows(share):
    with pytest.raises(ValueError, match='first 40 %'): first_steps(20, share)


# alignment

def official_mapper(x, y, length):
    "Prompt-to-Prompt's mapper on token ids, written out again from its recipe (gaps 0, match 1, mismatch -1)."
    score, trace = torch.zeros(len(x) + 1, len(y) + 1), {}
    for i in range(1, len(x) + 1):
        for j in range(1, len(y) + 1):
            left, up = score[i, j - 1], score[i - 1, j]
            diagonal = score[i - 1, j - 1] + (1 if x[i - 1] == y[j - 1] else -1)
            score[i, j] = best = max(left, up, diagonal)
            trace[i, j] = 'left' if best == left else 'up' if best == up else 'diagonal'
    i, j, mapper = len(x), len(y), [-1] * len(y)
    while i > 0 or j > 0:
        step = trace.get((i, j), 'left' if j else 'up')
        if step == 'diagonal': mapper[j - 1] = i - 1
        i, j = i - (step != 'left'), j - (step != 'up')
    return mapper + list(range(len(y), length))


@pytest.mark.parametrize('source, target', [
    ('a bear walking on grass', 'a tiger walking on grass'), ('a bear on grass', 'a red bear with a hat on grass'),
    ('a red bear with a hat on grass', 'a bear on grass'), ('a bear, a tiger', 'a tiger, a bear'), ('bear', 'a a a'),
    ('a a bear', 'a bear')])
def test_refine_is_prompt_to_prompts(tiny_model, source, target):
    got = refine(tiny_model.tokenizer, source, target)
    mapper = official_mapper(*(tiny_model.tokenizer(p).input_ids for p in (source, target)), L)
    for n, m in enumerate(mapper):
        assert got.share[n] == (m >= 0)
        assert got.matrix[:, n].nonzero().flatten().tolist() == ([m] if m >= 0 else [])


@pytest.mark.parametrize('align', [refine, replace_words])
@pytest.mark.parametrize('prompt', ['a bear walking on grass', 'a zoo, a red tiger.', 'a'])
def test_the_same_prompt_aligns_with_itself(tiny_model, align, prompt):
    got = align(tiny_model.tokenizer, prompt, prompt)
    assert torch.equal(got.matrix, torch.eye(L)) and got.share.all() and not got.new_words


def test_pieces_of_different_words_are_not_matched(tiny_model):
    got = refine(tiny_model.tokenizer, 'a zebra on grass', 'a zoo on grass')
    assert [w.text for w in got.new_words] == ['zoo']
    assert not got.share[list(got.new_words[0].tokens)].any()


def test_words_beside_punctuation_are_aligned(tiny_model):
    got = refine(tiny_model.tokenizer, 'a bear, walking.', 'a tiger, walking.')
    assert [w.text for w in got.new_words] == ['tiger'] and got.share.sum() == L - 1


def test_match_words():
    assert match_words('abcd', 'axcd') == [0, None, 2, 3]
    assert match_words('', 'ab') == [None, None] and match_words('ab', '') == []


def test_replace_spreads_words_of_several_tokens(tiny_model):
    got = replace_words(tiny_model.tokenizer, 'a bear on grass', 'a zoo on grass')  # 1 token → 3
    M = got.matrix
    assert torch.equal(M[2, 2:5], torch.full((3,), 1 / 3)) and M[2].sum() == 1
    assert M[3, 5] == M[4, 6] == M[5, 7] == 1 and M[1, 1] == 1 and M[0, 0] == 1
    assert M[13, 15] == 1 and M[14:].sum() == 0  # padding moves along
    back = replace_words(tiny_model.tokenizer, 'a zoo on grass', 'a bear on grass').matrix  # 3 tokens → 1
    assert torch.equal(back[2:5, 2], torch.ones(3)) and back[5, 3] == back[6, 4] == 1


def test_replace_pairs_the_pieces_of_equally_long_words(tiny_model):
    M = replace_words(tiny_model.tokenizer, 'a zoo, red', 'a emu, red').matrix
    assert torch.equal(M, torch.eye(L))


def test_replace_wants_equally_many_words(tiny_model):
    with pytest.raises(ValueError, match='3 .*4.*refine'):
        replace_words(tiny_model.tokenizer, 'a bear walking', 'a red bear walking')


def test_weights_find_words(tiny_model):
    e = word_weights(tiny_model.tokenizer, 'a zoo, a tiger', {'tiger': 2, 'zoo': .5})
    assert e.tolist() == [1, 1, .5, .5, .5, 1, 1, 2] + [1] * 8
    with pytest.raises(ValueError, match='hat'): word_weights(tiny_model.tokenizer, 'a bear', {'hat': 2})


# cross-attention control

def test_cross_control_is_its_equation(tiny_model):
    alignment = refine(tiny_model.tokenizer, 'a bear on grass', 'a red tiger on grass')
    e = word_weights(tiny_model.tokenizer, 'a red tiger on grass', {'red': 3})
    alpha = cross_schedule(20, .5, L, {(3,): .9})
    p = softmax(draw(4, F, 2, h * w, L))
    M, a = alignment.matrix.double(), alignment.share.double()
    for step in (0, 15, 19):
        got = CrossControl(alignment, alpha, e).probs(p, here('cross', step))
        edited = (a * (p[3] @ M) + (1 - a) * p[1]) * e
        torch.testing.assert_close(got[1], alpha[step] * edited + (1 - alpha[step]) * p[1])
        assert torch.equal(got[[0, 2, 3]], p[[0, 2, 3]])


def test_weights_act_inside_the_window_only(tiny_model):
    alignment = refine(tiny_model.tokenizer, 'a bear', 'a bear')
    edit = CrossControl(alignment, cross_schedule(10, .5, L), word_weights(tiny_model.tokenizer, 'a bear', {'bear': 4}))
    p = softmax(draw(4, F, 2, h * w, L))
    torch.testing.assert_close(edit.probs(p, here('cross', 0))[1, ..., 2], 4 * p[3, ..., 2])
    assert edit.on(4) and not edit.on(5)


# SA-I

def test_layout_control_is_the_sources_map_on_own_values():
    q, k, v = tensors()
    at = here()
    assert LayoutControl(range(1)).active(at)
    q2, k2, v2, bias = LayoutControl(range(1)).qkv(q, k, v, None, at)
    A = softmax(q @ k.transpose(-1, -2) / 2)  # d = 4
    A[1] = A[3]
    torch.testing.assert_close(probabilities(q2, k2, bias) @ v2, A @ v)


def test_layout_control_keeps_to_its_steps_and_sizes():
    edit = LayoutControl(first_steps(10, .4), max_tokens=60)
    assert [edit.active(here(step=i)) for i in range(10)] == [True] * 4 + [False] * 6
    assert not LayoutControl(range(9), max_tokens=59).active(here())


def test_default_size_limit_is_sd15s_and_spares_nothing_of_the_world():
    edit = LayoutControl(range(1))
    assert [edit.active(here(size=(n, n))) for n in (64, 32, 16, 8)] == [False, True, True, True]


# SA-II

@pytest.mark.parametrize('given', [None, mask(), mask(True)])
def test_mutual_control_is_its_equation(given):
    q, k, v = tensors()
    edit, at = MutualControl(range(1), given), here()
    q2, k2, v2, bias = edit.qkv(q, k, v, None, at)
    out = probabilities(q2, k2, bias) @ v2
    for b in range(4):
        for f in range(F):
            seen = torch.ones(h * w, dtype=torch.bool) if given is None else ~(given.at(h, w) > 0)[f].flatten()
            keys, values = k[b, f], v[b, f]
            if b < 2:
                keys = torch.cat([k[b + 2, f][:, seen], keys], 1)
                values = torch.cat([v[b + 2, f][:, seen], values], 1)
            torch.testing.assert_close(out[b, f], softmax(q[b, f] @ keys.transpose(-1, -2) / 2) @ values)


@pytest.mark.parametrize('given', [None, mask()])
def test_neutral_mutual_control_counts_what_is_seen_twice_half(given):
    q, k, v = tensors()
    edit, at = MutualControl(range(1), given, neutral=True), here()
    q2, k2, v2, bias = edit.qkv(q, k, v, None, at)
    out = probabilities(q2, k2, bias) @ v2
    for b in range(4):
        for f in range(F):
            seen = torch.ones(h * w, dtype=torch.bool) if given is None else ~(given.at(h, w) > 0)[f].flatten()
            own = (q[b, f] @ k[b, f].transpose(-1, -2) / 2).exp()
            top, bottom = own @ v[b, f], own.sum(-1, keepdim=True)
            if b < 2:
                other = (q[b, f] @ k[b + 2, f].transpose(-1, -2) / 2).exp() * seen
                own = own * torch.where(seen, .5, 1.)
                top, bottom = own @ v[b, f] + .5 * other @ v[b + 2, f], (own + .5 * other).sum(-1, keepdim=True)
            torch.testing.assert_close(out[b, f], top / bottom)


@pytest.mark.parametrize('given', [None, mask()])
def test_neutral_mutual_control_changes_nothing_where_source_and_edit_agree(given):
    q, k, v = (torch.cat([x[2:], x[2:]]) for x in tensors())
    q2, k2, v2, bias = MutualControl(range(1), given, neutral=True).qkv(q, k, v, None, here())
    torch.testing.assert_close(probabilities(q2, k2, bias) @ v2, probabilities(q, k, None) @ v)
    q2, k2, v2, bias = MutualControl(range(1), mask()).qkv(q, k, v, None, here())
    assert (probabilities(q2, k2, bias) @ v2 - probabilities(q, k, None) @ v).abs().max() > .01  # the paper's form does


def test_an_all_foreground_mask_leaves_plain_attention(unet_call):
    torch.testing.assert_close(unet_call(MutualControl(range(1), mask(True))), unet_call(), rtol=1e-4, atol=1e-5)


def test_mask_of_another_length(unet_call):
    with pytest.raises(ValueError, match='2 frames'): unet_call(MutualControl(range(1), Mask(mask().values[:2])))


def test_sa2_brings_its_mask_to_each_grid_once(unet_call):
    asked = []

    class Asked(Mask):
        def at(self, h, w): asked.append((h, w)); return super().at(h, w)
    edit = MutualControl(range(2), Asked(mask().values))
    first = unet_call(edit)
    assert asked == [*dict.fromkeys(asked)] != []
    assert torch.equal(unet_call(edit, step=1), first) and asked == [*dict.fromkeys(asked)]


# what is changed, and what is left

def unsaid(control):
    "The same control, which does not tell what it changes: all slots are treated alike."
    return type('Unsaid', (type(control),), dict(changes=None))(*(getattr(control, f.name) for f in fields(control) if f.init))


@pytest.mark.parametrize('make', [
    lambda model: CrossControl(refine(model.tokenizer, 'a brown bear', 'a red bear'), cross_schedule(9, 1, L), torch.arange(L) / 4),
    lambda model: LayoutControl(range(9)), lambda model: MutualControl(range(9), mask()),
    lambda model: MutualControl(range(9), mask(), neutral=True)])
def test_slots_that_nothing_changes_are_left_alone(tiny_model, unet_call, make):
    control, untouched = make(tiny_model), type('Untouched', (AttentionControl,), dict(changes=()))()
    tiny_model.unet.double()
    out, plain = unet_call(control), unet_call(untouched)
    for i, slot in enumerate(SLOTS):
        if slot in (*control.changes, *(control.reads if control.explicit else ())): continue
        assert torch.equal(out[i], plain[i])
    assert (out[1] - plain[1]).abs().max() > 1e-6
    torch.testing.assert_close(out, unet_call(unsaid(control)), rtol=0, atol=1e-12)


def test_maps_are_written_out_only_where_they_are_needed(tiny_model, unet_call):
    seen = []

    class Asked(CrossControl):
        def probs(self, p, here): seen.append((here.slots, len(p))); return super().probs(p, here)
    alignment = refine(tiny_model.tokenizer, 'a brown bear', 'a red bear')
    asked = Asked(alignment, cross_schedule(9, 1, L))
    unet_call(asked)
    assert not seen  # values say it
    other = type('Other', (AttentionControl,), dict(kinds=('cross',), explicit=True, changes=(), reads=('source_cond',)))()
    unet_call(asked, other)
    assert {*seen} == {(('edit_cond', 'source_cond'), 2)}
    seen.clear()
    unet_call(asked, record=Recording('cross'))
    assert {*seen} == {(SLOTS, 4)}  # those of all are kept


@pytest.mark.parametrize('weights', [None, torch.arange(L) / 4])
@pytest.mark.parametrize('tau', [1, .5])
def test_maps_exchanged_and_values_exchanged_say_the_same(tiny_model, weights, tau):
    alignment = refine(tiny_model.tokenizer, 'a brown bear', 'a red bear with a hat')
    cross = CrossControl(alignment, cross_schedule(9, tau, L, {(2,): 0.}), weights)
    q, k, v = (torch.randn(4, 2, 3, n, 8, dtype=torch.float64, generator=torch.manual_seed(i)) for i, n in enumerate((6, L, L)))
    here = Here(0, SLOTS, 2, 2, 3, size=(2, 3))
    p = probabilities(q, k)
    expected = cross.probs(p, here)[1] @ v[1]
    (changed, values), = cross.by_values(v, here).items()
    assert changed == 'edit_cond' and (expected - (p @ v)[1]).abs().max() > 1e-3
    torch.testing.assert_close(sum(p[SLOTS.index(slot)] @ x for slot, x in values.items()), expected, rtol=0, atol=1e-12)


def test_a_missing_target_is_told():
    q, k, v = torch.rand(3, 1, 2, 1, 4, 8).unbind()
    here = Here(0, ('video',), 2, 2, 2, size=(2, 2))
    for control in (LayoutControl(range(9)), MutualControl(range(9))):
        with pytest.raises(ValueError, match='edit_'): control.qkv(q, k, v, None, here)


def test_values_say_it_beneath_a_mask_of_the_text():
    unet = UNet2DConditionModel(block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4, attention_head_dim=2, cross_attention_dim=16,
                                down_block_types=('CrossAttnDownBlock2D', 'DownBlock2D'), up_block_types=('UpBlock2D', 'CrossAttnUpBlock2D'))
    unet.double().requires_grad_(False)
    rng = torch.Generator().manual_seed(0)
    z, text = torch.randn(4 * F, 4, h, w, generator=rng).double(), torch.randn(4 * F, L, 16, generator=rng).double()
    mask = torch.rand(4 * F, L, generator=rng) < .7
    mask[:, 0] = True
    control = CrossControl(Alignment([], [], torch.eye(L).roll(1, 0), torch.arange(L) % 2), torch.ones(2, L))
    def call(control):
        with attend(unet, [control]) as at:
            at.begin(0, SLOTS, F, h, w)
            return unet(z, 7, text, encoder_attention_mask=mask).sample
    torch.testing.assert_close(call(control), call(unsaid(control)), rtol=0, atol=1e-12)


# all of them, on a UNet

def changes(a, b): return (a - b).abs().amax((1, 2, 3, 4))


def test_neutral_controls_change_nothing(unet_call, tiny_model):
    cross = CrossControl(refine(tiny_model.tokenizer, 'a bear', 'a tiger'), cross_schedule(10, 0, L))
    edits = cross, LayoutControl(first_steps(10, 0)), MutualControl(range(10, 10), mask())
    assert torch.equal(unet_call(*edits), unet_call())


@pytest.mark.parametrize('edit, touched', [
    (lambda model: CrossControl(refine(model.tokenizer, 'a bear', 'a tiger'), cross_schedule(10, 1, L)), [1]),
    (lambda model: LayoutControl(range(10)), [1]),
    (lambda model: MutualControl(range(10), mask()), [0, 1]),
    (lambda model: MutualControl(range(10)), [0, 1])])
def test_strong_controls_change_the_edit_and_not_the_source(unet_call, tiny_model, edit, touched):
    difference = changes(unet_call(edit(tiny_model)), unet_call())
    for slot in range(4): assert difference[slot] > 1e-4 if slot in touched else difference[slot] < 1e-5


def test_weights_change_the_output(unet_call, tiny_model):
    alignment, schedule = refine(tiny_model.tokenizer, 'a bear', 'a tiger'), cross_schedule(10, 1, L)
    def make(e):
        return CrossControl(alignment, schedule, word_weights(tiny_model.tokenizer, 'a tiger', {'tiger': e}))
    one = unet_call(make(1))
    assert changes(unet_call(make(8)), one)[1] > 1e-4
    assert torch.equal(one, unet_call(CrossControl(alignment, schedule)))


def test_layout_control_makes_maps_equal(unet_call):
    maps = Recording('spatial')
    unet_call(LayoutControl(range(1)), record=maps)
    assert all(torch.equal(maps.maps[name, 0, 'edit_cond'], maps.maps[name, 0, 'source_cond']) for name in maps.kind_of)


def test_only_the_slots_that_are_read_are_needed(tiny_model):
    cross = CrossControl(refine(tiny_model.tokenizer, 'a bear', 'a tiger'), cross_schedule(50, .9, L))
    edits = [cross, LayoutControl(range(20)), MutualControl(range(20, 40))]
    assert slots_at(edits, 0) == ('edit_uncond', 'edit_cond', 'source_cond')
    assert slots_at(edits, 20) == slots_at(edits, 39) == SLOTS
    assert slots_at(edits, 40) == ('edit_uncond', 'edit_cond', 'source_cond')
    assert slots_at(edits, 46) == slots_at([], 0) == SLOTS[:2]


class Spy(AttentionControl):
    "Notes every place it is asked about."
    kinds = ('spatial', 'cross')
    def __init__(self): self.seen = []
    def active(self, here): return self.seen.append(here)


def test_default_sites_on_stable_diffusion_are_the_papers_layers():
    torch.manual_seed(0)
    unet = UNet2DConditionModel(sample_size=64, block_out_channels=(4, 4, 4, 4), norm_num_groups=2, attention_head_dim=1,
                                cross_attention_dim=4).eval()  # Stable Diffusion 1.5's blocks, thin
    spy = Spy()
    with torch.no_grad(), attend(unet, [spy]) as at:
        at.begin(25, ('edit_cond',), 1, 64, 64)
        unet(torch.randn(1, 4, 64, 64), 7, torch.randn(1, 5, 4))
    spatial = [here for here in spy.seen if here.site.kind == 'spatial']
    assert [here.size[0] for here in spatial] == [64, 64, 32, 32, 16, 16, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64]
    assert [i for i, here in enumerate(spatial) if LayoutControl(range(50)).active(here)] == list(range(2, 13))
    cross, blend = [here for here in spy.seen if here.site.kind == 'cross'], LocalBlend({'edit_cond': (1,)}, range(50))
    assert [i for i, here in enumerate(cross) if blend.active(here)] == [4, 5, 7, 8, 9]
    mutual = MutualControl(range(20, 50))
    assert [i for i, here in enumerate(spatial) if fnmatch(here.site.name, mutual.sites)] == list(range(7, 16))
    assert [site.name for site in find_sites(unet, 'spatial')] == [here.site.name for here in spatial]


def test_controls_in_half_precision(tiny_model):
    unet, slots = tiny_model.unet.to(torch.bfloat16), SLOTS
    alignment = refine(tiny_model.tokenizer, 'a bear', 'a tiger')
    edits = CrossControl(alignment, cross_schedule(9, 1, L)), LayoutControl(range(9)), MutualControl(range(9), mask())
    with torch.no_grad(), attend(unet, edits, Recording(('cross', 'spatial', 'temporal'))) as at:
        at.begin(0, slots, F, h, w)
        out = unet(torch.randn(4, 4, F, h, w).bfloat16(), 7, torch.randn(4 * F, L, 16).bfloat16()).sample
    assert out.dtype == torch.bfloat16 and torch.isfinite(out).all()
