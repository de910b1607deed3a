"One measured edit, and what many come to."
import pytest
import torch
from bench_cases import judge, model, row  # noqa: F401
from conftest import make_tiny_pipe

from videodirector.bench import edits
from videodirector.bench.edits import edit_scores, edit_summary, edit_table, evaluate_edit, evaluate_edits
from videodirector.world.scene import Render, Scene


def test_edit_summary_of_perfect_rows():
    found = edit_summary([row(), row('background')])
    assert found['null_over_ddim'] == 15.5 and found['null_below_vae'] == .5
    assert found['new'] == found['untouched'] == 1 and found['background_psnr'] == 30 and found['foreground_psnr'] == 20


def test_edit_summary_counts_mistakes():
    spoilt = row()
    spoilt['edit']['judge'].update(colour='blue', motion='right')
    found = edit_summary([row(), spoilt])
    assert found['new'] == .5 and found['untouched'] == pytest.approx(5 / 6)


def test_edits_resume_from_stored_rows(judge, tmp_path, monkeypatch):
    made = []
    def pretend(model, judge, kind, source, target, *settings):
        made.append(source.seed)
        return row(kind, seed=source.seed, source=source.caption, target=target.caption), {}
    monkeypatch.setattr(edits, 'evaluate_edit', pretend)
    def go(count, **settings):
        return evaluate_edits(make_tiny_pipe(), judge, count, rows_file=tmp_path / 'rows.jsonl', progress=False, **settings)
    first, both = go(2), go(4)
    assert len(made) == len(set(made)) == 4 and both['rows'][:2] == first['rows']
    go(1, inverting=dict(steps=3))
    assert len(made) == 5  # other settings, so done again
    assert 'null_over_ddim' in edit_table(both)


def test_evaluate_edit_measures(model, judge, monkeypatch):
    scene = Scene('bear', 'rocks', 'left', colour='red')
    small = type(scene).render
    monkeypatch.setattr(Scene, 'render', lambda self, *a, **k: small(self, 3, 32, 48))
    found, clips = evaluate_edit(model, judge, 'colour', scene, scene.replace(colour='blue'),
                                    dict(steps=2, inner_steps=1))
    assert set(found['psnr']) == {'vae', 'ddim_cfg', 'null_text'} and found['same_prompt_difference'] < 1e-3
    assert found['untouched'] == ['subject', 'accessory', 'background', 'motion']
    assert {v.shape for v in clips.values()} == {(3, 3, 32, 48)}


def test_edit_scores_look_outside_both_foregrounds():
    clip = torch.zeros(2, 3, 8, 8)
    mask, new = torch.zeros(2, 2, 8, 8, dtype=torch.bool)
    mask[:, :2], new[:, 6:] = True, True
    edited = torch.where((mask | new)[:, None], clip + 1, clip)
    scores = edit_scores(clip, edited, mask, Render(edited, new, '', new))
    assert scores['background_psnr'] == scores['ground_truth_psnr'] == float('inf')
    assert scores['foreground_psnr'] == pytest.approx(6.02, abs=.01) and scores['judge'] is None
    assert edit_scores(clip, edited, mask)['background_psnr'] < 20
    assert edit_scores(clip, edited)['background_psnr'] is None
