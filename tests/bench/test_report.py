"Numbers that JSON can say."
from videodirector.bench.report import rounded


def test_rounded_leaves_nothing_that_json_cannot_say():
    given = dict(a=float('inf'), b=[1.23456, float('nan')], c='x', d=True)
    assert rounded(given) == dict(a=None, b=[1.2346, None], c='x', d=True)


def test_reports_hold_no_infinities():
    assert rounded({'a': float('inf'), 'b': [1, 2], 'c': {'d': 1.234}, 'e': float('nan')}, 2) == {
        'a': None, 'b': [1, 2], 'c': {'d': 1.23}, 'e': None}


def test_settings_are_told_as_they_were_set():
    assert rounded(dict(settings=dict(tolerance=1e-5), loss=1e-5)) == dict(settings=dict(tolerance=1e-5), loss=0.)
