"A stored report of the full-size benchmark can be read and drawn."
import json

import pytest
from sentences import refuses

from videodirector.bench.speed import JOB, read_report, show_parts, show_waterfall, waterfall

ROW = dict(steps=20, updates=10, optimiser='adam', our_updates=10, parts={part: dict(plain=float(i + 1), ours=.5 if i else 3.) for i, part in enumerate((*JOB, 'inversion'))})
REPORT = dict(machine=dict(name='a card'), dtype='bfloat16', frames=16, side=512, rows=[ROW, ROW | dict(steps=50)])
PLAIN, OURS = sum(range(1, len(JOB) + 1)), 3 + .5 * (len(JOB) - 1)


def test_a_waterfall_leads_from_one_total_to_the_other():
    bars = waterfall(ROW)
    assert [name for name, *_ in bars] == ['official', *JOB, 'here']
    assert bars[0][1:] == (0, PLAIN) and bars[-1][1:] == (0, OURS) and bars[-2][2] == pytest.approx(OURS)
    assert all(a[2] == b[1] for a, b in zip(bars[:-1], bars[1:-1]))


def test_what_became_longer_is_red():
    axis, = show_waterfall(ROW).axes
    heights = [bar.get_height() for bar in axis.patches]
    assert heights == pytest.approx([PLAIN, 2, *(-i - .5 for i in range(1, len(JOB))), OURS])
    red, green = axis.patches[1].get_facecolor(), axis.patches[2].get_facecolor()
    assert red[0] > red[1] and green[1] > green[0] and f'{PLAIN / OURS:.2g} times faster' in axis.get_title()


def test_every_part_has_its_piece_of_every_bar():
    axis, = show_parts(REPORT).axes
    assert [label.get_text() for label in axis.get_yticklabels()] == [f'S = {S}, {who}' for S in (20, 50) for who in ('official', 'here')]
    ends = {}
    for bar in axis.patches: ends[bar.get_y()] = bar.get_x() + bar.get_width()
    assert len(axis.patches) == 4 * len(JOB) and [*ends.values()] == pytest.approx([PLAIN, OURS] * 2)


def test_the_official_schedule_stands_once_for_each_number_of_steps():
    rows = [ROW | dict(optimiser='cg', our_updates=n) for n in (2, 3)]
    axis, = show_parts(REPORT | dict(rows=rows)).axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ['S = 20, official', 'S = 20, here, 2 updates', 'S = 20, here, 3 updates']


def test_a_report_is_read_or_refused(tmp_path):
    path = tmp_path / 'a.json'
    path.write_text(json.dumps(REPORT))
    assert read_report(path) == REPORT
    with pytest.raises(FileNotFoundError, match='There is no report'): read_report(tmp_path / 'b.json')
    for text, said in (('{', 'no JSON'), ('[]', 'no report of the full-size'), ('{"rows": []}', 'no report'), ('{"rows": [{"parts": {}}]}', 'no report')):
        path.write_text(text)
        refuses(said, read_report, path)
