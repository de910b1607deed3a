"The training of WorldCLIP, in miniature."
import json

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from videodirector.metrics.text import TextVideoScore
from videodirector.train.clip import ClipLoss, build_clip, contrast, main, measure_clip
from videodirector.train.clip_data import ClipRecipe, build_words, render_captioned
from videodirector.world.scene import random_scene


ATTRIBUTES = ['subject', 'colour', 'accessory', 'background', 'motion']


@pytest.fixture(scope='module')
def words(): return build_words()


def tiny(words):
    torch.manual_seed(0)
    return build_clip(words, width=32, layers=1)


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
    frames, right, wrong = map(torch.from_numpy, render_captioned(range(3), ClipRecipe(frames=1)))
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
    shares = measure_clip(score, scenes=3, frames=2)
    assert list(shares) == ['first of 3', *ATTRIBUTES] and all(0 <= share <= 1 for share in shares.values())


def test_a_perfect_score_measures_perfectly():
    class Oracle:
        "Knows every clip by the order in which it is asked, and gives each caption a direction of its own."
        def __init__(self): self.asked, self.known = 0, {}
        def of_prompts(self, prompts): return F.one_hot(torch.tensor([self.known.setdefault(p, len(self.known)) for p in prompts]), 2000).float()
        def of_frames(self, video):
            self.asked += 1
            return self.of_prompts([random_scene(700_000 + self.asked - 1).caption]).expand(len(video), -1)
    assert set(measure_clip(Oracle(), scenes=4, frames=2).values()) == {1.0}
