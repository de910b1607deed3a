"The mask as a value, at the door, and in files."
import io

import numpy as np
import pytest
import torch
from clips import moving_clip, moving_disc, moving_mask, write_frames
from PIL import Image
from sentences import refuses

import videodirector.data.mask_files as module
from videodirector.data.mask import Mask, as_mask, check_mask, iou, read_mask, save_mask
from videodirector.data.regions import feather
from videodirector.data.video import resize, to_bytes, write_video

FRAMES, HEIGHT, WIDTH = 6, 32, 48
VIDEO = (FRAMES, 3, HEIGHT, WIDTH)


@pytest.fixture(scope='module')
def disc(): return Mask(moving_disc())


@pytest.fixture
def mask(): return moving_mask(FRAMES, HEIGHT, WIDTH)


def test_a_mask_knows_what_it_covers(disc):
    assert repr(disc) == 'Mask(3 frames of 40×60, hard, 13.2% covered, within x 10–41, y 8–29)'
    assert disc.boxes[0] == (10, 8, 31, 29) and disc.hard.dtype == torch.bool
    assert torch.equal((~disc).values, 1 - disc.values) and not disc.is_soft
    assert torch.equal((disc | ~disc).values, torch.ones(3, 40, 60)) and not (disc & ~disc).values.any()
    nothing = Mask(torch.zeros(1, 4, 4))
    assert nothing.boxes == [None] and repr(nothing) == 'Mask(1 frames of 4×4, hard, nothing is covered)'


@pytest.mark.parametrize('values, words', [
    (torch.zeros(4, 4), r'\[frames, height, width\]'), (torch.zeros(0, 4, 4), r'this is \[0, 4, 4\]'),
    (torch.full((1, 4, 4), 2.), '0…1'), (torch.full((1, 4, 4), float('nan')), '0…1')])
def test_a_mask_refuses_what_is_none(values, words): refuses(words, Mask, values)


def test_masks_of_two_sizes_cannot_be_joined(disc):
    refuses('3×40×60 and 3×40×61 cannot be joined', disc.__or__, Mask(torch.zeros(3, 40, 61)))


def test_a_grid_holds_the_covered_share_and_needs_no_square(disc):
    for size in ((20, 30), (5, 6), (8, 12)):
        assert disc.at(*size).mean((1, 2)) == pytest.approx(disc.area, abs=1e-5)
    by_hand = disc.values.unflatten(1, (5, 8)).unflatten(3, (6, 10)).mean((2, 4))
    torch.testing.assert_close(disc.at(5, 6), by_hand)
    assert disc.at(7, 13).shape == (3, 7, 13) and disc.at(7, 13).dtype == torch.float32
    assert torch.equal(disc.at(40, 60), disc.values)


def test_a_grid_can_take_the_nearest_pixel(disc):
    near = Mask(disc.values, nearest=True)
    expected = disc.values[:, torch.arange(6) * disc.values.shape[1] // 6][..., torch.arange(5) * disc.values.shape[2] // 5]
    assert torch.equal(near.at(6, 5), expected) and not torch.equal(near.at(6, 5), disc.at(6, 5))
    for made in (~near, near | near, near & near): assert made.nearest
    assert torch.equal((~near).at(6, 5), 1 - expected)


def test_another_size_keeps_the_area(disc):
    assert disc.resized(80, 120).area == pytest.approx(disc.area, rel=.01)
    assert disc.resized(20, 30).is_soft and torch.equal(disc.resized(40, 60).values, disc.values)


def test_iou(disc):
    shifted = Mask(disc.values.roll(5, 2))
    both = (disc.hard & shifted.hard).sum((1, 2)) / (disc.hard | shifted.hard).sum((1, 2))
    assert torch.equal(iou(disc, disc), torch.ones(3)) and torch.equal(iou(disc, shifted), both)
    assert iou(Mask(torch.zeros(1, 4, 4)), Mask(torch.zeros(1, 4, 4))).item() == 1


def test_booleans_become_masks(disc):
    assert as_mask(None) is None and as_mask(disc) is disc
    for given in (disc.hard, disc.hard.numpy()): assert torch.equal(as_mask(given).values, disc.values)


@pytest.mark.parametrize('wrong, words', [
    (torch.zeros(3, 4, 4), r'torch.float32 of shape \[3, 4, 4\]'), (torch.zeros(4, 4) > 0, r'torch.bool of shape \[4, 4\]'),
    (np.zeros((3, 4, 4), np.uint8), r'uint8 of shape \[3, 4, 4\]')])
def test_nothing_else_does(wrong, words): refuses(words + '; give booleans', as_mask, wrong)


@pytest.mark.parametrize('change, words', [
    (lambda mask: mask[:2], 'has 2 frames and the clip 6'), (lambda mask: mask[:, :, :32], 'is 32×32 and the clip 32×48'),
    (lambda mask: mask & False, 'is empty in every frame'), (lambda mask: Mask(mask * .4), 'is empty in every frame')])
def test_a_mask_of_another_clip_is_refused(mask, change, words): refuses(words, check_mask, change(mask), VIDEO)


def test_a_mask_of_this_clip_is_passed_on(mask):
    soft = feather(Mask(mask), 2)
    assert check_mask(soft, VIDEO) is soft and torch.equal(check_mask(mask, VIDEO).hard, mask)


# files

@pytest.fixture
def clip_file(tmp_path):
    write_video(tmp_path / 'clip.mp4', moving_clip(FRAMES, HEIGHT, WIDTH))
    return tmp_path / 'clip.mp4'


def store(mask, tmp_path, kind):
    array = mask.numpy()
    if kind == 'pictures': return write_frames(tmp_path / 'mask', array.astype(np.uint8) * 255)
    path = tmp_path / f'mask.{kind}'
    if kind == 'npz': np.savez(path, array)
    elif kind == 'npy': np.save(path, array.astype(np.uint8) * 255)
    else: write_video(path, mask[:, None].expand(-1, 3, -1, -1) * 2. - 1)
    return path


@pytest.mark.parametrize('kind', ['pictures', 'npz', 'npy', 'mp4'])
def test_every_kind_of_file_gives_the_same_mask(tmp_path, clip_file, mask, kind):
    back = read_mask(store(mask, tmp_path, kind), FRAMES, clip=clip_file)
    assert torch.equal(back.hard, mask)


def test_a_mask_is_sampled_and_resized_like_its_clip(tmp_path, clip_file, mask):
    back = read_mask(store(mask, tmp_path, 'npz'), 3, (16, 24), clip=clip_file)
    assert torch.equal(back.hard, mask[[0, 2, 4], ::2, ::2])
    assert torch.equal(back.values, resize(mask[[0, 2, 4], None].float(), (16, 24))[:, 0].clamp(0, 1))


def test_a_mask_may_be_a_larger_picture_of_the_same_shape(tmp_path, clip_file, mask):
    large = store(mask.repeat_interleave(2, 1).repeat_interleave(2, 2), tmp_path, 'npz')
    assert torch.equal(read_mask(large, FRAMES, (HEIGHT, WIDTH), clip=clip_file).hard, mask)


def test_only_frames_that_are_wanted_become_arrays(tmp_path, mask, monkeypatch):
    decoded, frames_of = [], module.open_frames

    def counted(path):
        for height, width, read in frames_of(path): yield height, width, lambda read=read: decoded.append(1) or read()

    monkeypatch.setattr(module, 'open_frames', counted)
    read_mask(store(mask, tmp_path, 'mp4'), 3, (16, 24))
    assert len(decoded) == 3


@pytest.mark.parametrize('change, message', [
    (lambda mask: mask[:5], 'has 5 frames, its clip 6'),
    (lambda mask: mask[:, :30], 'is 30×48 and its clip 32×48; they must have the same size'),
    (lambda mask: mask & False, 'is empty'),
    (lambda mask: mask[0], r'is \[32, 48\]; store one \[frames, height, width\]'),
    (lambda mask: mask[:, :0], r'is \[6, 0, 48\]')])
def test_a_file_that_does_not_fit(tmp_path, clip_file, mask, change, message):
    refuses(message, read_mask, store(change(mask), tmp_path, 'npz'), 3, clip=clip_file)


@pytest.mark.parametrize('array, words', [
    (np.full((2, 4, 4), 1.5), 'reach from 1.5 to 1.5'), (np.full((2, 4, 4), -1), 'reach from -1 to -1'),
    (np.full((2, 4, 4), np.nan), 'must be finite'), (np.full((2, 4, 4), 'x'), 'store numbers')])
def test_values_that_are_no_shares(tmp_path, array, words):
    np.save(tmp_path / 'm.npy', array)
    refuses(words, read_mask, tmp_path / 'm.npy', None)


def test_whole_numbers_may_be_bytes_of_any_type(tmp_path, mask):
    for kind in (np.uint8, np.int64, np.uint16):
        for white in (1, 255):
            np.save(tmp_path / 'm.npy', mask.numpy().astype(kind) * white)
            assert torch.equal(read_mask(tmp_path / 'm.npy', None).values, mask.float())


def test_no_such_mask(tmp_path): refuses('no mask at', read_mask, tmp_path / 'gone', error=FileNotFoundError)


def archive(mask):
    file = io.BytesIO()
    np.savez(file, mask)
    return file.getvalue()


@pytest.mark.parametrize('content', [b'', b'nonsense', b'PK\x03\x04 nonsense', archive(moving_mask())[:300]])
def test_a_broken_file(tmp_path, content):
    (tmp_path / 'm.npz').write_bytes(content)
    refuses('holds no array', read_mask, tmp_path / 'm.npz')


def test_a_pickled_mask_is_not_loaded(tmp_path):
    np.save(tmp_path / 'm.npy', np.array([{}], dtype=object), allow_pickle=True)
    refuses('holds no array', read_mask, tmp_path / 'm.npy')


def test_saved_and_read_without_loss(disc, tmp_path):
    for name, mask in dict(hard=disc, soft=feather(disc, 2)).items():
        save_mask(mask, tmp_path / f'{name}.npz')
        assert torch.equal(read_mask(tmp_path / f'{name}.npz', None).values, mask.values)
        save_mask(mask, tmp_path / name)
        assert (read_mask(tmp_path / name, None).values - mask.values).abs().max() <= .51 / 255
    assert torch.equal(read_mask(tmp_path / 'hard', None).values, disc.values)
    for name in ('mask.png', 'mask.npy'): refuses('neither an .npz file nor a folder', save_mask, disc, tmp_path / name)


def test_folders_with_holes_and_odd_sizes(disc, tmp_path):
    save_mask(Mask(disc.values.repeat(2, 1, 1)), tmp_path / 'a')
    (tmp_path / 'a/00003.png').unlink()
    refuses('lacks frame 3', read_mask, tmp_path / 'a', None)
    Image.new('L', (8, 8), 255).save(tmp_path / 'a/00003.png')
    refuses('of one size', read_mask, tmp_path / 'a', None)
    refuses('holds no frames', read_mask, tmp_path, None)


def test_a_clip_is_no_mask(tmp_path):
    refuses('is coloured', read_mask, write_frames(tmp_path / 'clip', to_bytes(moving_clip())), 6)
