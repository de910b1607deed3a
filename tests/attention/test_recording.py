"Maps have names and shapes, gradients if wanted, a budget, and come back from disk."
import warnings
from types import SimpleNamespace

import pytest
import torch
from unet_calls import F, L, image_unet, inputs, run

from videodirector.attention.processor import attend
from videodirector.attention.recording import Recording, record
from videodirector.attention.sites import KINDS, find_sites, site_size
from videodirector.attention.words import find_words
from videodirector.methods.videodirector import edit, invert


def call(pipe, prompt='a red zoo, on grass', **kwargs):
    settings = dict(num_frames=F, height=48, width=80, num_inference_steps=2, output_type='latent', guidance_scale=3.)
    return pipe(prompt, **settings | kwargs)


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


def test_record_around_an_image_unet_that_gets_the_frames_as_its_batch(tiny_pipe):
    unet, (z, _) = image_unet(), inputs(6, 10)
    pipe = SimpleNamespace(unet=unet, tokenizer=tiny_pipe.tokenizer, text_encoder=tiny_pipe.text_encoder,
                           scheduler=SimpleNamespace(timesteps=[900, 7]))
    def embed(prompt): return pipe.text_encoder(tiny_pipe.tokenizer(prompt, padding='max_length', return_tensors='pt').input_ids)[0]
    with torch.no_grad(), record(pipe, ('cross', 'spatial'), frames=F, keys=True) as maps:
        text = torch.cat([embed(prompt).expand(F, -1, -1) for prompt in ('', 'a bear')])
        run(unet, z.transpose(1, 2).flatten(0, 1), text)
        with pytest.raises(ValueError, match='5 images, which are no videos of 3 frames'): run(unet, z[:1, :, 0].expand(5, -1, -1, -1), text[:5])
    assert {key[1:] for key in maps.maps} == {(1, 'uncond'), (1, 'cond')}
    site = find_sites(unet, 'cross')[-1].name
    assert maps.maps[site, 1, 'cond'].shape == (F, 6, 10, L) and maps.cross['bear', 1, site].shape == (F, 6, 10)
    assert maps.keys[site, 1, 'cond'].shape[:2] == (F, L)


def test_record_around_invert_and_edit(tiny_pipe):
    video = torch.rand(F, 3, 48, 80, generator=torch.Generator().manual_seed(0)) * 2 - 1
    inversion = invert(tiny_pipe, video, 'a bear on grass', steps=2, inner_steps=1)
    with record(tiny_pipe, timesteps=inversion.schedule.timesteps) as maps:
        invert(tiny_pipe, video, 'a bear on grass', steps=2, inner_steps=1)
    assert {key[1:] for key in maps.maps} == {(i, s) for i in range(2) for s in ('cond', 'uncond')}
    assert maps.cross['bear', 0].shape == (F, 6, 10)
    heard = Recording()
    with record(tiny_pipe) as maps: edit(tiny_pipe, inversion, 'a tiger on grass', record=heard)
    assert maps.maps.keys() == heard.maps.keys() and maps.words == {k: v for k, v in heard.words.items() if v}
    torch.testing.assert_close(maps.cross['tiger'], heard.cross('edit_cond')[..., 2])
    torch.testing.assert_close(maps.cross['bear'], heard.cross('source_cond')[..., 2])
    torch.testing.assert_close(maps.cross['grass'], heard.cross('edit_cond')[..., 4])


def test_steps_can_be_averaged(tiny_pipe):
    def rng(): return torch.Generator().manual_seed(0)
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
