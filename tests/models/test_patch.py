"Other weights for a while; the old ones come back bit for bit."
import pytest
import torch
from videodirector.models.patch import patched


def test_weights_are_lent_and_given_back():
    layer = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Linear(2, 1))
    before = {name: p.clone() for name, p in layer.named_parameters()}
    with pytest.raises(KeyError), patched(layer, {'0.weight': torch.ones(2, 3)}):
        assert layer[0].weight.eq(1).all() and torch.equal(layer[1].weight, before['1.weight'])
        with patched(layer, {'0.weight': torch.zeros(2, 3)}): assert not layer[0].weight.any()
        assert layer[0].weight.eq(1).all()
        raise KeyError
    assert all(torch.equal(p, before[name]) for name, p in layer.named_parameters())
    for values, message in (({'2.weight': torch.ones(1)}, "no parameter '2.weight'"), ({'0.bias': torch.ones(3)}, r'shape \[2\], not \[3\]')):
        with pytest.raises(ValueError, match=message), patched(layer, values): pass


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16, torch.float16])
def test_what_is_given_back_is_the_same_to_the_bit(dtype):
    layer = torch.nn.Conv2d(4, 8, 3).to(dtype=dtype, memory_format=torch.channels_last)
    with torch.no_grad(): layer.weight[0, 0, 0, 0], layer.weight[1] = torch.nan, -0.
    def bits(x): return x.detach().contiguous().view(torch.uint8)
    before, weight, stride = bits(layer.weight).clone(), layer.weight, layer.weight.stride()
    with patched(layer, {'weight': torch.randn(8, 4, 3, 3, dtype=torch.float64)}):
        assert layer.weight.dtype == dtype and layer.weight.stride() == stride and torch.isfinite(layer.weight).all()
    assert layer.weight is weight and torch.equal(bits(weight), before) and weight.requires_grad


def test_a_wrong_name_changes_nothing():
    layer = torch.nn.Linear(2, 1)
    before = layer.weight.detach().clone()
    with pytest.raises(ValueError, match='no parameter'), patched(layer, {'weight': torch.zeros(1, 2), 'wieght': torch.zeros(1, 2)}): pass
    assert torch.equal(layer.weight, before)
