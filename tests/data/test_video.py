"Reading and writing clips."
import numpy as np
import pytest
import torch
from clips import moving_clip, write_frames
from PIL import Image
from sentences import refuses

from videodirector.data.frames import ClipInfo, clip_info
from videodirector.data.video import read_video, resize, sample_frames, to_bytes, to_video, write_video
from videodirector.metrics.pixels import psnr

FRAMES, HEIGHT, WIDTH = 6, 32, 48


@pytest.fixture
def clip(): return moving_clip(FRAMES, HEIGHT, WIDTH)


@pytest.fixture
def clip_file(tmp_path, clip):
    write_video(tmp_path / 'clip.mp4', clip)
    return tmp_path / 'clip.mp4'


def test_bytes_round_trip_within_half_a_step(clip):
    assert (to_video(to_bytes(clip)) - clip).abs().max() <= 0.5 / 127.5 + 1e-6


def test_bytes_reach_the_ends_and_clip():
    video = torch.tensor([-2., -1, 0, 1, 2]).view(1, 1, 1, 5).expand(1, 3, 1, 5)
    assert to_bytes(video)[0, 0, :, 0].tolist() == [0, 0, 128, 255, 255]


@pytest.mark.parametrize('wrong', [
    torch.zeros(3, 8, 8), torch.zeros(2, 4, 8, 8), torch.zeros(2, 3, 8, 8).byte()])
def test_a_video_of_another_shape_is_refused(wrong): refuses(r'\[frames, 3, height, width\]', to_bytes, wrong)


def test_mp4_round_trip(clip, clip_file):
    back = read_video(clip_file, FRAMES)
    assert back.shape == clip.shape and back.dtype == torch.float32
    assert psnr(back, clip) > 35
    assert clip_info(clip_file) == ClipInfo(FRAMES, HEIGHT, WIDTH)


def test_crf_trades_quality_for_size(tmp_path, clip, clip_file):
    write_video(tmp_path / 'bad.mp4', clip, crf=45)
    assert psnr(read_video(tmp_path / 'bad.mp4', None), clip) < psnr(read_video(clip_file, None), clip) - 3
    assert (tmp_path / 'bad.mp4').stat().st_size < clip_file.stat().st_size


def test_a_folder_of_frames_is_exact_and_in_numeric_order(tmp_path):
    clip = moving_clip(12)
    folder = write_frames(tmp_path / 'frames', to_bytes(clip))
    (folder / 'notes.txt').write_text('not a frame')
    torch.testing.assert_close(read_video(folder, 12), to_video(to_bytes(clip)))


def test_grey_and_transparent_frames_are_read_as_rgb(tmp_path):
    (tmp_path / 'f').mkdir()
    Image.new('L', (4, 2), 255).save(tmp_path / 'f/0.png')
    Image.new('RGBA', (4, 2), (255, 255, 255, 0)).save(tmp_path / 'f/1.png')
    assert read_video(tmp_path / 'f', 2).eq(1).all()


def test_write_video_makes_missing_folders_and_leaves_nothing_else(tmp_path, clip):
    write_video(tmp_path / 'a/b/clip.mp4', clip)
    assert [file.name for file in (tmp_path / 'a/b').iterdir()] == ['clip.mp4']


def test_odd_sides_are_refused(tmp_path, clip):
    refuses('32×47 .* even', write_video, tmp_path / 'x.mp4', clip[..., 1:])
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_to(tmp_path, clip):
    (tmp_path / 'file').write_text('in the way')
    refuses('cannot be written .* another output folder', write_video, tmp_path / 'file/x.mp4', clip)


@pytest.mark.parametrize('length, frames, expected', [
    (6, 6, [0, 1, 2, 3, 4, 5]), (7, 3, [0, 2, 4]), (11, 4, [0, 2, 4, 6])])
def test_sampling_takes_the_first_frames_at_whole_stride(length, frames, expected):
    assert list(sample_frames(length, frames)) == expected


def test_read_video_samples_and_resizes(tmp_path):
    clip = moving_clip(9)
    folder = write_frames(tmp_path / 'frames', to_bytes(clip))
    torch.testing.assert_close(read_video(folder, 4), to_video(to_bytes(clip))[[0, 2, 4, 6]])
    assert read_video(folder, 4, (16, 40)).shape == (4, 3, 16, 40)


def test_resize_averages_what_it_drops():
    checkers = (torch.arange(8)[:, None] + torch.arange(8)) % 2 * 2. - 1
    assert resize(checkers.expand(1, 3, 8, 8), (2, 2)).abs().max() < 0.1


def test_no_such_clip(tmp_path):
    refuses('no clip at .*gone.mp4', read_video, tmp_path / 'gone.mp4', error=FileNotFoundError)


@pytest.mark.parametrize('name, content', [
    ('a.mp4', b'hello'), ('a.txt', b'hello ' * 99), ('a.gif', b''), ('a.mp4', bytes(5000))])
def test_not_a_video(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    refuses(f'{name}.* is not a clip', read_video, tmp_path / name)


def test_a_truncated_video(tmp_path, clip_file):
    (tmp_path / 'half.mp4').write_bytes(clip_file.read_bytes()[:400])
    refuses('not a clip', read_video, tmp_path / 'half.mp4')


def test_a_folder_without_frames(tmp_path): refuses('holds no frames', read_video, tmp_path)


def test_a_folder_with_a_broken_frame(tmp_path, clip):
    folder = write_frames(tmp_path / 'frames', to_bytes(clip))
    (folder / '3.png').write_text('not a png')
    refuses(r'3\.png.* cannot be read', read_video, folder, 2)


def test_frames_of_different_sizes(tmp_path, clip):
    folder = write_frames(tmp_path / 'frames', to_bytes(clip))
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(folder / '9.png')
    refuses('must be of one size', read_video, folder, 2)


@pytest.mark.parametrize('frames, message', [
    (7, 'has 6 frames and 7 were asked for; ask for at most 6'), (-1, 'At least 1 frame')])
def test_a_wrong_number_of_frames(clip_file, frames, message): refuses(message, read_video, clip_file, frames)
