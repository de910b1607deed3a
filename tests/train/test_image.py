"The loss of the image stage."
import pytest
import torch

from videodirector.train.captions import ROLES, Captions
from videodirector.train.image import ImageBatches, ImageLoss, token_attention_loss
from videodirector.train.networks import LATENT_CHANNELS, build_scheduler, build_text_encoder, build_tokenizer, build_unet
from videodirector.train.recipe import Recipe
from videodirector.train.stage import Worker
from videodirector.world.captions import VOCABULARY


@pytest.fixture(scope='module')
def tokenizer(): return build_tokenizer(VOCABULARY)


def test_token_attention_loss_knows_hit_from_miss():
    cells = torch.zeros(1, 2, 16, 16)
    cells[:, 0, :8] = 1
    hit = cells[0, 0].flatten() / 128
    roles = torch.tensor([[0, 1]])
    def loss(map): return token_attention_loss(torch.stack([torch.rand(256), map], -1)[None, None], cells, roles)
    assert loss(hit)[0] < 1e-6 and abs(loss(hit)[1][0] - 1) < 1e-5
    assert abs(loss(hit.flip(0))[0] - 1) < 1e-5
    assert abs(loss(torch.ones(256))[0] - 0.25) < 1e-5


def test_background_words_look_at_the_complement():
    cells = torch.zeros(1, 2, 16, 16)
    cells[:, 0, :8] = 1
    outside = (1 - cells[0, 0]).flatten()[None, None, :, None]
    assert token_attention_loss(outside, cells, torch.tensor([[ROLES.index('background')]]))[0] < 1e-6


def test_readable_attention_predicts_what_diffusers_own_does(tokenizer):
    torch.manual_seed(0)
    unet, text = build_unet().eval(), build_text_encoder(tokenizer).eval()
    z, t = torch.randn(2, LATENT_CHANNELS, 16, 16), torch.tensor([100, 900])
    ids = torch.randint(0, len(tokenizer) - 2, (2, 77))  # no end marks
    with torch.no_grad():
        plain = unet(z, t, text(ids)[0]).sample
        loss, figures = ImageLoss(unet, text, 0., 0.)(z, plain, t, ids, torch.ones(2, 32, dtype=torch.uint8), torch.rand(2, 2, 16, 16))
    assert loss < 1e-10 and 0 < figures['attention'] < 1 and list(figures)[3:] == [f'on_{role}' for role in ROLES[1:]]


def test_a_batch_is_the_schedule_s_mixture(tokenizer):
    store = dict(latents=torch.randn(3, 16, LATENT_CHANNELS, 16, 16).half(), ids=torch.zeros(3, 77, dtype=torch.int16), roles=torch.zeros(3, 32, dtype=torch.uint8),
                 foreground=torch.full((3, 16, 16, 16), 255, dtype=torch.uint8), accessory=torch.zeros(3, 16, 16, 16, dtype=torch.uint8))
    batches = ImageBatches(store, Captions(store, tokenizer, 0.), Recipe(image_batch=4), Worker(0, 1, torch.device('cpu')))
    noisy, noise, t, ids, roles, cells = batches(0)
    a = build_scheduler().alphas_cumprod[t].view(-1, 1, 1, 1)
    z = (noisy - (1 - a).sqrt() * noise) / a.sqrt()
    far = (z[:, None] - store['latents'].float().flatten(0, 1)).abs().flatten(2).amax(-1).amin(1)
    assert (far < 1e-2).all() and cells[:, 0].eq(1).all() and cells[:, 1].eq(0).all() and all(map(torch.equal, batches(0), batches(0)))
