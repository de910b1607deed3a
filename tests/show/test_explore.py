"The explorer sends what was recorded, draws it as Python does, and listens to keys and mouse in a real browser."
import base64
import io

import matplotlib
matplotlib.use('Agg')
import nbformat
import numpy as np
import pytest
import torch
from browser import write_notebook
from lessons import NBS
from nbformat import v4
from PIL import Image
from videodirector.attention import Recording, Word
from videodirector.explore import Look, Packed, explore, pack, paint, pair_words, side_of

F, L = 5, 9
CROSS, COARSE, SPATIAL, TEMPORAL = ('up.1.attn2', 'up.0.attn2', 'up.1.attn1', 'up.1.motion')
GRIDS = {COARSE: (2, 3), CROSS: (4, 6), SPATIAL: (4, 6), TEMPORAL: (4, 6)}
KIND = {COARSE: 'cross', CROSS: 'cross', SPATIAL: 'spatial', TEMPORAL: 'temporal'}
PROMPTS = dict(source_cond='a bear on grass', edit_cond='a zoo tiger with hat on grass')


def words_of(prompt):  # "zoo" becomes two tokens
    words, at = [], 1
    for text in prompt.split():
        n = 2 if text == 'zoo' else 1
        words.append(Word(text, tuple(range(at, at + n)), (0,) * n))
        at += n
    return words


def recorded(heads=0, steps=(2, 5, 7), slots=tuple(PROMPTS), sites=tuple(GRIDS), frames=F):
    "A recording of random maps on grids of two sizes; in its last step SA-II acts on the edit."
    made, draw = Recording(('cross', 'spatial', 'temporal'), reduce=() if heads else 'heads'), torch.Generator().manual_seed(0)
    made.words = {slot: words_of(PROMPTS[slot]) for slot in slots}
    for step in steps:
        for site in sites:
            h, w = GRIDS[site]
            made.kind_of[site] = KIND[site]
            for slot in slots:
                keys = h * w * (2 if step == steps[-1] and slot.startswith('edit') else 1)
                shape = {'cross': [frames, h, w, L], 'spatial': [frames, h, w, keys], 'temporal': [h, w, frames, frames]}[KIND[site]]
                if heads: shape.insert(2 if KIND[site] == 'temporal' else 1, heads)
                made.maps[site, step, slot] = torch.rand(shape, generator=draw).half()
    return made


def clip(seed=0, frames=F): return torch.rand(frames, 3, 32, 48, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def look_of(e): return Look(e.packed, e.state)


def test_words_of_two_prompts_are_paired():
    words = pair_words({'source': 'a bear and a fox'.split(), 'edit': 'a tiger and a red fox'.split()})
    assert words == [('a', {'source': 0, 'edit': 0}), ('bear → tiger', {'source': 1, 'edit': 1}), ('and', {'source': 2, 'edit': 2}),
                     ('a (2)', {'source': 3, 'edit': 3}), ('red', {'edit': 4}), ('fox', {'source': 4, 'edit': 5})]
    assert pair_words({'source': ['a', 'bear'], 'edit': ['a']}) == [('a', {'source': 0, 'edit': 0}), ('bear', {'source': 1})]
    assert pair_words({'': ['a', 'bear']}) == [('a', {'': 0}), ('bear', {'': 1})]


def test_sides_and_branches():
    assert [side_of(s) for s in ('edit_cond', 'source_uncond', 'cond', 'video 0', 'source')] == \
        [('edit', 'cond'), ('source', 'uncond'), ('', 'cond'), ('', 'video 0'), ('source', 'video')]


@pytest.mark.parametrize('heads', [0, 3])
def test_every_map_is_in_the_bytes(heads):
    recording = recorded(heads)
    packed = pack(recording)
    assert len(packed.entries) == len(recording.maps)
    assert sum(packed.array(e).nbytes for e in packed.entries) == len(packed.data)
    for e in packed.entries:
        m, a = recording.maps[e['site'], e['step'], e['slot']], torch.tensor(packed.array(e))
        if not heads: m = m.unsqueeze(2 if e['kind'] == 'temporal' else 1)
        if e['kind'] == 'temporal': assert torch.equal(a, m.movedim(2, 0))
        if e['kind'] == 'spatial': assert torch.equal(a.flatten(-3), m.movedim(1, 0))
        if e['kind'] == 'cross':
            for i, word in enumerate(recording.words[e['slot']]):
                sums = m[..., list(word.tokens)].float().sum(-1).movedim(1, 0)
                torch.testing.assert_close(a[:, :, i].float(), sums, rtol=1e-3, atol=1e-7)


def test_controls_choose_what_the_recording_gives_by_name():
    recording = recorded()
    e = explore(recording, clip(), clip(1), kind='cross', site=CROSS, step=5, word='hat')
    look = look_of(e)
    source, edit, difference = look.panels()
    torch.testing.assert_close(torch.tensor(look.maps(edit)), recording.cross['hat', 5, CROSS, 'edit_cond'], rtol=1e-3, atol=1e-6)
    assert look.maps(source) is None and look.maps(difference) is None
    look = look_of(e.choose(word='grass', site=COARSE, step=2))
    mine, theirs = (recording.cross['grass', 2, COARSE, f'{side}_cond'] for side in ('edit', 'source'))
    torch.testing.assert_close(torch.tensor(look.maps(difference)), mine - theirs, rtol=1e-3, atol=1e-6)

    look = look_of(e.choose(kind='temporal', point=(.3, .9), key=3))
    assert e.state['site'] == TEMPORAL and look.cell() == (1, 5)
    m = recording.maps[TEMPORAL, 2, 'source_cond'].float()
    assert torch.equal(torch.tensor(look.maps(source)), m[..., 3].permute(2, 0, 1))
    assert torch.equal(torch.tensor(look.maps(source, matrix=True)), m[1, 5])


def test_what_the_edit_reads_from_the_source():
    recording = recorded()
    look = look_of(explore(recording, kinds='spatial', point=(0, 1), step=7))
    titles = [p.title for p in look.panels()]
    assert titles == ['source', 'edit', 'edit looks at source', 'edit − source']
    source, edit, reads, difference = look.panels()
    m, own = (recording.maps[SPATIAL, 7, f'{side}_cond'][:, 0, 5].float().unflatten(1, (-1, 4, 6)) for side in ('edit', 'source'))
    assert torch.equal(torch.tensor(look.maps(reads)), m[:, 0]) and torch.equal(torch.tensor(look.maps(edit)), m[:, 1])
    assert torch.equal(torch.tensor(look.maps(difference)), m[:, 1] - own[:, 0])
    assert look.maps(reads, step=2) is None  # SA-II did not act there


def test_heads_are_averaged_or_chosen():
    recording = recorded(heads=3)
    m = recording.maps[CROSS, 5, 'edit_cond'].float()[..., 5]  # "hat"
    e = explore(recording, kinds='cross', site=CROSS, step=5, word='with', head=2)
    edit = look_of(e).panels()[1]
    torch.testing.assert_close(torch.tensor(look_of(e).maps(edit)), m[:, 2], rtol=1e-3, atol=0)
    torch.testing.assert_close(torch.tensor(look_of(e.choose(head=-1)).maps(edit)), m.mean(1), rtol=1e-3, atol=1e-6)


def test_one_scale_for_both_sides_and_all_steps():
    recording = recorded()
    recording.maps[CROSS, 2, 'source_cond'] *= 10
    look = look_of(explore(recording, kinds='cross', site=CROSS, step=7, word='grass'))
    source, edit, difference = look.panels()
    assert look.limits(source) == look.limits(edit) and 5 < look.limits(edit)[1] <= 10
    assert look.limits(difference)[0] == -look.limits(difference)[1]


def test_from_disk_it_is_the_same(tmp_path):
    recording = recorded()
    recording.save(tmp_path / 'maps.safetensors')
    live, loaded = pack(recording), pack(Recording.load(tmp_path / 'maps.safetensors'))
    assert (live.data, live.entries, live.words) == (loaded.data, loaded.entries, loaded.words)


def test_only_what_was_asked_for_is_sent():
    packed = pack(recorded(), kinds='cross', sites='up.1*', steps=[2, 7], slots='edit_cond')
    assert {(e['site'], e['step'], e['slot']) for e in packed.entries} == {(CROSS, 2, 'edit_cond'), (CROSS, 7, 'edit_cond')}


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


def test_too_much_is_refused_with_its_size():
    with pytest.raises(ValueError, match=r'these maps are .* MB \(spatial .*, cross .*, temporal .*leave some out with kinds='):
        pack(recorded(), limit=.01)
    assert isinstance(pack(recorded(), kinds='temporal', limit=.05), Packed)
    mixed = recorded()
    mixed.maps |= {(CROSS, 9, slot): m[:2] for (site, _, slot), m in mixed.maps.items() if site == CROSS}
    with pytest.raises(ValueError, match='clips of 2, 5 frames'): pack(mixed)


def test_colours_show_the_frame_where_the_map_is_low():
    frame = np.full((8, 12, 3), 200, np.uint8)
    values = np.zeros((4, 6), np.float32)
    values[0, 0] = 1
    low, high = (paint(values, (a, 1.), frame)[-1, -1].tolist() for a in (0., -1.))
    assert low == high == [128] * 3 and paint(values, (0., 1.), frame)[0, 0].max() > 200
    assert paint(values, (0., 1.), frame, opacity=0.).max() == 128
    assert paint(values, (0., 1.), size=(8, 12)).shape == (8, 12, 3)


def test_a_cell_shows_widget_and_picture():
    e = explore(recorded(), clip(), clip(1), kind='temporal')
    data, _ = e._repr_mimebundle_()
    pictures = [data['image/png'], e.choose(kind='cross', word='grass')._repr_mimebundle_()[0]['image/png'],
                e.choose(frame=4)._repr_mimebundle_()[0]['image/png']]
    assert 'application/vnd.jupyter.widget-view+json' in data and len(set(pictures)) == 3
    assert all(Image.open(io.BytesIO(base64.b64decode(picture))).width > 300 for picture in pictures)
    assert data['text/plain'].startswith('Explorer(24 maps')


# ---- in a browser ----

PIXELS = """canvas => [...canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data]"""


def pixels(canvas):
    size = canvas.evaluate('canvas => [canvas.height, canvas.width, 4]')
    return np.array(canvas.evaluate(PIXELS), np.uint8).reshape(size)[..., :3]


def redraws(explorer): return int(explorer.get_attribute('data-redraws'))


def test_lesson_in_a_browser(lab, tmp_path):
    nb = nbformat.read(NBS / '12_explore.ipynb', as_version=4)
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
    assert "record(pipe, kinds=('spatial',))" in explorer.locator('button:disabled').first.get_attribute('title')
    assert page.locator('.jp-CodeCell').count() == len([c for c in nb.cells if c.cell_type == 'code'])  # no key went to the notebook
    assert lab.errors == []


MAKE = """from safetensors.torch import load_file
from videodirector.attention import Recording
from videodirector.explore import explore
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
