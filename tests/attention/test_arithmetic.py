"A bias of the keys folded into them is the bias; slots are found and put together, in the layout that projections have."
import math
import pytest
import torch
import torch.nn.functional as F
from videodirector.attention.arithmetic import MANY, fast_attention, fold, some_slots, stacked, tokens_first


def batch(*shape, dtype=torch.float32, seed=0):
    return torch.randn(*shape, generator=torch.manual_seed(seed), dtype=torch.float64).to(dtype)


def key_bias(dtype=torch.float32, keys=7):
    bias = torch.zeros(2, 1, 1, keys, dtype=dtype)
    bias[..., :2], bias[1, ..., 3:5] = -math.inf, -math.log(2)
    return bias


@pytest.mark.parametrize('dtype, close', [(torch.float64, 1e-14), (torch.float32, 2e-6), (torch.bfloat16, 2e-2), (torch.float16, 3e-3)])
@pytest.mark.parametrize('d', [16, 40])
def test_a_folded_bias_is_the_bias(dtype, close, d):
    q, k, v = (batch(2, 3, n, d, dtype=dtype, seed=i) for i, n in enumerate((5, 7, 7)))
    expected = F.scaled_dot_product_attention(q.double(), k.double(), v.double(), attn_mask=key_bias(torch.float64))
    found = F.scaled_dot_product_attention(*(x.double() for x in fold(q, k, key_bias(torch.promote_types(dtype, torch.float32)))), v.double(), scale=d ** -.5)
    torch.testing.assert_close(found, expected, rtol=0, atol=close)


def test_a_hidden_key_says_nothing_however_well_it_fits():
    q, k, v = batch(1, 1, 4, 8), batch(1, 1, 6, 8), torch.zeros(1, 1, 6, 8)
    k[..., 0, :], v[..., 0, :] = 100 * q[..., 0, :], 1
    bias = torch.zeros(1, 1, 1, 6)
    bias[..., 0] = -math.inf
    assert not F.scaled_dot_product_attention(*fold(q, k, bias), v, scale=8 ** -.5).any()


def test_gradients_go_through_what_was_folded():
    q, k, v = (batch(2, 3, 7, 16, dtype=torch.float64, seed=i).requires_grad_() for i in range(3))
    bias = key_bias(torch.float64)
    sums = (F.scaled_dot_product_attention(q, k, v, attn_mask=bias).square().sum(),
            F.scaled_dot_product_attention(*fold(q, k, bias), v, scale=.25).square().sum())
    for one, other in zip(*(torch.autograd.grad(x, (q, k, v)) for x in sums)):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


@pytest.mark.skipif(not torch.cuda.is_available(), reason='no cuda here')
@pytest.mark.parametrize('dtype, close', [(torch.float32, 1e-4), (torch.bfloat16, 2e-2), (torch.float16, 3e-3)])
def test_a_gpu_folds_and_finds_the_same(dtype, close):
    q, k, v = (batch(1, 2, 3, MANY, 40, dtype=dtype, seed=i).cuda() for i in range(3))
    bias = key_bias(keys=MANY)[None].cuda()
    found = fast_attention(q, k, v, bias)
    expected = F.scaled_dot_product_attention(q[0].double(), k[0].double(), v[0].double(), attn_mask=bias[0].double())
    torch.testing.assert_close(found[0].double(), expected, rtol=0, atol=close)


def test_some_slots_of_a_batch():
    x = tokens_first(batch(4, 3, 5, 2, 8))  # as a projection leaves it
    for slots in ([0], [1, 2], [0, 1, 2, 3], [0, 2], [1, 3]):
        found = some_slots(x, slots)
        assert torch.equal(found, x[slots]) and tokens_first(found)[0].is_contiguous()
        following = slots == [*range(slots[0], slots[-1] + 1)]
        assert (found.untyped_storage().data_ptr() == x.untyped_storage().data_ptr()) == following
    assert some_slots(None, [1]) is None and some_slots(x[:1], [2, 3]).shape == x[:1].shape  # the same for all
    assert some_slots(x, []).shape == (0, *x.shape[1:])


def test_slots_are_stacked_as_projections_lie():
    slots = [tokens_first(batch(3, 5, 2, 8, seed=i)) for i in range(3)]
    found = stacked(slots)
    assert torch.equal(found, torch.stack(slots)) and tokens_first(found).is_contiguous()
