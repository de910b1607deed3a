"DDIM by hand: equal to diffusers, its own inverse, and a loud stop at the first bad number."
import pytest
import torch
from diffusers import DDIMInverseScheduler, DDIMScheduler
from torch.testing import assert_close

from videodirector.inversion import Schedule, ddim, invert_ddim, per_frame, sample_ddim
from videodirector.models import encode_prompt

SETTINGS = dict(beta_start=.00085, beta_end=.012, beta_schedule='linear', clip_sample=False, set_alpha_to_one=True)


def latents(frames=3, h=4, w=6, seed=0): return torch.randn(1, 4, frames, h, w, generator=torch.manual_seed(seed))


def set_stride(scheduler, stride):
    "diffusers steps by num_train_timesteps // num_inference_steps; give it the stride of the next step."
    scheduler.num_inference_steps = 1000
    scheduler.register_to_config(num_train_timesteps=1000 * stride)


@pytest.mark.parametrize('steps', [2, 7, 20, 50])
def test_steps_equal_diffusers(tiny_pipe, steps):
    schedule = Schedule.of(tiny_pipe, steps)
    down, up = DDIMScheduler(**SETTINGS, timestep_spacing='linspace'), DDIMInverseScheduler(**SETTINGS)
    down.set_timesteps(steps)
    assert down.timesteps.tolist() == list(schedule.timesteps)
    z, eps = latents(), latents(seed=1)
    for i, (t, s) in enumerate(zip(schedule.timesteps, [*schedule.timesteps[1:], -1])):
        set_stride(down, t - s), set_stride(up, t - s)
        assert_close(schedule.step(eps, z, i), down.step(eps, t, z).prev_sample)
        assert_close(schedule.invert_step(eps, z, i), up.step(eps, t, z).prev_sample)


def test_step_and_its_inverse_cancel(tiny_pipe):
    schedule, z, eps = Schedule.of(tiny_pipe, 6), latents().double(), latents(seed=1).double()
    for i in range(6): assert_close(schedule.invert_step(eps, schedule.step(eps, z, i), i), z)


def test_true_noise_gives_back_the_clean_latent():
    z0, eps = latents().double(), latents(seed=1).double()
    assert_close(ddim(eps, .3**.5 * z0 + .7**.5 * eps, .3, 1.), z0)


def test_schedule_ends_without_noise_and_reads_well(tiny_pipe):
    schedule = Schedule.of(tiny_pipe, 5, 7.5, 'videodirector')
    assert schedule.timesteps == (999, 749, 500, 250, 0)
    assert schedule.next_alphas == (*schedule.alphas[1:], 1.)
    assert repr(schedule) == 'Schedule(5 steps, t = 999 … 0, videodirector guidance 7.5)'


@pytest.mark.parametrize('steps', [2, 7, 20, 50])
def test_leading_steps_equal_diffusers(tiny_pipe, steps):
    schedule, z, eps = Schedule.of(tiny_pipe, steps, leading=True), latents(), latents(seed=1)
    down = DDIMScheduler(**SETTINGS, timestep_spacing='leading', steps_offset=1)
    down.set_timesteps(steps)
    assert down.timesteps.tolist() == list(schedule.timesteps)
    for i, t in enumerate(schedule.timesteps): assert_close(schedule.step(eps, z, i), down.step(eps, t, z).prev_sample)


def test_leading_steps_are_those_of_the_official_edit(tiny_pipe):
    plain, leading = (Schedule.of(tiny_pipe, 50, 7.5, 'videodirector', leading=x) for x in (False, True))
    assert plain == Schedule.of(tiny_pipe, 50, 7.5, 'videodirector')
    assert leading.timesteps == tuple(range(981, 0, -20)) and leading.next_alphas == (*leading.alphas[1:], 1.)
    late = [a - b for a, b in zip(plain.timesteps, leading.timesteps)]
    assert late[0] == 18 and late[-1] == -1 and late == sorted(late, reverse=True)
    assert [round(s.alphas[0]**.5, 4) for s in (plain, leading)] == [.0397, .0443]  # β of AnimateDiff's motion module
    with pytest.raises(ValueError, match='choose from 2 to 999'): Schedule.of(tiny_pipe, 1000, leading=True)


def test_guidance_forms(tiny_pipe):
    c, u = latents(), latents(seed=1)
    standard = Schedule.of(tiny_pipe, 4, 4.)
    assert_close(standard.guide(c, u), u + 4 * (c - u))
    assert_close(Schedule.of(tiny_pipe, 4, 3., 'videodirector').guide(c, u), standard.guide(c, u))
    assert_close(Schedule.of(tiny_pipe, 4, 1.).guide(c, u), c)
    assert_close(Schedule.of(tiny_pipe, 4, 0., 'videodirector').guide(c, u), c)


def test_schedule_refuses_what_it_cannot_do(tiny_pipe):
    with pytest.raises(ValueError, match='steps is 1'): Schedule.of(tiny_pipe, 1)
    with pytest.raises(ValueError, match='steps is 1001'): Schedule.of(tiny_pipe, 1001)
    with pytest.raises(ValueError, match="cfg is 'odd'"): Schedule.of(tiny_pipe, 4, cfg='odd')
    tiny_pipe.scheduler.register_to_config(prediction_type='v_prediction')
    with pytest.raises(ValueError, match='v_prediction'): Schedule.of(tiny_pipe, 4)


def test_pivots_follow_the_definition(tiny_pipe):
    schedule, z, text = Schedule.of(tiny_pipe, 3), latents(), encode_prompt(tiny_pipe, 'a bear')
    pivots = invert_ddim(tiny_pipe, z, text, schedule, progress=False)
    assert pivots.shape == (4, 4, 3, 4, 6) and pivots.dtype == torch.float32
    assert torch.equal(pivots[:1], z)
    with torch.no_grad():
        for k, (t, i) in enumerate([(0, 2), (schedule.timesteps[1], 1), (999, 0)]):
            eps = tiny_pipe.unet(pivots[k:k + 1], t, encoder_hidden_states=text.repeat(3, 1, 1)).sample
            assert_close(pivots[k + 1:k + 2], schedule.invert_step(eps, pivots[k:k + 1], i))


def test_round_trip_improves_with_steps(tiny_pipe):
    z, text = latents(), encode_prompt(tiny_pipe, 'a bear')
    def error(steps):
        s = Schedule.of(tiny_pipe, steps)
        noise = invert_ddim(tiny_pipe, z, text, s, progress=False)[-1:]
        return (sample_ddim(tiny_pipe, noise, text, None, s, progress=False) - z).square().mean()
    assert error(24) < error(4)


def test_null_text_in_all_its_shapes(tiny_pipe):
    s, z = Schedule.of(tiny_pipe, 3, 4.), latents()
    text, empty = encode_prompt(tiny_pipe, 'a bear'), encode_prompt(tiny_pipe, '')
    def sample(null): return sample_ddim(tiny_pipe, z, text, null, s, progress=False)
    once = sample(empty)
    for same in (empty.expand(3, -1, -1), empty.expand(3, 1, -1, -1), empty.expand(3, 3, -1, -1)): assert_close(sample(same), once)
    assert not torch.equal(sample(empty + .1), once)
    assert_close(sample(text), sample_ddim(tiny_pipe, z, text, None, s, progress=False), atol=1e-4, rtol=1e-4)


def test_path_holds_every_latent(tiny_pipe):
    s, z, text = Schedule.of(tiny_pipe, 3), latents(), encode_prompt(tiny_pipe, 'a bear')
    path = sample_ddim(tiny_pipe, z, text, None, s, progress=False, path=True)
    assert path.shape == (4, 4, 3, 4, 6) and torch.equal(path[:1], z)
    assert torch.equal(path[-1:], sample_ddim(tiny_pipe, z, text, None, s, progress=False))


def test_bad_numbers_stop_with_the_step(tiny_pipe):
    s, text = Schedule.of(tiny_pipe, 3), encode_prompt(tiny_pipe, 'a bear')
    bad = torch.full((1, 4, 2, 2, 2), float('nan'))
    with pytest.raises(FloatingPointError, match='t = 0'): invert_ddim(tiny_pipe, bad, text, s, progress=False)
    with pytest.raises(FloatingPointError, match='sampling step 0'): sample_ddim(tiny_pipe, bad, text, None, s, progress=False)


def test_per_frame_text():
    assert per_frame(torch.zeros(1, 5, 2), 3).shape == per_frame(torch.zeros(3, 5, 2), 3).shape == (1, 3, 5, 2)
    with pytest.raises(ValueError, match='2 embeddings were given for 3 frames'): per_frame(torch.zeros(2, 5, 2), 3)
