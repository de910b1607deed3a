"A clip plays in a browser, and a GIF of it is saved."
import base64
import io

from browser import write_notebook
from figures import clip, h, w
from PIL import Image

from videodirector.show.playing import Playing


PLAY = """import torch
from videodirector.show.playing import Playing
Playing({'a': torch.rand(6, 3, 32, 33) * 2 - 1, 'b': torch.zeros(6, 3, 32, 48)}, zoom=2)"""


def test_clips_are_saved_as_gif():
    playing = Playing(clip())
    data, about = playing._repr_mimebundle_()
    assert about == {'image/png': {'width': 72}}
    picture = Image.open(io.BytesIO(base64.b64decode(data['image/png'])))
    assert (picture.format, picture.n_frames, picture.size) == ('GIF', 3, (8 * w, 8 * h))
    assert 'application/vnd.jupyter.widget-view+json' in data and data['text/plain'] == 'Playing(5 frames)'


def test_clips_play_in_a_browser(lab, tmp_path):
    lab.open(write_notebook(tmp_path / 'play.ipynb', PLAY, "print('it' + ' plays')"))
    lab.run_all('it plays')
    lab.page.wait_for_function('() => document.querySelector("video")?.currentTime > 0')
    assert lab.page.evaluate('() => { const v = document.querySelector("video"); return [v.videoWidth % 2, v.videoWidth > 80, v.loop] }') == [0, True, True]
    assert lab.errors == []
