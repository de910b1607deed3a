"The whole programme in double precision against the official schedule written plainly: pivots, null text, guidance, edited latents."
import pytest
import torch
from conftest import make_tiny_model

from videodirector.bench import plain as official
from videodirector.methods.presets import find_preset
from videodirector.methods.videodirector import edit, invert
from videodirector.parts.settings import STDG

SOURCE, TARGET, NEGATIVE = 'a brown bear walking on grass', 'a brown tiger walking on grass', 'a red hat'
MAPPER, FACTORS = [0, 1, 2, -1, *range(4, 16)], [1., 1., 1., 2., *[1.] * 12]  # the fourth token is the new word, and twice as strong
WEIGHTS = (.5, 1., .25, .5)
INVERT = dict(guidance_scale=7.5, cfg='videodirector', lr=.01, negative_prompt=NEGATIVE)
EDIT = dict(tau_s=.5, tau_c=.5, weights={'tiger': 2}, neutral=False)


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


def plan(levels, layout_steps=1, cross_steps=2): return official.Plan(
    levels, w=7.5, stdg=WEIGHTS, inner=2, lr=.01, tolerance=1e-5, layout_steps=layout_steps, cross_steps=cross_steps,
    mapper=MAPPER, factors=FACTORS)


def close(found, expected):
    "Equal to 1e-12 of the largest number."
    found, expected = (torch.cat(list(x)) if isinstance(x, list) else x for x in (found, expected))
    assert found.dtype == torch.float64 and found.shape == expected.shape
    away = ((found - expected).abs().max() / expected.abs().max()).item()
    assert away < 1e-12, away


def programme(model, video, mask, levels, edit_levels, shared=False, posterior=None):
    "All of it in plain loops, with three steps of two updates: Z, φ, g, where the tuned path ends, the edited latents."
    target, negative, source = texts = [model.embed(text).expand(len(video), -1, -1) for text in (TARGET, NEGATIVE, SOURCE)]
    Z = official.climb(model.unet, model.encode(video, posterior), source, levels)
    start = negative[:1] if shared else negative
    phis, pulls, end = official.null_text(model.unet, Z, source, start, mask, plan(levels))
    z = official.edit(model.unet, Z, (phis, pulls), texts, mask, plan(edit_levels))
    return Z, torch.stack(phis), pulls, end, z


def same(inversion, made, expected):
    found = inversion.pivots, inversion.null.embeddings, inversion.guidance.gradients, inversion.null.latents, made.latents
    for one, other in zip(found, expected, strict=True): close(one, other)


def test_the_whole_programme_is_the_official_one(model):
    video, mask = clip(3, 128), moving(3, 128)
    inversion = invert(model, video, SOURCE, mask, stdg=STDG(*WEIGHTS), steps=3, inner_steps=2, **INVERT)
    levels, _ = plain(model, inversion, 3)
    same(inversion, edit(model, inversion, TARGET, **EDIT), programme(model, video, mask, levels, levels))


def test_with_the_quirks_of_the_official_code(model):
    "One null text for all frames, steps that end at a stride, an edit at other timesteps, a sample of the posterior, masks by nearest pixel."
    video, mask, preset = clip(3, 128), moving(3, 128).roll((5, 11), (1, 2)), find_preset('official')
    inversion = invert(model, video, SOURCE, mask, preset.invert, stdg=STDG(*WEIGHTS), steps=3, inner_steps=2, negative_prompt=NEGATIVE, null='shared')
    made = edit(model, inversion, TARGET, preset.edit, **EDIT)
    abar = [*model.scheduler.alphas_cumprod.double().tolist(), *[1.] * 333]  # those before the first are read from the end
    levels, edit_levels = ([(t, abar[t], abar[t - 333]) for t in ts] for ts in ((999, 500, 0), (667, 334, 1)))
    same(inversion, made, programme(model, video, mask, levels, edit_levels, True, 42))


def test_the_finest_layers_keep_their_own_layout(model):
    video, mask = clip(1, 288), moving(1, 288)  # latents of 36×36: more than the 1 024 positions up to which SA-I acts
    inversion = invert(model, video, SOURCE, mask, steps=2, inner_steps=0, **INVERT)
    made = edit(model, inversion, TARGET, **EDIT)
    levels, texts = plain(model, inversion, 1)
    Z = official.climb(model.unet, model.encode(video), texts[2], levels)
    tuned = [texts[1]] * 2, [0.] * 2
    close(made.latents, official.edit(model.unet, Z, tuned, texts, mask, plan(levels, cross_steps=1)))
