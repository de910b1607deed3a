"Maps as bytes and as clips: the frame shows where the map is low."
import numpy as np
import torch
from figures import F, h, w

from videodirector.show.paint import attention_video, paint


def test_colours_show_the_frame_where_the_map_is_low():
    frame = np.full((8, 12, 3), 200, np.uint8)
    values = np.zeros((4, 6), np.float32)
    values[0, 0] = 1
    low, high = (paint(values, (a, 1.), frame)[-1, -1].tolist() for a in (0., -1.))
    assert low == high == [128] * 3 and paint(values, (0., 1.), frame)[0, 0].max() > 200
    assert paint(values, (0., 1.), frame, opacity=0.).max() == 128
    assert paint(values, (0., 1.), size=(8, 12)).shape == (8, 12, 3)


def test_attention_as_a_video():
    maps = torch.zeros(F, h, w)
    maps[1, 0, 0] = 1
    played = attention_video(maps, torch.ones(F, 3, 8 * h, 8 * w), (0., 1.))
    assert played.shape == (F, 3, 8 * h, 8 * w) and len(played[0].unique()) == 1  # a dimmed white frame
    assert played[1, 0, 0, 0] > .9 and torch.equal(played[1, :, -8:], played[0, :, -8:])
