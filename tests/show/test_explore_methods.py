"A recording of any method opens in the explorer and shows what was recorded."
import pytest
import torch
from board_cases import FEW, SOURCE, START, TARGET, video
from conftest import make_tiny_image_model, make_tiny_model

from videodirector.attention.recording import Recording
from videodirector.base.run import Run
from videodirector.methods.api import Clip
from videodirector.methods.registry import METHODS
from videodirector.show.explore import explore
from videodirector.show.look import Look

CLIP = Clip(video(), SOURCE)
KINDS = dict(tokenflow=('cross',), flatten=('cross',), rave=('cross', 'spatial'), video_p2p=('cross', 'spatial'))  # that there are; else all
BOTH = 'videodirector', 'tokenflow', 'video_p2p'  # of which the source's words are known, too


@pytest.fixture(scope='module')
def models(): return dict(video=make_tiny_model(), image=make_tiny_image_model())


def recorded(models, name, kinds):
    "A recording, and the clip that was made meanwhile."
    method, s, quiet, record = METHODS[name], START.by(name).but(**FEW.get(name, {})), Run(progress=False), Recording(kinds)
    s = s.but(eta_f=0, eta_b=0, zeta_b=0, inner_steps=0) if name == 'videodirector' else s
    state = method.prepare(models['video' if 'video' in method.needs.kinds else 'image'], CLIP, s.invert, quiet)
    return record, method.edit(state, TARGET, s.edit, quiet, record).video


@pytest.mark.parametrize('name', [name for name in METHODS if name != 'do_nothing'])
def test_what_a_method_recorded_is_shown(models, name):
    kinds = KINDS.get(name, ('cross', 'spatial', 'temporal'))
    record, edited = recorded(models, name, kinds)
    e = explore(record, CLIP.video, edited)
    assert e.facts['kinds'] == [*kinds]
    for kind in kinds:
        e.choose(kind=kind)
        panels, slot = {p.title: p for p in Look(e.packed, e.state).panels()}, f"edit_{e.state['branch']}"
        assert ('source' in panels) == (name in BOTH) and 'edit' in panels
        shown = torch.from_numpy(Look(e.packed, e.state).maps(panels['edit']))
        found, = record.find(kind, slot, e.state['step'], e.state['site'])
        y, x = Look(e.packed, e.state).cell()
        if kind == 'temporal': found = found[..., e.state['key']].permute(2, 0, 1)
        elif kind == 'cross': found = record.cross[e.state['word'].split(' → ')[-1], e.state['step'], e.state['site'], slot]
        else: found = found[:, y, x, -found.shape[1] * found.shape[2]:].unflatten(1, found.shape[1:3])
        torch.testing.assert_close(shown, found, rtol=0, atol=1e-3)
    e.still()


@pytest.mark.parametrize('name', ['tokenflow', 'flatten'])
def test_attention_that_is_none_is_refused_in_a_sentence(models, name):
    with pytest.raises(ValueError, match='gives no probabilities to record; record other sites'): recorded(models, name, ('spatial',))


def test_nothing_recorded_is_a_sentence(models):
    with pytest.raises(ValueError, match='the recording holds no maps; give one that an edit'): explore(recorded(models, 'do_nothing', ('cross',))[0])
