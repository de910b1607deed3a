"The explorer draws as Python does, and listens to keys and mouse in a real browser."
import base64
import io

import nbformat
import numpy as np
import pytest
from browser import write_notebook
from lessons import NBS
from nbformat import v4
from PIL import Image
from recordings import CROSS, F, clip, recorded, words_of

from videodirector.show.explore import explore
from videodirector.show.look import Look
from videodirector.show.packing import pack
from videodirector.show.paint import paint


def look_of(e): return Look(e.packed, e.state)


def test_a_picture_of_one_frame_and_unnamed_words():
    recording = recorded(steps=(0,), slots=('edit_cond',), sites=(CROSS,), frames=1)
    recording.maps = {(CROSS, 0, 'cond'): recording.maps[CROSS, 0, 'edit_cond']}
    recording.words = {}
    e = explore(recording, clip(frames=1))
    assert e.facts['kinds'] == ['cross'] and e.state['word'] == 'token 0' and e.state['branch'] == 'cond'
    assert [p.title for p in look_of(e).panels()] == ['cond']
    recording.words = {'cond': words_of('a bear')}
    recording.maps[CROSS, 0, 'uncond'] = recording.maps[CROSS, 0, 'cond']
    assert {x['slot'] for x in pack(recording).entries} == {'cond'}  # the empty prompt has no words to choose


@pytest.mark.parametrize('wrong, words', [
    (dict(kinds='cross', slots='nobody'), 'no cross map matches; the recording holds cross of edit_cond'),
    (dict(word='cat'), "word 'cat' is not there.*hat"), (dict(frame=F), 'frame 5 is not there.*0, 1, 2, 3, 4'),
    (dict(kinds='cross', kind='spatial'), "'spatial' is not there"), (dict(head=0), 'head 0'), (dict(speed=2), 'speed is no control'),
    (dict(point=(2, 0)), 'two shares of the frame'), (dict(point=.5), 'two shares of the frame'),
    (dict(video=clip(frames=3)), 'the clip has 3 frames and the maps 5'), (dict(edited=clip()[..., :16]), 'different shapes'),
])
def test_errors_are_sentences(wrong, words):
    with pytest.raises(ValueError, match=words): explore(**dict(recording=recorded(), video=clip()) | wrong)


def test_a_cell_shows_widget_and_picture():
    e = explore(recorded(), clip(), clip(1), kind='temporal')
    data, _ = e._repr_mimebundle_()
    pictures = [data['image/png'], e.choose(kind='cross', word='grass')._repr_mimebundle_()[0]['image/png'],
                e.choose(frame=4)._repr_mimebundle_()[0]['image/png']]
    assert 'application/vnd.jupyter.widget-view+json' in data and len(set(pictures)) == 3
    assert all(Image.open(io.BytesIO(base64.b64decode(picture))).width > 300 for picture in pictures)
    assert data['text/plain'].startswith('Explorer(24 maps')


def test_an_edit_without_its_source_looks_at_it_all_the_same():
    e = explore(recorded(steps=(7,), slots=('edit_cond',)), clip(), clip(1), kind='spatial')
    assert [p.title for p in look_of(e).panels()] == ['edit', 'edit looks at source'] and [*e.frames] == ['source', 'edit']
    e.still()


# ---- in a browser ----

PIXELS = """canvas => [...canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data]"""


def pixels(canvas):
    size = canvas.evaluate('canvas => [canvas.height, canvas.width, 4]')
    return np.array(canvas.evaluate(PIXELS), np.uint8).reshape(size)[..., :3]


def redraws(explorer): return int(explorer.get_attribute('data-redraws'))


def test_lesson_in_a_browser(lab, tmp_path):
    nb = nbformat.read(NBS / 'show/explorer.ipynb', as_version=4)
    nb.cells[0].source = nb.cells[0].source.split('[![')[0]  # the badge would be fetched from the internet
    nb.cells.append(v4.new_code_cell("print('every cell' + ' has run')"))
    nbformat.write(nb, tmp_path / 'lesson.ipynb')
    lab.open(tmp_path / 'lesson.ipynb')
    lab.run_all('every cell has run', timeout=600)
    page, seen = lab.page, []
    explorer = page.locator('.vd-explore').first
    canvas = explorer.locator('canvas.picture').nth(1)

    def changed(act):
        before = redraws(explorer)
        act()
        assert redraws(explorer) > before
        seen.append(pixels(canvas).tobytes())
        assert seen[-1] not in seen[:-1]

    explorer.focus()
    seen.append(pixels(canvas).tobytes())
    changed(lambda: page.keyboard.press('ArrowUp'))
    assert 'step 6' in explorer.inner_text()
    changed(lambda: page.keyboard.press('ArrowRight'))
    assert 'frame 5' in explorer.inner_text()
    changed(lambda: explorer.locator('button[data-word=bear]').click())
    changed(lambda: page.keyboard.press('2'))
    assert explorer.locator('button[data-word=blue]').get_attribute('aria-pressed') == 'true'
    changed(lambda: canvas.click(position=dict(x=20, y=30)))
    changed(lambda: explorer.locator('select').first.select_option(index=0))

    before = redraws(explorer)
    explorer.focus()
    for _ in range(24): page.keyboard.press('ArrowRight')
    assert redraws(explorer) == before + 24  # none is left out
    explorer.get_by_text('▶ frames').click()
    page.wait_for_function('n => +document.querySelector(".vd-explore").dataset.redraws >= n', arg=before + 30)
    explorer.get_by_text('❚❚ frames').click()
    assert 'spatial' in explorer.locator('button:disabled').first.inner_text()
    assert "record(model, kinds=('spatial',))" in explorer.locator('button:disabled').first.get_attribute('title')
    assert page.locator('.jp-CodeCell').count() == len([c for c in nb.cells if c.cell_type == 'code'])  # no key went to the notebook
    assert lab.errors == []


MAKE = """from safetensors.torch import load_file
from videodirector.attention.recording import Recording
from videodirector.show.explore import explore
clips = load_file('clips.safetensors')
e = explore(Recording.load('maps.safetensors'), clips['video'], clips['edited'], kind='cross', site='up.1.attn2', word='grass', step=5)
e"""


def test_browser_and_python_draw_the_same(lab, tmp_path):
    from safetensors.torch import save_file
    recording = recorded(heads=2)
    recording.save(tmp_path / 'maps.safetensors')
    save_file(dict(video=clip(), edited=clip(1)), tmp_path / 'clips.safetensors')
    lab.open(write_notebook(tmp_path / 'two.ipynb', MAKE, "print('it' + ' stands')", "e.choose(frame=2, head=0)\nprint('told', 'once')",
                            "print(e.state['kind'], e.state['frame'], e.state['key'])"))
    lab.run_cell(0, '')
    lab.run_cell(1, 'it stands')
    explorer = lab.page.locator('.vd-explore')
    explorer.wait_for()
    same = explore(recording, clip(), clip(1), kind='cross', site=CROSS, word='grass', step=5)

    def compare():
        look, shown = look_of(same), explorer.locator('canvas.picture:visible')
        assert shown.count() == len(look.panels())
        for i, panel in enumerate(look.panels()):
            values, frame = look.maps(panel), same.frames[panel.over][same.state['frame']]
            if values is None: continue
            drawn, painted = pixels(shown.nth(i)).astype(int), paint(values[same.state['frame']], look.limits(panel), frame).astype(int)
            y, x = ((part + .5) * side // n for part, side, n in zip(look.cell(), frame.shape, values.shape[1:]))
            far = np.hypot(*(np.indices(drawn.shape[:2]) - np.array([y, x])[:, None, None])) > 4  # from the mark
            assert (abs(drawn - painted).max(-1)[far] <= 2).mean() > .98 and abs(drawn - painted)[far].max() < 16

    compare()
    lab.run_cell(2, 'told once')
    same.choose(frame=2, head=0)
    lab.page.wait_for_function('() => document.querySelector(".vd-explore").innerText.includes("frame 2")')
    compare()
    explorer.get_by_text('spatial').click()
    explorer.focus()
    lab.page.keyboard.press('ArrowDown')
    same.choose(kind='spatial', step=7)
    compare()
    assert same.state['site'] == explorer.locator('select').first.input_value()
    lab.page.keyboard.press('Shift+ArrowLeft')
    same.choose(point=((2 + .5) / 4, (2 + .5) / 6))
    compare()
    explorer.get_by_text('temporal').click()
    lab.page.keyboard.press('.')
    same.choose(kind='temporal', key=1)
    compare()
    matrix = explorer.locator('canvas.matrix').first
    box = matrix.bounding_box()
    matrix.click(position=dict(x=box['width'] * .9, y=box['height'] * .7))  # column 4, row 3
    same.choose(frame=3, key=4)
    compare()
    lab.page.wait_for_timeout(500)  # the page waits a moment before it tells the kernel
    lab.run_cell(3, 'temporal 3 4')
    assert lab.errors == []
