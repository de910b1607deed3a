"What WorldCLIP learns from."
import pytest
import torch
import torch.nn.functional as F
from transformers import CLIPTokenizer

from videodirector.models.folder import weights_folder
from videodirector.train.clip_data import WORDS, ClipRecipe, build_words, hard_negatives, render_captioned, spoil
from videodirector.world.accessories import ACCESSORIES
from videodirector.world.captions import VOCABULARY, parse_prompt
from videodirector.world.cast import SUBJECTS
from videodirector.world.colours import COLOURS
from videodirector.world.paths import MOTIONS
from videodirector.world.places import BACKGROUNDS
from videodirector.world.scene import FIRST_TRAINING_SEED, Scene, random_scene


ATTRIBUTES = ['subject', 'colour', 'accessory', 'background', 'motion']


@pytest.fixture(scope='module')
def words(): return build_words()


def test_hard_negatives_say_one_thing_differently():
    for seed in range(30):
        scene = random_scene(seed)
        true = parse_prompt(scene.caption)
        for name, others in hard_negatives(scene).items():
            for other in others:
                said = parse_prompt(other.caption)
                assert [k for k in said if said[k] != true[k]] == [name]
                assert other.attributes[name] != scene.attributes[name] and other.seed == scene.seed


def test_all_other_values_are_hard_negatives():
    found = {name: len(others) for name, others in hard_negatives(Scene('bear', 'meadow', 'left', 'red', 'hat')).items()}
    assert list(found) == ATTRIBUTES
    assert list(found.values()) == [len(known) - 1 for known in (SUBJECTS, COLOURS, (None, *ACCESSORIES), BACKGROUNDS, MOTIONS)]


def test_a_natural_colour_is_not_a_wrong_one():
    named = {other.colour for other in hard_negatives(Scene('bear', 'meadow', 'left'))['colour']}
    assert named == set(COLOURS) - {'brown'}


def test_words_have_the_numbers_that_ship(words):
    shipped = CLIPTokenizer.from_pretrained(weights_folder() / 'world' / 'tokenizer')
    assert all(words(word).input_ids == shipped(word).input_ids and len(words(word).input_ids) == 3 for word in VOCABULARY)


def test_every_caption_fits(words):
    longest = 'a yellow elephant with a balloon walking right on rocky ground, next to a stone wall, camera panning right'
    assert len(words(longest).input_ids) <= WORDS == words.model_max_length


def test_rows_hold_captions_and_their_negatives(words):
    recipe, seeds = ClipRecipe(frames=2), range(FIRST_TRAINING_SEED, FIRST_TRAINING_SEED + 2)
    frames, right, wrong = render_captioned(seeds, recipe)
    assert frames.shape == (2, 2, 3, 64, 64) and wrong.shape == (2, 5, 4, WORDS)
    def read(row): return words.decode(row, skip_special_tokens=True).strip().replace(' ,', ',')
    for i, seed in enumerate(seeds):
        scene = random_scene(seed)
        assert read(right[i]) == scene.caption
        for four, others in zip(wrong[i], hard_negatives(scene).values()):
            assert {read(row) for row in four} <= {other.caption for other in others}
    assert (frames[:, 0] != frames[:, 1]).any()
    assert all((a == b).all() for a, b in zip(render_captioned(seeds, recipe), (frames, right, wrong)))


def test_spoiled_frames_are_the_same_picture():
    frames = random_scene(0).render(4, 64, 64).video
    spoiled = spoil(frames, torch.Generator().manual_seed(0))
    assert spoiled.shape == frames.shape and torch.equal(spoiled, spoil(frames, torch.Generator().manual_seed(0)))
    near, far = ((F.adaptive_avg_pool2d(spoiled - x, 4)).abs().mean() for x in (frames, frames.flip(2)))
    assert 0 < near < .5 * far
