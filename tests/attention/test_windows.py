"Weights sum to one at every frame, one window changes nothing, and whoever looks into a window knows which frames it has."
from dataclasses import dataclass, replace
from itertools import pairwise

import pytest
import torch
from torch.testing import assert_close

from videodirector.attention.processor import attend, showing
from videodirector.attention.recording import Recording, record
from videodirector.attention.sites import KINDS, find_sites
from videodirector.attention.windows import LATE, Window, Windows
from videodirector.data.mask import Mask
from videodirector.parts.blend import LocalBlend
from videodirector.parts.control import SLOTS, MutualControl

F, H, W, T = 10, 4, 6, 500  # three windows of four frames that share one


def case(model, frames=F, slots=1, dtype=torch.float32):
    "Latents, and a text for each frame."
    make = torch.manual_seed(0)
    z = torch.randn(slots, 4, frames, H, W, generator=make, dtype=dtype)
    return z, model.embed('a bear') + .1 * torch.randn(slots, frames, 16, 16, generator=make)


def alone(model, z, text): return model.unet(z, T, text.flatten(0, 1)).sample


def parts(windows, z, text): return [(window, window.of(z, 2), window.of(text, 1)) for window in windows.at(z.shape[2], T)]


@pytest.fixture
def short(tiny_model): return tiny_model.in_windows(4, 1)


# weights

@pytest.mark.parametrize('length, overlap', [(1, 0), (2, 1), (3, 1), (5, 2), (16, 0), (16, 4), (16, 8), (17, 1), (24, 7), (32, 1)])
def test_weights_sum_to_one_at_every_frame(length, overlap):
    for frames in range(1, 71):
        windows = Windows(length, overlap).of(frames)
        total = sum(window.weigh(torch.ones(len(window), dtype=torch.float64)) for window in windows)
        assert_close(total, torch.ones(frames, dtype=torch.float64), rtol=0, atol=1e-15)
        assert windows[0].start == 0 and windows[-1].stop == frames and windows[-1].weights[-1] > 0
        assert max(map(len, windows)) <= length and min(w for window in windows for w in window.weights) > 0
        assert max(map(len, windows)) - min(map(len, windows)) <= 1, 'equally long, but for what does not divide'
        assert all(one.stop - other.start == overlap for one, other in zip(windows, windows[1:]))
        assert (len(windows) == 1) == (frames <= length)


@pytest.mark.parametrize('windows', [Windows(), Windows(whole=32), Windows(1, 0), Windows(3, 1), Windows(16, 4), Windows(17, 1, 24), Windows(32, 8)])
def test_each_step_cuts_elsewhere_and_weighs_all_frames(windows):
    for frames in (1, 2, 17, 26, 33, 48, 61, 64):
        cut = [windows.at(frames, t) for t in range(0, 1000, 37)]
        if frames <= windows.most:
            assert all(found == windows.of(frames) for found in cut)
            continue
        for t, found in zip(range(0, 1000, 37), cut):
            total = sum(window.weigh(torch.ones(len(window), dtype=torch.float64)) for window in found)
            assert_close(total, torch.ones(frames, dtype=torch.float64), rtol=0, atol=1e-15)
            assert found[0].start == 0 and found[-1].stop == frames and found == windows.at(frames, t)
            assert 0 < min(map(len, found)) and max(map(len, found)) <= windows.longest(frames) and max(map(len, found)) <= windows.most
            assert sum(map(len, found)) <= frames + (len(found) - 1) * max(windows.overlap, windows.length // 2 if t < LATE else 0)
        if windows.length > 3: assert len({window.stop for found in cut for window in found[:1]}) > 2


def test_late_windows_share_what_there_is_room_for():
    def shared(windows, t): return {one.stop - other.start for one, other in pairwise(windows.at(64, t))}
    assert [shared(Windows(whole=32), t) for t in (LATE, LATE - 1)] == [{0}, {8}]
    assert shared(Windows(16), 0) == {0} and shared(Windows(16, 0, 20), 0) == {4} and shared(Windows(16, 0, 28), 0) == {4} and shared(Windows(16, 6), LATE) == {6}


def test_weights_rise_and_fall_in_equal_steps():
    first, middle, last = Windows(8, 3).of(18)
    assert (first.weights[-3:], middle.weights[:3]) == ((.75, .5, .25), (.25, .5, .75)) and set(middle.weights[3:-3]) == {1}
    assert set(first.weights[:-3]) == set(last.weights[3:]) == {1}


def test_where_things_of_a_window_belong():
    window, x = Window(2, 5, 7, (.5, 1., .25)), torch.arange(14.).view(7, 2)
    assert torch.equal(window.of(x), x[2:5]) and torch.equal(window.of(x.T, -1), x.T[:, 2:5])
    assert torch.equal(window.place(x[2:5])[2:5], x[2:5]) and window.place(x[2:5])[[0, 1, 5, 6]].abs().max() == 0
    expected = torch.tensor([0, 0, 2, 6, 2, 0, 0.])
    assert torch.equal(window.weigh(x[2:5])[:, 0], expected) and torch.equal(window.weigh(x.T[:, 2:5], -1)[0], expected)


@pytest.mark.parametrize('length, overlap, error', [
    (0, 0, (ValueError, '0 frames')), (4, 3, (ValueError, 'share 3; give 0 to 2')), (4, -1, (ValueError, 'share -1')), (1, 1, (ValueError, 'give 0 to 0')),
    (4.5, 0, (TypeError, 'length.* float')), (4, 'x', (TypeError, 'overlap.* str'))])
def test_nonsense_is_refused(length, overlap, error):
    with pytest.raises(error[0], match=error[1]): Windows(length, overlap)


# predictions

@torch.no_grad()
@pytest.mark.parametrize('frames', [1, 3, 23, 24])
def test_a_clip_that_fits_is_seen_as_ever(tiny_model, frames):
    z, text = case(tiny_model, frames)
    assert torch.equal(tiny_model.predict(z, T, text), alone(tiny_model, z, text))
    assert torch.equal(tiny_model.predict(z, T, text), tiny_model.in_windows(24, 12).predict(z, T, text))


@torch.no_grad()
@pytest.mark.parametrize('frames', [5, 13])
def test_a_long_clip_is_the_blend_of_its_windows(short, frames):
    z, text = case(short, frames, slots=2)
    expected = torch.zeros_like(z)
    for window, part, words in parts(short.windows, z, text):
        expected[:, :, window.start:window.stop] += alone(short, part, words) * torch.tensor(window.weights).view(-1, 1, 1)
    found = short.predict(z, T, text)
    assert_close(found, expected)
    assert_close(short.predict(z, T, text[:, 0]), short.predict(z, T, text[:, :1].expand_as(text)))  # one text for all frames


def test_more_frames_than_the_motion_module_knows(tiny_model):
    z, text = case(tiny_model, 61)
    z.requires_grad_()
    found = tiny_model.predict(z, T, text)
    g, = torch.autograd.grad(found.square().sum(), z)
    assert found.isfinite().all() and (g.abs().amax((0, 1, 3, 4)) > 0).all(), 'gradients reach every frame'


def test_windows_of_a_model(tiny_model):
    assert tiny_model.windows == Windows(whole=24) and tiny_model.in_windows(16).windows == Windows(16) and tiny_model.in_windows().windows == tiny_model.windows
    assert tiny_model.in_windows(overlap=2).windows == Windows(overlap=2, whole=24)
    assert [len(tiny_model.windows.of(frames)) for frames in (17, 24, 25, 64)] == [1, 1, 2, 4] and Windows(3, whole=1).most == 3
    assert tiny_model.in_windows(16).lock is tiny_model.lock
    with pytest.raises(ValueError, match='window of 25 frames .* takes 1 to 24'): tiny_model.in_windows(25)


# those who look into them

@dataclass(frozen=True, eq=False)
class Logged(MutualControl):
    log: list = None
    def hidden(self, here, device):
        self.log.append((here.window, here.site, here.size, super().hidden(here, device)))
        return self.log[-1][-1]


def differing_mask():
    "Another share of each frame."
    mask = torch.zeros(F, 8 * H, 8 * W, dtype=torch.bool)
    for f in range(F): mask[f, :, :4 * f + 4] = True
    return Mask(mask)


@torch.no_grad()
def test_a_control_hides_what_its_frames_hide(short):
    (z, text), mask, log = case(short, slots=4), differing_mask(), []
    with attend(short.unet, [Logged(range(9), mask, log=log)]) as at:
        at.begin(0, SLOTS, F, H, W)
        found = short.predict(z, T, text)
    assert len({window for window, *_ in log}) == len(short.windows.at(F, T))
    for window, _, size, hidden in log:
        assert torch.equal(hidden, (mask.at(*size) > 0).flatten(1)[window.start:window.stop])
    expected = torch.zeros_like(z)
    for window, part, words in parts(short.windows, z, text):
        control = MutualControl(range(9), replace(mask, values=window.of(mask.values)))
        with attend(short.unet, [control]) as at:
            at.begin(0, SLOTS, len(window), H, W)
            expected += window.weigh(short.predict(part, T, words), 2)
    assert_close(found, expected)
    with attend(short.unet, [MutualControl(range(9), replace(mask, values=mask.values[:4]))]) as at, pytest.raises(ValueError, match='4 frames, the video 10'):
        at.begin(0, SLOTS, F, H, W)
        short.predict(z, T, text)


@torch.no_grad()
def heard(model, z, text, frames=F, **settings):
    with attend(model.unet, record=Recording(KINDS, reduce=('heads', *settings.pop('also', ())), **settings)) as at:
        for step in range(settings.get('times', 1)):
            at.begin(step, ('a', 'b'), frames, H, W)
            model.predict(z, T, text)
    return at.record


def test_a_recording_names_the_frames_right(short):
    z, text = case(short, slots=2)
    found = heard(short, z, text, keys=True)
    windows = [(window, heard(short, part, words, len(window), keys=True)) for window, part, words in parts(short.windows, z, text)]
    for site in find_sites(short.unet):
        m, keys = (kept[site.name, 0, 'b'].float() for kept in (found.maps, found.keys))
        assert_close(m.sum(-1), torch.ones(m.shape[:-1]), rtol=0, atol=5e-3)  # rows of probabilities
        expected, k = torch.zeros_like(m), torch.zeros_like(keys)
        for window, alone in windows:
            one, dim = alone.maps[site.name, 0, 'b'].float(), -2 if site.kind == 'temporal' else 0
            if site.kind == 'temporal': one = window.place(one, -1)
            expected, k = expected + window.weigh(one, dim), k + window.weigh(alone.keys[site.name, 0, 'b'].float(), dim)
        assert_close(m, expected, rtol=0, atol=1e-3)
        assert_close(keys, k, rtol=0, atol=5e-3)
    assert found.temporal('a').shape == (H, W, F, F) and found.cross('a').shape == (F, H, W, 16)
    assert found.temporal('a')[..., 0, 4:].max() == 0, 'the first frame has not seen the second window'


def test_steps_are_averaged_and_live_maps_kept_as_in_one_window(short):
    z, text = case(short, slots=2)
    once, mean, live = heard(short, z, text), heard(short, z, text, also=('steps',)), heard(short, z, text, live=True)
    for key, m in once.maps.items():
        for other in (mean, live): assert_close(other.maps[key], m.float(), rtol=0, atol=1e-3, check_dtype=False)


@torch.no_grad()
def test_overhearing_names_the_frames_right(short):
    z, text = case(short)
    with record(short, KINDS, timesteps=(900, T)) as maps: short.predict(z, T, text)
    expected = heard(short, z.expand(2, -1, -1, -1, -1), text.expand(2, -1, -1, -1))
    for site in find_sites(short.unet):
        assert_close(maps.maps[site.name, 1, 'cond'], expected.maps[site.name, 0, 'a'], rtol=0, atol=1e-3)


@torch.no_grad()
def test_a_blend_hears_all_frames(short):
    z, text = case(short, slots=4)
    blend = LocalBlend({'edit_cond': (2,)}, range(9))
    with attend(short.unet, [blend]) as at:
        at.begin(0, SLOTS, F, H, W)
        short.predict(z, T, text)
    maps = heard(short, z[:2], text[:2]).cross('b')[..., 2]
    assert blend.region(H, W).shape == (F, H, W) and blend.heat['edit_cond'].shape[0] == F
    assert maps.shape[0] == F and (blend.heat['edit_cond'].amax((1, 2)) > 0).all()


def test_outside_of_a_window_all_is_as_before(short):
    z, text = case(short)
    with attend(short.unet, record=Recording()) as at, torch.no_grad():
        at.begin(0, ('a',), F, H, W)
        with pytest.raises(RuntimeError), showing(short.unet, short.windows.of(F)[1]): raise RuntimeError
        assert at.now().window is None and at.now().frames == at.now().clip_frames == F
        short.predict(z, T, text)
        assert at.now().window is None
    assert torch.equal(short.predict(z, T, text), short.predict(z, T, text))
