"Clicks on the command line: `mask` writes what they find, `edit` starts from it."
import json

import pytest
import torch
from conftest import make_tiny_pipe

from videodirector.app.cli import main
from videodirector.data.mask import read_mask, save_mask
from videodirector.data.video import read_video, write_video
from videodirector.methods.videodirector import Inversion
from videodirector.segment.follow import segment
from videodirector.segment.prompts import middle
from videodirector.world.scene import Scene


@pytest.fixture(scope='module')
def render(): return Scene('fox', 'meadow', 'right', accessory='scarf', seed=4).render(9)


@pytest.fixture(scope='module')
def film(render, tmp_path_factory):
    "A clip file of 9 frames, of which an edit of 4 takes 0, 2, 4 and 6, and a tiny random AnimateDiff model."
    folder = tmp_path_factory.mktemp('film')
    write_video(folder / 'clip.mp4', render.video)
    make_tiny_pipe().save_pretrained(folder / 'model')
    return folder


def test_the_command_writes_masks(film, render, tmp_path, capsys):
    out, (x, y) = tmp_path / 'masks', middle(render.mask.hard[0])
    assert main(['mask', str(film / 'clip.mp4'), '--point', f'{x},{y}', '--out', str(out), '--json']) == 0
    report = json.loads(capsys.readouterr().out)
    assert report['frames'] == 9 and report['size'] == [128, 128] and (out / 'mask.gif').exists()
    stored = read_mask(out, None, clip=film / 'clip.mp4')
    assert torch.equal(stored.hard, segment(read_video(film / 'clip.mp4', None), (x, y)).hard)


@pytest.mark.parametrize('flags, words', [
    (['--point', '500,5'], 'lies outside'), (['--point', '5,5', '--frame', '9'], 'not in the clip'), ([], 'Nothing says')])
def test_the_command_refuses(film, tmp_path, capsys, flags, words):
    assert main(['mask', str(film / 'clip.mp4'), *flags, '--out', str(tmp_path / 'none')]) == 2
    complaint = capsys.readouterr().err
    assert words in complaint and complaint.count('\n') == 1 and not (tmp_path / 'none').exists()


def test_an_edit_can_start_with_a_click(film, render, tmp_path, capsys):
    x, y = middle(render.mask.hard[2])
    words = ['edit', str(film / 'clip.mp4'), '--source', 'a bear', '--target', 'a tiger', '--model', str(film / 'model'),
             *'--frames 4 --steps 2 --inner-steps 1 --size 64x64 --quiet --out'.split(), str(tmp_path / 'out')]
    assert main([*words, '--point', f'{x},{y}', '--frame', '2']) == 0, capsys.readouterr().err
    clip = read_video(film / 'clip.mp4', 4, (64, 64))
    expected = segment(clip, points=((x + .5) / 2 - .5, (y + .5) / 2 - .5), frame=1)
    assert torch.equal(Inversion.load(tmp_path / 'out/inversion.safetensors').mask.values, expected.values)
    assert (tmp_path / 'out/mask.gif').exists()
    save_mask(render.mask, tmp_path / 'masks')
    again = [*words[:-1], str(tmp_path / 'again'), '--point', f'{x},{y}']
    for flags, complaint in ((['--frame', '3'], 'not among the edited ones'),
                             (['--mask', str(tmp_path / 'masks')], 'give one of them')):
        assert main([*again, *flags]) == 2 and complaint in capsys.readouterr().err
