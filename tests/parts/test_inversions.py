"Other ways up and down: the fixed point inverts exactly, direct inversion stays on its path, the source prompt as nothing switches guidance off."
import warnings
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from videodirector.base.run import Run
from videodirector.methods.videodirector import Inversion, edit, invert, reconstruct
from videodirector.models.api import Wrapped
from videodirector.parts.inversion import invert_ddim, sample_ddim
from videodirector.parts.inversions import PULL, at_fixed_point, descend, find_null, find_pivots, soften, threshold_of
from videodirector.parts.null_text import optimise_null
from videodirector.parts.settings import STDG, InvertSettings
from videodirector.sampling.schedule import Schedule

SOURCE, TARGET = 'a brown bear walking on grass', 'a brown tiger walking on grass'
QUIET = Run(progress=False)
KINDS = ('none', 'source', 'proximal')


class Toy:
    "A model whose noise is a smooth function of the latent, known in closed form and in double precision."
    def __init__(self, steepness): self.steepness = steepness
    def predict(self, z, t, text): return self.steepness * torch.tanh(z) + text.sum()


def clip(): return torch.rand(3, 3, 32, 48, generator=torch.manual_seed(0)) * 2 - 1


def box():
    mask = torch.zeros(3, 32, 48, dtype=torch.bool)
    mask[:, :16, :24] = True
    return mask


def inverted(model, **settings): return invert(model, clip(), SOURCE, box(), run=QUIET, **(dict(steps=4, inner_steps=1) | settings))


@pytest.fixture
def levels(): return Schedule((999, 600, 300, 0), (.05, .3, .7, .99), (.3, .7, .99, 1.), 4., 'standard')


def noise(seed=0): return torch.randn(1, 4, 3, 4, 6, dtype=torch.float64, generator=torch.manual_seed(seed))


# up

def test_the_fixed_point_is_the_exact_inverse_of_the_step(levels):
    model, z, text = Toy(.3), noise(), torch.full((1, 2, 2), .1, dtype=torch.float64)
    pivots = invert_ddim(at_fixed_point(model, levels, 80), z, text, levels, QUIET)
    for i in range(4):  # going down from each pivot ends at the one before
        start, end = pivots[4 - i][None], pivots[3 - i][None]
        assert_close(levels.step(model.predict(start, 0, text), start, i), end, rtol=1e-12, atol=1e-12)
    plain = invert_ddim(model, z, text, levels, QUIET)
    assert (levels.step(model.predict(plain[-1:], 0, text), plain[-1:], 0) - plain[-2:-1]).abs().max() > 1e-2


def test_each_evaluation_comes_nearer(levels):
    model, z, text = Toy(.3), noise(), torch.zeros(1, 1, 1, dtype=torch.float64)
    def error(n):
        pivots = invert_ddim(at_fixed_point(model, levels, n), z, text, levels, QUIET)
        for i in range(4): pivots = torch.cat([pivots, levels.step(model.predict(pivots[-1:], 0, text), pivots[-1:], i)])
        return (pivots[-1:] - z).abs().max()
    errors = [error(n) for n in (1, 2, 3, 5)]
    assert errors == sorted(errors, reverse=True) and errors[-1] < .1 * errors[0]


def test_one_evaluation_is_ddim(tiny_model):
    z, text, s = torch.randn(1, 4, 3, 4, 6, generator=torch.manual_seed(0)), tiny_model.embed('a bear'), tiny_model.schedule(3)
    assert torch.equal(invert_ddim(at_fixed_point(tiny_model, s, 1), z, text, s, QUIET), invert_ddim(tiny_model, z, text, s, QUIET))


def test_a_step_that_runs_away_stays_as_ddim_has_it(levels):
    model, z, text = Toy(-30.), .01 * noise(), torch.zeros(1, 1, 1, dtype=torch.float64)
    with pytest.warns(UserWarning, match='moves away from its fixed point.*inversion step at t = 999'):
        guarded = at_fixed_point(model, levels, 9).predict(z, 999, text)
    assert torch.equal(guarded, model.predict(z, 999, text))
    with warnings.catch_warnings():  # where it converges until numbers end, nothing is said
        warnings.simplefilter('error')
        at_fixed_point(Toy(.3), levels, 200).predict(z, 999, text)


def test_the_climb_is_chosen_by_name(tiny_model):
    z, text, s = torch.randn(1, 4, 3, 4, 6, generator=torch.manual_seed(0)), tiny_model.embed('a bear'), tiny_model.schedule(3)
    def found(**how): return find_pivots(tiny_model, z, text, s, InvertSettings(**how), QUIET)
    plain = invert_ddim(tiny_model, z, text, s, QUIET)
    assert torch.equal(found(), plain) and torch.equal(found(evaluations=5), plain)
    better = found(inversion='fixed-point')
    assert torch.equal(better, invert_ddim(at_fixed_point(tiny_model, s, 2), z, text, s, QUIET)) and not torch.equal(better, plain)
    assert not torch.equal(found(inversion='fixed-point', evaluations=3), better)


# the proximal threshold

def test_the_threshold_takes_from_every_number():
    x = torch.tensor([-3., -1., 0., .5, 2.])
    assert torch.equal(soften(x, 1.), torch.tensor([-2., 0., 0., 0., 1.]))
    assert torch.equal(soften(x, 0.), x) and not soften(x, float('inf')).any()


def test_the_threshold_is_a_share_of_the_numbers():
    x = torch.randn(1000, generator=torch.manual_seed(0))
    for q in (.1, .5, .7): assert (soften(x, threshold_of(x, q)) == 0).float().mean() == pytest.approx(q)
    assert threshold_of(x, 0.) == 0 and threshold_of(x, 1.) == x.abs().max()


# down, one step

@pytest.fixture
def step(levels):
    "Latent and pivot to arrive at; conditional and unconditional prediction."
    return (noise(1), noise(2)), (noise(3), noise(4))


def test_a_tuned_null_text_steps_as_ever(levels, step):
    (z, _), (eps_c, eps_u) = step
    for null in ('multi-frame', 'shared', 'none', 'source'):
        assert torch.equal(descend(InvertSettings(null=null), levels, 1, *step), levels.step(levels.guide(eps_c, eps_u), z, 1))


def test_direct_inversion_adds_what_the_source_lacks(levels, step):
    (z, goal), (eps_c, eps_u) = step
    ended = levels.step(levels.guide(eps_c, eps_u), z, 1)
    held = descend(InvertSettings(null='none'), levels, 1, *step, is_source=True)
    assert torch.equal(held, goal)
    assert_close(held, ended + (goal - ended))


@pytest.mark.parametrize('cfg', ['standard', 'videodirector'])
def test_proximal_guidance_between_all_and_none(levels, step, cfg):
    levels, ((z, goal), (eps_c, eps_u)) = replace(levels, cfg=cfg), step
    def down(quantile, i): return descend(InvertSettings(null='proximal', quantile=quantile), levels, i, *step)
    assert torch.equal(down(0., 3), levels.step(levels.guide(eps_c, eps_u), z, 3))
    for i in (0, 1): assert_close(down(1., i), levels.step(eps_u, z, i))  # no guidance is left
    ended = levels.step(eps_u, z, 2)
    assert_close(down(1., 2), ended - PULL * (ended - goal))  # t = 300: nothing is left anywhere
    left = soften(eps_c - eps_u, threshold_of(eps_c - eps_u, .7))
    w = 4 if cfg == 'standard' else 5
    ended = levels.step(eps_u + w * left, z, 2)
    assert_close(down(.7, 2), torch.where(left == 0, ended - PULL * (ended - goal), ended))
    assert_close(down(.7, 1), levels.step(eps_u + w * left, z, 1))


# the null text of each kind

@pytest.fixture
def case(tiny_model):
    "model, pivots, text, schedule"
    schedule, text = tiny_model.schedule(4), tiny_model.embed(SOURCE)
    z0 = torch.randn(1, 4, 3, 4, 6, generator=torch.manual_seed(0))
    return tiny_model, invert_ddim(tiny_model, z0, text, schedule, QUIET), text, schedule


@pytest.mark.parametrize('null', ['multi-frame', 'shared'])
def test_what_is_tuned_is_tuned_as_ever(case, null):
    settings = InvertSettings(null=null, inner_steps=2)
    found, expected = find_null(*case, settings, run=QUIET), optimise_null(*case, settings, run=QUIET)
    assert torch.equal(found.embeddings, expected.embeddings) and found.losses == expected.losses and torch.equal(found.latents, expected.latents)


def test_what_is_not_tuned_costs_nothing(case):
    model, pivots, text, schedule = case
    def untouched(*args): raise AssertionError
    for null, words in (('none', 'red hat'), ('source', SOURCE), ('proximal', SOURCE)):
        settings = InvertSettings(null=null, negative_prompt=words if null == 'none' else '')
        found = find_null(Wrapped(model, untouched), pivots, text, schedule, settings, run=QUIET)
        assert torch.equal(found.embeddings, model.embed(words).expand(4, 1, -1, -1)) and found.losses == [[]] * 4
    with pytest.raises(ValueError, match="null is 'none', which is not tuned; give one of multi-frame, shared"): optimise_null(*case, null='none')


# the whole method

def test_the_defaults_are_the_former_path(tiny_model):
    made = inverted(tiny_model, inner_steps=2)
    text, schedule = tiny_model.embed(SOURCE), tiny_model.schedule(4)
    pivots = invert_ddim(tiny_model, tiny_model.encode(clip()), text, schedule, QUIET)
    null = optimise_null(tiny_model, pivots, text, schedule, inner_steps=2, run=QUIET)
    assert torch.equal(made.pivots, pivots) and torch.equal(made.null.embeddings, null.embeddings) and torch.equal(made.null.latents, null.latents)
    assert torch.equal(reconstruct(tiny_model, made, QUIET).latents, sample_ddim(tiny_model, pivots[-1:], text, null.embeddings, schedule, QUIET))
    named = inverted(tiny_model, inner_steps=2, inversion='ddim', null='multi-frame')
    assert torch.equal(edit(tiny_model, named, TARGET, run=QUIET).latents, edit(tiny_model, made, TARGET, run=QUIET).latents)


@pytest.mark.parametrize('inversion', ['ddim', 'fixed-point'])
def test_direct_inversion_reconstructs_exactly(tiny_model, inversion):
    made = inverted(tiny_model, inversion=inversion, null='none')
    assert torch.equal(made.null.latents, made.pivots[:1])
    for again in (reconstruct(tiny_model, made, QUIET), edit(tiny_model, made, SOURCE, run=QUIET)): assert torch.equal(again.latents, made.pivots[:1])


def test_direct_inversion_leaves_the_edit_alone(tiny_model):
    "The edit's source slots read the pivots already: it is the edit without updates."
    direct, untuned = inverted(tiny_model, null='none'), inverted(tiny_model, inner_steps=0)
    assert torch.equal(edit(tiny_model, direct, TARGET, run=QUIET).latents, edit(tiny_model, untuned, TARGET, run=QUIET).latents)
    assert not torch.equal(reconstruct(tiny_model, untuned, QUIET).latents, untuned.pivots[:1])


def test_the_source_as_nothing_is_the_source_as_negative_prompt(tiny_model):
    source, negative = inverted(tiny_model, null='source'), inverted(tiny_model, negative_prompt=SOURCE, inner_steps=0)
    for prompt in (SOURCE, TARGET): assert torch.equal(edit(tiny_model, source, prompt, run=QUIET).latents, edit(tiny_model, negative, prompt, run=QUIET).latents)
    plain = sample_ddim(tiny_model, source.pivots[-1:], tiny_model.embed(SOURCE), None, source.schedule, QUIET)
    assert_close(reconstruct(tiny_model, source, QUIET).latents, plain, rtol=1e-4, atol=1e-4)


def test_proximal_guidance_without_a_threshold_is_the_source_as_nothing(tiny_model):
    source, none, some, all_ = (inverted(tiny_model, null=null, quantile=q) for null, q in (('source', .7), ('proximal', 0.), ('proximal', .7), ('proximal', 1.)))
    made = [edit(tiny_model, x, TARGET, run=QUIET).latents for x in (source, none, some, all_)]
    assert torch.equal(made[0], made[1]) and not torch.equal(made[1], made[2]) and not torch.equal(made[2], made[3])
    weak = edit(tiny_model, replace(all_, schedule=replace(all_.schedule, guidance_scale=9.)), TARGET, run=QUIET).latents
    assert torch.equal(weak, made[3])  # where no guidance is left, its strength is nothing


def test_a_better_climb_reconstructs_better(tiny_model):
    def error(**how):
        made = inverted(tiny_model, steps=6, null='source', **how)
        return (reconstruct(tiny_model, made, QUIET).latents - made.pivots[:1]).square().mean()
    assert error(inversion='fixed-point', evaluations=4) < error(inversion='fixed-point') < error()


@pytest.mark.parametrize('null', KINDS)
def test_every_kind_survives_its_file_and_its_steps(tiny_model, tmp_path, null):
    made = inverted(tiny_model, inversion='fixed-point', null=null, quantile=.4)
    made.save(tmp_path / 'bear.safetensors')
    loaded = Inversion.load(tmp_path / 'bear.safetensors')
    assert loaded.settings == made.settings and repr(loaded) == repr(made)
    for prompt in (SOURCE, TARGET): assert torch.equal(edit(tiny_model, loaded, prompt, run=QUIET).latents, edit(tiny_model, made, prompt, run=QUIET).latents)
    kept = [invert(tiny_model, clip(), SOURCE, run=Run(False, folder=tmp_path / 'kept'), steps=4, inversion='fixed-point', null=null) for _ in range(2)]
    assert torch.equal(kept[0].pivots, made.pivots) and torch.equal(kept[1].pivots, made.pivots)
    with pytest.raises(ValueError, match=r'other inputs \(settings\)'): invert(tiny_model, clip(), SOURCE, run=Run(False, folder=tmp_path / 'kept'), steps=4, null=null)


@pytest.mark.parametrize('null', ['source', 'proximal'])
def test_guidance_pulls_also_without_tuning(tiny_model, null):
    stdg = STDG(.3, .7, .2, 1.1, blocks=(('up_blocks.1', 2e4, 2e3), ('up_blocks.2', 1e4, 1e3)))
    made = inverted(tiny_model, null=null, stdg=stdg)
    assert made.guidance.gradients[1:].flatten(1).any(1).all() and made.null.losses == [[]] * 4
    assert_close(reconstruct(tiny_model, made, QUIET).latents, made.null.latents, rtol=1e-3, atol=1e-3)
    assert not torch.equal(made.null.latents, reconstruct(tiny_model, inverted(tiny_model, null=null), QUIET).latents)


def test_what_makes_no_sense_together_is_refused():
    with pytest.raises(ValueError, match="null is 'none', which never leaves the path of the inversion, so guidance .* leave one of them out"):
        InvertSettings(null='none', stdg=STDG())
    for null in ('source', 'proximal'):
        with pytest.raises(ValueError, match=f"null is '{null}', which guides away from the source prompt, and there is a negative prompt"):
            InvertSettings(null=null, negative_prompt='ugly')
    InvertSettings(null='none', stdg=STDG(0, 0, 0, 0), negative_prompt='ugly')
    for wrong in (dict(null='x'), dict(inversion='x'), dict(evaluations=1), dict(quantile=1.1)):
        with pytest.raises(ValueError, match='choose one of|or more|from 0 to 1'): InvertSettings(**wrong)
