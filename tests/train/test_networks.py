"The networks that are trained, with random weights."
import pytest
import torch
from diffusers import UNetMotionModel

from videodirector.train.networks import (
    LATENT_CHANNELS, build_motion_adapter, build_text_encoder, build_tokenizer, build_unet, build_vae)
from videodirector.world.captions import VOCABULARY


@pytest.fixture(scope='module')
def tokenizer(): return build_tokenizer(VOCABULARY)


def test_one_token_a_word(tokenizer):
    for word in VOCABULARY: assert len(tokenizer(word).input_ids) == 3, word
    assert len(tokenizer('zebra').input_ids) > 3
    assert tokenizer.model_max_length == 77


def test_new_motion_adapter_changes_nothing():
    torch.manual_seed(0)
    image = build_unet().eval()
    video = UNetMotionModel.from_unet2d(image, build_motion_adapter()).eval()
    z, text = torch.randn(1, LATENT_CHANNELS, 3, 16, 16), torch.randn(1, 77, 128)
    with torch.no_grad():
        frames = image(z[0].transpose(0, 1), 500, text.expand(3, -1, -1)).sample
        clip = video(z, 500, text.expand(3, -1, -1)).sample
    torch.testing.assert_close(clip[0].transpose(0, 1), frames, atol=1e-4, rtol=1e-4)


def test_parts_fit_together(tokenizer):
    text = build_text_encoder(tokenizer)
    assert text.config.hidden_size == build_unet().config.cross_attention_dim
    assert build_vae().config.latent_channels == build_unet().config.in_channels == LATENT_CHANNELS
