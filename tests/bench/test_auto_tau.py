"A rule finds what was planted in a sweep, regret is what it misses, and the first look leaves the model as it was."
import json

import pytest
import torch
from bench_cases import model  # noqa: F401
from torch.testing import assert_close

from videodirector.base.run import Run
from videodirector.bench import auto_tau
from videodirector.bench.auto_tau import LOOK, SIGNS, Rule, Sweep, first_look, mean_over, regret_table
from videodirector.data.mask import Mask
from videodirector.methods.videodirector import edit, invert
from videodirector.world.pairs import TUNING_SEED, edit_pairs

SOURCE, TARGET, QUIET = 'a brown bear walking on grass', 'a brown tiger walking on grass', Run(progress=False)


def sweep(*curves): return Sweep([0., .4, .8], {f'colour {i}': torch.tensor(curve, dtype=torch.float64) for i, curve in enumerate(curves)})
def looks(*values, sign='keys inside'): return {f'colour {i}': {sign: x} for i, x in enumerate(values)}


def report(path, **edits):
    "A report of settings that differ in τ_s and τ_c; figures say which."
    taus = {name: dict(edit=dict(tau_s=s, tau_c=c)) for name, (s, c) in edits.items()}
    figures = {name: {'colour 1': dict(truth_psnr=10 * s, new=1.), 'subject 2': dict(truth_psnr=-s, new=0.)} for name, (s, _) in edits.items()}
    path.write_text(json.dumps(dict(settings=taus, figures=figures)))
    return path


def test_a_sweep_is_read_in_order_and_of_one_tau_c(tmp_path):
    found = Sweep.read(report(tmp_path / 'x.json', b=(.8, .4), a=(.2, .4), other=(.5, .7)))
    assert found.taus == [.2, .8] and list(found.curves) == ['colour 1', 'subject 2']
    assert_close(found.curves['colour 1'], torch.tensor([2., 8.], dtype=torch.float64))
    assert Sweep.read(tmp_path / 'x.json', 'new').table.tolist() == [[1, 1], [0, 0]]
    with pytest.raises(ValueError, match='no sweep of tau_s'): Sweep.read(report(tmp_path / 'y.json', a=(.2, .4), other=(.5, .7)))


def test_regret_is_what_is_missed_of_the_best():
    found = sweep([1, 2, 3], [5, 1, 0])
    assert found.best == 0. and found.regret([.8, 0.]).tolist() == [0, 0] and found.regret([.4, .8]).tolist() == [1, 5]
    assert found.at([0., .4]).tolist() == [1, 1]


def test_a_rule_finds_what_was_planted():
    found = sweep([3, 2, 1], [3, 2, 1], [1, 2, 3], [1, 2, 3])
    rule = Rule.fit('keys inside', looks(.1, .2, .6, .9), found)
    assert (rule.below, rule.above, rule.threshold) == (0., .8, pytest.approx(.4))
    assert [rule({'keys inside': x}) for x in (.3, .4, .5)] == [0., .8, .8]
    assert Rule.fit('keys inside', looks(.9, .6, .2, .1), found).above == 0.


def test_a_sign_that_says_nothing_gives_the_best_fixed_value():
    found = sweep(*[[0, 1, 0]] * 4)
    rule = Rule.fit('words', looks(.1, .2, .3, .4, sign='words'), found)
    assert rule.below == rule.above == found.best == .4


def test_a_rule_is_never_worse_than_the_best_fixed_value_where_it_was_fitted():
    make = torch.Generator().manual_seed(0)
    found, signs = sweep(*torch.randn(9, 3, generator=make).tolist()), looks(*torch.rand(9, generator=make).tolist())
    rule = Rule.fit('keys inside', signs, found)
    chosen = [rule(signs[edit]) for edit in found.curves]
    assert 0 <= found.regret(chosen).mean() <= found.regret([found.best] * 9).mean()


def test_means_over_regions():
    x = torch.tensor([[[1., 3.], [5., 7.]]])
    assert mean_over(x, torch.tensor([[[1., 0.], [.5, 0.]]])) == pytest.approx(3.5 / 1.5) and mean_over(x, torch.zeros(1, 2, 2)) == 0


@pytest.fixture
def inversion(model):  # noqa: F811
    mask = torch.zeros(2, 64, 64, dtype=torch.bool)
    mask[:, 16:48, 16:48] = True
    video = torch.rand(2, 3, 64, 64, generator=torch.manual_seed(0)) * 2 - 1
    return invert(model, video, SOURCE, Mask(mask), null='none', steps=6, run=QUIET)


def test_a_first_look_sees_and_leaves_all_as_it_was(model, inversion):  # noqa: F811
    before = {name: type(p) for name, p in model.unet.attn_processors.items()}
    first, again = (first_look(model, inversion, TARGET) for _ in range(2))
    assert first == again and tuple(first) == SIGNS and all(0 < x < float('inf') for x in first.values()) and first['words'] < 1
    assert {name: type(p) for name, p in model.unet.attn_processors.items()} == before
    other = first_look(model, inversion, TARGET, region='background')
    assert other['words'] == pytest.approx(1 - first['words'], abs=1e-3)
    assert (other['keys inside'], other['keys outside']) == pytest.approx((first['keys outside'], first['keys inside']), rel=1e-2)
    assert first_look(model, inversion, TARGET, steps=1) != first and LOOK < len(inversion.schedule)


def test_it_sees_the_path_that_an_edit_takes(model, inversion):  # noqa: F811
    "With as many steps as SA-I has, the look ends where the edit by SA-I alone would."
    seen, predict = [], model.predict

    class Watched:
        def __getattr__(self, name): return getattr(model, name)
        def predict(self, z, t, text):
            seen.append(z[0])
            return predict(z, t, text)
    first_look(Watched(), inversion, TARGET, steps=6)
    made, looked = edit(Watched(), inversion, TARGET, tau_s=1., mutual=False, run=QUIET), seen[:6]
    for a, b in zip(looked, seen[6:]): assert_close(a, b, rtol=1e-3, atol=1e-4)
    assert len(seen) == 12 and made.latents.isfinite().all()


def test_what_cannot_be_seen_is_said(model, inversion):  # noqa: F811
    with pytest.raises(ValueError, match='changes nothing'): first_look(model, inversion, SOURCE)
    inversion.mask = None
    with pytest.raises(ValueError, match='a mask and the inversion has none'): first_look(model, inversion, TARGET)


def test_a_table_of_regrets():
    found = sweep([1, 2, 3], [5, 1, 0], [2, 2, 4])
    text = regret_table(found, dict(mine=[.8, 0., .8], worst=[0., .8, 0.]), {'always 0': 0.}, sweep([1, 1, 1], [0, 0, 1], [1, 1, 1]))
    head, _, mine, worst = text.splitlines()
    assert head == '|  | regret (dB) | over always 0 | new word |' and mine.startswith('| mine | 0.00 [0.00, 0.00] | 1.33 [0.00, 2.00] | 0.667 |') and worst.startswith('| worst | 3.00')


def test_by_the_command_what_was_seen_is_written_down_after_each_pair(monkeypatch, model, tmp_path):  # noqa: F811
    seen = []
    def look_at(model, pair, guidance_scale):
        seen.append((pair[1].seed, guidance_scale))
        if len(seen) == 3: raise KeyboardInterrupt
        return dict.fromkeys(SIGNS, 1 / 3)
    monkeypatch.setattr(auto_tau, 'load_world_model', lambda device: model)
    monkeypatch.setattr(auto_tau, 'look_at', look_at)
    with pytest.raises(KeyboardInterrupt): auto_tau.main(['--tuning', '2', '--pairs', '1', '--guidance-scale', '4', '--out', str(tmp_path / 'looks.json')])
    written = json.loads((tmp_path / 'looks.json').read_text())
    pairs = [*edit_pairs(2, TUNING_SEED), *edit_pairs(1)]
    assert seen == [(source.seed, 4.) for _, source, _ in pairs] and written['what']['guidance_scale'] == 4
    assert written['looks'] == {f'{kind} {source.seed}': dict.fromkeys(SIGNS, .33333) for kind, source, _ in pairs[:2]}
