"Optical flow finds known shifts, and warp fetches from where it points."
import torch
from clips import gliding, texture
from torch.testing import assert_close

from videodirector.data.flow import optical_flow, warp


def test_flow_finds_a_known_shift():
    flow = optical_flow(*gliding(3)[:2])[:, 16:-16, 16:-16]
    assert_close(flow.mean((1, 2)), torch.tensor([3., 0.]), rtol=0, atol=.2)


def test_warp_fetches_from_where_the_flow_points():
    frame, flow = texture(), torch.zeros(2, 64, 96)
    assert_close(warp(frame, flow), frame, rtol=0, atol=1e-5)
    flow[0], flow[1] = 3, -2
    assert_close(warp(frame, flow)[:, 2:, :-3], frame[:, :-2, 3:], rtol=0, atol=1e-4)
