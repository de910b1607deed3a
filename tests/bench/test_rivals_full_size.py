"All methods go through the command on a thin model, each on the kind that it needs."
import json

import pytest
import torch

from videodirector.bench.rivals import entry_of
from videodirector.bench.rivals_full_size import THIN, main, make_clip, table, timed_entries
from videodirector.bench.untrained import build_model
from videodirector.methods.registry import METHODS

CPU = torch.device('cpu')


def test_all_that_have_steps_with_as_many():
    names = timed_entries('all', 4)
    assert [entry_of(name).method for name in names] == [name for name in METHODS if name != 'do_nothing']
    assert {entry_of(name).edit.steps if 'motionclone' in name else entry_of(name).invert.steps for name in names} == {4}
    assert timed_entries('rave,motionclone', 2) == ['rave: steps=2', 'motionclone: steps=2,guided=1']


def test_a_thin_image_model_has_no_motion():
    image, video = (build_model(THIN, CPU, torch.float32, kind=kind) for kind in ('image', 'video'))
    assert (image.traits.kind, video.traits.kind) == ('image', 'video')
    sites = [{site.name for site in model.sites()} for model in (image, video)]
    assert sites[0] == {name for name in sites[1] if 'motion' not in name}


def test_a_clip_as_large_as_asked():
    clip, prompt = make_clip(THIN)
    assert clip.video.shape == (THIN.frames, 3, THIN.side, THIN.side) and clip.mask.hard.any() and prompt != clip.prompt


def test_every_method_by_the_command(tmp_path, capsys):
    main(['--tiny', '--device', 'cpu', '--out', str(tmp_path / 'a.json')])
    report = json.loads((tmp_path / 'a.json').read_text())
    kinds = {row['method']: row['kind'] for row in report['rows']}
    assert kinds == {name: METHODS[name].needs.kinds[0] for name in METHODS if name != 'do_nothing'}
    assert all(row[part]['seconds'] > 0 and row[part]['gb'] is None for row in report['rows'] for part in ('prepare', 'edit'))
    assert (report['dtype'], report['side'], report['settings']) == ('float32', THIN.side, timed_entries('all', 2))
    assert table(report['rows']).splitlines()[2:] == [line for line in capsys.readouterr().out.splitlines() if line.startswith('|')]


def test_no_place_for_the_figures_is_told_before_the_work(tmp_path):
    with pytest.raises(ValueError, match='is a folder'): main(['--tiny', '--out', str(tmp_path)])
    with pytest.raises(ValueError, match='no method'): main(['--tiny', '--methods', 'rose'])
