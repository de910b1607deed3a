"End marks that say nothing."
import pytest
import torch

from videodirector.train.ends import embed_words
from videodirector.train.networks import build_text_encoder, build_tokenizer
from videodirector.world.captions import VOCABULARY


@pytest.fixture(scope='module')
def tokenizer(): return build_tokenizer(VOCABULARY)


def test_words_keep_their_own_embeddings_and_end_marks_have_the_empty_prompts(tokenizer):
    torch.manual_seed(0)
    text = build_text_encoder(tokenizer).eval()
    ids = tokenizer(['a red bear walking left in a forest', ''], padding='max_length', return_tensors='pt').input_ids
    own, empty = text(ids)[0]
    (seen, blank), apart = embed_words(text, ids)
    words = int((ids[0] != tokenizer.eos_token_id).sum())
    torch.testing.assert_close(seen[:words], own[:words])
    torch.testing.assert_close(seen[words:], empty[words:])
    torch.testing.assert_close(blank, empty)
    both = (own[words:] - empty[words:]).square().mean() * (77 - words) / (77 - words + 76)  # the empty prompt's are 0 apart
    torch.testing.assert_close(apart, both)


def test_their_distance_can_be_trained_away_and_moves_the_own_marks_alone(tokenizer):
    torch.manual_seed(0)
    text = build_text_encoder(tokenizer)
    ids = tokenizer(['a red bear walking left in a forest'], padding='max_length', return_tensors='pt').input_ids
    adam = torch.optim.Adam(text.parameters(), 1e-3)
    far = [embed_words(text, ids)[1] for _ in range(1)]
    for _ in range(30):
        adam.zero_grad()
        loss = embed_words(text, ids)[1]
        loss.backward()
        adam.step()
    assert loss < 0.2 * far[0]
