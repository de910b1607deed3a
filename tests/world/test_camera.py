"What the camera does."
import torch

from videodirector.world.camera import camera_of, through
from videodirector.world.paths import path_of


def test_about_a_third_of_the_clips_has_a_moving_camera():
    moving = [not camera_of(seed, 'left' if seed % 10 == 0 else None).still for seed in range(3000)]
    assert .3 < sum(moving)/3000 < .38


def test_all_moves_occur_and_belong_to_the_seed():
    cameras = [camera_of(seed) for seed in range(100)]
    assert any(c.travel.any() and not c.y.any() for c in cameras) and any((c.zoom != 1).any() for c in cameras)
    assert any(c.y.any() for c in cameras) and any(c.still for c in cameras)
    assert all(torch.equal(a, b) for a, b in zip(camera_of(11), camera_of(11)))


def test_panning_mirrors():
    left, right = camera_of(5, 'left', 7), camera_of(5, 'right', 7)
    assert torch.equal(left.travel, -right.travel) and torch.equal(left.x, -right.x) and right.x[-1] > right.x[0]


def test_the_world_moves_against_the_camera():
    path = path_of('standing', 1)
    seen = through(path, camera_of(1, 'left'))
    assert seen.x[-1] - seen.x[0] > .1 and torch.equal(seen.y, path.y) and torch.equal(seen.angle, path.angle)


def test_one_frame_will_do():
    for pan in (None, 'left'): assert all(part.shape == (1,) for part in (*camera_of(3, pan, 1), camera_of(3, pan, 1).time))
