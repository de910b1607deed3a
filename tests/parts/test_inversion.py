"Up to the noise and back: the definition, guidance in all its shapes, a loud stop at the first bad number."
import pytest
import torch
from torch.testing import assert_close

from videodirector.parts.inversion import invert_ddim, per_frame, sample_ddim


def latents(frames=3, h=4, w=6, seed=0): return torch.randn(1, 4, frames, h, w, generator=torch.manual_seed(seed))


def test_pivots_follow_the_definition(tiny_model):
    schedule, z, text = tiny_model.schedule(3), latents(), tiny_model.embed('a bear')
    pivots = invert_ddim(tiny_model, z, text, schedule)
    assert pivots.shape == (4, 4, 3, 4, 6) and pivots.dtype == torch.float32
    assert torch.equal(pivots[:1], z)
    with torch.no_grad():
        for k, (t, i) in enumerate([(0, 2), (schedule.timesteps[1], 1), (999, 0)]):
            eps = tiny_model.unet(pivots[k:k + 1], t, encoder_hidden_states=text.repeat(3, 1, 1)).sample
            assert_close(pivots[k + 1:k + 2], schedule.invert_step(eps, pivots[k:k + 1], i))


def test_round_trip_improves_with_steps(tiny_model):
    z, text = latents(), tiny_model.embed('a bear')
    def error(steps):
        s = tiny_model.schedule(steps)
        noise = invert_ddim(tiny_model, z, text, s)[-1:]
        return (sample_ddim(tiny_model, noise, text, None, s) - z).square().mean()
    assert error(24) < error(4)


def test_null_text_in_all_its_shapes(tiny_model):
    s, z = tiny_model.schedule(3, 4.), latents()
    text, empty = tiny_model.embed('a bear'), tiny_model.embed('')
    def sample(null): return sample_ddim(tiny_model, z, text, null, s)
    once = sample(empty)
    for same in (empty.expand(3, -1, -1), empty.expand(3, 1, -1, -1), empty.expand(3, 3, -1, -1)): assert_close(sample(same), once)
    assert not torch.equal(sample(empty + .1), once)
    assert_close(sample(text), sample_ddim(tiny_model, z, text, None, s), atol=1e-4, rtol=1e-4)


def test_path_holds_every_latent(tiny_model):
    s, z, text = tiny_model.schedule(3), latents(), tiny_model.embed('a bear')
    path = sample_ddim(tiny_model, z, text, None, s, path=True)
    assert path.shape == (4, 4, 3, 4, 6) and torch.equal(path[:1], z)
    assert torch.equal(path[-1:], sample_ddim(tiny_model, z, text, None, s))


def test_bad_numbers_stop_with_the_step(tiny_model):
    s, text = tiny_model.schedule(3), tiny_model.embed('a bear')
    bad = torch.full((1, 4, 2, 2, 2), float('nan'))
    with pytest.raises(FloatingPointError, match='t = 0'): invert_ddim(tiny_model, bad, text, s)
    with pytest.raises(FloatingPointError, match='sampling step 0'): sample_ddim(tiny_model, bad, text, None, s)


def test_per_frame_text():
    assert per_frame(torch.zeros(1, 5, 2), 3).shape == per_frame(torch.zeros(3, 5, 2), 3).shape == (1, 3, 5, 2)
    with pytest.raises(ValueError, match='2 embeddings were given for 3 frames'): per_frame(torch.zeros(2, 5, 2), 3)
