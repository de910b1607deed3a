"What is replayed on a GPU is what was computed; everywhere else nothing is."
from types import SimpleNamespace

import pytest
import torch
from conftest import make_tiny_model

from videodirector.attention.processor import AttentionControl, attend
from videodirector.base.run import Run
from videodirector.data.mask import Mask
from videodirector.methods import cost
from videodirector.methods.cost import replayed_if_room
from videodirector.methods.videodirector import invert
from videodirector.models.api import Wrapped
from videodirector.models.recompute import is_recomputed, set_recomputed
from videodirector.models.replay import Replayed, can_replay, replayed
from videodirector.parts.settings import STDG, InvertSettings

GUIDED = STDG(blocks=(('up_blocks.1', 2., 1.), ('up_blocks.2', 1., 1.)))


def clip(): return torch.rand(3, 3, 32, 48, generator=torch.manual_seed(0)) * 2 - 1
def mask(): return Mask(torch.arange(48).expand(3, 32, 48) < 20)
def latents(seed=0): return torch.randn(1, 4, 3, 4, 6, generator=torch.manual_seed(seed))


def inverted(model, **how):
    return invert(model, clip(), 'a bear walking', mask(), stdg=GUIDED, steps=4, inner_steps=3, run=Run(progress=False), **how)


@pytest.fixture
def recorded(monkeypatch):
    "Graphs as a GPU has them: fixed places for what goes in and comes out, which the next replay writes over."
    names = []
    def make(run, places, num_warmup_iters, pool):
        assert num_warmup_iters == 0 and pool == 'one'
        names.append([x.requires_grad for x in places])
        out = []
        def play(*given):
            found = run(*given)
            whole = found if isinstance(found, tuple) else (found,)
            for before in out: before.data.fill_(torch.nan)
            out[:] = whole
            return found
        return play
    monkeypatch.setattr(torch.cuda, 'make_graphed_callables', make)
    monkeypatch.setattr(torch.cuda, 'graph_pool_handle', lambda: 'one')
    return names


def replay_everything(monkeypatch):
    "However much memory there is, and on whatever device."
    for name, answer in dict(can_replay=True, room_for=2, memory_of=dict(inversion=1)).items():
        monkeypatch.setattr(cost, name, lambda *_, answer=answer: answer)


@pytest.mark.parametrize('how', [{}, dict(null='shared'), dict(optimiser='cg'), dict(null='source'), dict(inversion='fixed-point')])
def test_a_replayed_inversion_is_the_plain_one(tiny_model, monkeypatch, recorded, how):
    plain = inverted(tiny_model, **how)
    replay_everything(monkeypatch)
    quick = inverted(tiny_model, **how)
    torch.testing.assert_close(quick.pivots, plain.pivots)
    torch.testing.assert_close(quick.null.embeddings, plain.null.embeddings)
    torch.testing.assert_close(quick.guidance.gradients, plain.guidance.gradients)
    tuned = how.get('null') != 'source'
    assert len(recorded) == 3 + tuned and len({*map(tuple, recorded)}) == 2 + tuned  # a prediction, ways to φ and z, the reference


def test_the_first_is_computed_and_the_second_recorded(tiny_model, recorded):
    quick, text, seen = Replayed(tiny_model), tiny_model.embed('a bear'), []
    def run(z, t, text): seen.append(z.shape); return 2 * z
    said = [quick.compute('double', run, latents(i), 500, text) for i in range(3)]
    for i, x in enumerate(said): assert torch.equal(x, 2 * latents(i))
    assert len(recorded) == 1 and len(quick.graphs) == 1
    quick.compute('another', run, latents(), 500, text)
    quick.compute('double', run, latents()[:, :, :2], 500, text)
    assert len(quick.graphs) == 1 and len(quick.asked) == 3


def test_what_is_predicted_within_is_part_of_it(tiny_model, recorded):
    quick, text = Replayed(tiny_model), tiny_model.embed('a bear')
    def twice(z, t, text): return quick.predict(z, t, text) + quick.predict(z, t, text)
    with torch.no_grad():
        said = [quick.compute('twice', twice, latents(), 500, text) for _ in range(2)]
        plain = 2 * tiny_model.predict(latents(), 500, text)
    for x in said: torch.testing.assert_close(x, plain)
    assert [key[0] for key in quick.graphs] == ['twice'] and not quick.inside


def test_what_fails_can_be_asked_again(tiny_model, recorded):
    quick, text = Replayed(tiny_model), tiny_model.embed('a bear')
    with pytest.raises(ZeroDivisionError): quick.compute('broken', lambda *_: 1 / 0, latents(), 500, text)
    assert not quick.inside
    with torch.no_grad(): torch.testing.assert_close(quick.predict(latents(), 500, text), tiny_model.predict(latents(), 500, text))


def test_other_models_may_listen_on_the_way(tiny_model, recorded):
    class Told(Wrapped):
        def __init__(self, model): super().__init__(model, None); self.told = []
        def predict(self, *given): return self.model.predict(*given)
        def compute(self, what, run, *given): self.told.append(what); return self.model.compute(what, run, *given)
    told = Told(tiny_model)
    quick, text = Replayed(told), tiny_model.embed('a bear')
    with torch.no_grad():
        for _ in range(3): quick.predict(latents(), 500, text)
    assert told.told == ['predict'] * 3


def test_a_processor_replays_nothing(tiny_model):
    with replayed_if_room(tiny_model, 3, (32, 48), InvertSettings()) as model: assert model is tiny_model
    z, text = latents(), tiny_model.embed('a bear')
    with torch.no_grad(): assert torch.equal(tiny_model.compute('x', lambda z, t, text: z * t, z, 3, text), z * 3)


def test_only_what_is_the_same_in_every_step_is_replayed(tiny_model, monkeypatch):
    there = make_tiny_model()
    monkeypatch.setattr(type(there), 'device', SimpleNamespace(type='cuda'))
    assert can_replay(there, 3) and can_replay(there, there.windows.most) and not can_replay(there, there.windows.most + 1)
    assert not can_replay(there.in_windows(2), 3)
    with attend(there.unet, [AttentionControl()]): assert not can_replay(there, 3)
    class Known(Wrapped):
        def compute(self, *given): return self.model.compute(*given)
    assert not can_replay(Wrapped(there, None), 3) and can_replay(Known(there, None), 3)
    assert not can_replay(Known(Wrapped(there, None), None), 3) and not can_replay(SimpleNamespace(windows=there.windows), 3)
    for parts in (('blocks',), ('motion',)):
        set_recomputed(there.unet, parts)
        assert is_recomputed(there.unet) and not can_replay(there, 3)
    set_recomputed(there.unet, ())
    assert not is_recomputed(there.unet) and can_replay(there, 3)


def test_a_graph_does_what_was_computed_before(tiny_model, monkeypatch):
    if not torch.cuda.is_available(): pytest.skip('no cuda here')
    tiny_model.pipe.to('cuda')
    replay_everything(monkeypatch)
    quick = inverted(tiny_model)
    monkeypatch.undo()
    plain = inverted(tiny_model)
    torch.testing.assert_close(quick.pivots, plain.pivots, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(quick.null.latents, plain.null.latents, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize('room, memory, replays', [(20, {'inversion': 10, 'edit': 3}, True), (19, {'inversion': 10, 'edit': 3}, False), (20, {}, False)])
def test_there_must_be_room(tiny_model, monkeypatch, recorded, room, memory, replays):
    monkeypatch.setattr(cost, 'can_replay', lambda *_: True)
    monkeypatch.setattr(cost, 'room_for', lambda *_: room)
    monkeypatch.setattr(cost, 'memory_of', lambda *_: memory)
    with replayed_if_room(tiny_model, 3, (32, 48), InvertSettings()) as model: assert isinstance(model, Replayed) == replays
    assert replays or model is tiny_model


def test_nothing_recorded_is_left_behind(tiny_model, recorded):
    with replayed(tiny_model) as quick:
        for _ in range(2): quick.compute('same', lambda z, t, text: z + 1, latents(), 1, tiny_model.embed(''))
        assert quick.graphs
    assert not quick.graphs
