"Clips that are longer than the model sees together go through the whole method: windows all the way, and the same ones."
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from videodirector.attention.recording import Recording
from videodirector.base.run import Run
from videodirector.data.mask import Mask
from videodirector.methods.api import Clip
from videodirector.methods.motionclone import MotionClone
from videodirector.methods.videodirector import Inversion, edit, invert, reconstruct
from videodirector.parts.guidance import decoupled_guidance
from videodirector.parts.settings import STDG

SOURCE, TARGET = 'a brown bear walking on grass', 'a brown tiger walking on grass'
FRAMES, HEIGHT, WIDTH = 24, 16, 16
ALL = STDG(.3, .7, .2, 1.1, blocks=(('up_blocks.1', 20., 3.), ('up_blocks.2', 10., 5.)))


@pytest.fixture
def short(tiny_model): return tiny_model.in_windows(16, 4)


def clip(frames=FRAMES): return torch.rand(frames, 3, HEIGHT, WIDTH, generator=torch.manual_seed(0)) * 2 - 1


def sliding(frames=FRAMES):
    "A mask that is another in each frame."
    return Mask(torch.stack([torch.arange(WIDTH).expand(HEIGHT, -1) <= i * WIDTH // frames for i in range(frames)]))


def inverted(model, frames=FRAMES, **settings):
    return invert(model, clip(frames), SOURCE, sliding(frames), run=settings.pop('run', Run(False)), **dict(steps=3, inner_steps=1) | settings)


def test_the_same_prompt_gives_the_reconstruction(short):
    inversion = inverted(short)
    assert inversion.windows == [[0, 14], [10, 24]] and inversion.null.embeddings.shape[1] == FRAMES
    same = edit(short, inversion, SOURCE, run=Run(False))
    assert torch.equal(same.latents, reconstruct(short, inversion, Run(False)).latents) and len(same.video) == FRAMES
    assert_close(same.latents, inversion.null.latents, rtol=1e-3, atol=1e-4)  # where the tuning ended
    assert not torch.allclose(edit(short, inversion, TARGET, run=Run(False)).latents, same.latents, atol=1e-2)


def test_a_clip_that_fits_gives_what_it_ever_gave(tiny_model):
    whole, other = (inverted(model, stdg=ALL) for model in (tiny_model, tiny_model.in_windows(24, 9)))
    for a, b in ((whole.pivots, other.pivots), (whole.null.embeddings, other.null.embeddings), (whole.guidance.gradients, other.guidance.gradients)):
        assert torch.equal(a, b)
    assert whole.windows == other.windows == [[0, FRAMES]]
    assert torch.equal(*(edit(model, whole, TARGET, run=Run(False)).latents for model in (tiny_model, tiny_model.in_windows(24, 9))))


def test_everything_at_once_on_a_length_that_divides_by_nothing(short):
    record = Recording(('cross', 'temporal'), steps=1)
    made = edit(short, inverted(short, 23, stdg=ALL), TARGET, run=Run(False), record=record, blend=('bear', 'tiger'), recompute_guidance=True)
    assert made.latents.shape[2] == len(made.video) == 23 and made.video.isfinite().all()
    assert record.cross['tiger', 1].shape[0] == 23 and record.temporal('edit_cond').shape[2:] == (23, 23)


def test_windows_are_stored_and_asked_for(short, tiny_model, tmp_path):
    inversion = inverted(short)
    inversion.save(tmp_path / 'it.safetensors')
    loaded = Inversion.load(tmp_path / 'it.safetensors')
    assert loaded.windows == inversion.windows
    assert torch.equal(*(edit(short, x, TARGET, run=Run(False)).latents for x in (inversion, loaded)))
    with pytest.raises(ValueError, match='in windows of the frames 0–13, 10–23; edit in the same'): edit(tiny_model, loaded, TARGET)
    edit(tiny_model, replace(loaded, windows=None), TARGET, run=Run(False))  # of before this was written down
    for windows in ('x', [[0, 'a']], [3], {}):
        with pytest.raises(ValueError, match='windows cannot be that'): edit(short, replace(loaded, windows=windows), TARGET)


def test_kept_steps_belong_to_their_windows(short, tiny_model, tmp_path):
    first = inverted(short, run=Run(False, folder=tmp_path))
    assert torch.equal(inverted(short, run=Run(False, folder=tmp_path)).null.embeddings, first.null.embeddings)
    with pytest.raises(ValueError, match=r'other inputs \(windows\)'): inverted(tiny_model, run=Run(False, folder=tmp_path))


def test_each_window_is_guided_by_itself(short):
    make = torch.manual_seed(0)
    reference = torch.randn(1, 4, FRAMES, 2, 2, generator=make)
    latents, text, mask = reference + .3 * torch.randn(reference.shape, generator=make), short.embed(SOURCE), sliding()
    found = decoupled_guidance(short, ALL, reference, latents, 500, text, mask)
    windows = short.windows.at(FRAMES, 500)
    alone = [decoupled_guidance(short, ALL, window.of(reference, 2), window.of(latents, 2), 500, text, Mask(window.of(mask.values))) for window in windows]
    assert_close(found.eps, sum(window.weigh(pull.eps, 2) for window, pull in zip(windows, alone)))
    assert_close(found.gradient, sum(window.weigh(pull.gradient * len(window) / 16, 2) for window, pull in zip(windows, alone)))
    assert found.losses == {name: pytest.approx(sum(len(window) * pull.losses[name] for window, pull in zip(windows, alone)) / sum(map(len, windows)))
                            for name in alone[0].losses}


def test_motion_is_read_of_frames_that_are_seen_together(short):
    with pytest.raises(ValueError, match='has 24 frames and the motion is read of 1 to 16'): MotionClone().prepare(short, Clip(clip(), SOURCE))
