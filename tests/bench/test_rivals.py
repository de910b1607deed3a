"The main table: every method on the same pairs, on the model that it needs."
import json
import time
from dataclasses import dataclass, replace
from mmap import mmap
from types import SimpleNamespace

import pytest
import torch
from bench_cases import judge, model  # noqa: F401

from videodirector.app.cli import main
from videodirector.base.settings import option
from videodirector.bench.rivals import ENTRIES, MAIN_COLUMNS, PAPER, Entry, Models, chosen, entry_of, main_table, paper_table, watched
from videodirector.bench.rows import Setting, owners_of
from videodirector.bench.score import Judges
from videodirector.bench.suite import as_stored, read_figures, run_pairs
from videodirector.bench.tables import contact_sheet, summary
from videodirector.methods import baselines
from videodirector.methods.api import Edit, Needs
from videodirector.methods.flatten import FlattenEdit, FlattenInvert
from videodirector.methods.registry import METHODS
from videodirector.methods.tokenflow import TokenFlowEdit, TokenFlowInvert
from videodirector.metrics.perception import load_lpips
from videodirector.world.pairs import edit_pairs

NAMES = ['invert_and_prompt', 'do_nothing']


class Still(baselines.DoNothing):
    "Only for images; the source, a little darker."
    name, title, needs = 'still', 'Still', Needs(('image',))
    def edit(self, state, prompt, settings=None, run=None, record=None):
        model, clip = state
        assert model.traits.kind == 'image'
        return Edit(clip.video * .9, torch.zeros(1, 4, 1, 1, 1), prompt, clip.prompt, {}, method=self.name)


def steps(n):
    "The settings of the method that samples, but with so many steps by default."
    @dataclass(frozen=True)
    class Few(baselines.ClimbSettings): steps: int = option(n, 'few', low=2)
    return Few


@pytest.fixture
def few(monkeypatch):
    "Two steps for the one that samples, and a method that only takes image models."
    monkeypatch.setattr(METHODS['invert_and_prompt'], 'invert_settings', steps(2), raising=False)
    monkeypatch.setitem(METHODS, 'still', Still())


@pytest.fixture
def tiny(few, model, judge):  # noqa: F811
    "Rows that are measured with tiny models."
    image = SimpleNamespace(traits=SimpleNamespace(kind='image', temporal_attention=False, per_frame_text=True), limits=model.limits,
                            unet=model.unet, device=model.device, tokenizer=model.tokenizer)
    models = SimpleNamespace(fit=lambda method: model if 'video' in method.needs.kinds else image)
    return ENTRIES._replace(load=lambda weights, device: (models, Judges(judge)))


@pytest.fixture
def out(tmp_path, tiny):
    "Two pairs, three methods."
    run_pairs(edit_pairs(2), [*NAMES, 'still'], tmp_path, device='cpu', progress=False, rows=tiny)
    return tmp_path


def test_two_pairs_by_three_methods(out):
    figures = read_figures(out, [*NAMES, 'still'], ENTRIES)
    assert all(len(rows) == 2 for rows in figures.values())
    nothing, rows = figures['do_nothing'], figures['invert_and_prompt']
    assert all(row['masked_psnr'] is None and row['masked_judge_distance'] == 0 for row in nothing.values()), 'infinite, and no distance'
    assert all(row['seconds'] > 0 and row['peak_memory'] > 50 for row in rows.values())
    for row in (*nothing.values(), *rows.values()): assert row['untouched'] == pytest.approx((5 * row['judge_right'] - row['new']) / 4, abs=1e-3)
    assert figures['still'].keys() == rows.keys()
    assert contact_sheet(out, [*NAMES, 'still'], range(2)).size == (5 * 3 * 128, 2 * 128)
    text = main_table(figures, against='invert_and_prompt')
    assert '| do_nothing |' in text and '∞' in text and 'nan' not in text and 'pair by pair' in text


def test_what_is_stored_is_not_done_again(out, tiny, monkeypatch):
    def never(*args): raise AssertionError
    monkeypatch.setattr(baselines.InvertAndPrompt, 'prepare', never)
    before = {f: f.stat().st_mtime_ns for f in out.glob('*/*')}
    run_pairs(edit_pairs(2), NAMES, out, device='cpu', progress=False, rows=tiny)
    assert {f: f.stat().st_mtime_ns for f in out.glob('*/*')} == before
    monkeypatch.setattr(METHODS['invert_and_prompt'], 'invert_settings', steps(3))
    assert len(read_figures(out, NAMES, ENTRIES)['invert_and_prompt']) == 0, 'other settings are another row'


def test_a_table_is_of_the_pairs_that_were_asked_for(tmp_path, tiny, monkeypatch):
    monkeypatch.setattr('videodirector.app.measure.ENTRIES', tiny)
    out = tmp_path / 'out'
    command = ['benchmark', '--methods', 'do_nothing', '--device', 'cpu', '--out', str(out), '--quiet', '--pairs']
    for count in 2, 1:
        assert main([*command, str(count)]) == 0
        report = json.loads((out / 'methods.json').read_text())
        assert report['pairs'] == len(report['figures']['do_nothing']) == count
    row = json.loads((file := out / '000' / 'do_nothing.json').read_text())
    file.write_text(json.dumps(row | dict(target='a scene of another world', figures={})))
    assert main([*command, '1']) == 0 and json.loads(file.read_text()) | dict(figures=0) == row | dict(figures=0), 'it is measured anew'


def test_videodirector_runs_in_full_and_the_others_by_their_defaults():
    full = Setting()
    assert (entry_of('videodirector').invert, entry_of('videodirector').edit) == (full.invert, full.edit) and full.invert.stdg
    for name in METHODS:
        assert as_stored(entry_of(name))['method'] == name and isinstance(entry_of(name).edit, METHODS[name].edit_settings)


def test_a_name_may_carry_changes():
    entry = entry_of('tokenflow: tau_f=.6,tau_qk=.3')
    assert entry == Entry('tokenflow', TokenFlowInvert(), TokenFlowEdit(tau_f=.6, tau_qk=.3))
    assert entry_of('flatten: old_qk=true,tau=.5') == Entry('flatten', FlattenInvert(old_qk=True), FlattenEdit(tau=.5)), 'both kinds of settings'
    full = Setting()
    assert entry_of('videodirector: tau_s=.2') == Entry('videodirector', full.invert, replace(full.edit, tau_s=.2)), 'of the full method'
    for method in METHODS.values():
        kinds = [*{method.invert_settings, method.edit_settings}]
        assert len(owners_of(*kinds)) == sum(len(owners_of(kind)) for kind in kinds), f'{method.name} has one name for two settings'


def test_entries_with_changes_among_methods():
    assert chosen('rave, tokenflow:tau_f=.6, tau_qk=.3,do_nothing,tokenflow: tau_f=.6,tau_qk=.3') == ['rave', 'tokenflow: tau_f=.6,tau_qk=.3', 'do_nothing']


def test_entries_that_prepare_alike_share_it(tmp_path, tiny, monkeypatch):
    prepared, names = [], ['invert_and_prompt', 'invert_and_prompt: guidance_scale=2', 'invert_and_prompt: steps=3', 'do_nothing']
    own = baselines.InvertAndPrompt.prepare
    def counted(*args): prepared.append(args); time.sleep(.2); return own(*args)
    monkeypatch.setattr(baselines.InvertAndPrompt, 'prepare', counted)
    assert sorted(map(sorted, ENTRIES.groups(names))) == sorted([names[:2], [names[2]], [names[3]]])
    run_pairs(edit_pairs(1), names[:3], tmp_path, device='cpu', progress=False, rows=tiny)
    found = {name: row for name, rows in read_figures(tmp_path, names, ENTRIES).items() for row in rows.values()}
    assert len(found) == 3 and len(prepared) == 2
    assert all(found[name]['seconds'] > .2 and found[name]['peak_memory'] > 50 for name in names[:3]), 'the time counts for each'
    assert found[names[0]]['truth_psnr'] != found[names[1]]['truth_psnr']


def test_by_the_command(tmp_path, tiny, monkeypatch):
    out = tmp_path / 'out'
    monkeypatch.setattr('videodirector.app.measure.ENTRIES', tiny)
    assert main(['benchmark', '--pairs', '1', '--methods', ','.join(NAMES), '--device', 'cpu', '--out', str(out), '--quiet']) == 0
    report = json.loads((out / 'methods.json').read_text())
    assert report['methods'] == NAMES and report['settings']['invert_and_prompt']['invert'] == dict(steps=2)
    assert (out / 'methods.md').read_text() == main_table(report['figures']) + '\n' and (out / 'methods.png').exists()
    assert all({key for key, *_ in MAIN_COLUMNS.values()} - row.keys() == {'masked_lpips', 'WorldCLIP'} for rows in report['figures'].values() for row in rows.values())


@pytest.mark.parametrize('asked, sentence', [('rose', "no method 'rose'; choose one of videodirector"), ('do_nothing,rose', "no method 'rose'"),
                                             (',', 'No method is named; give all, or some of'), ('tokenflow: rose=1', "'rose=1' is no setting; give NAME=VALUE with one of steps"),
                                             ('tokenflow: tau_f=2', 'tau_f is 2.0; give a number from 0 to 1'), ('rave: grid=x', "'x' is no value for grid"),
                                             ('tokenflow:', "'' is no setting"), ('do_nothing: steps=2', 'Nothing can be set of do_nothing'), ('rave,grid=3', "no method 'rave,grid=3'"), ('', 'No method is named'), ('all,rose', "no method 'all'")])
def test_what_is_no_method_is_a_sentence(asked, sentence, tmp_path, capsys):
    assert main(['benchmark', '--methods', asked, '--out', str(tmp_path / 'out')]) == 2
    said = capsys.readouterr().err
    assert sentence in said and len(said.strip().splitlines()) == 1 and not (tmp_path / 'out').exists()


def test_methods_and_settings_are_two_tables(tmp_path, capsys):
    with pytest.raises(SystemExit): main(['benchmark', '--methods', 'all', '--configs', 'rows', '--out', str(tmp_path / 'out')])
    assert 'not allowed with' in capsys.readouterr().err


def test_all_and_each_once():
    assert chosen('all') == list(METHODS) and chosen(' do_nothing, videodirector,do_nothing') == ['do_nothing', 'videodirector']


def test_the_paper_beside_ours():
    figures = {name: {'colour 1': {'MS (DIS)': .5, 'masked_psnr': 20.}} for name in ('videodirector', 'do_nothing')}
    text = paper_table(summary(figures, known=MAIN_COLUMNS))
    assert '| videodirector | 0.9768 · 0.5000 | 21.64 · – | 21.37 · 20.00 | 0.270 · – | 1.00 · – |' in text
    assert '| do_nothing | – · 0.5000 | – · – | – · 20.00 | – · – | – · – |' in text
    assert PAPER['rave']['US'] == 2.89 and len(PAPER) == 5 and PAPER.keys() < METHODS.keys()


def test_lpips_has_a_column_where_its_weights_are_given(tmp_path, tiny, judge, monkeypatch, capsys):  # noqa: F811
    from safetensors.torch import save_file
    squeezenet1_1 = pytest.importorskip('torchvision').models.squeezenet1_1
    torch.manual_seed(0)
    save_file(squeezenet1_1(weights=None).state_dict(), tmp_path / 'net.safetensors')
    def load(weights, device, lpips=None):
        models, judges = tiny.load(weights, device)
        return models, replace(judges, lpips=lpips and load_lpips(lpips))
    monkeypatch.setattr('videodirector.app.measure.ENTRIES', tiny._replace(load=load))
    command = ['benchmark', '--pairs', '1', '--methods', 'do_nothing', '--device', 'cpu', '--quiet', '--out']
    lpips = ['--lpips', str(tmp_path / 'net.safetensors')]
    assert main([*command, str(tmp_path / 'with'), *lpips]) == 0 == main([*command, str(tmp_path / 'without')])
    tables = [(tmp_path / name / 'methods.md').read_text() for name in ('with', 'without')]
    assert [('m.L (LPIPS) ↓' in text, 'm.L · m.L (LPIPS)' in text, 'm.L · judge distance' in text) for text in tables] == [(True, True, False), (False, False, True)]
    assert '| do_nothing | – · ' in tables[0] and all('judge distance ↓' in text for text in tables), 'each under its own name'
    for folder, more, sentence in ('with', [], 'measured with LPIPS; give --lpips'), ('without', lpips, 'measured without LPIPS; leave --lpips out'):
        assert main([*command, str(tmp_path / folder), *more]) == 2 and sentence in capsys.readouterr().err
    assert main([*command, str(tmp_path / 'x'), '--lpips', str(tmp_path / 'none')]) == 2 and 'no network for LPIPS at' in capsys.readouterr().err
    assert main(['benchmark', '--out', str(tmp_path / 'x'), *lpips]) == 2 and '--lpips belongs to --methods' in capsys.readouterr().err
    assert not (tmp_path / 'x').exists()


def test_each_method_gets_the_model_that_it_needs():
    models = Models(device='cpu')
    image, video = (models.fit(SimpleNamespace(needs=Needs(kinds))) for kinds in (('image',), ('video', 'image')))
    assert (image.traits.kind, video.traits.kind) == ('image', 'video') and models.fit(Still()) is image
    name = 'down_blocks.0.resnets.0.conv1.weight'
    assert torch.equal(image.unet.get_parameter(name), video.unet.get_parameter(name)), 'the same weights'


def test_time_and_memory_are_watched():
    with watched(torch.device('cpu')) as little: pass
    with watched(torch.device('cpu')) as much, mmap(-1, 100 * 2**20) as fresh:  # what was freed before may be kept, and used again
        fresh.write(bytes([1]) * len(fresh))
    assert 0 <= little['seconds'] < much['seconds']
    if 'peak_memory' in little: assert much['peak_memory'] - little['peak_memory'] > 60
