"The loss of the motion stage."
import torch
from diffusers import UNetMotionModel
from torch import nn

from videodirector.train.motion import MotionLoss, set_apart, step_weights
from videodirector.train.networks import (
    LATENT_CHANNELS, build_motion_adapter, build_scheduler, build_text_encoder, build_tokenizer, build_unet)
from videodirector.world.captions import VOCABULARY


def test_motion_stage_trains_text_and_motion_modules_alone_and_weighs_each_clip():
    torch.manual_seed(0)
    tokenizer = build_tokenizer(VOCABULARY)
    text, unet = build_text_encoder(tokenizer), UNetMotionModel.from_unet2d(build_unet(), build_motion_adapter())
    loss = MotionLoss(unet, text, 1.)
    z, t, ids = torch.randn(2, LATENT_CHANNELS, 2, 16, 16), torch.tensor([100, 900]), torch.randint(0, len(tokenizer) - 2, (2, 77))
    one, both = (loss(z, z, t, ids, torch.tensor(w))[0] for w in ([0., 2.], [1., 1.]))
    (first, _), (second, _) = (loss(z[i:i + 1], z[i:i + 1], t[i:i + 1], ids[i:i + 1], torch.ones(1)) for i in (0, 1))
    torch.testing.assert_close(one, second, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(both, (first + second) / 2, rtol=1e-4, atol=1e-5)
    for name, module in unet.named_modules():  # the last layers start at zero, which would hide the others
        if name.endswith('motion_modules.0.proj_out'): nn.init.normal_(module.weight, std=.1)
    loss(z, z, t, ids, torch.ones(2))[0].backward()
    learned = {name for name, p in loss.named_parameters() if p.grad is not None and p.grad.any()}
    assert any(name.startswith('text.') for name in learned) and any('motion_modules' in name for name in learned)
    assert not any(name.startswith('unet.') and 'motion_modules' not in name for name in learned)


def test_noisy_steps_count_more_up_to_a_limit():
    alphas = build_scheduler().alphas_cumprod
    assert (step_weights(alphas, 1) == 1).all()
    weights = step_weights(alphas, 30)
    assert abs(weights.mean() - 1) < 1e-5 and (weights.diff() >= 0).all() and abs(weights[-1] / weights[0] - 30) < 1e-3


def test_words_of_motion_are_set_apart_and_no_others():
    torch.manual_seed(0)
    text = build_text_encoder(build_tokenizer(VOCABULARY))
    table = text.get_input_embeddings().weight
    before, words = table.detach().clone(), torch.tensor([7, 9])
    set_apart(text, words, 0.)
    assert torch.equal(table, before)
    set_apart(text, words, 2.)
    moved = table.detach() - before
    assert (moved.any(1).nonzero()[:, 0] == words).all() and abs(moved[words].std() - 2) < .3 and table.requires_grad
