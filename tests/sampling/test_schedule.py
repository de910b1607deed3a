"DDIM by hand: equal to diffusers, its own inverse, one table for all loops."
import pytest
import torch
from diffusers import DDIMInverseScheduler, DDIMScheduler
from torch.testing import assert_close

from videodirector.sampling.schedule import ddim

SETTINGS = dict(beta_start=.00085, beta_end=.012, beta_schedule='linear', clip_sample=False, set_alpha_to_one=True)


def latents(frames=3, h=4, w=6, seed=0): return torch.randn(1, 4, frames, h, w, generator=torch.manual_seed(seed))


def set_stride(scheduler, stride):
    "diffusers steps by num_train_timesteps // num_inference_steps; give it the stride of the next step."
    scheduler.num_inference_steps = 1000
    scheduler.register_to_config(num_train_timesteps=1000 * stride)


@pytest.mark.parametrize('steps', [2, 7, 20, 50])
def test_steps_equal_diffusers(tiny_model, steps):
    schedule = tiny_model.schedule(steps)
    down, up = DDIMScheduler(**SETTINGS, timestep_spacing='linspace'), DDIMInverseScheduler(**SETTINGS)
    down.set_timesteps(steps)
    assert down.timesteps.tolist() == list(schedule.timesteps)
    z, eps = latents(), latents(seed=1)
    for i, (t, s) in enumerate(zip(schedule.timesteps, [*schedule.timesteps[1:], -1])):
        set_stride(down, t - s), set_stride(up, t - s)
        assert_close(schedule.step(eps, z, i), down.step(eps, t, z).prev_sample)
        assert_close(schedule.invert_step(eps, z, i), up.step(eps, t, z).prev_sample)


def test_step_and_its_inverse_cancel(tiny_model):
    schedule, z, eps = tiny_model.schedule(6), latents().double(), latents(seed=1).double()
    for i in range(6): assert_close(schedule.invert_step(eps, schedule.step(eps, z, i), i), z)


def test_true_noise_gives_back_the_clean_latent():
    z0, eps = latents().double(), latents(seed=1).double()
    assert_close(ddim(eps, .3**.5 * z0 + .7**.5 * eps, .3, 1.), z0)


def test_schedule_ends_without_noise_and_reads_well(tiny_model):
    schedule = tiny_model.schedule(5, 7.5, 'videodirector')
    assert schedule.timesteps == (999, 749, 500, 250, 0)
    assert schedule.next_alphas == (*schedule.alphas[1:], 1.)
    assert repr(schedule) == 'Schedule(5 steps, t = 999 … 0, videodirector guidance 7.5)'


@pytest.mark.parametrize('steps', [2, 7, 20, 50])
def test_leading_steps_equal_diffusers(tiny_model, steps):
    schedule, z, eps = tiny_model.schedule(steps, leading=True), latents(), latents(seed=1)
    down = DDIMScheduler(**SETTINGS, timestep_spacing='leading', steps_offset=1)
    down.set_timesteps(steps)
    assert down.timesteps.tolist() == list(schedule.timesteps)
    for i, t in enumerate(schedule.timesteps): assert_close(schedule.step(eps, z, i), down.step(eps, t, z).prev_sample)


def test_leading_steps_are_those_of_the_official_edit(tiny_model):
    plain, leading = (tiny_model.schedule(50, 7.5, 'videodirector', leading=x) for x in (False, True))
    assert plain == tiny_model.schedule(50, 7.5, 'videodirector')
    assert leading.timesteps == tuple(range(981, 0, -20)) and leading.next_alphas == (*leading.alphas[1:], 1.)
    late = [a - b for a, b in zip(plain.timesteps, leading.timesteps)]
    assert late[0] == 18 and late[-1] == -1 and late == sorted(late, reverse=True)
    assert [round(s.alphas[0]**.5, 4) for s in (plain, leading)] == [.0397, .0443]  # β of AnimateDiff's motion module
    with pytest.raises(ValueError, match='choose from 2 to 999'): tiny_model.schedule(1000, leading=True)


def test_steps_may_end_where_the_official_ones_do(tiny_model):
    schedule, abar = tiny_model.schedule(50, stride=True), tiny_model.scheduler.alphas_cumprod.double()
    assert schedule.timesteps == tiny_model.schedule(50).timesteps and schedule.next_alphas != tiny_model.schedule(50).next_alphas
    assert schedule.next_alphas == tuple(abar[t - 20].item() if t >= 20 else 1. for t in schedule.timesteps)
    assert tiny_model.schedule(50, leading=True, stride=True) == tiny_model.schedule(50, leading=True)  # where steps are even, both are one


def test_guidance_forms(tiny_model):
    c, u = latents(), latents(seed=1)
    standard = tiny_model.schedule(4, 4.)
    assert_close(standard.guide(c, u), u + 4 * (c - u))
    assert_close(tiny_model.schedule(4, 3., 'videodirector').guide(c, u), standard.guide(c, u))
    assert_close(tiny_model.schedule(4, 1.).guide(c, u), c)
    assert_close(tiny_model.schedule(4, 0., 'videodirector').guide(c, u), c)


def test_schedule_refuses_what_it_cannot_do(tiny_model):
    with pytest.raises(ValueError, match='steps is 1'): tiny_model.schedule(1)
    with pytest.raises(ValueError, match='steps is 1001'): tiny_model.schedule(1001)
    with pytest.raises(ValueError, match="cfg is 'odd'"): tiny_model.schedule(4, cfg='odd')
    tiny_model.scheduler.register_to_config(prediction_type='v_prediction')
    with pytest.raises(ValueError, match='v_prediction'): tiny_model.schedule(4)
