"The text–video score against transformers' own CLIP."
import pytest
import torch
from clips import gliding
from torch.testing import assert_close
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from videodirector.metrics.text import TextVideoScore, clip_view


def test_score_is_the_logit_of_transformers(tiny_score):
    clip, prompt = gliding(), 'a brown bear walking on grass'
    given = tiny_score.tokenizer([prompt], return_tensors='pt')
    with torch.no_grad(): logits = tiny_score.model(pixel_values=clip_view(clip, 32), **given).logits_per_image
    assert tiny_score(clip, prompt) == pytest.approx(logits.mean().item(), rel=1e-4)


def test_view_is_a_standardised_square_from_the_middle():
    clip = torch.full((2, 3, 64, 96), -1.)
    clip[..., 16:80] = 1  # the middle square is white
    white = (1 - torch.tensor(OPENAI_CLIP_MEAN)) / torch.tensor(OPENAI_CLIP_STD)
    view = clip_view(clip, 64)
    assert view.shape == (2, 3, 64, 64)
    assert_close(view, white[:, None, None].expand_as(view))
    assert clip_view(clip, 32).shape == (2, 3, 32, 32)


def test_score_is_called_by_its_model(tiny_score, tmp_path):
    tiny_score.model.save_pretrained(tmp_path / 'mine')
    tiny_score.tokenizer.save_pretrained(tmp_path / 'mine')
    stored = TextVideoScore.load(str(tmp_path / 'mine'))
    assert stored.name == 'mine' and stored(gliding(), 'a bear') == pytest.approx(tiny_score(gliding(), 'a bear'), rel=1e-4)


def test_a_missing_model_is_named_in_a_sentence(tmp_path):
    with pytest.raises(ValueError, match='CLIP model could not be read from .*nothing'): TextVideoScore.load(str(tmp_path / 'nothing'))
