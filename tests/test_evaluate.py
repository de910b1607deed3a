"The measuring itself: figures on hand-made cases, and tiny runs on a random model."
import json

import pytest
import torch
from conftest import make_tiny_pipe
from transformers import CLIPTextConfig, CLIPTextModel

from videodirector import evaluate as ev
from videodirector.models import Judge, world_classes
from videodirector.world import FIRST_TRAINING_SEED, Scene, random_scene


@pytest.fixture
def judge():
    torch.manual_seed(0)
    return Judge(world_classes(), widths=(8, 8, 8, 8), features=16).eval()


@pytest.fixture
def pipe():
    "The tiny pipeline, with room for whole captions."
    pipe = make_tiny_pipe()
    pipe.tokenizer.model_max_length = 160
    pipe.text_encoder = CLIPTextModel(CLIPTextConfig(
        vocab_size=len(pipe.tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=1,
        num_attention_heads=2, max_position_embeddings=160, bos_token_id=pipe.tokenizer.bos_token_id,
        eos_token_id=pipe.tokenizer.eos_token_id, pad_token_id=pipe.tokenizer.pad_token_id)).eval()
    return pipe


def row(kind='colour', **changes):
    "A row as `evaluate_edit` makes it, everything as wished."
    wanted = dict(subject='bear', colour='red', accessory='none', background='rocks', motion='left')
    edit = dict(judge=dict(wanted), background_psnr=30., foreground_psnr=20., ground_truth_psnr=25.)
    return dict(kind=kind, seed=1, source='a', target='b', psnr=dict(vae=36., ddim_cfg=20., null_text=35.5),
                same_prompt_difference=0., wanted=wanted, untouched=[k for k in wanted if k != kind], edit=edit) | changes


# shares

def test_share_right_counts_each_attribute():
    wanted = [dict(subject='fox', colour='red'), dict(subject='bear', colour='blue')]
    read = [dict(colour='red', subject='fox'), dict(colour='blue', subject='fish')]
    assert ev.share_right(wanted, read) == dict(subject=.5, colour=1.)


@pytest.mark.parametrize('wanted,read', [([], []), ([dict(a='b')], [])])
def test_share_right_needs_pairs(wanted, read):
    with pytest.raises(ValueError, match='one reading for each'): ev.share_right(wanted, read)


def test_confusion_has_rows_for_what_was_wanted():
    counts = ev.confusion(['b', 'b', 'a'], ['a', 'b', 'a'], ['a', 'b', 'c'])
    assert counts.tolist() == [[1, 0, 0], [1, 1, 0], [0, 0, 0]]


def test_judge_accuracy_follows_the_judge():
    class Oracle:
        device, calls = 'cpu', 0
        def read(self, video):
            scene = random_scene(ev.JUDGE_SEED + self.calls)
            self.calls += 1
            return scene.attributes | (dict(motion='?') if self.calls % 2 else {})
    found = ev.measure_judge(Oracle(), 4, progress=False)
    assert found == dict(subject=1., colour=1., accessory=1., background=1., motion=.5)


# attention against masks

def test_cell_mask_asks_for_more_than_half():
    mask = torch.zeros(1, 8, 8, dtype=torch.bool)
    mask[0, :4, :2] = True  # half of the first cell
    mask[0, 4:, 4:7] = True  # three quarters of the last
    assert ev.cell_mask(mask, (2, 2)).tolist() == [[[False, False], [False, True]]]


def test_map_iou_by_hand():
    mask = torch.tensor([[[1, 1, 0], [0, 0, 0]]], dtype=torch.bool)
    assert ev.map_iou(torch.tensor([[[.9, .8, .1], [0, 0, 0]]]), mask) == 1
    assert ev.map_iou(torch.tensor([[[.9, .1, .8], [0, 0, 0]]]), mask) == pytest.approx(1 / 3)
    assert ev.map_iou(torch.tensor([[[.1, .2, .3], [0, .9, .8]]]), mask) == 0


def test_map_iou_is_a_mean_over_frames_that_show_something():
    heat = torch.tensor([[[.9, .1]], [[.9, .1]], [[.9, .1]]])
    mask = torch.tensor([[[1, 0]], [[0, 1]], [[0, 0]]], dtype=torch.bool)
    assert ev.map_iou(heat, mask) == .5
    assert ev.map_iou(heat[2:], mask[2:]) is None


def test_map_iou_does_not_mind_the_scale():
    heat, mask = torch.rand(4, 6, 5), torch.rand(4, 6, 5) > .7
    assert ev.map_iou(heat, mask) == ev.map_iou(3 * heat + 1, mask)


def test_role_tokens_find_every_naming_word(pipe):
    scene = Scene('bear', 'rocks', 'left', colour='red', accessory='hat', pan='left')
    tokens = ev.role_tokens(pipe, scene)
    ids = pipe.tokenizer(scene.caption).input_ids
    text = {role: pipe.tokenizer.decode([ids[i] for i in where]) for role, where in tokens.items()}
    assert {role: words.replace(' ', '') for role, words in text.items()} == dict(
        subject='bear', colour='red', accessory='hat', motion='walkingleft', background='rockygroundstonewall')


def test_word_maps_at_full_size_only(pipe):
    scene = Scene('bear', 'rocks', 'left', colour='red')
    video = scene.render(frames=3, height=64, width=96).video
    maps = ev.word_maps(pipe, scene, video)
    assert set(maps) == {'subject', 'colour', 'background', 'motion'}
    assert all(m.shape == (3, 8, 12) and m.isfinite().all() and m.min() >= 0 for m in maps.values())
    torch.testing.assert_close(maps['subject'], ev.word_maps(pipe, scene, video)['subject'])


# generation

def test_a_clip_does_not_depend_on_its_batch(pipe):
    prompts = ['a bear', 'a tiger', 'a red bear']
    small = dict(steps=2, frames=2, height=32, width=32, progress=False)
    alone, together = (list(ev.generate(pipe, prompts, batch=n, **small)) for n in (1, 3))
    for a, b in zip(alone, together): torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)
    assert len(alone) == 3 and alone[0].shape == (2, 3, 32, 32)


def test_contact_sheet_is_a_picture(tmp_path):
    from PIL import Image
    scene = random_scene(1)
    ev.contact_sheet([(scene, torch.zeros(4, 3, 16, 16), scene.attributes)] * 5, tmp_path / 'sheet.png', columns=2)
    assert Image.open(tmp_path / 'sheet.png').size == (2 * 56, 3 * 46)


# the whole, on a random model

def test_evaluate_model_reports_everything(pipe, judge, monkeypatch, tmp_path):
    monkeypatch.setattr(ev, 'weights_bytes', lambda folder: 1234)
    monkeypatch.setattr(ev, 'unet_seconds', lambda pipe: .1)
    report = ev.evaluate_model(pipe, judge, prompts=1, steps=2, unseen=(1, 2, 1), progress=False)
    report = json.loads(ev.as_json(ev.rounded(report)))
    assert set(report) == {'vae', 'judge', 'attention', 'generated', 'unet_seconds', 'weights_bytes', 'settings',
                           'machine', 'seconds'}
    assert report['generated']['rows'][0]['caption'] == random_scene(ev.MODEL_SEED).caption
    figures = ev.model_figures(report)
    assert {k for k in ev.MODEL_BARS if k != 'vae.clips'} <= set(figures)
    assert figures['weights_bytes'] == (1234, 40_000_000, True) and figures['vae.world'][2] is False
    assert 'NO' in ev.model_table(report)


def test_all_seeds_are_unseen():
    assert ev.MODEL_SEED < ev.JUDGE_SEED < ev.EDIT_SEED < FIRST_TRAINING_SEED - 100_000


def test_unet_seconds_is_a_time(pipe):
    assert 0 < ev.unet_seconds(pipe, frames=2, size=(4, 4), calls=2) < 60


# edits

def test_edit_pairs_change_one_attribute():
    pairs = ev.edit_pairs(20)
    assert [sum(kind == k for kind, *_ in pairs) for k in ev.EDIT_KINDS] == [5] * 4
    assert len({a.seed for _, a, _ in pairs}) == 20
    for kind, a, b in pairs:
        changed = [k for k in ('subject', 'colour', 'accessory', 'background', 'motion', 'pan', 'seed')
                   if getattr(a, k) != getattr(b, k)]
        assert changed == [kind]
        if kind in ('subject', 'colour'):
            assert sum(x != y for x, y in zip(a.caption.split(), b.caption.split())) == 1
    assert pairs == ev.edit_pairs(20)


def test_choices_may_be_none():
    assert ev.choices(Scene('bear', 'rocks', 'left'), 'colour') == []
    assert ev.choices(Scene('bear', 'rocks', 'left', accessory='hat'), 'accessory') == []


def test_edit_summary_of_perfect_rows():
    found = ev.edit_summary([row(), row('background')])
    assert found['null_over_ddim'] == 15.5 and found['null_below_vae'] == .5
    assert found['new'] == found['untouched'] == 1 and found['background_psnr'] == 30 and found['foreground_psnr'] == 20


def test_edit_summary_counts_mistakes():
    spoilt = row()
    spoilt['edit']['judge'].update(colour='blue', motion='right')
    found = ev.edit_summary([row(), spoilt])
    assert found['new'] == .5 and found['untouched'] == pytest.approx(5 / 6)


def test_edits_resume_from_stored_rows(judge, tmp_path, monkeypatch):
    made = []
    def pretend(pipe, judge, kind, source, target, *settings):
        made.append(source.seed)
        return row(kind, seed=source.seed, source=source.caption, target=target.caption), {}
    monkeypatch.setattr(ev, 'evaluate_edit', pretend)
    go = lambda count, **settings: ev.evaluate_edits(make_tiny_pipe(), judge, count, rows_file=tmp_path / 'rows.jsonl',
                                                     progress=False, **settings)
    first, both = go(2), go(4)
    assert len(made) == len(set(made)) == 4 and both['rows'][:2] == first['rows']
    go(1, inverting=dict(steps=3))
    assert len(made) == 5  # other settings, so done again
    assert 'null_over_ddim' in ev.edit_table(both)


def test_evaluate_edit_measures(pipe, judge, monkeypatch):
    scene = Scene('bear', 'rocks', 'left', colour='red')
    small = type(scene).render
    monkeypatch.setattr(Scene, 'render', lambda self, *a, **k: small(self, 3, 32, 48))
    found, clips = ev.evaluate_edit(pipe, judge, 'colour', scene, scene.replace(colour='blue'),
                                    dict(steps=2, inner_steps=1))
    assert set(found['psnr']) == {'vae', 'ddim_cfg', 'null_text'} and found['same_prompt_difference'] < 1e-3
    assert found['untouched'] == ['subject', 'accessory', 'background', 'motion']
    assert {v.shape for v in clips.values()} == {(3, 3, 32, 48)}


# the command

def test_command_refuses_in_one_sentence(tmp_path, capsys):
    assert ev.main(['--weights', str(tmp_path)]) == 2
    assert ev.main(['--edits', '0']) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 2 and all(line.startswith('videodirector: ') for line in lines)


def test_command_prints_json_and_writes_it(tmp_path, capsys, monkeypatch):
    report = dict(summary=dict(new=1.), rows=[row()], kinds={}, settings={}, machine={})
    monkeypatch.setattr(ev, 'evaluate_edits', lambda **given: report)
    assert ev.main(['--edits', '1', '--json', '--out', str(tmp_path / 'out.json')]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((tmp_path / 'out.json').read_text()) and printed['rows'][0]['seed'] == 1


def test_rounded_leaves_nothing_that_json_cannot_say():
    given = dict(a=float('inf'), b=[1.23456, float('nan')], c='x', d=True)
    assert ev.rounded(given) == dict(a=None, b=[1.2346, None], c='x', d=True)


def test_a_missing_clip_is_noticed_before_anything_is_measured(pipe, monkeypatch, tmp_path):
    monkeypatch.setattr(ev, 'unet_seconds', lambda pipe: pytest.fail('a measurement was begun'))
    with pytest.raises(FileNotFoundError, match='There is no clip'):
        ev.evaluate_model(pipe, object(), clips=(tmp_path / 'gone.mp4',))
