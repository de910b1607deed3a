"RAVE is plain loops over grids and shuffles; what is neutral changes nothing, and everything is given back."
import pytest
import torch
from conftest import make_tiny_image_model, make_tiny_model
from diffusers import ControlNetModel
from torch.testing import assert_close

from videodirector.attention.processor import Here
from videodirector.attention.recording import Recording
from videodirector.attention.sites import Site
from videodirector.base.run import Run
from videodirector.methods.api import Clip
from videodirector.methods.rave import (
    RAVE, FrameByFrame, RaveEdit, RaveInvert, filled, make_grids, put_back, sample_grids, shuffles, split_grids)
from videodirector.models.api import Wrapped
from videodirector.models.controlled import control_images, controlled
from videodirector.parts.inversion import invert_ddim, sample_ddim
from videodirector.sampling.schedule import Schedule

SOURCE, TARGET, STEPS, FRAMES = 'a brown bear walking on grass', 'a brown tiger walking on grass', 3, 6
QUIET = Run(progress=False)


def clip(frames=FRAMES, height=32, width=48):
    return Clip(torch.rand(frames, 3, height, width, generator=torch.manual_seed(0)) * 2 - 1, SOURCE)


@pytest.fixture
def model(): return make_tiny_image_model()


@pytest.fixture(scope='module')
def state(): return RAVE().prepare(make_tiny_image_model(), clip(), RaveInvert(STEPS), QUIET)  # of a model equal to `model`; no test changes it


def edited(state, prompt=TARGET, record=None, method=None, **settings):
    return (method or RAVE()).edit(state, prompt, RaveEdit(**settings), QUIET, record)


# the operations, against loops

@pytest.mark.parametrize('side', [1, 2, 3])
def test_grids_are_loops_and_split_again(side):
    x = torch.rand(2, 3, 2 * side**2, 4, 5, dtype=torch.float64)
    grids = make_grids(x, side)
    assert grids.shape == (2, 3, 2, side * 4, side * 5)
    for f in range(x.shape[2]):
        m, (row, column) = f // side**2, divmod(f % side**2, side)
        assert torch.equal(grids[:, :, m, row * 4:row * 4 + 4, column * 5:column * 5 + 5], x[:, :, f])
    assert torch.equal(split_grids(grids, side), x)


def test_shuffles_are_composed_and_undone():
    orders, generator, frames = shuffles(7, 5, seed=3), torch.Generator().manual_seed(3), torch.arange(7)
    for order in orders:
        frames = frames[torch.randperm(7, generator=generator)]  # one shuffle after the other, of what lies there
        assert torch.equal(order, frames) and torch.equal(order.sort().values, torch.arange(7))
    x = torch.rand(1, 2, 7, 3, 3, dtype=torch.float64)
    assert torch.equal(put_back(x[:, :, orders[2]], orders[2]), x)
    assert torch.equal(shuffles(7, 5, seed=3), orders) and not torch.equal(shuffles(7, 5, seed=4), orders)


def test_the_last_grid_is_filled_from_the_beginning():
    assert filled(torch.tensor([2, 0, 1]), 4).tolist() == [2, 0, 1, 2]
    assert filled(torch.tensor([1, 0]), 9).tolist() == [1, 0] * 4 + [1]
    assert filled(torch.tensor([3, 1, 0, 2]), 4).tolist() == [3, 1, 0, 2]
    with pytest.raises(ValueError, match='6 frames do not fill grids of 2×2; give a multiple of 4'): make_grids(torch.rand(1, 4, 6, 2, 2), 2)


class Smooth:
    "A stand-in for a model, in float64: every position of a picture hears of all others."
    def predict(self, x, t, text):
        return torch.tanh(x + x.mean((1, 3, 4), keepdim=True) * text.mean((1, 2))[:, None, None, None, None] + t / 1000 * x.cumsum(-1).cumsum(-2) / 50)


@pytest.mark.parametrize('side, frames', [(2, 8), (3, 9), (2, 6)])
def test_sampling_is_the_loop_that_shuffles_in_place(model, side, frames):
    schedule = Schedule.of(model.scheduler, 4, 7.5)  # guidance is the schedule's here
    z, null, text = torch.rand(1, 4, frames, 4, 6, dtype=torch.float64), *torch.rand(2, 1, 5, 3).double()
    predict = Wrapped(model, lambda _, *given: Smooth().predict(*given))
    got = sample_grids(lambda order: predict, z, (null, text), schedule, RaveEdit(grid=side, shuffle_seed=1), QUIET)
    generator, x, place = torch.Generator().manual_seed(1), z.clone(), torch.arange(frames)
    for i, t in enumerate(schedule):
        shuffle = torch.randperm(frames, generator=generator)
        x, place = x[:, :, shuffle], place[shuffle]
        more = [f % frames for f in range(frames, -(-frames // side**2) * side**2)]
        pictures = torch.cat([x, x[:, :, more]], 2)
        new = torch.empty_like(pictures)
        for m in range(pictures.shape[2] // side**2):
            big = torch.zeros(1, 4, 1, 4 * side, 6 * side, dtype=torch.float64)
            cells = [(m * side**2 + n, slice(n // side * 4, n // side * 4 + 4), slice(n % side * 6, n % side * 6 + 6)) for n in range(side**2)]
            for f, rows, columns in cells: big[:, :, 0, rows, columns] = pictures[:, :, f]
            eps_u, eps_c = (Smooth().predict(big, t, words) for words in (null, text))
            eps = eps_u + 7.5 * (eps_c - eps_u)
            for f, rows, columns in cells: new[:, :, f] = eps[:, :, 0, rows, columns]
        a, b = schedule.alphas[i], schedule.next_alphas[i]
        eps = new[:, :, :frames]
        x = b**.5 * (x - (1 - a)**.5 * eps) / a**.5 + (1 - b)**.5 * eps
    back = torch.empty_like(x)
    for f in range(frames): back[:, :, place[f]] = x[:, :, f]
    assert_close(got, back, rtol=1e-10, atol=1e-10)


# what is neutral

def test_preparing_is_inversion_without_a_prompt(model, state):
    source = state[1]
    assert torch.equal(source.pivots, invert_ddim(model, model.encode(clip().video), model.embed(''), source.schedule, QUIET))
    assert source.prompt == SOURCE and 'RaveInversion' in repr(source) and source.images is None


def test_one_frame_a_grid_is_sampling_frame_by_frame(model, state):
    plain = sample_ddim(model, state[1].pivots[-1:], model.embed(TARGET), model.embed(''), model.schedule(STEPS, RaveEdit().guidance_scale), QUIET)
    assert_close(edited(state, grid=1).latents, plain)
    assert_close(edited(state, grid=1, shuffle=False).latents, plain)


def test_settings_and_the_prompt_reach_the_result(state):
    base = edited(state).latents
    assert base.shape == state[1].pivots[-1:].shape
    for other in (edited(state, grid=3), edited(state, guidance_scale=7.5), edited(state, shuffle=False), edited(state, shuffle_seed=1), edited(state, SOURCE)):
        assert (other.latents - base).abs().max() > 1e-4
    assert torch.equal(edited(state).latents, base)  # the same seed
    assert torch.equal(edited(state, grid=2, shuffle=False, shuffle_seed=5).latents, edited(state, shuffle=False).latents)


def test_the_same_prompt_is_its_own_reconstruction(state):
    one, other = edited(state, SOURCE), edited(state, SOURCE)
    assert torch.equal(one.video, other.video) and one.prompt == one.source_prompt == SOURCE
    assert one.method == 'rave' and one.settings == dict(steps=STEPS, guidance_scale=RaveEdit().guidance_scale, grid=2, shuffle=True, shuffle_seed=0, variant='RAVE w/o ControlNet')


def test_a_run_is_resumed(model, tmp_path):
    told, method, settings = [], RAVE(), RaveInvert(STEPS)
    first = method.prepare(model, clip(), settings, Run(progress=False, folder=tmp_path))
    again = method.prepare(model, clip(), settings, Run(progress=False, folder=tmp_path, on_step=lambda *step: told.append(step)))
    assert torch.equal(first[1].pivots, again[1].pivots) and told == [('inversion', i, STEPS) for i in range(STEPS)]
    with pytest.raises(ValueError, match='other inputs'): method.prepare(model, clip(), RaveInvert(STEPS + 1), Run(progress=False, folder=tmp_path))


# recordings hear of frames

def test_maps_are_filed_by_frame(model, state):
    record = Recording(('cross', 'spatial'), keys=True, live=True)
    made, plain = edited(state, record=record), edited(state)
    assert_close(made.latents, plain.latents, rtol=1e-4, atol=1e-3)  # latents reach 60 here
    assert record.cross('edit_cond').shape == (FRAMES, 4, 6, 16)
    assert record.cross['tiger', 0].shape == (FRAMES, 4, 6)
    site = model.sites('spatial')[0].name
    assert record.spatial('edit_cond', sites=site).shape == (FRAMES, 4, 6, 4 * 4 * 6)  # its keys are the whole grid
    assert record.keys[site, 0, 'edit_cond'].shape == (FRAMES, 4, 6, 8)


def test_cutting_is_grids_of_maps():
    here = dict(step=0, slots=('a',), frames=2, height=8, width=12)
    order, maps = torch.tensor([4, 2, 0, 5, 1, 3]), torch.rand(1, 3, 6, 2, 3, dtype=torch.float64)  # [slot, key, F, h, w]
    grids = make_grids(maps[:, :, filled(order, 4)], 2)  # [slot, key, M, 2h, 2w]
    p = grids.permute(0, 2, 3, 4, 1).flatten(2, 3)[:, :, None]
    cut = FrameByFrame(Recording(), 2, order).cut(p, Here(**here, site=Site('x', 'cross'), size=(4, 6)))
    assert torch.equal(cut[:, :, 0].unflatten(2, (2, 3)).permute(0, 4, 1, 2, 3), maps)
    heard = [FrameByFrame(Recording(), 2, order).wants(Here(**here, site=Site('x', 'cross'), size=size)) for size in ((4, 6), (3, 6))]
    assert heard == [True, False]  # three rows of positions for two rows of frames


def test_a_frames_own_positions_are_its_last_keys():
    here = Here(0, ('a',), 2, 8, 12, Site('x', 'spatial'), (4, 6))
    order = torch.tensor([4, 2, 0, 5, 1, 3])
    grids = make_grids(torch.arange(6.)[filled(order, 4)].view(1, 1, 8, 1, 1).expand(1, 1, 8, 2, 3), 2)  # says at each position whose it is
    p = grids.flatten(2)[0].view(1, 2, 1, 1, 24).expand(1, 2, 1, 24, 24)  # [slot, grid, head, query, key]
    hearing = FrameByFrame(Recording(), 2, order)
    blocks = hearing.own_last(hearing.cut(p, here), here).unflatten(4, (4, 6))
    assert torch.equal(blocks[0, :, 0, 0, -1, 0], torch.arange(6.)) and (blocks == blocks[..., :1]).all(), 'a block is one frame'
    assert [sorted(row) for row in blocks[0, :, 0, 0, :, 0].tolist()] == [[1, 2, 3, 4] if f in (1, 3) else [0, 2, 4, 5] for f in range(6)]


# with a ControlNet

def make_controlnet(model, std=.2):
    torch.manual_seed(1)
    net = ControlNetModel.from_unet(model.unet, conditioning_embedding_out_channels=(4, 4, 8, 8)).eval()
    for layer in (*net.controlnet_down_blocks, net.controlnet_mid_block, net.controlnet_cond_embedding.conv_out): torch.nn.init.normal_(layer.weight, std=std)
    return net


def test_with_a_controlnet_it_is_rave(model, state):
    images = torch.rand(FRAMES, 3, 32, 48, generator=torch.manual_seed(2))
    method, plain = RAVE(make_controlnet(model), images), edited(state)
    assert (method.title, RAVE().title) == ('RAVE', 'RAVE w/o ControlNet')
    helped = method.prepare(model, clip(), RaveInvert(STEPS), QUIET)
    assert (helped[1].pivots[-1] - state[1].pivots[-1]).abs().max() > 1e-4  # it helps to invert too
    made = edited(helped, method=method)
    assert made.settings['variant'] == 'RAVE' and (made.latents - plain.latents).abs().max() > 1e-4
    by_function = RAVE(method.controlnet, lambda video: images)
    assert torch.equal(edited(by_function.prepare(model, clip(), RaveInvert(STEPS), QUIET), method=by_function).latents, made.latents)


def test_a_controlnet_that_says_nothing_changes_nothing(model, state):
    silent = RAVE(make_controlnet(model, std=0.), clip().video / 2 + .5)
    helped = silent.prepare(model, clip(), RaveInvert(STEPS), QUIET)
    assert_close(helped[1].pivots, state[1].pivots)
    assert_close(edited(helped, method=silent).latents, edited(state).latents)


def test_images_are_shuffled_with_the_latents(model):
    "Frames and images that change places together end as the same frames in changed places."
    net, swap = make_controlnet(model), torch.tensor([1, 0, 3, 2])
    z, images = torch.rand(1, 4, 4, 4, 6), torch.rand(1, 3, 4, 32, 48)
    schedule, texts = Schedule.of(model.scheduler, STEPS), (model.embed(''), model.embed(TARGET))
    def sampled(z, images):
        return sample_grids(lambda cells: controlled(model, net, images[:, :, cells], 1.), z, texts, schedule, RaveEdit(grid=1), QUIET)
    assert_close(sampled(z[:, :, swap], images[:, :, swap]), sampled(z, images)[:, :, swap])
    assert (sampled(z, images[:, :, swap]) - sampled(z, images)).abs().max() > 1e-4


# what is refused, and what is given back

def test_errors_are_sentences(model, state):
    with pytest.raises(ValueError, match='RAVE w/o ControlNet runs on image models, and this is a'): RAVE().prepare(make_tiny_model(), clip())
    with pytest.raises(ValueError, match='belong together; give both, or neither'): RAVE(make_controlnet(model))
    with pytest.raises(ValueError, match=r'is shown \[6, 3, 8, 8\], and the clip'): control_images(torch.rand(6, 3, 8, 8), clip().video)
    with pytest.raises(TypeError, match='What the ControlNet is shown is None'): control_images(lambda video: None, clip().video)
    with pytest.raises(ValueError, match='target prompt is empty'): edited(state, ' ')
    with pytest.raises(ValueError, match='grid is 0; give'): RaveEdit(grid=0)
    with pytest.raises(TypeError, match='The settings is a RaveInvert; give'): RAVE().edit(state, TARGET, RaveInvert())


class Stop(Exception): pass


def test_attention_is_given_back(model, state):
    before = {name: (type(p), p) for name, p in model.unet.attn_processors.items()}
    def on_step(part, i, total):
        if i == 1: raise Stop
    own = RAVE().prepare(model, clip(), RaveInvert(STEPS), QUIET)
    with pytest.raises(Stop): RAVE().edit(own, TARGET, run=Run(progress=False, on_step=on_step), record=Recording())
    assert {name: (type(p), p) for name, p in model.unet.attn_processors.items()} == before
