"Gradients through a network: those of autograd to the bit, and in half precision neither lost nor too large."
import pytest
import torch
from videodirector.models.api import gradient_through


def network(dtype, weights):
    "A linear layer that computes in `dtype`, its outputs in float32."
    return lambda x: (x.to(dtype) @ weights.to(dtype)).float()


def setting(): return torch.randn(5, 8, generator=torch.manual_seed(0)).requires_grad_(), torch.randn(8, 6, generator=torch.manual_seed(1))


@pytest.mark.parametrize('scale', [1e-30, 1., 1e30])
def test_the_gradient_is_autograds(scale):
    x, weights = setting()
    said = network(torch.float32, weights)(x)
    loss = scale * said.sin().mean()
    expected, = torch.autograd.grad(loss, x, retain_graph=True)
    assert torch.equal(gradient_through(loss, [said], x), expected)


@pytest.mark.parametrize('scale', [1e-12, 1e12])
def test_half_precision_keeps_what_is_small_or_large(scale):
    x, weights = setting()
    said = network(torch.float16, weights)(x)
    plain, = torch.autograd.grad(scale * said.sin().mean(), x, retain_graph=True)
    exact, = torch.autograd.grad(scale * network(torch.float32, weights)(x).sin().mean(), x)
    assert not torch.isfinite(plain).all() or not plain.any()
    torch.testing.assert_close(gradient_through(scale * said.sin().mean(), [said], x), exact, rtol=2e-2, atol=5e-3 * exact.abs().max().item())


def test_no_difference_is_no_gradient():
    x, weights = setting()
    said = network(torch.float16, weights)(x)
    assert not gradient_through((said - said.detach()).square().sum(), [said], x).any()
