"Clips from captions, and a judge that reads them."
import pytest
import torch
from bench_cases import model  # noqa: F401
from PIL import Image

from videodirector.base.run import Run
from videodirector.bench.generation import JUDGE_SEED, confusion, generate, generation_sheet, measure_judge, share_right
from videodirector.world.scene import random_scene


def test_share_right_counts_each_attribute():
    wanted = [dict(subject='fox', colour='red'), dict(subject='bear', colour='blue')]
    read = [dict(colour='red', subject='fox'), dict(colour='blue', subject='fish')]
    assert share_right(wanted, read) == dict(subject=.5, colour=1.)


@pytest.mark.parametrize('wanted,read', [([], []), ([dict(a='b')], [])])
def test_share_right_needs_pairs(wanted, read):
    with pytest.raises(ValueError, match='one reading for each'): share_right(wanted, read)


def test_confusion_has_rows_for_what_was_wanted():
    counts = confusion(['b', 'b', 'a'], ['a', 'b', 'a'], ['a', 'b', 'c'])
    assert counts.tolist() == [[1, 0, 0], [1, 1, 0], [0, 0, 0]]


def test_judge_accuracy_follows_the_judge():
    class Oracle:
        device, calls = 'cpu', 0
        def read(self, video):
            scene = random_scene(JUDGE_SEED + self.calls)
            self.calls += 1
            return scene.attributes | (dict(motion='?') if self.calls % 2 else {})
    found = measure_judge(Oracle(), 4, Run(progress=False))
    assert found == dict(subject=1., colour=1., accessory=1., background=1., motion=.5)


def test_a_clip_does_not_depend_on_its_batch(model):
    prompts = ['a bear', 'a tiger', 'a red bear']
    small = dict(steps=2, frames=2, size=(32, 32), run=Run(progress=False))
    alone, together = (list(generate(model, prompts, batch=n, **small)) for n in (1, 3))
    for a, b in zip(alone, together): torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)
    assert len(alone) == 3 and alone[0].shape == (2, 3, 32, 32)


def test_sheet_is_a_picture(tmp_path):
    scene = random_scene(1)
    generation_sheet([(scene, torch.zeros(4, 3, 16, 16), scene.attributes)] * 5, tmp_path / 'sheet.png', columns=2)
    assert Image.open(tmp_path / 'sheet.png').size == (2 * 56, 3 * 46)
