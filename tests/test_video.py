"Reading, writing, showing and comparing clips."
import re

import numpy as np
import pytest
import torch
from PIL import Image

from videodirector.base.store import atomic_path
from videodirector.data.mask import read_mask
from videodirector.data.video import (
    ClipInfo, clip_info, read_video, resize, sample_frames, to_bytes, to_video, write_video)
from videodirector.metrics.pixels import psnr
from videodirector.show.clips import gif_bytes, show_frames, show_videos, side_by_side, write_gif

FRAMES, HEIGHT, WIDTH = 6, 32, 48


def moving_clip(frames=FRAMES, height=HEIGHT, width=WIDTH):
    "Soft moving waves: smooth enough for a codec, different in every frame."
    t = torch.arange(frames).view(-1, 1, 1, 1) / frames
    y = torch.linspace(0, 1, height).view(1, 1, -1, 1)
    x = torch.linspace(0, 1, width).view(1, 1, 1, -1)
    phase = torch.tensor([0., 1, 2]).view(1, 3, 1, 1)
    return torch.sin(6 * (t + x) + phase) * torch.cos(3 * y + phase)


@pytest.fixture
def clip(): return moving_clip()


@pytest.fixture
def clip_file(tmp_path, clip):
    write_video(tmp_path / 'clip.mp4', clip)
    return tmp_path / 'clip.mp4'


def write_frames(folder, arrays):
    folder.mkdir()
    for i, array in enumerate(arrays): Image.fromarray(array).save(folder / f'{i}.png')
    return folder


def is_one_sentence(error) -> bool:
    text = str(error.value)
    return '\n' not in text and text.endswith('.') and not re.search(r'[.!?] [A-Z]', text)


# bytes

def test_bytes_round_trip_within_half_a_step(clip):
    assert (to_video(to_bytes(clip)) - clip).abs().max() <= 0.5 / 127.5 + 1e-6


def test_bytes_reach_the_ends_and_clip():
    video = torch.tensor([-2., -1, 0, 1, 2]).view(1, 1, 1, 5).expand(1, 3, 1, 5)
    assert to_bytes(video)[0, 0, :, 0].tolist() == [0, 0, 128, 255, 255]


@pytest.mark.parametrize('wrong', [
    torch.zeros(3, 8, 8), torch.zeros(2, 4, 8, 8), torch.zeros(2, 3, 8, 8).byte(), 'clip.mp4'])
def test_a_video_of_another_shape_is_refused(wrong):
    with pytest.raises(ValueError, match=r'\[frames, 3, height, width\]') as error: to_bytes(wrong)
    assert is_one_sentence(error)


# files

def test_mp4_round_trip(clip, clip_file):
    back = read_video(clip_file, FRAMES)
    assert back.shape == clip.shape and back.dtype == torch.float32
    assert psnr(back, clip) > 35
    assert clip_info(clip_file) == ClipInfo(FRAMES, HEIGHT, WIDTH)


def test_crf_trades_quality_for_size(tmp_path, clip, clip_file):
    write_video(tmp_path / 'bad.mp4', clip, crf=45)
    assert psnr(read_video(tmp_path / 'bad.mp4', None), clip) < psnr(read_video(clip_file, None), clip) - 3
    assert (tmp_path / 'bad.mp4').stat().st_size < clip_file.stat().st_size


def test_gif_round_trip(tmp_path, clip):
    write_gif(tmp_path / 'clip.gif', clip, colours=256)
    back = read_video(tmp_path / 'clip.gif', FRAMES)
    assert back.shape == clip.shape and psnr(back, clip) > 25


def test_folder_of_frames_is_exact_and_in_numeric_order(tmp_path):
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


def test_odd_sides_are_refused_for_mp4_only(tmp_path, clip):
    with pytest.raises(ValueError, match='32×47 .* even') as error: write_video(tmp_path / 'x.mp4', clip[..., 1:])
    assert is_one_sentence(error) and not list(tmp_path.iterdir())
    write_gif(tmp_path / 'x.gif', clip[..., 1:])
    assert clip_info(tmp_path / 'x.gif') == ClipInfo(FRAMES, 32, 47)


@pytest.mark.parametrize('write, name', [(write_video, 'x.mp4'), (write_gif, 'x.gif')])
def test_unwritable_folder(tmp_path, clip, write, name):
    (tmp_path / 'file').write_text('in the way')
    with pytest.raises(ValueError, match='cannot be written .* another output folder') as error:
        write(tmp_path / 'file' / name, clip)
    assert is_one_sentence(error)


def test_atomic_path_keeps_the_old_file_when_writing_fails(tmp_path):
    (tmp_path / 'x').write_text('old')
    with pytest.raises(RuntimeError), atomic_path(tmp_path / 'x') as temporary:
        temporary.write_text('half')
        raise RuntimeError
    assert (tmp_path / 'x').read_text() == 'old' and len(list(tmp_path.iterdir())) == 1


# sampling and sizes

@pytest.mark.parametrize('length, frames, expected', [(6, 6, [0, 1, 2, 3, 4, 5]), (7, 3, [0, 2, 4]), (11, 4, [0, 2, 4, 6])])
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


# errors of reading

def test_no_such_clip(tmp_path):
    with pytest.raises(FileNotFoundError, match='no clip at .*gone.mp4') as error: read_video(tmp_path / 'gone.mp4')
    assert is_one_sentence(error)


@pytest.mark.parametrize('name, content', [
    ('a.mp4', b'hello'), ('a.txt', b'hello ' * 99), ('a.gif', b''), ('a.mp4', bytes(5000))])
def test_not_a_video(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=f'{name}.* is not a clip') as error: read_video(tmp_path / name)
    assert is_one_sentence(error)


def test_truncated_video(tmp_path, clip_file):
    (tmp_path / 'half.mp4').write_bytes(clip_file.read_bytes()[:400])
    with pytest.raises(ValueError, match='not a clip'): read_video(tmp_path / 'half.mp4')


def test_folder_without_frames(tmp_path):
    with pytest.raises(ValueError, match='holds no frames') as error: read_video(tmp_path)
    assert is_one_sentence(error)


def test_folder_with_a_broken_frame(tmp_path, clip):
    folder = write_frames(tmp_path / 'frames', to_bytes(clip))
    (folder / '3.png').write_text('not a png')
    with pytest.raises(ValueError, match='not a clip'): read_video(folder, 2)


def test_frames_of_different_sizes(tmp_path, clip):
    folder = write_frames(tmp_path / 'frames', to_bytes(clip))
    Image.new('RGB', (9, 9)).save(folder / '9.png')
    with pytest.raises(ValueError, match='must be of one size') as error: read_video(folder, 2)
    assert is_one_sentence(error)


@pytest.mark.parametrize('frames, message', [
    (7, 'has 6 frames and 7 were asked for; ask for at most 6'), (-1, 'At least 1 frame')])
def test_wrong_number_of_frames(clip_file, frames, message):
    with pytest.raises(ValueError, match=message) as error: read_video(clip_file, frames)
    assert is_one_sentence(error)


# masks

@pytest.fixture
def mask():
    mask = torch.zeros(FRAMES, HEIGHT, WIDTH, dtype=torch.bool)
    for i in range(FRAMES): mask[i, 8:24, 4 + 2 * i:20 + 2 * i] = True
    return mask


def store(mask, tmp_path, kind):
    array = mask.numpy()
    if kind == 'pictures': return write_frames(tmp_path / 'mask', array.astype(np.uint8) * 255)
    path = tmp_path / f'mask.{kind}'
    if kind == 'npz': np.savez(path, array)
    elif kind == 'npy': np.save(path, array.astype(np.uint8) * 255)
    else: write_video(path, mask[:, None].expand(-1, 3, -1, -1) * 2. - 1)
    return path


@pytest.mark.parametrize('kind', ['pictures', 'npz', 'npy', 'mp4'])
def test_mask_round_trip(tmp_path, clip_file, mask, kind):
    back = read_mask(store(mask, tmp_path, kind), FRAMES, clip=clip_file)
    assert back.dtype == torch.bool and torch.equal(back, mask)


def test_mask_is_sampled_and_resized_like_its_clip(tmp_path, clip_file, mask):
    back = read_mask(store(mask, tmp_path, 'npz'), 3, (16, 24), clip=clip_file)
    assert torch.equal(back, mask[[0, 2, 4], ::2, ::2])


def test_mask_may_be_a_larger_picture_of_the_same_shape(tmp_path, clip_file, mask):
    large = mask.repeat_interleave(2, 1).repeat_interleave(2, 2)
    assert torch.equal(read_mask(store(large, tmp_path, 'npz'), FRAMES, (HEIGHT, WIDTH), clip=clip_file), mask)


@pytest.mark.parametrize('change, message', [
    (lambda mask: mask[:5], 'has 5 frames, its clip 6'),
    (lambda mask: mask[:, :30], 'is 30×48 and its clip 32×48; they must have the same size'),
    (lambda mask: mask & False, 'is empty'),
    (lambda mask: mask[0], r'must be \[frames, height, width\]'),
])
def test_mask_that_does_not_fit(tmp_path, clip_file, mask, change, message):
    with pytest.raises(ValueError, match=message) as error:
        read_mask(store(change(mask), tmp_path, 'npz'), 3, clip=clip_file)
    assert is_one_sentence(error)


def test_no_such_mask(tmp_path):
    with pytest.raises(FileNotFoundError, match='no mask at') as error: read_mask(tmp_path / 'gone')
    assert is_one_sentence(error)


@pytest.mark.parametrize('content', [b'', b'nonsense'])
def test_broken_mask_file(tmp_path, content):
    (tmp_path / 'm.npz').write_bytes(content)
    with pytest.raises(ValueError, match='holds no array') as error: read_mask(tmp_path / 'm.npz')
    assert is_one_sentence(error)


def test_a_pickled_mask_is_not_loaded(tmp_path):
    np.save(tmp_path / 'm.npy', np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match='holds no array'): read_mask(tmp_path / 'm.npy')


# psnr

def test_psnr_is_the_textbook_formula(clip):
    other = (clip + 0.1).clamp(-1, 1)
    a, b = [(x.double().numpy() + 1) / 2 for x in (clip, other)]
    assert psnr(clip, other) == pytest.approx(10 * np.log10(1 / ((a - b) ** 2).mean()), abs=1e-4)


def test_psnr_of_equal_clips_is_infinite(clip): assert psnr(clip, clip) == float('inf')


def test_psnr_looks_at_the_mask_only(clip, mask):
    changed = torch.where(mask[:, None], clip + 0.2, clip)
    assert psnr(clip, changed, ~mask) == float('inf')
    assert psnr(clip, changed, mask) == pytest.approx(10 * np.log10(4 / 0.04), abs=1e-3)


@pytest.mark.parametrize('wrong, message', [
    (torch.zeros(FRAMES, HEIGHT, WIDTH), 'bool'), (torch.ones(FRAMES, 8, 8).bool(), 'bool'),
    (torch.zeros(FRAMES, HEIGHT, WIDTH).bool(), 'empty'),
])
def test_psnr_refuses_masks_that_do_not_fit(clip, wrong, message):
    with pytest.raises(ValueError, match=message): psnr(clip, clip, wrong)


def test_psnr_refuses_other_shapes(clip):
    with pytest.raises(ValueError, match='one shape') as error: psnr(clip, clip[:3])
    assert is_one_sentence(error)


# showing

def test_side_by_side_keeps_pixels_and_even_sides(clip):
    both = side_by_side({'left': clip, 'a title far too long for so narrow a clip': -clip})
    torch.testing.assert_close(both[..., -HEIGHT:, :WIDTH], clip)
    torch.testing.assert_close(both[..., -HEIGHT:, -WIDTH:], -clip)
    assert both.shape[2] % 2 == both.shape[3] % 2 == 0
    assert both[:, :, :-HEIGHT].lt(0).any(), 'no title drawn'


def test_side_by_side_refuses_clips_out_of_step(clip):
    with pytest.raises(ValueError, match='same number of frames') as error: side_by_side({'a': clip, 'b': clip[:3]})
    assert is_one_sentence(error)


def test_gif_palette_is_shared_so_that_still_pixels_do_not_flicker(tmp_path):
    still = moving_clip(1).repeat(FRAMES, 1, 1, 1)
    still[:, :, :8, :8] = moving_clip()[:, :, :8, :8]
    write_gif(tmp_path / 'x.gif', still, colours=16)
    frames = read_video(tmp_path / 'x.gif', None)
    assert frames[:, :, 8:].eq(frames[:1, :, 8:]).all()


def test_fewer_colours_make_a_smaller_gif(clip):
    assert len(gif_bytes(clip, colours=8)) < len(gif_bytes(clip, colours=128))


def test_show_videos_is_a_gif_that_notebooks_keep(clip):
    data, _ = show_videos({'a': clip, 'b': clip})._repr_mimebundle_()
    assert list(data) == ['image/png'] and data['image/png'].startswith('R0lGOD')  # base64 of "GIF8"


def test_show_frames_draws_every_row(clip, monkeypatch):
    import matplotlib.pyplot as plt
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
