"Numbers and colours of a run."
from io import BytesIO

import torch
from PIL import Image

from videodirector.show.board_pictures import number_rows, tint


def test_numbers_have_units_and_order():
    rows = number_rows({'MS (DIS)': .9712, 'pickscore': 21.3, 'masked_psnr': 28.123})
    assert list(rows.items()) == [('PSNR outside ↑', '28.1 dB'), ('MS (DIS) ↑', '0.971'), ('pickscore', '21.3')]


def test_one_scale_of_colours():
    def pixels(limit): return Image.open(BytesIO(tint(torch.tensor([[0., .2, .4]]), limit))).convert('RGB').tobytes()
    assert pixels(.4)[:3] == bytes((0, 0, 3)) and pixels(.4)[3:6] == pixels(.2 * 2)[3:6] and pixels(.4)[3:] != pixels(.8)[3:]
    assert pixels(.4)[3:6] == pixels(.8)[6:]  # half of the limit has one colour
