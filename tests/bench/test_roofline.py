"How long a computation takes at least, by what it computes and moves."
import pytest
import torch
from torch import nn

from videodirector.bench.counting import Shapes, Work
from videodirector.bench.roofline import ceilings, kind_of, least_seconds, show_roofline

ROOF = dict(tflops=2., gbs=500.)  # they meet at 4 operations for each byte
WORKS = [Work('addmm', 4 * 10**12, 10**9), Work('mm', 10**9, 10**12), Work('add', 0, 5 * 10**11), Work('_scaled_dot_product_flash_attention', 10**12, 1)]


def test_an_operation_is_bound_by_the_longer_of_two():
    found = least_seconds(WORKS, ROOF)
    assert found['matrix products'] == pytest.approx((2 + 2, 2)), 'one is bound by what it computes, one by what it moves'
    assert found['one number at a time'] == pytest.approx((1, 1)) and found['attention'] == pytest.approx((.5, 0))
    assert [*found] == ['matrix products', 'one number at a time', 'attention'], 'the longest first'


def test_what_is_only_looked_at_otherwise_costs_nothing():
    shapes = Shapes()

    def ask():
        x = torch.empty(4, 6, 8)
        y = x.transpose(0, 1).reshape(6, 4, 8)[1:].expand(5, 4, 8)  # the reshape of a view that it can look at so
        return y.contiguous().add_(1)
    assert shapes.work(ask) == [Work('clone', 0, 2 * 4 * 160), Work('add_', 0, 2 * 4 * 160)]


def test_what_is_repeated_is_read_once():
    work, = Shapes().work(lambda: torch.empty(8, 4, 3) @ torch.empty(1, 3, 2).expand(8, 3, 2))
    assert work == Work('bmm', 2 * 8 * 4 * 3 * 2, 4 * (8 * 4 * 3 + 3 * 2 + 8 * 4 * 2))


def test_a_convolution_is_counted():
    shapes = Shapes()
    layer = shapes.of(nn.Conv2d(3, 5, 3, padding=1))
    with torch.no_grad(): work, = shapes.work(lambda: layer(torch.empty(1, 3, 8, 8)))
    assert kind_of(work) == 'convolutions' and work.flops == 2 * 64 * 5 * 27 and work.moved == 4 * (3 * 64 + 5 * 27 + 5 + 5 * 64)


def test_the_ceilings_are_measured():
    found = ceilings(torch.device('cpu'), torch.float32, 64)
    assert found.keys() == ROOF.keys() and all(x > 0 for x in found.values())


def test_every_kind_that_computes_is_under_the_roof():
    axis, = show_roofline(WORKS, ROOF, 10.).axes
    dots = [collection.get_offsets()[0] for collection in axis.collections]
    assert len(dots) == 2 and all(y <= min(2, x * .5) * (1 + 1e-9) for x, y in dots)
    (x, y), = axis.lines[1].get_xydata()
    assert (x, y) == pytest.approx((5.001 / 1.501, .5001), rel=1e-3)
