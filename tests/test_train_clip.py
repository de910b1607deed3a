"The training of WorldCLIP, in miniature."
import json

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close
from transformers import CLIPTokenizer

from videodirector.metrics.text import TextVideoScore, clip_view
from videodirector.models import weights_folder
from videodirector.train_clip import (WORDS, ClipLoss, Recipe, build_clip, build_words, contrast, hard_negatives, main, measure,
                                      render_rows, spoil, standardise)
from videodirector.world import (ACCESSORIES, BACKGROUNDS, COLOURS, FIRST_TRAINING_SEED, MOTIONS, SUBJECTS, VOCABULARY, Scene,
                                 parse_prompt, random_scene)

ATTRIBUTES = ['subject', 'colour', 'accessory', 'background', 'motion']


@pytest.fixture(scope='module')
def words(): return build_words()


def tiny(words):
    torch.manual_seed(0)
    return build_clip(words, width=32, layers=1)


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
    recipe, seeds = Recipe(frames=2), range(FIRST_TRAINING_SEED, FIRST_TRAINING_SEED + 2)
    frames, right, wrong = render_rows(seeds, recipe)
    assert frames.shape == (2, 2, 3, 64, 64) and wrong.shape == (2, 5, 4, WORDS)
    read = lambda row: words.decode(row, skip_special_tokens=True).strip().replace(' ,', ',')
    for i, seed in enumerate(seeds):
        scene = random_scene(seed)
        assert read(right[i]) == scene.caption
        for four, others in zip(wrong[i], hard_negatives(scene).values()):
            assert {read(row) for row in four} <= {other.caption for other in others}
    assert (frames[:, 0] != frames[:, 1]).any()
    assert all((a == b).all() for a, b in zip(render_rows(seeds, recipe), (frames, right, wrong)))


def test_spoiled_frames_are_the_same_picture():
    frames = random_scene(0).render(4, 64, 64).video
    spoiled = spoil(frames, torch.Generator().manual_seed(0))
    assert spoiled.shape == frames.shape and torch.equal(spoiled, spoil(frames, torch.Generator().manual_seed(0)))
    near, far = ((F.adaptive_avg_pool2d(spoiled - x, 4)).abs().mean() for x in (frames, frames.flip(2)))
    assert 0 < near < .5 * far


def test_frames_are_standardised_as_the_score_does():
    frames = random_scene(0).render(2, 64, 64).video
    assert_close(standardise(frames), clip_view(frames, 64))


def test_loss_is_the_formula():
    draw = torch.Generator().manual_seed(0)
    v, t, h = (F.normalize(torch.randn(*shape, generator=draw), dim=-1) for shape in ((3, 4), (3, 4), (3, 2, 4)))
    total, scale = 0, torch.tensor(3.)
    for i in range(3):
        own = (scale * v[i] @ t[i]).exp()
        total -= torch.log(own / (sum((scale * v[i] @ t[j]).exp() for j in range(3)) + sum((scale * v[i] @ h[i, k]).exp() for k in range(2))))
        total -= torch.log(own / sum((scale * v[j] @ t[i]).exp() for j in range(3)))
    loss, wins = contrast(v, t, h, scale)
    assert_close(loss, total / 6)
    assert wins.tolist() == [[bool(v[i] @ t[i] > v[i] @ h[i, k]) for k in range(2)] for i in range(3)]


def test_every_weight_learns(words):
    loss = ClipLoss(tiny(words))
    frames, right, wrong = map(torch.from_numpy, render_rows(range(3), Recipe(frames=1)))
    value, figures = loss(frames[:, 0].float() / 127.5 - 1, right.long(), wrong[:, :, 0].long())
    value.backward()
    assert list(figures) == ATTRIBUTES
    assert [name for name, p in loss.named_parameters() if p.grad is None] == []


def test_training_stores_what_the_score_reads(tmp_path):
    options = dict(clips=4, frames=1, width=32, layers=1, steps=2, batch=4, workers=1)
    main(['--out', str(tmp_path), *(text for name, value in options.items() for text in (f'--{name}', str(value)))])
    assert json.loads((tmp_path / 'clip.curve.jsonl').read_text().splitlines()[-1])['step'] == 2
    score = TextVideoScore.load(tmp_path / 'clip')
    assert score.name == 'clip' and score.model.config.vision_config.image_size == 64
    assert score.of_prompts(['a bear ' * 40]).isfinite().all()  # longer than any caption: cut
    shares = measure(score, scenes=3, frames=2)
    assert list(shares) == ['first of 3', *ATTRIBUTES] and all(0 <= share <= 1 for share in shares.values())


def test_a_perfect_score_measures_perfectly():
    class Oracle:
        "Knows every clip by the order in which it is asked, and gives each caption a direction of its own."
        def __init__(self): self.asked, self.known = 0, {}
        def of_prompts(self, prompts): return F.one_hot(torch.tensor([self.known.setdefault(p, len(self.known)) for p in prompts]), 2000).float()
        def of_frames(self, video):
            self.asked += 1
            return self.of_prompts([random_scene(700_000 + self.asked - 1).caption]).expand(len(video), -1)
    assert set(measure(Oracle(), scenes=4, frames=2).values()) == {1.0}
