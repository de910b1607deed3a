"Names and what they stand for."
from dataclasses import replace

import pytest

from videodirector.bench.rows import ROWS, SWEEPS, Setting, groups_of, names_of, setting_of
from videodirector.bench.score import Case
from videodirector.methods.presets import PAPER
from videodirector.parts.settings import STDG, EditSettings, InvertSettings
from videodirector.world.scene import Scene


def test_names_stand_for_settings():
    assert setting_of('full') == Setting() == Setting(InvertSettings(stdg=STDG()), EditSettings(), 'true')
    assert setting_of('w/o SA') == Setting(edit=EditSettings(layout=False, mutual=False))
    assert setting_of('tau_s=0.2,null=shared,cfg=videodirector,inner_steps=3') == Setting(
        InvertSettings(null='shared', cfg='videodirector', inner_steps=3, stdg=STDG()), EditSettings(tau_s=.2))
    assert setting_of('eta=2,zeta=0,mask=click') == Setting(InvertSettings(stdg=STDG(2., 2., 0., 0.)), mask='click')
    assert names_of(['rows', 'full', 'eta']) == [*ROWS, *(f'eta={v}' for v in SWEEPS['eta'])]
    assert setting_of('paper: w/o CA') == Setting(PAPER.invert, replace(PAPER.edit, tau_c=0.))
    assert setting_of('paper: eta=1').invert == replace(PAPER.invert, stdg=STDG(1., 1., 0., .5))
    assert names_of(['paper: rows', 'full']) == [*(f'paper: {name}' for name in ROWS), 'full']
    assert all(name in names_of(['sweeps']) for field in SWEEPS for name in names_of([field]))


@pytest.mark.parametrize('name', ['w/o nothing', 'tau_x=1', 'tau_s=much', 'inner_steps=1.5', 'mutual=yes', 'tau_s', '', 'weights=1',
                                  'stdg=1', 'region=background', 'papers: full', 'paper: paper: full'])
def test_other_names_are_refused(name):
    with pytest.raises(ValueError, match=r'is no (setting|value|preset)'): setting_of(name)


@pytest.mark.parametrize('name, sentence', [('mask=x', "choose one of 'true', 'click'"), ('tau_s=nan', 'from 0 to 1'), ('steps=0', '2 or more'),
                                            ('inner_steps=-1', '0 or more'), ('eta=nan', 'eta_f is nan'), ('cfg=x', 'choose one of')])
def test_values_that_a_setting_cannot_have_are_refused(name, sentence):
    with pytest.raises(ValueError, match=sentence): setting_of(name)


def test_each_row_switches_off_one_part():
    full, changed = Setting(), {name: setting_of(name) for name in ROWS}
    assert full.invert.stdg and changed['w/o STDG'].invert == InvertSettings()
    assert changed['shared null text'].invert == InvertSettings(null='shared', stdg=STDG())
    assert changed['w/o CA'].edit == EditSettings(tau_c=0.)
    assert changed['w/o SA-I'].edit == EditSettings(layout=False)  # SA-II begins where it did
    assert changed['w/o SA-II'].edit == EditSettings(mutual=False)
    assert changed['w/o SA'].edit == EditSettings(layout=False, mutual=False)


def test_guidance_holds_what_the_pair_leaves_alone():
    scene = Scene('bear', 'rocks', 'left', colour='red')
    behind = Case.of('background', scene, scene.replace(background='meadow'), frames=2)
    assert behind.inverting(Setting().invert).stdg == STDG(region='background')
    assert Case.of('colour', scene, scene.replace(colour='blue'), frames=2).inverting(Setting().invert) == Setting().invert
    assert behind.inverting(InvertSettings()).stdg is None


def test_settings_that_invert_alike_share_an_inversion():
    groups = groups_of(list(ROWS))
    assert sorted(map(len, groups)) == [1, 1, 5]
    assert ['shared null text'] in groups and ['w/o STDG'] in groups
    assert len(groups_of(['full', 'mask=click'])) == 2
