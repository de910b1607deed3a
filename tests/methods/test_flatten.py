"FLATTEN against plain loops, and as a method on a tiny random model."
import math

import pytest
import torch
from image_cases import QUIET, TARGET, clip, image_model, plain, sampled, state_of, tiny_unet, video_model
from sentences import refuses
from torch.testing import assert_close

from videodirector.attention.processor import Here
from videodirector.attention.recording import Recording
from videodirector.attention.sites import Site
from videodirector.base.run import Run
from videodirector.data.flow import optical_flow
from videodirector.methods import flatten as module
from videodirector.methods.api import Edit
from videodirector.methods.flatten import Flatten, Flattened, FlattenEdit, FlattenInvert, find_flow, token_flow, trajectories

METHOD, STEPS = Flatten(), 3
OFF = dict(dense=False, trajectories=False)


def random(*shape, seed=0): return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
def exactly(a, b): assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.fixture(scope='module')
def model(): return image_model()


def prepared(model, run=QUIET, method=METHOD, given=None, **settings):
    return method.prepare(model, given or clip(), FlattenInvert(**dict(steps=STEPS) | settings), run)


@pytest.fixture(scope='module')
def state(model): return prepared(model)


@pytest.fixture(scope='module')
def usual(state): return edited(state).latents


def edited(state, prompt=TARGET, run=QUIET, record=None, **settings): return METHOD.edit(state, prompt, FlattenEdit(**settings), run, record)


# trajectories

def test_flow_on_the_grid_of_tokens():
    flow = random(2, 2, 32, 48).float() * 20
    found = token_flow(flow, 4, 6)
    for t in range(2):
        for y in range(4):
            for x in range(6):
                u, v = flow[t, :, y * 8, x * 8]
                assert found[t, :, y, x].tolist() == [round(u.item() * 6 / 48), round(v.item() * 4 / 32)]


def links(chains):
    "The pairs (token, next token) of all trajectories."
    return {(a, b) for row in chains.tolist() for a, b in zip(row, row[1:]) if b >= 0}


@pytest.mark.parametrize('seed', range(3))
def test_trajectories_are_unique_links_along_the_flow(seed):
    F, h, w = 4, 5, 6
    n, flow = h * w, torch.randint(-2, 3, (3, 2, 5, 6), generator=torch.Generator().manual_seed(seed))
    chains = trajectories(flow, seed)
    kept = chains[chains >= 0]
    assert sorted(kept.tolist()) == list(range(F * n)), 'every token is on one trajectory'
    assert ((chains >= 0).int().diff(dim=1) <= 0).all(), 'no gaps'
    wanted = {}  # where something comes to → all that comes there
    for t in range(F - 1):
        for y in range(h):
            for x in range(w):
                to_x, to_y = x + int(flow[t, 0, y, x]), y + int(flow[t, 1, y, x])
                if 0 <= to_x < w and 0 <= to_y < h: wanted.setdefault((t + 1) * n + to_y * w + to_x, []).append(t * n + y * w + x)
    found = {b: a for a, b in links(chains)}
    assert found.keys() == wanted.keys() and all(found[b] in wanted[b] for b in found)
    assert any(len(several) > 1 for several in wanted.values())


def test_chance_decides_where_several_meet_and_the_seed_decides_chance():
    flow = torch.zeros(1, 2, 1, 4, dtype=torch.int64)
    flow[0, 0, 0] = -torch.arange(4)  # all come to the first
    winners = [next(row[0] for row in trajectories(flow, seed).tolist() if row[1] == 4) for seed in range(30)]
    assert set(winners) == {0, 1, 2, 3}
    assert torch.equal(trajectories(flow, 1), trajectories(flow, 1))


def test_still_points_and_moving_ones():
    flow = torch.zeros(2, 2, 2, 3, dtype=torch.int64)
    assert trajectories(flow).tolist() == [[p, p + 6, p + 12] for p in range(6)]
    flow[:, 0] = 1
    assert sorted(trajectories(flow).tolist()) == sorted([[0, 7, 14], [3, 10, 17], [1, 8, -1], [4, 11, -1], [2, -1, -1], [5, -1, -1],
                                                          [6, 13, -1], [9, 16, -1], [12, -1, -1], [15, -1, -1]])


# attention, in double precision, as METHODS.md writes it

@pytest.mark.parametrize('old_qk', [False, True])
@pytest.mark.parametrize('dense', [False, True])
def test_attention_is_dense_then_along_trajectories(old_qk, dense):
    S, F, H, h, w, d = 2, 3, 2, 2, 3, 4
    n = h * w
    q, k, v = random(3, S, F, H, n, d).unbind()
    chains = trajectories(torch.randint(-1, 2, (F - 1, 2, h, w), generator=torch.Generator().manual_seed(1)))
    control = Flattened(FlattenInvert(old_qk=old_qk, dense=dense), chains)
    here = Here(0, ('a', 'b'), F, h, w, Site('up', 'spatial'), (h, w))
    out, coarse = (control.compute(q, k, v, None, Here(0, here.slots, F, *size, here.site, (h, w))) for size in ((h, w), (2 * h, 2 * w)))
    def attention(query, keys, values): return (query @ torch.stack(keys).T / math.sqrt(d)).softmax(-1) @ torch.stack(values)
    everyone = [(f, p) for f in range(F) for p in range(n)]
    for s in range(S):
        for head in range(H):
            def at(x, tokens, s=s, head=head): return [x[s, f, head, p] for f, p in tokens]
            Y = torch.zeros(S, F, H, n, d, dtype=torch.float64)
            for f, p in everyone:
                seen = everyone if dense else [(f, j) for j in range(n)]
                Y[s, f, head, p] = attention(q[s, f, head, p], at(k, seen), at(v, seen))
            exactly(coarse[s, :, head], Y[s, :, head])
            query, key = (q, k) if old_qk else (Y, Y)
            for row in chains.tolist():
                tokens = [divmod(number, n) for number in row if number >= 0]
                for f, p in tokens: exactly(out[s, f, head, p], attention(query[s, f, head, p], at(key, tokens), at(Y, tokens)))


# the method

def test_neutral_settings_change_nothing(model):
    state = prepared(model, **OFF)
    for scale in (1., 4.):
        made = edited(state, guidance_scale=scale, tau=0.)
        assert_close(made.latents, plain(model, state[1], TARGET, scale), rtol=1e-3, atol=1e-4)


def test_the_source_beside_the_edit_says_what_it_said_while_climbing(model, state, monkeypatch):
    "Saving features while climbing, as the official code does, or asking the saved latent again is the same."
    _, source, control = state
    slots, seen = ('source_cond',), []
    conv = model.unet.get_submodule(module.places(model.unet)[0][0])
    climbed = conv.register_forward_hook(lambda m, a, out: seen.append(out.detach()))
    try:
        with torch.no_grad(): alone = module.predict_slots(model, source.pivots[-1:], 999, {slots[0]: model.embed('')}, [control], (0, STEPS))
        edited(state)
    finally: climbed.remove()
    assert alone.isfinite().all()
    assert_close(seen[1].chunk(3)[0], seen[0], rtol=1e-4, atol=1e-5)


def test_the_prompt_of_the_source_and_its_features_reproduce_it(model, state):
    _, source, control = state  # whose prompt is empty here, as that of the edit's other half
    source = sampled(module.with_control(model, control), source, '')
    made = edited((model, source, control), guidance_scale=0., tau=1.)
    assert_close(made.latents, source.pivots[:1], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize('change', [dict(guidance_scale=7.), dict(negative_prompt='a red hat'), dict(tau=0.)], ids=str)
def test_every_setting_of_the_edit_changes_it(state, usual, change): assert not torch.equal(usual, edited(state, **change).latents)


@pytest.mark.parametrize('change', [dict(dense=False), dict(trajectories=False), dict(old_qk=True), dict(finer=1), dict(link_seed=1)], ids=str)
def test_every_setting_of_the_inversion_changes_the_edit(model, usual, change):
    method = Flatten(torch.randn(4, 2, 32, 48, generator=torch.manual_seed(0)) * 9) if 'link_seed' in change else METHOD
    first = edited(prepared(model, method=method)).latents if method is not METHOD else usual
    assert not torch.equal(first, edited(prepared(model, method=method, **change)).latents)


def test_seeds_fix_everything(model, state, usual):
    torch.manual_seed(5)
    again = prepared(model)
    assert torch.equal(again[1].pivots, state[1].pivots) and torch.equal(edited(again).latents, usual)


class Stop(Exception): pass


@pytest.mark.parametrize('step', [0, 2])  # with the source beside it, and without
def test_everything_is_given_back(model, state, step):
    before = state_of(model.unet)
    def stop(*told):
        if told[1] == step: raise Stop
    with pytest.raises(Stop): edited(state, run=Run(False, stop))
    with pytest.raises(Stop): prepared(model, Run(False, stop))
    assert state_of(model.unet) == before


def test_an_error_within_the_unet_gives_everything_back(model, state, monkeypatch):
    before = state_of(model.unet)
    def broken(*args): raise Stop
    monkeypatch.setattr(module, 'grouped_attention', broken)
    with pytest.raises(Stop): edited(state)
    assert state_of(model.unet) == before


def test_an_edit_says_whose_flow_it_followed(model, state, tmp_path):
    given = Flatten(torch.zeros(4, 2, 32, 48))
    made = edited(prepared(model, method=given))
    made.save(tmp_path / 'edit')
    assert Edit.load(tmp_path / 'edit').settings['flow'] == 'given' and edited(state).settings['flow'] == 'dis'
    assert made.method == 'flatten' and {'old_qk', 'dense', 'tau', 'steps'} <= made.settings.keys()
    video = clip().video
    assert torch.equal(find_flow(video, 'dis')[2], optical_flow(video[2], video[3]))


def test_words_can_be_recorded(state, usual):
    record = Recording('cross', 'up_blocks.*', slots=('edit_cond',))
    made = edited(state, record=record)
    assert record.cross['tiger'].shape[0] == 5
    assert_close(made.latents, usual, rtol=1e-3, atol=1e-4)


def test_raft_needs_weights_that_are_there(model, monkeypatch, tmp_path):
    models = pytest.importorskip('torchvision.models.optical_flow')
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    refuses("RAFT's weights are not at", prepared, model, flow='raft')
    name = models.Raft_Large_Weights.DEFAULT.url.split('/')[-1]
    (tmp_path / 'checkpoints').mkdir()
    torch.manual_seed(0)
    torch.save(models.raft_large().state_dict(), tmp_path / 'checkpoints' / name)
    assert find_flow(torch.rand(2, 3, 128, 128), 'raft').shape == (1, 2, 128, 128)


def test_what_does_not_fit_is_said_in_a_sentence(model, state):
    refuses('runs on image models, and this is a video model', prepared, video_model())
    refuses('the clip has 1 frame; give more', prepared, model, given=clip(1))
    refuses(r'The flow has shape \[3, 2, 32, 48\]', prepared, model, method=Flatten(torch.zeros(3, 2, 32, 48)))
    refuses('numbers that are not finite', prepared, model, method=Flatten(torch.full((4, 2, 32, 48), math.nan)))
    refuses('target prompt is empty', edited, state, ' ')
    refuses("choose one of 'dis', 'raft'", FlattenInvert, flow='x')


def test_a_unet_like_stable_diffusions_goes_through():
    other = image_model()
    torch.manual_seed(0)
    other.pipe.unet = other.unet = tiny_unet(layers=2, blocks=4)
    made = edited(prepared(other, given=clip(3, 64, 64)))
    assert made.video.shape == (3, 3, 64, 64) and made.video.isfinite().all()
