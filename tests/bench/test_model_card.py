"The whole report, on a random model."
import json

import pytest
from bench_cases import judge, model  # noqa: F401

from videodirector.app.reports import as_json
from videodirector.base.run import Run
from videodirector.bench import model_card
from videodirector.bench.generation import JUDGE_SEED, MODEL_SEED, GenerateSettings
from videodirector.bench.model_card import MODEL_BARS, Counts, evaluate_model, model_figures, model_table, unet_seconds
from videodirector.bench.report import rounded
from videodirector.world.pairs import EDIT_SEED
from videodirector.world.scene import FIRST_TRAINING_SEED, random_scene


def test_evaluate_model_reports_everything(model, judge, monkeypatch, tmp_path):
    monkeypatch.setattr(model_card, 'weights_bytes', lambda folder: 1234)
    monkeypatch.setattr(model_card, 'unet_seconds', lambda model: .1)
    report = evaluate_model(model, judge, GenerateSettings(steps=2), Counts(1, 1, 2, 1), run=Run(progress=False))
    report = json.loads(as_json(rounded(report)))
    assert set(report) == {'vae', 'judge', 'attention', 'generated', 'unet_seconds', 'weights_bytes', 'settings',
                           'machine', 'seconds'}
    assert report['generated']['rows'][0]['caption'] == random_scene(MODEL_SEED).caption
    figures = model_figures(report)
    assert {k for k in MODEL_BARS if k != 'vae.clips'} <= set(figures)
    assert figures['weights_bytes'] == (1234, 40_000_000, True) and figures['vae.world'][2] is False
    assert 'NO' in model_table(report)


def test_all_seeds_are_unseen():
    assert MODEL_SEED < JUDGE_SEED < EDIT_SEED < FIRST_TRAINING_SEED - 100_000


def test_unet_seconds_is_a_time(model):
    assert 0 < unet_seconds(model, frames=2, size=(4, 4), calls=2) < 60


def test_a_missing_clip_is_noticed_before_anything_is_measured(model, monkeypatch, tmp_path):
    monkeypatch.setattr(model_card, 'unet_seconds', lambda model: pytest.fail('a measurement was begun'))
    with pytest.raises(FileNotFoundError, match='There is no clip'):
        evaluate_model(model, object(), clips=(tmp_path / 'gone.mp4',))
