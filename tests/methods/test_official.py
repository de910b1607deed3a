"The whole programme in double precision against the official arithmetic in plain loops: pivots, null text, guidance, edited latents."
import official
import pytest
import torch
from conftest import make_tiny_model

from videodirector.methods.videodirector import edit, invert
from videodirector.parts.settings import STDG

SOURCE, TARGET, NEGATIVE = 'a brown bear walking on grass', 'a brown tiger walking on grass', 'a red hat'
MAPPER, FACTORS = [0, 1, 2, -1, *range(4, 16)], [1., 1., 1., 2., *[1.] * 12]  # the fourth token is the new word, and twice as strong
WEIGHTS = (.5, 1., .25, .5)
INVERT = dict(guidance_scale=7.5, cfg='videodirector', lr=.01, negative_prompt=NEGATIVE)
EDIT = dict(tau_s=.5, tau_c=.5, weights={'tiger': 2})


@pytest.fixture(scope='module')
def model():
    model = make_tiny_model()
    model.pipe.to(dtype=torch.float64)
    return model


def clip(frames, side): return torch.rand(frames, 3, side, side, generator=torch.manual_seed(0)).double() * 2 - 1


def moving(frames, side):
    "A box that moves, along the cells of the coarsest grid."
    mask = torch.zeros(frames, side, side, dtype=torch.bool)
    for f in range(frames): mask[f, 32:96, 32 * f:32 * f + 64] = True
    return mask


def plain(model, inversion, frames):
    "What the loops need: the levels of the schedule, and c_new, c_neg and c_src for each frame."
    schedule = inversion.schedule
    levels = list(zip(schedule.timesteps, schedule.alphas, schedule.next_alphas))
    return levels, [model.embed(text).expand(frames, -1, -1) for text in (TARGET, NEGATIVE, SOURCE)]


def close(found, expected):
    "Equal to 1e-12 of the largest number."
    found, expected = (torch.cat(list(x)) if isinstance(x, list) else x for x in (found, expected))
    assert found.dtype == torch.float64 and found.shape == expected.shape
    away = ((found - expected).abs().max() / expected.abs().max()).item()
    assert away < 1e-12, away


@pytest.mark.parametrize('shared', [False, True])
def test_the_whole_programme_is_the_official_one(model, shared):
    video, mask = clip(3, 128), moving(3, 128)
    inversion = invert(model, video, SOURCE, mask, stdg=STDG(*WEIGHTS), steps=3, inner_steps=2, shared=shared, **INVERT)
    made = edit(model, inversion, TARGET, **EDIT)
    levels, texts = plain(model, inversion, 3)
    Z = official.climb(model.unet, model.encode(video), texts[2], levels)
    close(inversion.pivots, Z)
    start = texts[1][:1] if shared else texts[1]
    phis, pulls, end = official.null_text(model.unet, Z, texts[2], start, mask, levels, 7.5, WEIGHTS, inner=2)
    close(inversion.guidance.gradients, pulls)
    close(inversion.null.embeddings, torch.stack(phis))
    close(inversion.null.latents, end)
    close(made.latents, official.edit(model.unet, Z, phis, pulls, texts, mask, levels, 7.5,
                                      layout_steps=1, cross_steps=2, mapper=MAPPER, factors=FACTORS))


def test_the_finest_layers_keep_their_own_layout(model):
    video, mask = clip(1, 288), moving(1, 288)  # latents of 36×36: more than the 1 024 positions up to which SA-I acts
    inversion = invert(model, video, SOURCE, mask, steps=2, inner_steps=0, **INVERT)
    made = edit(model, inversion, TARGET, **EDIT)
    levels, texts = plain(model, inversion, 1)
    Z = official.climb(model.unet, model.encode(video), texts[2], levels)
    close(made.latents, official.edit(model.unet, Z, [texts[1]] * 2, [0.] * 2, texts, mask, levels, 7.5,
                                      layout_steps=1, cross_steps=1, mapper=MAPPER, factors=FACTORS))
