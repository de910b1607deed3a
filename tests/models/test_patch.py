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
