"What a method may ask of a model, and which methods and presets there are."
from dataclasses import replace

import pytest
import torch
from conftest import make_tiny_image_model, make_tiny_model

from videodirector.methods.api import Clip, Needs, check_needs
from videodirector.methods.presets import PRESETS, find_preset
from videodirector.methods.registry import METHODS, find_method, methods_table
from videodirector.models.image import ImageModel
from videodirector.parts.settings import STDG, EditSettings, InvertSettings


class Demanding:
    title = 'Demanding'
    def __init__(self, **needs): self.needs = Needs(**needs)


def test_what_a_model_lacks_is_said():
    video = make_tiny_model()
    image = ImageModel(video.pipe)
    check_needs(Demanding(), image, None)
    check_needs(Demanding(kinds=('video',), temporal_attention=True), video, None)
    with pytest.raises(ValueError, match='Demanding runs on video models, and this is an image model'): check_needs(Demanding(kinds=('video',)), image, None)
    with pytest.raises(ValueError, match='needs attention between frames'): check_needs(Demanding(temporal_attention=True), image, None)
    with pytest.raises(ValueError, match='needs a mask'): check_needs(Demanding(mask=True), video, None)


def test_every_method_says_what_it_costs_and_cannot_do():
    for method, row in zip(METHODS.values(), methods_table(), strict=True):
        assert (row['does'], row['cost'], row['limits']) == (method.summary, method.cost, method.limits) and all(row.values())
        assert method.limits.endswith('.') and not method.cost.endswith('.'), 'a sentence, and a phrase'
    director, other = METHODS['videodirector'], METHODS['video_p2p']
    updates, fewer = director.invert_settings().inner_steps, other.invert_settings().inner_steps  # besides: the climb, with and without the prompt
    assert f'up to {updates + 4} passes and {updates + 1} ways back' in director.cost, 'and a look at the reference'
    assert f'up to {fewer + 3} passes and {fewer} ways back' in other.cost


def test_methods_and_presets_by_name():
    assert find_method('videodirector') is METHODS['videodirector'] and [row['method'] for row in methods_table()] == list(METHODS)
    with pytest.raises(ValueError, match="no method 'x'; choose one of videodirector"): find_method('x')
    paper, official = find_preset('paper'), find_preset('official')
    assert paper.invert.steps == 50 and paper.invert.lr == .01 and not paper.edit.leading and official.edit.leading
    assert set(PRESETS) >= {'default', 'paper', 'official'} and paper.source is None
    with pytest.raises(ValueError, match="no preset 'x'; choose one of default"): find_preset('x')


LISTED = 'ugly, deformed, noisy, blurry, distorted, out of focus, bad anatomy, extra limbs, poorly drawn face, poorly drawn hands, missing fingers'
EXAMPLES = {  # what is edited, negative prompt, ellipse, φ for each frame, τ_s, weights other than 1, η_f η_b ζ_f ζ_b
    'bear': ('A brown bear', 'A tiger', '', True, True, .4, {}, (.5, .5, 0., .5)),
    'blackswan': ('A black swan', 'A white swan', '', False, True, .3, {'white': 2.}, (.5, .5, 0., .5)),
    'car_turn': ('A silver SUV', 'A LEGO car', '', True, False, .4, {}, (.5, .5, 0., .5)),
    'fox': ('A fox', 'A Cheetah', LISTED, True, True, .6, {}, (.5, .5, 0., .5)),
    'walk': ('Astronaut', 'Iron Man', '', False, True, .4, {}, (.5, 1., 0., .5)),
    'wolf': ('A Wolf', 'A Husky', LISTED, False, True, .5, {}, (.5, .5, 0., .5))}


@pytest.mark.parametrize('name', EXAMPLES)
def test_the_official_examples(name):
    was, becomes, negative, ellipse, by_frame, tau_s, weights, terms = EXAMPLES[name]
    preset = find_preset(name)
    assert preset.source.startswith(was) and preset.target == becomes + preset.source.removeprefix(was) and preset.size == (512, 512)
    assert preset.invert == InvertSettings(
        steps=50, guidance_scale=7.5, cfg='videodirector', negative_prompt=negative, null='multi-frame' if by_frame else 'shared', inner_steps=10, lr=.01, tolerance=1e-5,
        stdg=STDG(*terms, blocks=(('up_blocks.1', 2e4, 2e4), ('up_blocks.2', 1e4, 1e4))), ellipse=ellipse, nearest=True, stride=True, posterior=42)
    assert preset.edit == EditSettings(tau_c=.8, tau_s=tau_s, neutral=False, weights=weights, align='refine', leading=True)
    official = find_preset('official')
    assert replace(official.invert, nearest=False, stride=False, posterior=None) == find_preset('paper').invert


@pytest.mark.parametrize('method', METHODS.values(), ids=list(METHODS))
def test_every_method_refuses_alike(method):
    kind = 'video' if 'video' in method.needs.kinds else 'image'
    model, clip = dict(video=make_tiny_model, image=make_tiny_image_model)[kind](), Clip(torch.zeros(3, 3, 32, 32), 'a bear')
    with pytest.raises(TypeError, match=f'give a value `{method.invert_settings.__name__}`'): method.prepare(model, clip, Demanding())
    with pytest.raises(ValueError, match='The source prompt is empty'): method.prepare(model, Clip(clip.video, ' '))
    with pytest.raises(ValueError, match='both sides must be multiples of 8'): method.prepare(model, Clip(clip.video[..., :30], 'a bear'))
    with pytest.raises(TypeError, match=f'give a value `{method.edit_settings.__name__}`'): method.edit((model, None, None)[:3 if method.name == 'flatten' else 2], 'a tiger', Demanding())
