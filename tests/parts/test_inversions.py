"Other ways up and down: the fixed point inverts exactly, direct inversion stays on its path, the source prompt as nothing switches guidance off."
import warnings
from dataclasses import replace
from functools import cache

import pytest
import torch
from conftest import make_tiny_model
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
STEPS = 3


class Toy:
    "A model whose noise is a smooth function of the latent, known in closed form and in double precision."
    def __init__(self, steepness): self.steepness = steepness
    def predict(self, z, t, text): return self.steepness * torch.tanh(z) + text.sum()


def clip(): return torch.rand(3, 3, 32, 48, generator=torch.manual_seed(0)) * 2 - 1


def box():
    mask = torch.zeros(3, 32, 48, dtype=torch.bool)
    mask[:, :16, :24] = True
    return mask


@pytest.fixture(scope='module')
def tiny(): return make_tiny_model()  # no test changes it


@pytest.fixture(scope='module')
def inverted(tiny):
    "Inverts the clip with some settings, the same ones once."
    @cache
    def inverted(**settings): return invert(tiny, clip(), SOURCE, box(), run=QUIET, steps=STEPS, **settings)
    return inverted


@pytest.fixture(scope='module')
def edited(tiny): return lambda inversion, prompt=TARGET: edit(tiny, inversion, prompt, run=QUIET).latents


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


def test_a_step_that_runs_away_stays_as_ddim_has_it(levels):
    model, z, text = Toy(-30.), .01 * noise(), torch.zeros(1, 1, 1, dtype=torch.float64)
    with pytest.warns(UserWarning, match='moves away from its fixed point.*inversion step at t = 999'):
        guarded = at_fixed_point(model, levels, 9).predict(z, 999, text)
    assert torch.equal(guarded, model.predict(z, 999, text))
    with warnings.catch_warnings():  # where it converges until numbers end, nothing is said
        warnings.simplefilter('error')
        at_fixed_point(Toy(.3), levels, 200).predict(z, 999, text)


def test_numbers_that_blow_up_on_the_way_are_no_divergence(levels):
    class Broken(Toy):
        def predict(self, z, t, text): return super().predict(z, t, text) * (float('nan') if z.abs().max() > .5 else 1)
    with pytest.raises(FloatingPointError, match='noise of inversion step t = 600'):
        at_fixed_point(Broken(30.), levels, 2).predict(.01 * noise(), 600, torch.ones(1, 1, 1))


def test_the_climb_is_chosen_by_name(levels):
    model, z, text = Toy(.3), noise(), torch.zeros(1, 1, 1, dtype=torch.float64)
    def found(**how): return find_pivots(model, z, text, levels, InvertSettings(**how), QUIET)
    def by_hand(n): return invert_ddim(at_fixed_point(model, levels, n), z, text, levels, QUIET)
    plain, better = invert_ddim(model, z, text, levels, QUIET), found(inversion='fixed-point')
    for same in (found(), found(evaluations=5), by_hand(1)): assert torch.equal(same, plain)
    assert torch.equal(better, by_hand(2)) and torch.equal(found(inversion='fixed-point', evaluations=3), by_hand(3))
    assert not torch.equal(better, plain) and not torch.equal(better, by_hand(3))


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
    "Latent and pivots; conditional and unconditional prediction."
    return (noise(1), torch.cat([noise(k) for k in range(5, 10)])), (noise(3), noise(4))


def test_a_tuned_null_text_steps_as_ever(levels, step):
    (z, _), (eps_c, eps_u) = step
    for null in ('multi-frame', 'shared', 'none', 'source'):
        assert torch.equal(descend(InvertSettings(null=null), levels, 1, *step), levels.step(levels.guide(eps_c, eps_u), z, 1))


def test_direct_inversion_adds_what_the_source_lacks(levels, step):
    (z, pivots), (eps_c, eps_u) = step
    ended, goal = levels.step(levels.guide(eps_c, eps_u), z, 1), pivots[2:3]
    held = descend(InvertSettings(null='none'), levels, 1, *step, is_source=True)
    assert torch.equal(held, goal)
    assert_close(held, ended + (goal - ended))


@pytest.mark.parametrize('cfg', ['standard', 'videodirector'])
def test_proximal_guidance_between_all_and_none(levels, step, cfg):
    levels, ((z, pivots), (eps_c, eps_u)) = replace(levels, cfg=cfg), step
    goal = pivots[1:2]  # of step 2, t = 300
    def down(quantile, i): return descend(InvertSettings(null='proximal', quantile=quantile), levels, i, *step)
    assert torch.equal(down(0., 3), levels.step(levels.guide(eps_c, eps_u), z, 3))
    for i in (0, 1): assert_close(down(1., i), levels.step(eps_u, z, i))  # no guidance is left
    ended = levels.step(eps_u, z, 2)
    assert_close(down(1., 2), ended - PULL * (ended - goal))  # nothing is left anywhere
    left = soften(eps_c - eps_u, threshold_of(eps_c - eps_u, .7))
    w = 4 if cfg == 'standard' else 5
    ended = levels.step(eps_u + w * left, z, 2)
    assert_close(down(.7, 2), torch.where(left == 0, ended - PULL * (ended - goal), ended))
    assert_close(down(.7, 1), levels.step(eps_u + w * left, z, 1))


# the null text of each kind

@pytest.fixture(scope='module')
def case(tiny):
    "model, pivots, text, schedule"
    schedule, text = tiny.schedule(STEPS), tiny.embed(SOURCE)
    return tiny, invert_ddim(tiny, tiny.encode(clip()), text, schedule, QUIET), text, schedule


@pytest.mark.parametrize('null', ['multi-frame', 'shared'])
def test_what_is_tuned_is_tuned_as_ever(case, null):
    settings = InvertSettings(null=null, inner_steps=2)
    found, expected = find_null(*case, settings, run=QUIET), optimise_null(*case, settings, run=QUIET)
    assert torch.equal(found.embeddings, expected.embeddings) and found.losses == expected.losses and torch.equal(found.latents, expected.latents)


def test_what_is_not_tuned_asks_nothing(case):
    model, pivots, text, schedule = case
    def untouched(*args): raise AssertionError
    for null, words in (('none', 'red hat'), ('source', SOURCE), ('proximal', SOURCE)):
        settings = InvertSettings(null=null, negative_prompt=words if null == 'none' else '')
        found = find_null(Wrapped(model, untouched), pivots, text, schedule, settings, run=QUIET)
        assert torch.equal(found.embeddings, model.embed(words).expand(STEPS, 1, -1, -1)) and found.losses == [[]] * STEPS
    with pytest.raises(ValueError, match="null is 'none', which is not tuned; give one of multi-frame, shared"): optimise_null(*case, null='none')


# the whole method

def test_the_defaults_are_the_former_path(tiny, case, inverted, edited):
    _, pivots, text, schedule = case
    made, null = inverted(inner_steps=2), optimise_null(*case, inner_steps=2, run=QUIET)
    assert torch.equal(made.pivots, pivots) and torch.equal(made.null.embeddings, null.embeddings) and torch.equal(made.null.latents, null.latents)
    named, ended = inverted(inner_steps=2, inversion='ddim', null='multi-frame'), sample_ddim(tiny, pivots[-1:], text, null.embeddings, schedule, QUIET)
    assert torch.equal(edited(made, SOURCE), ended) and torch.equal(edited(named), edited(made))


@pytest.mark.parametrize('inversion', ['ddim', 'fixed-point'])
def test_direct_inversion_reconstructs_exactly(tiny, inverted, edited, inversion):
    made = inverted(inversion=inversion, null='none')
    for end in (made.null.latents, reconstruct(tiny, made, QUIET).latents, edited(made, SOURCE)): assert torch.equal(end, made.pivots[:1])


def test_direct_inversion_leaves_the_edit_alone(inverted, edited):
    "The edit's source slots read the pivots already: it is the edit without updates."
    direct, untuned = inverted(null='none'), inverted(inner_steps=0)
    assert torch.equal(edited(direct), edited(untuned)) and not torch.equal(edited(untuned, SOURCE), untuned.pivots[:1])


def test_the_source_as_nothing_is_the_source_as_negative_prompt(tiny, inverted, edited):
    source, negative = inverted(null='source'), inverted(negative_prompt=SOURCE, inner_steps=0)
    for prompt in (SOURCE, TARGET): assert torch.equal(edited(source, prompt), edited(negative, prompt))
    plain = sample_ddim(tiny, source.pivots[-1:], tiny.embed(SOURCE), None, source.schedule, QUIET)
    assert_close(edited(source, SOURCE), plain, rtol=1e-4, atol=1e-4)


def test_proximal_guidance_without_a_threshold_is_the_source_as_nothing(inverted, edited):
    strong = inverted(null='proximal', quantile=1., guidance_scale=9.)
    source, without, some, all_ = map(edited, (inverted(null='source'), *(inverted(null='proximal', quantile=q) for q in (0., .7, 1.))))
    assert torch.equal(source, without) and not torch.equal(without, some) and not torch.equal(some, all_)
    assert torch.equal(edited(strong), all_)  # where no guidance is left, its strength is nothing


@pytest.mark.parametrize('null', ['none', 'source', 'proximal'])
def test_every_kind_survives_its_file(inverted, edited, tmp_path, null):
    made = inverted(inversion='fixed-point', null=null, quantile=.4)
    made.save(tmp_path / 'bear.safetensors')
    loaded = Inversion.load(tmp_path / 'bear.safetensors')
    assert loaded.settings == made.settings and repr(loaded) == repr(made)
    for prompt in (SOURCE, TARGET): assert torch.equal(edited(loaded, prompt), edited(made, prompt))


def test_steps_of_the_fixed_point_are_kept(tiny, inverted, tmp_path):
    how = dict(steps=STEPS, null='source')
    kept = [invert(tiny, clip(), SOURCE, box(), run=Run(False, folder=tmp_path), inversion='fixed-point', **how) for _ in range(2)]
    for x in kept: assert torch.equal(x.pivots, inverted(inversion='fixed-point', null='source', quantile=.4).pivots)
    with pytest.raises(ValueError, match=r'other inputs \(settings\)'): invert(tiny, clip(), SOURCE, box(), run=Run(False, folder=tmp_path), **how)


@pytest.mark.parametrize('null', ['source', 'proximal'])
def test_guidance_pulls_also_without_tuning(inverted, edited, null):
    stdg = STDG(.3, .7, .2, 1.1, blocks=(('up_blocks.1', 2e4, 2e3), ('up_blocks.2', 1e4, 1e3)))
    made = inverted(null=null, stdg=stdg)
    assert made.guidance.gradients[1:].flatten(1).any(1).all() and made.null.losses == [[]] * STEPS
    assert_close(edited(made, SOURCE), made.null.latents, rtol=1e-3, atol=1e-3)
    assert not torch.equal(made.null.latents, edited(inverted(null=null), SOURCE))


def test_what_makes_no_sense_together_is_refused():
    with pytest.raises(ValueError, match="null is 'none', which never leaves the path of the inversion, so guidance .* leave one of them out"):
        InvertSettings(null='none', stdg=STDG())
    for null in ('source', 'proximal'):
        with pytest.raises(ValueError, match=f"null is '{null}', which guides away from the source prompt, and there is a negative prompt"):
            InvertSettings(null=null, negative_prompt='ugly')
    InvertSettings(null='none', stdg=STDG(0, 0, 0, 0), negative_prompt='ugly')
    for wrong in (dict(null='x'), dict(inversion='x'), dict(evaluations=1), dict(quantile=1.1)):
        with pytest.raises(ValueError, match='choose one of|or more|from 0 to 1'): InvertSettings(**wrong)
