"Clips as strips, as GIFs, in step."
import matplotlib.pyplot as plt
import pytest
import torch
from clips import moving_clip
from sentences import refuses

from videodirector.data.frames import ClipInfo, clip_info
from videodirector.data.video import read_video
from videodirector.metrics.pixels import psnr
from videodirector.show.clips import gif_bytes, show_frames, show_videos, side_by_side, write_gif

FRAMES, HEIGHT, WIDTH = 6, 32, 48


@pytest.fixture
def clip(): return moving_clip(FRAMES, HEIGHT, WIDTH)


def test_side_by_side_keeps_pixels_and_even_sides(clip):
    both = side_by_side({'left': clip, 'a title far too long for so narrow a clip': -clip})
    torch.testing.assert_close(both[..., -HEIGHT:, :WIDTH], clip)
    torch.testing.assert_close(both[..., -HEIGHT:, -WIDTH:], -clip)
    assert both.shape[2] % 2 == both.shape[3] % 2 == 0
    assert both[:, :, :-HEIGHT].lt(0).any(), 'no title drawn'


def test_clips_out_of_step_are_refused(clip):
    refuses('same number of frames', side_by_side, {'a': clip, 'b': clip[:3]})


def test_a_gif_is_read_back(tmp_path, clip):
    write_gif(tmp_path / 'clip.gif', clip, colours=256)
    back = read_video(tmp_path / 'clip.gif', FRAMES)
    assert back.shape == clip.shape and psnr(back, clip) > 30
    write_gif(tmp_path / 'odd.gif', clip[..., 1:])
    assert clip_info(tmp_path / 'odd.gif') == ClipInfo(FRAMES, HEIGHT, WIDTH - 1)
    write_gif(tmp_path / 'still.gif', clip[:1].expand(FRAMES, -1, -1, -1))
    assert clip_info(tmp_path / 'still.gif').frames == FRAMES


def test_a_folder_that_cannot_be_written_to(tmp_path, clip):
    (tmp_path / 'file').write_text('in the way')
    refuses('cannot be written .* another output folder', write_gif, tmp_path / 'file/x.gif', clip)


def test_the_palette_is_shared_so_that_still_pixels_do_not_flicker(tmp_path):
    still = moving_clip(1).repeat(FRAMES, 1, 1, 1)
    still[:, :, :8, :8] = moving_clip()[:, :, :8, :8]
    write_gif(tmp_path / 'x.gif', still, colours=16)
    frames = read_video(tmp_path / 'x.gif', None)
    assert frames[:, :, 8:].eq(frames[:1, :, 8:]).all()


def test_equal_clips_make_equal_bytes_and_fewer_colours_fewer(clip):
    assert gif_bytes(clip) == gif_bytes(clip) and len(gif_bytes(clip, colours=8)) < len(gif_bytes(clip))
    for colours in (1, 257): refuses('2 to 256 colours', gif_bytes, clip, colours=colours)


def test_a_gif_says_how_long_it_takes(clip):
    slow, fast = (gif_bytes(clip, fps) for fps in (2, 20))
    assert slow != fast and b'NETSCAPE2.0\x03\x01\x00\x00' in slow, 'it does not play for ever'


def test_show_videos_is_a_gif_that_notebooks_keep(clip):
    data, _ = show_videos({'a': clip, 'b': clip})._repr_mimebundle_()
    assert list(data) == ['image/png'] and data['image/png'].startswith('R0lGOD')  # base64 of 'GIF8'


def test_show_frames_draws_every_row(clip, monkeypatch):
    monkeypatch.setattr(plt, 'show', lambda: None)
    plt.switch_backend('agg')
    show_frames({'a': clip, 'b': clip[:3]}, n=4)
    axes = plt.gcf().axes
    assert len(axes) == 8 and [axes[0].get_ylabel(), axes[4].get_ylabel()] == ['a', 'b']
    assert [axis.get_title() for axis in axes[:4]] == ['frame 0', 'frame 2', 'frame 3', 'frame 5']
    plt.close('all')
    show_frames({'a': clip[:1], 'b': clip[:1], 'c': clip[:1]})
    assert [axis.get_title() for axis in plt.gcf().axes] == ['a', 'b', 'c']
    plt.close('all')
