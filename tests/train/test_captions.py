"Captions and the roles of their words."
import pytest
import torch

from videodirector.train.captions import ROLES, Captions, caption_tokens
from videodirector.train.networks import build_tokenizer
from videodirector.world.captions import VOCABULARY
from videodirector.world.scene import random_scene


@pytest.fixture(scope='module')
def tokenizer(): return build_tokenizer(VOCABULARY)


def test_caption_roles(tokenizer):
    for seed in range(200):
        scene = random_scene(seed)
        ids, roles = caption_tokens(scene, tokenizer)
        tokens = tokenizer.convert_ids_to_tokens(ids.tolist())
        named = [(token.removesuffix('</w>'), ROLES[role]) for token, role in zip(tokens, roles) if role]
        assert named == [(word.lower(), role) for word, role in scene.roles]


def test_dropped_captions_have_no_roles(tokenizer):
    ids, roles = caption_tokens(random_scene(1), tokenizer)
    captions = Captions(dict(ids=ids[None], roles=roles[None]), tokenizer, empty=1.0)
    words, parts = captions(torch.tensor([0, 0]), torch.Generator().manual_seed(0))
    assert not parts.any() and words[0].tolist() == tokenizer('', padding='max_length').input_ids
