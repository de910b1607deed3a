"One measured edit, and what many come to."
import pytest
from bench_cases import judge, model, row  # noqa: F401

from videodirector.base.run import Run
from videodirector.bench import edits
from videodirector.bench.edits import edit_summary, edit_table, evaluate_edit, evaluate_edits
from videodirector.parts.settings import InvertSettings
from videodirector.world.scene import Scene


def test_edit_summary_of_perfect_rows():
    found = edit_summary([row(), row('background')])
    assert found['null_over_ddim'] == 15.5 and found['null_below_vae'] == .5
    assert found['new'] == found['untouched'] == 1
    assert found['masked_psnr'] == 30 and found['masked_psnr_background'] == 20


def test_edit_summary_counts_mistakes():
    spoilt = row()
    spoilt['read_edited'].update(colour='blue', motion='right')
    spoilt['edit']['new'] = 0.
    found = edit_summary([row(), spoilt])
    assert found['new'] == .5 and found['untouched'] == pytest.approx(5 / 6)


def test_edits_resume_from_stored_rows(tiny_model, judge, tmp_path, monkeypatch):
    made = []
    def pretend(model, judge, kind, source, target, *settings):
        made.append(source.seed)
        return row(kind, seed=source.seed, source=source.caption, target=target.caption), {}
    monkeypatch.setattr(edits, 'evaluate_edit', pretend)
    def go(count, **settings):
        return evaluate_edits(tiny_model, judge, count, rows_file=tmp_path / 'rows.jsonl', run=Run(progress=False), **settings)
    first, both = go(2), go(4)
    assert len(made) == len(set(made)) == 4 and both['rows'][:2] == first['rows']
    go(1, inverting=InvertSettings(steps=3))
    assert len(made) == 5  # other settings, so done again
    assert 'null_over_ddim' in edit_table(both)


def test_evaluate_edit_measures(model, judge, monkeypatch):
    scene = Scene('bear', 'rocks', 'left', colour='red')
    small = type(scene).render
    monkeypatch.setattr(Scene, 'render', lambda self, *a, **k: small(self, 3, 32, 48))
    found, clips = evaluate_edit(model, judge, 'colour', scene, scene.replace(colour='blue'),
                                 InvertSettings(steps=2, inner_steps=1))
    assert set(found['psnr']) == {'vae', 'ddim_cfg', 'null_text'} and found['same_prompt_difference'] < 1e-3
    assert found['untouched'] == ['subject', 'accessory', 'background', 'motion']
    assert {'masked_psnr', 'inside_psnr', 'new', 'judge_right', 'truth_psnr'} <= found['edit'].keys()
    assert found['edit']['new'] == (found['read_edited']['colour'] == 'blue')
    assert {v.shape for v in clips.values()} == {(3, 3, 32, 48)}
