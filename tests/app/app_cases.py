"A tiny model and a clip on disk, and the command `edit` on them."
import numpy as np
import pytest
import torch
from conftest import make_tiny_pipe

from videodirector.app.cli import main
from videodirector.data.video import write_video


SOURCE, TARGET = 'a bear walking', 'a tiger walking'


@pytest.fixture(scope='module')
def model(tmp_path_factory):
    "A tiny random AnimateDiff model on disk."
    folder = tmp_path_factory.mktemp('model')
    make_tiny_pipe().save_pretrained(folder)
    return folder


@pytest.fixture(scope='module')
def clip(tmp_path_factory):
    "A clip file of 30 frames, 32×48, and its mask as an npz."
    folder = tmp_path_factory.mktemp('clip')
    t, y, x = torch.meshgrid(torch.arange(30) / 30, torch.arange(32) / 32, torch.arange(48) / 48, indexing='ij')
    waves = torch.stack([torch.sin(6 * (t + x) + i) * torch.cos(4 * y + i) for i in range(3)], dim=1)
    write_video(folder / 'clip.mp4', waves)
    np.savez(folder / 'mask.npz', ((x - t) ** 2 + (y - .5) ** 2 < .1).numpy())
    return folder / 'clip.mp4'


@pytest.fixture
def run(model, clip, tmp_path, capsys):
    "Runs `videodirector edit` on the tiny model; returns exit code, stdout, stderr. Keywords change or (None) drop options."
    def run(*flags, video=clip, **changes):
        options = dict(source=SOURCE, target=TARGET, model=model, steps=2, inner_steps=1, frames=4, size='32x48',
                       out=tmp_path / 'out') | changes
        words = [word for name, value in options.items() if value is not None
                 for word in ('--' + name.replace('_', '-'), str(value))]
        capsys.readouterr()
        code = main(['edit', str(video), *words, '--quiet', *flags])
        return code, *capsys.readouterr()
    return run
