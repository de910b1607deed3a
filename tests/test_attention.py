"The processor equals diffusers' own, records what it says, edits where it is told, and leaves nothing behind."
import warnings

import pytest
import torch
from diffusers import UNet2DConditionModel
from videodirector.attention import (KINDS, AttentionEdit, Recording, attend, fast_attention, find_sites, find_words,
                                     probabilities, prompt_words, record, site_size)
from videodirector.director import edit, invert

F, L, C = 3, 16, 16
SIZES = [(8, 8), (6, 10), (5, 7)]


def inputs(h, w, slots=2, dtype=torch.float32, seed=0):
    rng = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, generator=rng).to(dtype)
    return draw(slots, 4, F, h, w), draw(slots * F, L, C)


def neutral(kinds): return type('Neutral', (AttentionEdit,), dict(kinds=kinds))()
def run(unet, z, text): return unet(z, 7, text).sample


def image_unet():
    torch.manual_seed(0)
    return UNet2DConditionModel(
        sample_size=8, block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4, attention_head_dim=2,
        cross_attention_dim=C, down_block_types=('CrossAttnDownBlock2D', 'DownBlock2D'),
        up_block_types=('UpBlock2D', 'CrossAttnUpBlock2D')).eval()


def test_sites_have_the_right_kind(tiny_pipe):
    sites = find_sites(tiny_pipe.unet)
    assert len(sites) == len(tiny_pipe.unet.attn_processors)
    for site in sites:
        motion, attn2 = 'motion_modules' in site.name, site.name.endswith('attn2')
        assert site.kind == ('temporal' if motion else 'cross' if attn2 else 'spatial')
    blocks = [site.name.split('_')[0] for site in sites]
    assert blocks == sorted(blocks, key=('down', 'mid', 'up').index)


def test_sites_by_glob_and_kind(tiny_pipe):
    names = [s.name for s in find_sites(tiny_pipe.unet, 'cross', 'up_blocks.*')]
    assert names and all(n.startswith('up_blocks.') and n.endswith('attn2') for n in names)
    both = find_sites(tiny_pipe.unet, ('cross', 'spatial'), ('up_blocks.1.*', 'mid_block.*'))
    assert {s.kind for s in both} == {'cross', 'spatial'} and any(s.name.startswith('mid') for s in both)


def test_an_empty_match_lists_the_sites(tiny_pipe):
    with pytest.raises(ValueError, match=r'(?s)nowhere.*\n.*mid_block.attentions.0'):
        find_sites(tiny_pipe.unet, 'cross', 'nowhere.*')
    with pytest.raises(ValueError, match='sideways is no kind'): find_sites(tiny_pipe.unet, 'sideways')
    with pytest.raises(ValueError, match='nowhere'):
        with attend(tiny_pipe.unet, record=Recording(sites='nowhere')): pass


@pytest.mark.parametrize('tokens, latent, size', [
    (64, (8, 8), (8, 8)), (15, (6, 10), (3, 5)), (12, (5, 7), (3, 4)), (4, (5, 7), (2, 2)), (1, (2, 2), (1, 1))])
def test_site_size(tokens, latent, size): assert site_size(tokens, *latent) == size


def test_site_size_refuses_a_wrong_latent():
    with pytest.raises(ValueError, match='begin'): site_size(60, 8, 8)


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


def odd_unet(unet):
    unet.get_submodule(find_sites(unet, 'cross')[0].name).residual_connection = True
    return unet


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


@pytest.mark.parametrize('heads', [False, True])
def test_maps_have_named_shapes(tiny_pipe, heads):
    h, w = 6, 10
    z, text = inputs(h, w)
    kept = Recording(KINDS, steps=1, slots='b', reduce=() if heads else 'heads', keys=True)
    with torch.no_grad(), attend(tiny_pipe.unet, record=kept) as at:
        for step in range(3):
            at.begin(step, ('a', 'b'), F, h, w)
            run(tiny_pipe.unet, z, text)
    H = (2,) if heads else ()
    assert {key[1:] for key in at.record.maps} == {(1, 'b')}
    shapes = dict(cross=lambda h, w: (F, *H, h, w, L), spatial=lambda h, w: (F, *H, h, w, h * w),
                  temporal=lambda h, w: (h, w, *H, F, F))
    for site in find_sites(tiny_pipe.unet):
        m = at.record.maps[site.name, 1, 'b']
        sizes = [site_size(n, h, w) for n in (60, 15, 6)]
        assert tuple(m.shape) in [shapes[site.kind](*size) for size in sizes], (site, m.shape)
        torch.testing.assert_close(m.float().sum(-1), torch.ones(m.shape[:-1]), rtol=0, atol=5e-3)
    assert len(at.record.keys) == len(at.record.maps)


def test_gradients_flow_through_live_recordings(tiny_pipe):
    unet, (z, text) = tiny_pipe.unet.requires_grad_(False), inputs(8, 8)
    z.requires_grad_()
    with attend(unet, record=Recording(('temporal', 'spatial'), 'up_blocks.*', keys=True, live=True)) as at:
        at.begin(0, ('a', 'b'), F, 8, 8)
        run(unet, z, text)
    for kept in (at.record.maps, at.record.keys):
        loss = sum(x.square().mean() for x in kept.values())
        g, = torch.autograd.grad(loss, z, retain_graph=True)
        assert g.abs().max() > 0 and torch.isfinite(g).all()


def test_live_gradient_is_the_slope(tiny_pipe):
    unet, (z, text) = tiny_pipe.unet.double().requires_grad_(False), inputs(4, 6, 1, torch.float64)

    def loss(z):
        with attend(unet, record=Recording('temporal', live=True)) as at:
            at.begin(0, ('a',), F, 4, 6)
            run(unet, z, text)
        return sum(m[..., 0].square().sum() for m in at.record.maps.values())

    z.requires_grad_()
    g, = torch.autograd.grad(loss(z), z)
    d = torch.randn(z.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with torch.no_grad(): slope = (loss(z + 1e-6 * d) - loss(z - 1e-6 * d)) / 2e-6
    torch.testing.assert_close((g * d).sum(), slope, rtol=1e-5, atol=1e-9)


def test_means_over_steps_and_sites(tiny_pipe):
    z, text = inputs(8, 8)
    with torch.no_grad(), attend(tiny_pipe.unet, record=Recording(('cross', 'temporal'))) as at:
        for step in range(2):
            at.begin(step, ('a', 'b'), F, 8, 8)
            run(tiny_pipe.unet, z + step, text)
    maps, word = at.record, at.record.cross('b')
    assert word.shape == (F, 8, 8, L) and maps.temporal('a').shape == (8, 8, F, F)
    torch.testing.assert_close(word.sum(-1), torch.ones(F, 8, 8), rtol=0, atol=5e-3)
    one = find_sites(tiny_pipe.unet, 'cross', 'down_blocks.0*')[0].name
    torch.testing.assert_close(maps.cross('b', steps=1, sites=one), maps.maps[one, 1, 'b'].float())
    with pytest.raises(ValueError, match='slots: a, b'): maps.cross('c')


def test_record_around_a_plain_pipeline_call(tiny_pipe):
    with record(tiny_pipe, ('cross',), 'up_blocks.*') as maps:
        tiny_pipe('a red bear', num_frames=F, height=64, width=64, num_inference_steps=2, output_type='latent',
                  guidance_scale=3.)
    assert {key[1:] for key in maps.maps} == {(i, s) for i in range(2) for s in ('uncond', 'cond')}
    assert not any(m._forward_pre_hooks for m in [tiny_pipe.unet])
    bear = maps.cross('cond')[..., list(find_words(tiny_pipe.tokenizer, 'a red bear', 'bear'))]
    assert bear.shape == (F, 8, 8, 1)


def call(pipe, prompt='a red zoo, on grass', **kwargs):
    settings = dict(num_frames=F, height=48, width=80, num_inference_steps=2, output_type='latent', guidance_scale=3.)
    return pipe(prompt, **settings | kwargs)


def test_maps_have_names(tiny_pipe):
    with record(tiny_pipe, KINDS) as maps: call(tiny_pipe)
    site = find_sites(tiny_pipe.unet, 'cross', 'up_blocks.*')[-1]
    zoo = maps.cross['zoo', 1, site]
    assert zoo.shape == (F, 6, 10)
    torch.testing.assert_close(zoo, maps.maps[site.name, 1, 'cond'][..., 3:6].float().sum(-1))
    torch.testing.assert_close(maps.cross['red zoo', 1, site], zoo + maps.cross['red', 1, site])
    torch.testing.assert_close(maps.cross['zoo,', :, site], maps.cross('cond', sites=site.name)[..., 3:7].sum(-1))
    torch.testing.assert_close(maps.cross['grass'], maps.cross('cond')[..., 8])
    torch.testing.assert_close(maps.temporal[0], maps.temporal('cond', 0))
    assert maps.spatial[0, find_sites(tiny_pipe.unet, 'spatial')[0], 'uncond'].shape == (F, 6, 10, 60)
    with pytest.raises(ValueError, match="'bear' is no word.*zoo"): maps.cross['bear']
    with pytest.raises(ValueError, match="not in the prompt of slot 'uncond'"): maps.cross['zoo', 0, '*', 'uncond']
    with pytest.raises(ValueError, match='different sizes'): maps.spatial[0]


def test_record_around_an_image_pipeline(tiny_pipe):
    from diffusers import StableDiffusionPipeline
    pipe = StableDiffusionPipeline(tiny_pipe.vae, tiny_pipe.text_encoder, tiny_pipe.tokenizer, image_unet(),
                                   tiny_pipe.scheduler, None, None, requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)
    with record(pipe) as maps: pipe('a bear', height=64, width=64, num_inference_steps=2, output_type='latent')
    assert maps.cross['bear', 1].shape == (1, 8, 8)


def test_record_around_invert_and_edit(tiny_pipe):
    video = torch.rand(F, 3, 48, 80, generator=torch.Generator().manual_seed(0)) * 2 - 1
    inversion = invert(tiny_pipe, video, 'a bear on grass', steps=2, inner_steps=1, progress=False)
    with record(tiny_pipe, timesteps=inversion.schedule.timesteps) as maps:
        invert(tiny_pipe, video, 'a bear on grass', steps=2, inner_steps=1, progress=False)
    assert {key[1:] for key in maps.maps} == {(i, s) for i in range(2) for s in ('cond', 'uncond')}
    assert maps.cross['bear', 0].shape == (F, 6, 10)
    heard = Recording()
    with record(tiny_pipe) as maps: edit(tiny_pipe, inversion, 'a tiger on grass', record=heard, progress=False)
    assert maps.maps.keys() == heard.maps.keys() and maps.words == {k: v for k, v in heard.words.items() if v}
    torch.testing.assert_close(maps.cross['tiger'], heard.cross('edit_cond')[..., 2])
    torch.testing.assert_close(maps.cross['bear'], heard.cross('source_cond')[..., 2])
    torch.testing.assert_close(maps.cross['grass'], heard.cross('edit_cond')[..., 4])


def test_steps_can_be_averaged(tiny_pipe):
    rng = lambda: torch.Generator().manual_seed(0)
    with record(tiny_pipe) as each: call(tiny_pipe, num_inference_steps=3, generator=rng())
    with record(tiny_pipe, reduce=('heads', 'steps')) as mean: call(tiny_pipe, num_inference_steps=3, generator=rng())
    assert {key[1] for key in mean.maps} == {0} and mean.size == each.size * 2 / 3  # a third of the maps, in float32
    torch.testing.assert_close(mean.cross['zoo'], each.cross['zoo'], rtol=0, atol=1e-3)
    with pytest.raises(ValueError, match='frames'): Recording(reduce='frames')


def test_a_recording_warns_before_it_exceeds_its_budget(tiny_pipe):
    with record(tiny_pipe) as maps: call(tiny_pipe)
    size = maps.size / 2**20
    with pytest.warns(UserWarning, match=f'2 steps.*{size:.0f} MiB'), record(tiny_pipe, budget=size * .9): call(tiny_pipe)
    with warnings.catch_warnings(), record(tiny_pipe, budget=size * 1.1):
        warnings.simplefilter('error')
        call(tiny_pipe)


def test_recordings_come_back_from_disk(tiny_pipe, tmp_path):
    with record(tiny_pipe, KINDS, reduce=(), keys=True) as maps: call(tiny_pipe)
    maps.save(tmp_path / 'maps.safetensors')
    back = Recording.load(tmp_path / 'maps.safetensors')
    for kept, read in ((maps.maps, back.maps), (maps.keys, back.keys)):
        assert kept.keys() == read.keys() and all(torch.equal(kept[k], read[k]) for k in kept)
    assert back.words == maps.words and repr(back) == repr(maps)
    torch.testing.assert_close(back.cross['zoo', 1], maps.cross['zoo', 1])
    with pytest.raises(FileNotFoundError, match='no file'): Recording.load(tmp_path / 'none')
    (tmp_path / 'text').write_text('x' * 50)
    with pytest.raises(ValueError, match='not a readable'): Recording.load(tmp_path / 'text')


def test_words_merge_their_pieces(tiny_pipe):
    words = prompt_words(tiny_pipe.tokenizer, 'A red tiger, zoo')
    assert [w.text for w in words] == ['a', 'red', 'tiger', ',', 'zoo']
    assert [w.tokens for w in words] == [(1,), (2,), (3,), (4,), (5, 6, 7)]


def test_words_are_found_with_punctuation_and_as_phrases(tiny_pipe):
    find = lambda prompt, text: find_words(tiny_pipe.tokenizer, prompt, text)
    assert find('a tiger, a bear', 'tiger') == (2,)
    assert find('a tiger, a bear', 'a') == (1, 4)
    assert find('a red tiger.', 'Red tiger') == (2, 3)
    assert find('a zoo', 'zoo') == (2, 3, 4)
    with pytest.raises(ValueError, match="'hat' is not in the prompt.*a, bear"): find('a bear', 'hat')
    with pytest.raises(ValueError, match='shorten'): find('zebra zebra zebra zebra', 'zebra')
