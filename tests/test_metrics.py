"Metrics: against libraries, constructed truths and known orders; the rating is blind and keeps its answers."
import csv
import random

import pytest
import torch
import torch.nn.functional as F
from conftest import tiny_tokenizer
from torch.testing import assert_close
from transformers import CLIPConfig, CLIPModel

from videodirector import metrics
from videodirector.metrics import (Rating, TextVideoScore, add_answers, clip_view, halfway, interpolator, judge_distance,
                                   load_lpips, mean_ranks, metrics_of, motion_error, motion_smoothness, optical_flow,
                                   paste_source, read_answers, ssim, warp)
from videodirector.models import Judge, world_classes
from videodirector.video import psnr
from videodirector.world import Scene


def texture(height=64, width=96, seed=0):
    "A smooth random picture [3,H,W] in [-1,1]."
    small = torch.rand(1, 3, height // 8, width // 8, generator=torch.manual_seed(seed)) * 2 - 1
    return F.interpolate(small, (height, width), mode='bicubic').clamp(-1, 1)[0]


def gliding(speed=2, frames=5, seed=0):
    "A clip whose picture glides to the right, `speed` pixels a frame."
    wide = texture(64, 160, seed)
    return torch.stack([wide[..., 40 - speed * i:40 - speed * i + 96] for i in range(frames)])


@pytest.fixture(scope='module')
def judge():
    torch.manual_seed(0)
    return Judge(world_classes(), widths=(8, 8, 16, 16), features=16).eval()


# ---- structure

def test_ssim_of_flat_pictures_is_the_formula():
    a, b = torch.full((2, 3, 32, 32), -.5), torch.full((2, 3, 32, 32), .1)  # brightness .25 and .55
    assert_close(ssim(a, b), (2 * .25 * .55 + 1e-4) / (.25 ** 2 + .55 ** 2 + 1e-4), rtol=1e-4, atol=0)


def test_ssim_orders_noise():
    clip = gliding()
    noise = torch.randn(clip.shape, generator=torch.manual_seed(1))
    assert ssim(clip, clip) == pytest.approx(1)
    assert 1 > ssim(clip, clip + .05 * noise) > ssim(clip, clip + .3 * noise)


# ---- motion

def test_flow_finds_a_known_shift():
    flow = optical_flow(*gliding(3)[:2])[:, 16:-16, 16:-16]
    assert_close(flow.mean((1, 2)), torch.tensor([3., 0.]), rtol=0, atol=.2)


def test_warp_fetches_from_where_the_flow_points():
    frame, flow = texture(), torch.zeros(2, 64, 96)
    assert_close(warp(frame, flow), frame, rtol=0, atol=1e-5)
    flow[0], flow[1] = 3, -2
    assert_close(warp(frame, flow)[:, 2:, :-3], frame[:, :-2, 3:], rtol=0, atol=1e-4)


def test_halfway_finds_the_frame_between():
    clip, inside = gliding(3), (..., slice(12, -12), slice(12, -12))
    error = (halfway(clip[0], clip[2]) - clip[1])[inside].abs().mean()
    assert error < .2 * ((clip[0] + clip[2]) / 2 - clip[1])[inside].abs().mean()


def test_smoothness_drops_every_second_frame():
    seen = []
    clip = torch.zeros(6, 3, 8, 8)
    clip[1], clip[3], clip[5] = .5, 1, -1  # the last has no frame after it
    score = motion_smoothness(clip, lambda a, b: seen.append(1) or (a + b) / 2)
    assert len(seen) == 2 and score == pytest.approx(1 - (.5 + 1) / 2 / 2)


def test_smoothness_orders_still_gliding_and_flickering():
    clip = gliding()
    flicker = (clip + .1 * torch.tensor([1., -1, 1, -1, 1])[:, None, None, None]).clamp(-1, 1)
    assert motion_smoothness(clip[:1].expand(5, -1, -1, -1)) > .9999
    assert 1 > motion_smoothness(clip) > motion_smoothness(flicker) + .02


def later(a, b):
    "Stands in for AMT, and is as particular about what it is given."
    assert a.shape == b.shape and len(a) == 1 and not any(side % 16 for side in a.shape[2:]) and a.min() >= 0 and b.max() <= 1
    return (a + 3 * b) / 4


@pytest.mark.parametrize('size', [(64, 96), (60, 83)])
def test_an_interpolator_gets_what_it_wants_and_fits(size):
    clip = gliding()[..., :size[0], :size[1]]
    assert_close(interpolator(later)(clip[0], clip[2]), (clip[0] + 3 * clip[2]) / 4, rtol=0, atol=1e-5)


def test_frames_are_widened_by_their_edges():
    clip, seen = gliding()[..., :60, :83], []
    interpolator(lambda a, b: seen.append(a) or a)(clip[0], clip[2])
    wide = seen[0][0] * 2 - 1
    assert wide.shape == (3, 64, 96)
    assert_close(wide[:, 2:62, 6:89], clip[0])
    assert_close(wide[:, 2:62, :6], clip[0][..., :1].expand(-1, -1, 6))


def test_smoothness_is_called_by_its_interpolator():
    clip, region = gliding(), torch.zeros(5, 64, 96, dtype=torch.bool)
    found = metrics_of(clip, clip, region, amt=interpolator(later))
    assert found['MS (DIS)'] == motion_smoothness(clip)
    assert found['MS (AMT)'] == motion_smoothness(clip, interpolator(later)) != found['MS (DIS)']


def test_motion_error_is_the_difference_of_speeds():
    mask = torch.zeros(5, 64, 96, dtype=torch.bool)
    mask[:, 16:-16, 16:-16] = True
    assert motion_error(gliding(2), gliding(2), mask) == 0
    assert motion_error(gliding(2), gliding(4), mask) == pytest.approx(2, abs=.3)


# ---- distances

def test_pasting_leaves_only_what_lies_outside():
    a, b, region = gliding(), gliding(seed=1), torch.zeros(5, 64, 96, dtype=torch.bool)
    region[:, 10:20] = True
    rest = paste_source(a, b, region)
    assert torch.equal(rest[:, :, 10:20], b[:, :, 10:20]) and torch.equal(rest[:, :, 20:], a[:, :, 20:])


def test_judge_distance_is_nothing_for_equals_and_grows(judge):
    clip = gliding()
    noise = torch.randn(clip.shape, generator=torch.manual_seed(1))
    near, far = (judge_distance(judge, clip, clip + s * noise) for s in (.05, .5))
    assert judge_distance(judge, clip, clip) == 0 < near < far
    assert judge_distance(judge, clip + .5 * noise, clip) == pytest.approx(far)


def test_lpips_says_what_it_needs_where_there_is_no_network(monkeypatch, tmp_path):
    def offline(*args, **kwargs): raise OSError('no network')
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    monkeypatch.setattr('torch.hub.download_url_to_file', offline)
    with pytest.raises(ValueError, match='LPIPS needs torchvision and its pretrained weights'): load_lpips('squeeze')


def test_lpips_is_torchmetrics(monkeypatch):
    torchvision = pytest.importorskip('torchvision')
    from torchmetrics.functional.image import learned_perceptual_image_patch_similarity as library
    build = torchvision.models.squeezenet1_1
    def untrained(weights=None):  # random weights stand in for the downloaded ones
        torch.manual_seed(0)
        return build(weights=None)
    monkeypatch.setattr(torchvision.models, 'squeezenet1_1', untrained)
    lpips, a, b = load_lpips('squeeze'), gliding(), gliding(seed=1)
    assert lpips(a, a) == 0
    assert lpips(a, b) == pytest.approx(library(a, b, net_type='squeeze').item(), rel=1e-4)
    assert lpips(a, b) == lpips(a, b)  # nothing is carried over from call to call


# ---- text and video

@pytest.fixture(scope='module')
def score():
    torch.manual_seed(0)
    words = tiny_tokenizer()
    text = dict(vocab_size=len(words), hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
                max_position_embeddings=16, bos_token_id=words.bos_token_id, eos_token_id=words.eos_token_id,
                pad_token_id=words.pad_token_id)
    vision = dict(hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=32, patch_size=8)
    return TextVideoScore('tiny', CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)).eval(), words)


def test_score_is_the_logit_of_transformers(score):
    clip, prompt = gliding(), 'a brown bear walking on grass'
    given = score.tokenizer([prompt], return_tensors='pt')
    with torch.no_grad(): logits = score.model(pixel_values=clip_view(clip, 32), **given).logits_per_image
    assert score(clip, prompt) == pytest.approx(logits.mean().item(), rel=1e-4)


def test_view_is_a_standardised_square_from_the_middle():
    clip = torch.full((2, 3, 64, 96), -1.)
    clip[..., 16:80] = 1  # the middle square is white
    white = (1 - torch.tensor(metrics.CLIP_MEAN)) / torch.tensor(metrics.CLIP_STD)
    view = clip_view(clip, 64)
    assert view.shape == (2, 3, 64, 64)
    assert_close(view, white[:, None, None].expand_as(view))
    assert clip_view(clip, 32).shape == (2, 3, 32, 32)


def test_score_is_called_by_its_model(score, tmp_path):
    score.model.save_pretrained(tmp_path / 'mine')
    score.tokenizer.save_pretrained(tmp_path / 'mine')
    stored = TextVideoScore.load(str(tmp_path / 'mine'))
    assert stored.name == 'mine' and stored(gliding(), 'a bear') == pytest.approx(score(gliding(), 'a bear'), rel=1e-4)


def test_a_missing_model_is_named_in_a_sentence(tmp_path):
    with pytest.raises(ValueError, match='No CLIP model could be read from .*nothing'): TextVideoScore.load(str(tmp_path / 'nothing'))


# ---- all of them

def test_perfect_edit_has_perfect_numbers(judge, score):
    scene = Scene('bear', 'meadow', 'left', seed=3)
    source, truth = scene.render(5, 64, 64), scene.replace(subject='tiger').render(5, 64, 64)
    wanted = judge.read(truth.video)
    region = (source.video != truth.video).any(1)  # the soft outline, a pixel beyond the masks, included
    found = metrics_of(truth.video, source.video, region, 'a tiger', score, judge, lambda a, b: (a - b).abs().max().item(), truth, wanted)
    assert list(found) == ['MS (DIS)', 'tiny', 'masked_psnr', 'masked_lpips', 'masked_judge_distance', 'judge_right',
                           'truth_psnr', 'truth_ssim', 'motion_error']
    assert found['masked_psnr'] == found['truth_psnr'] == float('inf') and found['truth_ssim'] == pytest.approx(1, abs=1e-3)
    assert found['masked_lpips'] == found['masked_judge_distance'] == found['motion_error'] == 0 and found['judge_right'] == 1


def test_masked_numbers_do_not_see_the_region(judge):
    source, region = gliding(), torch.zeros(5, 64, 96, dtype=torch.bool)
    region[:, 20:40, 20:40] = True
    noisy = source + .1 * torch.randn(source.shape, generator=torch.manual_seed(1))
    wild = torch.where(region[:, None], -source, noisy)
    a, b = (metrics_of(x, source, region, judge=judge) for x in (noisy, wild))
    assert a['masked_psnr'] == b['masked_psnr'] == pytest.approx(psnr(noisy, source, ~region))
    assert a['masked_judge_distance'] == b['masked_judge_distance'] > 0


def test_nothing_is_masked_where_all_was_free(judge):
    found = metrics_of(gliding(), gliding(seed=1), torch.ones(5, 64, 96, dtype=torch.bool), judge=judge)
    assert list(found) == ['MS (DIS)']


@pytest.mark.parametrize('call, message', [
    (lambda c, m: ssim(c, c[:2]), 'Clips of shapes'),
    (lambda c, m: paste_source(c, c, m[:2]), 'The mask is'),
    (lambda c, m: motion_smoothness(c[:2]), 'has 2 frames'),
    (lambda c, m: motion_error(c[:1], c[:1], m[:1]), 'one frame'),
    (lambda c, m: motion_error(c, c, m), 'foreground is empty')])
def test_errors_are_sentences(call, message):
    with pytest.raises(ValueError, match=message): call(gliding(), torch.zeros(5, 64, 96, dtype=torch.bool))


# ---- the rating

METHODS = ('alpha', 'beta', 'gamma')


def clip(value): return torch.full((2, 3, 8, 8), value / 10)


def questions(n): return {f'question {i}': {m: clip(k) for k, m in enumerate(METHODS)} for i in range(n)}


def give(rating, order):
    for method, rank in zip(rating.order, rating.ranks): rank.value = order.index(method) + 1
    rating.next.click()


def texts(widget):
    "All that a widget and its children say."
    own = [str(getattr(widget, name, '')) for name in ('value', 'description')]
    return ' '.join(own + [texts(child) for child in getattr(widget, 'children', ())])


def test_rating_is_blind_and_shuffled(tmp_path):
    orders = {}
    for rater in ('ann', 'bob'):
        rating, orders[rater] = Rating(questions(8), tmp_path / 'a.csv', rater), []
        while rating.order:
            assert not any(method in texts(rating.widget) for method in METHODS)
            orders[rater].append((rating.questions[rating.at][0], *rating.order))
            give(rating, METHODS)
    assert len({order[1:] for order in orders['ann']}) > 2 and orders['ann'] != orders['bob']
    assert [q for q, *_ in orders['ann']] != list(questions(8))


def test_order_depends_on_seed_and_rater_alone(tmp_path):
    random.seed(1)
    a, b = (Rating(questions(3), tmp_path / 'a.csv', 'ann', seed=2) for _ in range(2))
    assert a.order == b.order


def test_mean_ranks_of_known_answers(tmp_path):
    path = tmp_path / 'new' / 'answers.csv'
    for rater, order in (('ann', ('beta', 'alpha', 'gamma')), ('bob', ('beta', 'gamma', 'alpha'))):
        give(Rating(questions(1), path, rater), order)
    assert list(mean_ranks(path).items()) == [('beta', 1), ('alpha', 2.5), ('gamma', 2.5)]
    with open(path, newline='') as file: rows = list(csv.reader(file))
    assert rows[0] == ['rater', 'question', 'method', 'rank'] and len(rows) == 7


def test_incomplete_ranks_are_refused(tmp_path):
    rating = Rating(questions(1), tmp_path / 'a.csv')
    for rank in rating.ranks: rank.value = 1
    rating.next.click()
    assert 'another rank' in rating.note.value and not (tmp_path / 'a.csv').exists() and rating.order


def test_who_comes_back_goes_on(tmp_path):
    first = Rating(questions(3), tmp_path / 'a.csv', 'ann')
    answered = first.questions[0][0]
    give(first, METHODS)
    again = Rating(questions(3), tmp_path / 'a.csv', 'ann')
    assert len(again.questions) == 2 and answered not in dict(again.questions)
    assert len(Rating(questions(3), tmp_path / 'a.csv', 'bob').questions) == 3


def test_the_source_is_shown_and_not_rated(tmp_path):
    rating = Rating(questions(1), tmp_path / 'a.csv', sources={'question 0': clip(9)})
    assert len(rating.clips.children) == 4 and len(rating.ranks) == 3 and 'source' in texts(rating.clips.children[0])


def test_an_answer_is_one_write_after_a_whole_line(tmp_path):
    path = tmp_path / 'a.csv'
    path.write_text('rater,question,method,rank\nann,"q, 1",alpha,1')  # saved by hand, without a last line end
    add_answers(path, [['bob', 'q, 1', 'alpha', 2]])
    assert [(row['rater'], row['question'], row['rank']) for row in read_answers(path)] == [('ann', 'q, 1', '1'), ('bob', 'q, 1', '2')]


def test_files_that_hold_no_answers(tmp_path):
    with pytest.raises(FileNotFoundError, match='no answers at'): mean_ranks(tmp_path / 'none.csv')
    for text in ('', 'rater,question,method,rank\n'):
        (tmp_path / 'empty.csv').write_text(text)
        with pytest.raises(ValueError, match='no answers yet'): mean_ranks(tmp_path / 'empty.csv')
    (tmp_path / 'other.csv').write_text('name,value\na,1\n')
    for read in (mean_ranks, lambda path: Rating(questions(1), path)):
        with pytest.raises(ValueError, match='does not hold the answers'): read(tmp_path / 'other.csv')
    with pytest.raises(ValueError, match='at least two clips'): Rating({'q': {'alpha': clip(1)}}, tmp_path / 'a.csv')
