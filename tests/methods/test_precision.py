"Half precision: the embedded model inverts and edits without a number that is not finite, and rebuilds as well as in float32."
from functools import cache

import pytest
import torch

from videodirector.base.run import Run
from videodirector.methods.videodirector import edit, invert
from videodirector.metrics.pixels import psnr
from videodirector.models.animatediff import load_world_model
from videodirector.parts.settings import STDG
from videodirector.world.pairs import demo_scenes

SOURCE, TARGET = demo_scenes(1004)
CPU = [('cpu', torch.bfloat16, None), ('cpu', torch.float16, STDG())]  # where float16 takes five times as long
CUDA = [('cuda', dtype, stdg) for dtype in (torch.bfloat16, torch.float16) for stdg in (None, STDG())]


@cache
def rebuilt(device, dtype, frames, stdg):
    "dB of the reconstruction; the edit is finite."
    render, model = SOURCE.render(frames), load_world_model(device, dtype)
    inversion = invert(model, render.video, SOURCE.caption, render.mask, run=Run(False), steps=4, inner_steps=1, stdg=stdg)
    assert torch.isfinite(edit(model, inversion, TARGET.caption, run=Run(False)).video).all()
    return psnr(model.decode(inversion.null.latents), render.video)


@pytest.mark.parametrize('device, dtype, stdg', CPU + CUDA)
def test_half_precision_rebuilds_as_well(device, dtype, stdg):
    if device == 'cuda' and not torch.cuda.is_available(): pytest.skip('no cuda here')
    frames = 1 if device == 'cpu' else 4
    found, exact = (rebuilt(device, x, frames, stdg) for x in (dtype, torch.float32))
    assert found == pytest.approx(exact, abs=.3)
