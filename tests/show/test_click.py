"The click widget: what Python makes of clicks, and the page, driven by mouse and keyboard."
import ast
import io
from threading import Thread

import numpy as np
import pytest
import torch
from browser import write_notebook
from PIL import Image

from videodirector.data.mask import Mask
from videodirector.data.video import to_bytes
from videodirector.segment.follow import segment
from videodirector.segment.sam2 import load_sam2
from videodirector.show.click import click_mask
from videodirector.world.scene import Scene

FOX = dict(subject='fox', background='meadow', motion='right', seed=4)


def middle(mask):  # [H, W] bool → (x, y) of a pixel that is well inside
    return [round(c) for c in mask.nonzero().float().mean(0).flip(0).tolist()]


@pytest.fixture(scope='module')
def render(): return Scene(**FOX).render(6)


@pytest.fixture(scope='module')
def model(): return load_sam2()


@pytest.fixture
def picker(render, model): return click_mask(render.video, model)


@pytest.fixture
def on(render): return [middle(mask) for mask in render.mask.hard]


def same(a, b): return torch.equal(a.values, b.values)


def test_clicks_are_what_segment_makes_of_them(picker, render, model, on):
    picker.click(*on[0])
    assert same(picker.mask, segment(render.video, on[0], model=model))
    picker.click(*on[4], frame=4)
    picker.click(5, 5, label=0, frame=4)
    assert same(picker.mask, segment(render.video, {0: [on[0]], 4: [on[4], (5, 5, 0)]}, model=model))


def test_a_box_takes_the_place_of_the_last(picker, render, model, on):
    first, second = render.mask.boxes[0], render.mask.boxes[3]
    picker.click(*on[5], frame=5)
    picker.box(*first)
    picker.box(*second, frame=3)
    assert same(picker.mask, segment(render.video, {5: [on[5]]}, box=second, frame=3, model=model))
    assert len(picker.prompts) == 2


def test_undo_and_clear(picker, on):
    picker.click(*on[0])
    one = picker.mask
    picker.click(*on[4], frame=4)
    two = picker.mask
    picker.clear()
    assert picker.prompts == [] and picker.bits == b''
    picker.undo()
    assert picker.mask is two and len(picker.prompts) == 2
    picker.undo()
    assert picker.mask is one and len(picker.prompts) == 1
    picker.undo()
    with pytest.raises(ValueError, match='nothing to undo'): picker.undo()


def test_a_refusal_is_a_sentence_and_changes_nothing(picker, on):
    picker.click(*on[0])
    before = picker.prompts, picker.bits, picker.mask
    with pytest.raises(ValueError, match='only clicks beside'): picker.click(3, 3, 0, frame=2)
    picker._hear(picker, dict(do='click', x=500, y=3, label=1, frame=2), [])
    assert (picker.prompts, picker.bits, picker.mask) == before
    assert 'outside the 128×128 frame' in picker.note and not picker.busy
    picker._hear(picker, dict(do='click', x=on[2][0], y=on[2][1], label=1, frame=2), [])
    assert picker.note == '' and len(picker.prompts) == 2


def test_a_failure_of_the_model_is_shown_and_raised(render, on):
    def fail(frames): raise RuntimeError('out of memory')
    broken = load_sam2()
    broken.forward_image = fail
    picker = click_mask(render.video, broken)
    with pytest.raises(RuntimeError): picker._hear(picker, dict(do='click', x=on[0][0], y=on[0][1], label=1, frame=0), [])
    assert picker.note == 'RuntimeError: out of memory' and not picker.busy and picker.prompts == []


def test_clicks_from_two_threads_both_count(picker, on):
    def say(frame):
        x, y = on[frame]
        picker._hear(picker, dict(do='click', x=x, y=y, label=1, frame=frame), [])

    threads = [Thread(target=say, args=[frame]) for frame in (0, 3, 5)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    assert sorted(p['frame'] for p in picker.prompts) == [0, 3, 5]


def test_the_page_gets_the_frames_and_the_mask(picker, render, on):
    assert picker.shape == [6, 128, 128] and picker.bits == b''
    pictures = np.stack([np.asarray(Image.open(io.BytesIO(picture))) for picture in picker.pictures]).astype(float)
    assert np.abs(pictures - to_bytes(render.video)).mean() < 2
    picker.click(*on[0])
    bits = np.unpackbits(np.frombuffer(picker.bits, np.uint8)).reshape(picker.shape)
    assert (bits == picker.mask.hard.numpy()).all() and bits.any()


def test_a_mask_to_start_from(render, model, on):
    start = Mask(torch.cat([torch.zeros_like(render.mask.values[:1]), render.mask.values[1:]]))
    picker = click_mask(render.video, model, start)
    assert picker.mask is start
    picker.click(*on[5], frame=5)
    assert same(picker.mask, segment(render.video, {5: [on[5]]}, mask=start, frame=1, model=model))
    picker.click(*on[1], frame=1)
    assert same(picker.mask, segment(render.video, {1: [on[1]], 5: [on[5]]}, model=model))
    picker.clear()
    assert picker.mask is start


def test_accept(picker, on):
    with pytest.raises(ValueError, match='click on the thing'): _ = picker.mask
    with pytest.raises(ValueError, match='click on the thing'): picker.accept()
    picker.click(*on[0])
    picker.accept()
    assert picker.accepted and repr(picker).endswith('accepted)')
    picker.click(*on[4], frame=4)
    assert not picker.accepted


@pytest.mark.parametrize('video, sentence', [
    (torch.zeros(3, 64, 64), r'shape \[3, 64, 64\]; give a tensor'), (torch.zeros(0, 3, 64, 64), 'shape'), ('clip.mp4', 'type str')])
def test_no_clip(video, sentence, model):
    with pytest.raises(ValueError, match=sentence): click_mask(video, model)


def test_a_mask_of_another_size(render, model):
    with pytest.raises(ValueError, match='6×128×128; give both'): click_mask(render.video, model, Mask(torch.ones(6, 64, 64)))


def picture(picker): return np.asarray(Image.open(io.BytesIO(picker._repr_mimebundle_()[0]['image/png']))).astype(float)


def test_a_still_goes_with_the_widget(picker, on):
    before = picture(picker)
    picker.click(*on[0])
    one = picture(picker)
    picker.box(20, 20, 100, 110, frame=3)
    assert 'application/vnd.jupyter.widget-view+json' in picker._repr_mimebundle_()[0]
    assert before.shape == one.shape and np.abs(before - one).mean() > 5 and np.abs(one - picture(picker)).mean() > 5


def test_a_still_of_a_wide_frame(model):
    height, width, _ = picture(click_mask(torch.zeros(1, 3, 40, 100), model)).shape
    assert width > 4 * height  # the frame, large and small side by side


# ---- in the browser ----

STAGE = '.videodirector-click .stage'
PINK = f"""() => {{
    const canvas = document.querySelector('{STAGE}');
    const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
    let count = 0;
    for (let i = 0; i < pixels.length; i += 4) count += pixels[i] > 230 && pixels[i + 1] < 90 && pixels[i + 2] > 150;
    return count;
}}"""


class Driver:
    "Mouse and keyboard on the widget, in pixels of the clip."

    def __init__(self, page):
        self.page, self.area = page, page.locator(STAGE).bounding_box()

    def at(self, x, y): return self.area['x'] + (x + 0.5) * self.area['width'] / 128, self.area['y'] + (y + 0.5) * self.area['height'] / 128

    def press(self, *keys):
        for key in keys: self.page.keyboard.press(key)

    def drag(self, left, top, right, bottom):
        mouse = self.page.mouse
        mouse.move(*self.at(left - 0.5, top - 0.5))
        mouse.down()
        mouse.move(*self.at(right - 0.5, bottom - 0.5), steps=3)
        mouse.up()

    def says(self, text):
        "Wait until the widget says so."
        self.page.wait_for_function('text => document.querySelector(".videodirector-click .status").textContent.includes(text)', arg=text)

    def sees(self, condition):
        "Wait until this holds of the number of pixels that are the mask's edge."
        self.page.wait_for_function(f'() => {{ const pink = ({PINK})(); return {condition}; }}')
        return self.page.evaluate(f'() => document.querySelector("{STAGE}").toDataURL()')


def test_click_widget_in_the_browser(lab, tmp_path):
    render = Scene(**FOX).render(16)
    (x, y), box = middle(render.mask.hard[0]), render.mask.boxes[0]
    lab.open(write_notebook(
        tmp_path / 'click.ipynb',
        f'from videodirector.show.click import click_mask\nfrom videodirector.world.scene import Scene\npicker = click_mask(Scene(**{FOX}).render(16).video)\npicker',
        "if picker.prompts: print('AREA', picker.mask.area.mean().item(), '\\nPROMPTS', picker.prompts)", "print('all' + ' done')"))
    lab.run_all('all done')
    lab.page.wait_for_selector(STAGE)
    drive, cells = Driver(lab.page), lab.page.locator('.jp-Cell').count()

    drive.sees('pink === 0')
    lab.page.mouse.click(*drive.at(x, y))
    drive.says('1 click in 1 frame')
    first = drive.sees('pink > 300')
    drive.press('ArrowRight', 'ArrowRight', 'ArrowRight')
    lab.page.wait_for_function('document.querySelector(".videodirector-click input").value === "3"')
    assert drive.sees('pink > 300') != first  # another frame, and the mask is there, too

    drive.press('Home')
    lab.page.mouse.click(*drive.at(120, 10), button='right')
    drive.says('2 clicks in 1 frame')
    assert lab.page.locator('.lm-Menu').count() == 0
    drive.press('z')
    drive.says('1 click in 1 frame')
    drive.drag(*box)
    drive.says('1 click and a box in 1 frame')

    drive.press('x')
    drive.says('Click on the thing')
    drive.sees('pink === 0')
    drive.press('n', 'Shift+ArrowUp', 'Shift+ArrowLeft', ' ')
    drive.says('only clicks beside the thing')
    drive.press('z')
    drive.says('1 click and a box')
    drive.press('a', 'Enter')  # A would give JupyterLab a new cell
    drive.says('Accepted')
    lab.page.mouse.click(*drive.at(x, y))  # is not taken any more

    lab.run_cell(1, 'PROMPTS')
    area, prompts = (line.split(' ', 1)[1] for line in lab.output(1).inner_text().strip().splitlines())
    assert ast.literal_eval(prompts) == [dict(frame=0, x=x, y=y, label=1), dict(frame=0, box=list(box))]
    assert float(area) == pytest.approx(segment(render.video, (x, y), box=box).area.mean().item(), abs=1e-4)
    assert lab.page.locator('.jp-Cell').count() == cells  # the keys were not taken for JupyterLab's own
    assert lab.errors == []
