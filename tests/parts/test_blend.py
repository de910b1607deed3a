"The local blend against Prompt-to-Prompt's recipe, cell by cell."
import pytest
import torch
from videodirector.attention.processor import Here
from videodirector.attention.sites import Site
from videodirector.parts.blend import LocalBlend, blend_size
from videodirector.parts.control import slots_at

F, h, w, L = 3, 6, 10, 16
SLOTS = ('edit_uncond', 'edit_cond', 'source_uncond', 'source_cond')
SITE = Site('up_blocks.1.attentions.0.transformer_blocks.0.attn2', 'cross')


def draw(*shape, seed=0): return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_blend_listens_where_a_map_is_about_16_by_16():
    levels = {(64, 64): (16, 16), (64, 96): (16, 24), (40, 72): (10, 18), (36, 20): (18, 10), (16, 16): (16, 16), (15, 9): (15, 9), (4, 6): (4, 6)}
    for latent, size in levels.items(): assert blend_size(*latent) == size, latent
    blend = LocalBlend({'edit_cond': (2,)}, range(9))
    sizes = (16, 24), (32, 48), (8, 12), (24, 16)
    assert [blend.active(Here(0, SLOTS, F, 64, 96, SITE, size)) for size in sizes] == [True, False, False, False]


def test_blend_is_prompt_to_prompts():
    blend, p = LocalBlend({'source_cond': (2, 4), 'edit_cond': (3,)}, range(2, 9)), draw(2, 2, 4, F, 5, 6 * 10, L).softmax(-1)
    for layer in p.flatten(0, 1):
        assert blend.probs(layer, Here(0, SLOTS, F, h, w, SITE, (h, w))) is layer
    free = torch.zeros(F, 12, 20, dtype=torch.bool)
    for slot, tokens in ((3, (2, 4)), (1, (3,))):  # every cell by hand
        heat = p[:, :, slot, :, :, :, list(tokens)].sum(-1).mean((0, 1, 3)).view(F, 6, 10)
        for f in range(F):
            widest = torch.tensor([[heat[f, max(0, y - 1):y + 2, max(0, x - 1):x + 2].max() for x in range(10)] for y in range(6)])
            free[f] |= (widest / widest.max() > .3).repeat_interleave(2, 0).repeat_interleave(2, 1)
    assert torch.equal(blend.region(12, 20), free)


def test_blend_takes_the_rest_from_the_source():
    blend, z, pivot = LocalBlend({'edit_cond': (3,)}, range(2, 9)), draw(1, 4, F, h, w), draw(1, 4, F, h, w, seed=1)
    p = torch.full((4, F, 2, h * w, L), .01)
    p[1, 0, :, 13, 3] = p[1, 1, :, 0, 3] = .5  # frame 0 looks at row 1, column 3; frame 1 at the corner
    p[1, 2, :, :, 3] = .2  # frame 2 everywhere
    blend.probs(p, Here(0, SLOTS, F, h, w, SITE, (h, w)))
    assert blend(z, pivot, 1) is z
    after, free = blend(z, pivot, 2), blend.region(h, w)
    assert free[0].nonzero().tolist() == [[y, x] for y in range(3) for x in (2, 3, 4)] and free[1].sum() == 4 and free[2].all()
    assert torch.equal(after[:, :, free], z[:, :, free]) and torch.equal(after[:, :, ~free], pivot[:, :, ~free])


def test_blend_of_words(tiny_model):
    def of(words, **settings): return LocalBlend.of(tiny_model.tokenizer, 'a bear on grass', 'a zoo tiger on grass', words, 50, **settings)
    assert of(('bear', 'tiger')).words == {'source_cond': (2,), 'edit_cond': (5,)} and of(('bear', 'tiger')).steps == range(10, 50)
    both = of((['bear', 'grass'], 'zoo tiger'))
    assert both.words == {'source_cond': (2, 4), 'edit_cond': (2, 3, 4, 5)} and both.reads == ('source_cond', 'edit_cond')
    assert slots_at([of(((), 'tiger'))], 3) == SLOTS[:2] and slots_at([both], 3) == ('edit_uncond', 'edit_cond', 'source_cond')
    for words, message in ((('bear', 'fox'), "'fox' is not in"), ('bear', 'such as'), (('bear',), 'such as'), (((), ()), 'such as')):
        with pytest.raises(ValueError, match=message): of(words)
    with pytest.raises(ValueError, match='threshold is 3; choose'): of(('bear', 'tiger'), threshold=3)
    with pytest.raises(ValueError, match='no cross-attention with 16×16 positions'): of(('bear', 'tiger')).region(64, 64)
