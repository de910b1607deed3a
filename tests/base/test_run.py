"A run tells of its steps, can be stopped before any, and keeps what is done."
from types import SimpleNamespace

import pytest
import torch

from videodirector.base.run import LOSS, Run, check_finite


def test_steps_are_told_and_can_be_stopped():
    told = []
    def on_step(*step):
        told.append(step)
        if step[1] == 2: raise KeyError
    with pytest.raises(KeyError):
        for _i, item in Run(progress=False, on_step=on_step).steps('walk', 'abcd'): told.append(item)
    assert told == [('walk', 0, 4), 'a', ('walk', 1, 4), 'b', ('walk', 2, 4)]


def test_kept_steps_are_made_once(tmp_path):
    made, like = [], dict(x=torch.ones(3), n=LOSS)
    def make(): made.append(1); return dict(x=torch.rand(3), n=torch.tensor(7, dtype=torch.float64))
    first, again = (Run(folder=tmp_path / 'new').keep('step-1', make, like) for _ in range(2))
    assert len(made) == 1 and torch.equal(first['x'], again['x']) and again['n'].dtype == torch.float64
    Run().keep('step-1', make, like)
    assert len(made) == 2


@pytest.mark.parametrize('other', [dict(x=torch.ones(4)), dict(x=torch.ones(3).half()), dict(x=torch.ones(3) / 0), dict(y=torch.ones(3)), {}], ids=str)
def test_kept_steps_of_another_form_are_refused(tmp_path, other):
    Run(folder=tmp_path).keep('step-1', lambda: other, {})
    with pytest.raises(ValueError, match=r'step-1\.safetensors.* is not as the step was kept'):
        Run(folder=tmp_path).keep('step-1', lambda: other, dict(x=torch.ones(3)))


def test_other_inputs_are_refused(tmp_path):
    inputs = dict(clip=torch.ones(2), prompt='a bear', settings=dict(steps=5))
    Run(folder=tmp_path).bind(**inputs)
    Run(folder=tmp_path).bind(**inputs)
    for other, name in ((dict(clip=torch.zeros(2)), 'clip'), (dict(prompt='a fox'), 'prompt'), (dict(settings=dict(steps=6)), 'settings')):
        with pytest.raises(ValueError, match=rf'other inputs \({name}\)'): Run(folder=tmp_path).bind(**inputs | other)


def test_the_first_bad_number_stops():
    assert check_finite(torch.ones(2), 'It').tolist() == [1, 1]
    with pytest.raises(FloatingPointError, match='The latent at step 3 is not finite'): check_finite(torch.tensor(float('nan')), 'The latent at step 3')


class Far(torch.Tensor):
    "A tensor that says it lies on a GPU."
    device = SimpleNamespace(type='cuda')


def seen_after(steps, bad, x):
    "The last step before a run notices that step `bad` gave no number; None: it does not."
    run = Run(progress=False)
    try:
        for at, _ in run.steps('walk', range(steps)): run.check(x * (torch.nan if at == bad else 1), f'What step {at} gave')
    except FloatingPointError as error:
        assert f'step {bad} ' in str(error)
        return at


@pytest.mark.parametrize('steps, bad, near, far', [(20, 3, 3, 7), (20, 8, 8, 15), (20, 18, 18, 19), (20, None, None, None), (5, 0, 0, 4)])
def test_a_gpu_is_asked_now_and_then(steps, bad, near, far):
    assert seen_after(steps, bad, torch.ones(2)) == near
    assert seen_after(steps, bad, torch.ones(2).as_subclass(Far)) == far
    run = Run(progress=False)
    for _ in run.steps('walk', range(3)): run.check(torch.ones(2).as_subclass(Far), 'It')
    with pytest.raises(FloatingPointError): run.check(torch.full((2,), torch.nan).as_subclass(Far), 'It')  # no walk: at once


def test_what_a_stopped_walk_left_is_forgotten():
    run = Run(progress=False)
    for i, _ in run.steps('walk', range(3)):
        run.check(torch.full((2,), torch.nan).as_subclass(Far), 'It')
        if i == 1: break
    for _ in run.steps('again', range(2)): pass


def test_a_walk_within_a_walk_leaves_the_outer_one_alone():
    run = Run(progress=False)
    with pytest.raises(FloatingPointError, match='outer'):
        for _ in run.steps('outer', range(2)):
            run.check(torch.full((2,), torch.nan).as_subclass(Far), 'The outer one')
            for _ in run.steps('inner', range(3)): run.check(torch.ones(2).as_subclass(Far), 'The inner one')
