"The statistics of the table."
import pytest
import torch

from videodirector.bench.tables import COLUMNS, interval, show_sweeps, summary, table


def test_interval_by_hand():
    assert interval(torch.full((9,), 2.5)) == (2.5, 2.5, 2.5)
    x = torch.randn(400, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    mean, low, high = interval(x)
    error = x.std().item() / 20
    assert mean == pytest.approx(x.mean().item())
    assert (mean - low) / error == pytest.approx(1.96, abs=.1) and (high - mean) / error == pytest.approx(1.96, abs=.1)


def test_differences_are_taken_pair_by_pair():
    figure = {key: 0. for key, *_ in COLUMNS.values()}
    def rows(shift, count): return {f'subject {i}': figure | dict(masked_psnr=20. + 5 * i + shift) for i in range(count)}
    figures = {'full': rows(0, 8), 'w/o CA': rows(-3, 6)}
    means = summary(figures)
    assert means['full']['m.P (dB)'][0] == pytest.approx(32.5)  # the six pairs that both have
    assert means['full']['m.P (dB)'][2] - means['full']['m.P (dB)'][1] > 5
    assert summary(figures, 'full')['w/o CA']['m.P (dB)'] == pytest.approx((-3, -3, -3))
    assert '| w/o CA | -3.00 [-3.00, -3.00] |' in table(summary(figures, 'full'), ['m.P (dB)'])
    with pytest.raises(ValueError, match='No pair has been measured'): summary(figures | {'w/o SA': {}})


def test_columns_that_only_some_rows_have_are_left_out():
    figure = {key: 0. for key, *_ in COLUMNS.values()}
    without = {k: v for k, v in figure.items() if k != 'WorldCLIP'}
    text = table(summary({'full': {'a 1': figure}, 'w/o CA': {'a 1': without}}))
    assert 'WorldCLIP' not in text and 'm.P' in text


def test_one_pair_has_a_mean_and_no_interval():
    figure = {key: .5 for key, *_ in COLUMNS.values()} | dict(masked_psnr=None)
    text = table(summary({'full': {'a 1': figure}}), ['m.P (dB)', 'new word'])
    assert text.splitlines()[-1] == '| full | ∞ | 0.500 |'


def test_a_sweep_goes_through_its_values_in_order_with_a_ring_around_the_usual_one():
    figure = {key: 0. for key, *_ in COLUMNS.values()}
    at = {'tau_c=.8': 3., 'full': 1., 'w/o CA': 5., 'tau_c=.2,eta=0': 9., 'eta=1': 7.}
    fig = show_sweeps({name: {'a 1': figure | dict(truth_psnr=x), 'a 2': figure | dict(truth_psnr=x)} for name, x in at.items()}, dict(tau_c=.4, eta=.1), ('truth PSNR (dB)',))
    curves = [[line.get_xydata().tolist() for line in axis.lines] for axis in fig.axes]
    assert curves == [[[[0, 5], [.4, 1], [.8, 3]], [[.4, 1]]], [[[.1, 1], [1, 7]], [[.1, 1]]]]
    assert [axis.get_xlabel() for axis in fig.axes] == ['tau_c', 'eta'] and fig.axes[0].get_ylabel() == 'truth PSNR (dB)'
