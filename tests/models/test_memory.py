"A model that spares memory says what it said before, and remembers less."
import pytest
import torch
from conftest import make_tiny_image_model, make_tiny_model
from diffusers.models.unets.unet_motion_model import AnimateDiffTransformer3D
from sentences import refuses

from videodirector.attention.processor import AttentionControl, attend
from videodirector.data.mask import Mask
from videodirector.methods.videodirector import edit, invert
from videodirector.models.api import frozen
from videodirector.models.cards import CARDS, RECOMPUTED, find_card
from videodirector.models.memory import room_for, spare, weight_of
from videodirector.models.recompute import RecomputedMotion, SameAttention, set_recomputed
from videodirector.parts.guidance import Listener, decoupled_guidance
from videodirector.parts.settings import STDG

WAYS = [(), ('blocks',), ('motion',), RECOMPUTED]
GUIDED = STDG(blocks=(('up_blocks.1', 2., 1.), ('up_blocks.2', 1., 1.)))


def latents(frames=3, seed=0): return torch.randn(1, 4, frames, 4, 6, generator=torch.manual_seed(seed))
def mask(frames=3): return Mask(torch.arange(48).expand(frames, 32, 48) < 20)


def update(model):
    "A gradient with respect to the text."
    with frozen(model.unet):
        text = model.embed('a bear walking').requires_grad_()
        return torch.autograd.grad(model.predict(latents(), 500, text).square().mean(), text)[0]


def guidance(model): return decoupled_guidance(model, GUIDED, latents(), latents(seed=1), 500, model.embed('a bear'), mask()).gradient


@pytest.mark.parametrize('parts', WAYS[1:])
@pytest.mark.parametrize('make, ask', [(make_tiny_model, update), (make_tiny_model, guidance), (make_tiny_image_model, update)])
def test_gradients_are_the_same_to_the_bit(make, ask, parts):
    model = make()
    plain = ask(model)
    set_recomputed(model.unet, parts)
    assert torch.equal(ask(model), plain) and plain.any()


def runs(model, name, ask):
    "How often a part of the UNet is run."
    seen = []
    hook = model.unet.get_submodule(name).register_forward_hook(lambda *_: seen.append(1))
    ask(model)
    hook.remove()
    return len(seen)


RESNET, MOTION = 'up_blocks.1.resnets.0.norm1', 'up_blocks.1.motion_modules.0.norm'


@pytest.mark.parametrize('parts, resnet, motion', [((), 1, 1), (('blocks',), 2, 1), (('motion',), 1, 2), (RECOMPUTED, 2, 2)])
def test_what_is_named_is_computed_twice(tiny_model, parts, resnet, motion):
    set_recomputed(tiny_model.unet, parts)
    assert (runs(tiny_model, RESNET, update), runs(tiny_model, MOTION, update)) == (resnet, motion)
    with torch.no_grad(): assert runs(tiny_model, MOTION, lambda model: model.predict(latents(), 500, model.embed('a bear'))) == 1


def test_it_can_be_taken_back(tiny_model):
    keys, sites = [*tiny_model.unet.state_dict()], tiny_model.sites()
    motion = tiny_model.unet.get_submodule('up_blocks.1.motion_modules.0')
    weights = motion.proj_in.weight
    set_recomputed(tiny_model.unet, RECOMPUTED)
    changed = tiny_model.unet.get_submodule('up_blocks.1.motion_modules.0')
    assert type(changed) is RecomputedMotion and changed.proj_in.weight is weights
    assert [*tiny_model.unet.state_dict()] == keys and tiny_model.sites() == sites
    set_recomputed(tiny_model.unet, ())
    assert type(tiny_model.unet.get_submodule('up_blocks.1.motion_modules.0')) is AnimateDiffTransformer3D
    assert not tiny_model.unet.is_gradient_checkpointing


def test_only_what_there_is_is_recomputed(tiny_model): refuses('choose from blocks, motion', set_recomputed, tiny_model.unet, ('vae',))


def test_a_block_is_run_again_with_the_attention_it_had(tiny_model):
    block, sites = tiny_model.unet.up_blocks[1], tiny_model.sites('temporal', 'up_blocks.1.*')
    layers = {site.name: tiny_model.unet.get_submodule(site.name) for site in sites}
    with attend(tiny_model.unet, [Listener(sites)]):
        then, listening = SameAttention(block), {name: layer.processor for name, layer in layers.items()}
    before = {name: layer.processor for name, layer in layers.items()}
    for _ in range(2):  # a way back may pass several times
        with then: assert all(layer.processor is listening[name] for name, layer in layers.items())
        assert all(layer.processor is before[name] for name, layer in layers.items())


def test_a_way_back_under_control_is_that_of_the_controlled(tiny_model):
    class Half(AttentionControl):
        def output(self, out, here): return out / 2

    def controlled():
        with frozen(tiny_model.unet):
            text = tiny_model.embed('a bear').requires_grad_()
            with attend(tiny_model.unet, [Half()]) as at:
                at.begin(step=0, frames=3, height=4, width=6)
                said = tiny_model.predict(latents(), 500, text)
            return torch.autograd.grad(said.sum(), text)[0]  # when the controls are gone
    plain = controlled()
    set_recomputed(tiny_model.unet, RECOMPUTED)
    assert torch.equal(controlled(), plain)


# presets

def job(name):
    "An inversion and an edit with a preset."
    model = make_tiny_model()
    spare(model, CARDS[name])
    clip = (latents(seed=2)[0, :3].transpose(0, 1).repeat_interleave(8, 2).repeat_interleave(8, 3) / 5).clamp(-1, 1)
    inversion = invert(model, clip, 'a bear walking', mask(), steps=2, inner_steps=1, stdg=GUIDED)
    return inversion.pivots, inversion.null.embeddings, edit(model, inversion, 'a tiger walking').video


@pytest.fixture(scope='module')
def plain(): return job('80gb')


@pytest.mark.parametrize('name', ['24gb', 't4'])
def test_a_job_comes_out_the_same_with_every_preset(name, plain):
    for a, b in zip(job(name), plain): torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)


def test_a_preset_is_put_on_and_taken_off(tiny_model):
    tiny_model.pipe.to(dtype=torch.bfloat16)
    spare(tiny_model, CARDS['t4'])
    assert tiny_model.vae.use_slicing and tiny_model.text_encoder.dtype == torch.float32 and tiny_model.unet.is_gradient_checkpointing
    assert tiny_model.embed('a bear').dtype == torch.float32
    spare(tiny_model, CARDS['80gb'])
    assert not tiny_model.vae.use_slicing and tiny_model.text_encoder.dtype == torch.bfloat16 and not tiny_model.unet.is_gradient_checkpointing


def test_presets_are_named(): refuses("no preset of memory 'v100'; choose one of 80gb, 24gb, t4", find_card, 'v100')


def test_room_is_known_on_a_gpu_only(tiny_model):
    assert room_for(tiny_model) is None
    assert weight_of(tiny_model.unet) == 4 * sum(p.numel() for p in tiny_model.unet.parameters())
