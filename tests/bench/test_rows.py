"Names and what they stand for."
import pytest

from videodirector.bench.rows import ROWS, SWEEPS, Setting, groups_of, names_of, setting_of


def test_names_stand_for_settings():
    assert setting_of('full') == Setting()
    assert setting_of('w/o SA') == Setting(layout=False, mutual=False)
    assert setting_of('tau_s=0.2,shared=true,cfg=videodirector,inner_steps=3') == Setting(tau_s=.2, shared=True, cfg='videodirector', inner_steps=3)
    assert names_of(['rows', 'full', 'eta']) == [*ROWS, *(f'eta={v}' for v in SWEEPS['eta'])]
    assert all(name in names_of(['sweeps']) for field in SWEEPS for name in names_of([field]))


@pytest.mark.parametrize('name', ['w/o nothing', 'tau_x=1', 'tau_s=much', 'inner_steps=1.5', 'shared=yes', 'tau_s'])
def test_other_names_are_refused(name):
    with pytest.raises(ValueError, match=r'is no (setting|value)'): setting_of(name)


def test_each_row_switches_off_one_part():
    full = Setting()
    assert full.inverting('foreground')['stdg'] and ROWS['w/o STDG'].inverting('foreground')['stdg'] is None
    assert full.inverting('background')['stdg'].region == 'background'
    assert ROWS['shared null text'].inverting('foreground')['shared'] and not full.inverting('foreground')['shared']
    assert ROWS['w/o CA'].editing()['tau_c'] == 0
    assert ROWS['w/o SA-I'].editing() == full.editing() | dict(tau_s=(.4, .4))  # SA-II begins where it did
    assert ROWS['w/o SA-II'].editing() == full.editing() | dict(mutual=False)
    assert ROWS['w/o SA'].editing() == full.editing() | dict(mutual=False, tau_s=(.4, .4))


def test_settings_that_invert_alike_share_an_inversion():
    groups = groups_of(list(ROWS))
    assert sorted(map(len, groups)) == [1, 1, 5]
    assert ['shared null text'] in groups and ['w/o STDG'] in groups
    assert len(groups_of(['full', 'mask=click'])) == 2
