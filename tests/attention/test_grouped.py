"Grouped attention is plain loops over groups, and what is known already where groups are frames."
import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention as sdpa
from videodirector.attention.grouped import (
    clip_group,
    first_frame_keys,
    frame_groups,
    grouped_attention,
    grouped_probabilities,
)

SLOTS, F, HEADS, N, D = 2, 3, 2, 4, 8
OVERLAPPING = torch.tensor([[0, 5, 10], [3, 7, -1], [0, 1, 2]])
PATHS = torch.tensor([[0, 5, 10], [3, 7, -1], [-1, 1, 2]])
KEYS = torch.tensor([[0, 1], [11, -1], [4, 6]])


def draw(dtype=torch.float64): return torch.randn(3, SLOTS, F, HEADS, N, D, generator=torch.Generator().manual_seed(0), dtype=dtype).unbind()
def flat(x): return x.transpose(2, 3).flatten(1, 2)  # slot, token, head, d


def loops(q, k, v, groups, keys=None):
    "{(slot, token, head): [what it finds in each of its groups]}, token by token, and {…: shares by place in the row}."
    q, k, v, found, shares = flat(q), flat(k), flat(v), {}, {}
    for queries, row in zip(groups.tolist(), (groups if keys is None else keys).tolist()):
        for i in (i for i in queries if i >= 0):
            for s in range(SLOTS):
                for head in range(HEADS):
                    logits = torch.tensor([float(q[s, i, head] @ k[s, j, head]) / D**.5 if j >= 0 else -torch.inf for j in row], dtype=q.dtype)
                    p = logits.softmax(0)
                    found.setdefault((s, i, head), []).append(sum(p[n] * v[s, j, head] for n, j in enumerate(row) if j >= 0))
                    shares[s, i, head] = p
    return found, shares


@pytest.mark.parametrize('keys', [None, KEYS], ids=['each other', 'keys'])
@pytest.mark.parametrize('groups', [PATHS, OVERLAPPING], ids=['paths', 'overlapping'])
def test_groups_are_plain_loops(groups, keys):
    q, k, v = draw()
    got, (found, _) = grouped_attention(q, k, v, groups, keys), loops(q, k, v, groups, keys)
    for s in range(SLOTS):
        for i in range(F * N):
            for head in range(HEADS):
                answers = found.get((s, i, head), [torch.zeros(D, dtype=torch.float64)])
                torch.testing.assert_close(got[s, i // N, head, i % N], sum(answers) / len(answers), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize('keys', [None, KEYS], ids=['each other', 'keys'])
def test_maps_of_groups_are_plain_loops(keys):
    q, k, v = draw()
    p, (_, shares) = grouped_probabilities(q, k, PATHS, keys), loops(q, k, v, PATHS, keys)
    assert p.shape == (SLOTS, F, HEADS, N, 3 if keys is None else 2)
    for (s, i, head), expected in shares.items(): torch.testing.assert_close(p[s, i // N, head, i % N], expected)
    with pytest.raises(ValueError, match='several groups'): grouped_probabilities(q, k, OVERLAPPING)


def test_frames_as_groups_are_ordinary_attention():
    q, k, v = draw()
    torch.testing.assert_close(grouped_attention(q, k, v, frame_groups(F, N)), sdpa(q, k, v))
    first = [x[:, :1].expand_as(x) for x in (k, v)]
    torch.testing.assert_close(grouped_attention(q, k, v, frame_groups(F, N), first_frame_keys(F, N)), sdpa(q, *first))


def test_a_clip_as_a_group_is_attention_over_all_tokens():
    q, k, v = draw()
    q_all, k_all, v_all = (flat(x).transpose(1, 2) for x in (q, k, v))
    expected = sdpa(q_all, k_all, v_all).transpose(1, 2).unflatten(1, (F, N)).transpose(2, 3)
    torch.testing.assert_close(grouped_attention(q, k, v, clip_group(F, N)), expected)


def test_keyframes_see_each_other():
    q, k, v = draw()
    chosen = frame_groups(F, N)[[0, 2]].flatten()[None]  # TokenFlow's extended attention: all frames at frames 0 and 2
    wide = [x[:, [0, 2]].transpose(1, 2).flatten(2, 3)[:, None].expand(-1, F, -1, -1, -1) for x in (k, v)]
    torch.testing.assert_close(grouped_attention(q, k, v, clip_group(F, N), chosen), sdpa(q, *wide))


def test_a_grid_is_one_picture():
    q, k, v = draw()
    q4, k4, v4 = (torch.cat([x, x.flip(1)[:, :1] + 1], 1) for x in (q, k, v))  # four frames, two grids of two
    grids = torch.arange(4 * N).view(2, 2 * N)
    for a, b in ((0, 2), (2, 4)):
        pair = [y[:, a:b].transpose(1, 2).flatten(2, 3) for y in (q4, k4, v4)]
        expected = sdpa(*pair).unflatten(2, (2, N)).transpose(1, 2)
        torch.testing.assert_close(grouped_attention(q4, k4, v4, grids)[:, a:b], expected)


def test_gradients_flow_past_padding():
    q, k, v = (x.clone().requires_grad_() for x in draw())
    groups = torch.cat([PATHS, torch.full((1, 3), -1)])
    grads = torch.autograd.grad(grouped_attention(q, k, v, groups).square().sum(), (q, k, v))
    assert all(torch.isfinite(g).all() for g in grads)
    ours, nobody = (torch.isin(torch.arange(F * N), PATHS) == wanted for wanted in (True, False))
    assert flat(grads[2])[:, ours].abs().sum() > 0 and not flat(grads[2])[:, nobody].any()


def test_mistakes_are_sentences():
    q, k, v = draw()
    with pytest.raises(ValueError, match='groups hold token 12, and the clip has 12'): grouped_attention(q, k, v, OVERLAPPING + 2)
    with pytest.raises(ValueError, match='keys hold token -2'): grouped_attention(q, k, v, PATHS, KEYS - 1)
    with pytest.raises(ValueError, match='queries and no keys'): grouped_attention(q, k, v, PATHS, torch.full((3, 2), -1))
