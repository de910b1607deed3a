"Where figures go."
import pytest
import torch

from videodirector.world.paths import MOTIONS, path_of


def test_there_is_enough_to_do():
    assert len(MOTIONS) >= 8


@pytest.mark.parametrize('motion', MOTIONS)
@pytest.mark.parametrize('frames', [1, 5])
def test_a_path_has_all_its_frames(motion, frames):
    path = path_of(motion, 3, frames=frames)
    assert all(part.shape == (frames,) for part in (path.x, path.y, path.size, path.angle, path.time))


def test_facing_follows_the_motion():
    assert path_of('left', 3).facing == -1 and path_of('right', 3).facing == 1
    assert {path_of('jumping', seed).facing for seed in range(8)} == {-1, 1}


def test_left_and_right_mirror_how_far_one_goes():
    left, right = path_of('left', 5).x, path_of('right', 5).x
    torch.testing.assert_close(left - left[0], right[0] - right)
    assert left[-1] < left[0]
