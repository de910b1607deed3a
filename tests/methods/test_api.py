"What a method may ask of a model, and which methods and presets there are."
import pytest
from conftest import make_tiny_model

from videodirector.methods.api import Needs, check_needs
from videodirector.methods.presets import PRESETS, find_preset
from videodirector.methods.registry import METHODS, find_method, methods_table
from videodirector.models.image import ImageModel


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


def test_methods_and_presets_by_name():
    assert find_method('videodirector') is METHODS['videodirector'] and [row['method'] for row in methods_table()] == list(METHODS)
    with pytest.raises(ValueError, match="no method 'x'; choose one of videodirector"): find_method('x')
    paper, official = find_preset('paper'), find_preset('official')
    assert paper.invert.steps == 50 and paper.invert.lr == .01 and not paper.edit.leading and official.edit.leading
    assert official.invert == paper.invert and set(PRESETS) >= {'default', 'paper', 'official'}
    with pytest.raises(ValueError, match="no preset 'x'; choose one of default"): find_preset('x')
