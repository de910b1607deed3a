"A tiny model in the place of a real one, a clip on disk, and the command `edit` on them."
import numpy as np
import pytest
import torch
from conftest import make_tiny_model

from videodirector.app import jobs
from videodirector.app.cli import main
from videodirector.data.video import write_video

SOURCE, TARGET = 'a bear walking', 'a tiger walking'


@pytest.fixture(scope='module')
def tiny():
    "A tiny random model, for all tests of a file."
    return make_tiny_model()


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
def run(tiny, clip, tmp_path, capsys, monkeypatch):
    "Runs `videodirector edit` on the tiny model; returns exit code, stdout, stderr. Keywords change or (None) drop options."
    real = jobs.load_model
    monkeypatch.setattr(jobs, 'load_model', lambda args: real(args) if args.device or args.model != 'tiny' else (tiny, None))
    def run(*flags, video=clip, **changes):
        options = dict(source=SOURCE, target=TARGET, model='tiny', steps=2, inner_steps=1, frames=4, size='32x48',
                       out=tmp_path / 'out') | changes
        words = [word for name, value in options.items() if value is not None
                 for word in ('--' + name.replace('_', '-'), str(value))]
        capsys.readouterr()
        try: code = main(['edit', str(video), *words, '--quiet', *flags])
        except SystemExit as exit: code = exit.code  # argparse
        return code, *capsys.readouterr()
    return run
