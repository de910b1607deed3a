"Half precision: the embedded model inverts and edits without a number that is not finite, and as well as in float32."
import pytest
import torch

from videodirector.methods.videodirector import edit, invert
from videodirector.metrics.pixels import psnr
from videodirector.models.animatediff import load_world_model
from videodirector.parts.settings import STDG
from videodirector.world.pairs import demo_scenes

SOURCE, TARGET = demo_scenes(1004)


def rebuilt(render, device, dtype):
    "dB of the reconstruction; the edit is finite."
    model = load_world_model(device, dtype)
    inversion = invert(model, render.video, SOURCE.caption, render.mask, steps=4, inner_steps=1, stdg=STDG())
    assert torch.isfinite(edit(model, inversion, TARGET.caption).video).all()
    return psnr(model.decode(inversion.null.latents), render.video)


@pytest.mark.parametrize('device, dtype', [('cpu', torch.bfloat16), ('cuda', torch.bfloat16), ('cuda', torch.float16)])
def test_half_precision_rebuilds_as_well(device, dtype):  # float16 takes five times as long on a CPU
    if device == 'cuda' and not torch.cuda.is_available(): pytest.skip('no cuda here')
    render = SOURCE.render(2)
    assert rebuilt(render, device, dtype) == pytest.approx(rebuilt(render, device, torch.float32), abs=.3)
