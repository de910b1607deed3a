"The rating is blind and keeps its answers."
import csv
import random

import pytest
import torch

from videodirector.bench.tables import interval
from videodirector.show.rating import Rating, add_answers, mean_ranks, rank_intervals, read_answers

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


def test_many_methods_on_a_page_and_their_intervals(tmp_path):
    methods, path = [f'method {i}' for i in range(7)], tmp_path / 'answers.csv'
    asked = {f'question {i}': {name: torch.zeros(2, 3, 8, 8) for name in methods} for i in range(3)}
    for rater in ('ann', 'bob'):
        rating = Rating(asked, path, rater)
        assert len(rating.clips.children) == 7 and sorted(rating.order) == methods and rating.order != methods
        for i in range(3): give(rating, methods if rater == 'ann' or i else methods[::-1])
    found = rank_intervals(path)
    assert list(found) == list(mean_ranks(path)) and {name: mean for name, (mean, *_) in found.items()} == pytest.approx(mean_ranks(path))
    assert found['method 0'] == interval(torch.tensor([1, 1, 1, 7, 1, 1], dtype=torch.float64)) and found['method 3'] == (4, 4, 4)


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
    (tmp_path / 'odd.csv').write_text('rater,question,method,rank\nann,q,alpha,²\n')
    with pytest.raises(ValueError, match='does not hold the answers'): mean_ranks(tmp_path / 'odd.csv')
    (tmp_path / 'other.csv').write_text('name,value\na,1\n')
    for read in (mean_ranks, rank_intervals, lambda path: Rating(questions(1), path)):
        with pytest.raises(ValueError, match='does not hold the answers'): read(tmp_path / 'other.csv')
    with pytest.raises(ValueError, match='at least two clips'): Rating({'q': {'alpha': clip(1)}}, tmp_path / 'a.csv')
