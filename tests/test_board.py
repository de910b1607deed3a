"The board: what is run twice and what is not, how a run is followed, stopped and refused, and what one sees of it; at last in a browser."
import re
import shutil
from dataclasses import replace
from io import BytesIO

import nbformat
import pytest
import torch
from conftest import make_tiny_pipe
from lessons import NBS, WIDGET_VIEW
from nbformat import v4
from PIL import Image

from videodirector import board as module
from videodirector.board import Board, Clip, Clock, Controls, Runs, Settings, differing, draw_gallery, in_words, number_rows, tint
from videodirector.director import edit, invert
from videodirector.guidance import STDG, TERMS
from videodirector.masks import Mask
from videodirector.world import Scene

SOURCE, TARGET = 'a brown bear walking on grass', 'a brown tiger walking on grass'
STEPS = 4
START = Settings('clip', TARGET)
STRONG = (('up_blocks.1', 2e7, 2e7),)


def video(seed=0): return torch.rand(3, 3, 32, 48, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def box():
    mask = torch.zeros(3, 32, 48, dtype=torch.bool)
    mask[:, :16, :24] = True
    return mask


def some_runs(pipe, **clip):
    clips = {'clip': Clip(video(), SOURCE, **{'mask': box(), **clip}), 'other': Clip(video(1), SOURCE, box())}
    return Runs(pipe, clips, steps=STEPS, inner_steps=1, lr=.3)


@pytest.fixture
def runs(tiny_pipe): return some_runs(tiny_pipe)


@pytest.fixture
def board(runs): return Board(runs, TARGET)


@pytest.fixture
def inversions(monkeypatch):
    "One entry for each inversion that is begun."
    begun = []
    monkeypatch.setattr(module, 'invert', lambda *args, **kwargs: begun.append(kwargs) or invert(*args, **kwargs))
    return begun


def wait(board): board.thread.join(60); assert not board.thread.is_alive()


# what is kept

def test_equal_settings_are_one_run(runs, inversions):
    run = runs.run(Settings('clip', TARGET, weights={'tiger': 2, 'bear': 1}))
    assert runs.run(Settings('clip', f' {TARGET}  ', weights=[('tiger', 2.)])) is run
    assert len(inversions) == len(runs.made) == 1


@pytest.mark.parametrize('change', [dict(prompt='a red bear walking on grass'), dict(tau_s=0.), dict(tau_c=0.), dict(mutual=False),
                                    dict(weights={'tiger': 3.})], ids=str)
def test_what_needs_an_edit_needs_no_inversion(runs, inversions, change):
    first, second = runs.run(START), runs.run(replace(START, **change))
    assert len(inversions) == 1
    assert not torch.equal(first.edit.video, second.edit.video)


@pytest.mark.parametrize('change', [dict(null_text='shared'), dict(null_text='none'), dict(guidance_scale=7.), dict(clip='other'), dict(eta_f=2.),
                                    dict(eta_b=2.), dict(zeta_f=2.), dict(zeta_b=2.), dict(eta_f=0., eta_b=0., zeta_b=0.)], ids=str)
def test_what_needs_an_inversion_gets_one(tiny_pipe, inversions, change, monkeypatch):
    monkeypatch.setattr(Settings, 'stdg', property(lambda s: STDG(s.eta_f, s.eta_b, s.zeta_f, s.zeta_b, blocks=STRONG) or None))
    runs = some_runs(tiny_pipe)
    first, second = runs.run(START), runs.run(replace(START, **change))
    assert len(inversions) == 2
    assert not torch.equal(first.edit.video, second.edit.video)


def test_a_run_is_what_its_settings_say(tiny_pipe, runs):
    s = Settings('clip', TARGET, 'background', 'shared', .5, False, .25, .1, .2, .3, .4, 3., {'tiger': 2.})
    made = runs.run(s).edit
    inversion = invert(tiny_pipe, video(), SOURCE, box(), STEPS, 3., shared=True, inner_steps=1, lr=.3, stdg=STDG(.1, .2, .3, .4, 'background'), progress=False)
    plain = edit(tiny_pipe, inversion, TARGET, .25, .5, {'tiger': 2.}, mutual=False, region='background', progress=False)
    assert torch.equal(made.video, plain.video)


def test_no_null_text_is_no_update(runs):
    assert runs.invert(replace(START, null_text='none')).null.losses == [[]] * STEPS


@pytest.mark.parametrize('change, sentence', [
    (dict(prompt=' '), 'target prompt is empty'), (dict(prompt='bear ' * 40), 'shorten'), (dict(tau_s=1.5), 'no share'), (dict(tau_c=-1), 'no share'),
    (dict(weights={'hat': 2}), "'hat' is not in the prompt"), (dict(clip='none'), "no clip 'none'; choose from clip, other"), (dict(eta_f=-1.), 'weight of the guidance is -1')], ids=str)
def test_what_cannot_run_is_refused_before_the_first_step(runs, change, sentence):
    with pytest.raises(ValueError, match=sentence): runs.run(replace(START, **change), lambda *step: pytest.fail('a step was begun'))


def test_bad_clips_and_settings_are_refused_at_once(tiny_pipe):
    with pytest.raises(ValueError, match='has 2 frames and the metrics need 3'): Runs(tiny_pipe, Clip(video()[:2], SOURCE))
    with pytest.raises(ValueError, match='The mask has 2 frames'): Runs(tiny_pipe, Clip(video(), SOURCE, box()[:2]))
    with pytest.raises(ValueError, match='source prompt is empty'): Runs(tiny_pipe, Clip(video(), ''))
    with pytest.raises(ValueError, match="choose one of multi-frame, shared, none"): Settings('clip', TARGET, null_text='all')


def test_one_clip_needs_no_name_and_a_mask_may_be_a_mask(tiny_pipe):
    runs = Runs(tiny_pipe, Clip(video(), SOURCE, Mask(box())), steps=2, inner_steps=0)
    assert torch.equal(runs.clips['clip'].mask, box())
    assert runs.run(START).metrics.keys() == {'MS (DIS)', 'masked_psnr'}


def test_without_a_mask_there_is_no_guidance_and_no_outside(tiny_pipe):
    board = Board(Runs(tiny_pipe, Clip(video(), SOURCE), steps=2, inner_steps=0), TARGET)
    assert board.start.stdg is None and all(board.controls.dials[name].switch.disabled for name in TERMS)
    assert board.run().metrics.keys() == {'MS (DIS)'}
    with pytest.raises(ValueError, match='needs a mask'): board.runs.run(replace(START))


# clips of the world

def test_the_true_edit_is_the_scene_of_the_prompt():
    scene = Scene('car', 'city', 'left', seed=5)
    clip, target = Clip.of(scene, 3, 32, 48), scene.replace(colour='green')
    assert clip.video.shape == (3, 3, 32, 48) and clip.mask.any() and clip.prompt == scene.caption
    assert clip.target(target.caption) == target
    assert clip.target('green car') is None
    assert Clip(video(), SOURCE).target('a dragon') is None
    with pytest.raises(ValueError, match="no word 'dragon'"): clip.target('a dragon driving left on a city street')


def test_numbers_against_the_truth(tiny_pipe):
    scene = Scene('bear', 'forest', 'left', seed=1)
    tiny_pipe.tokenizer.model_max_length = 77  # world prompts are longer than what it reads
    runs = Runs(tiny_pipe, Clip.of(scene, 3, 32, 48), steps=2, inner_steps=0)
    truth = module.Edit(scene.render(3, 32, 48).video, None, scene.caption, scene.caption, {})
    run = runs.measure(Settings('clip', scene.caption), runs.clips['clip'], truth)
    assert run.metrics['truth_psnr'] == float('inf') and run.metrics['motion_error'] == 0
    assert run.difference.max() == 0


# words and numbers

def test_only_what_differs_is_said():
    assert differing(START, START) == {}
    assert differing(replace(START, tau_c=0., mutual=False), START) == {'SA-II': 'off', 'CA': 'off'}
    assert differing(replace(START, tau_s=.2, eta_f=0., guidance_scale=7.5), START) == {'SA-I': 'τ_s 0.2', 'STDG': 'η_b 0.5 ζ_b 0.5', 'CFG': 'w 7.5'}
    assert differing(replace(START, weights={'tiger': 1.5}, prompt='a tiger', null_text='none'), START) == {
        'target': '“a tiger”', 'null text': 'none', 'words': 'tiger × 1.5'}


def test_every_setting_can_be_told():
    changes = dict(clip='x', prompt='x', region='background', null_text='none', tau_s=.1, mutual=False, tau_c=.1, eta_f=.1, eta_b=.1, zeta_f=.1,
                   zeta_b=.1, guidance_scale=2., weights={'x': 2})
    assert changes.keys() == {f.name for f in module.fields(Settings)}
    for name, value in changes.items(): assert len(differing(replace(START, **{name: value}), START)) == 1, name


def test_numbers_have_units_and_order():
    rows = number_rows({'MS (DIS)': .9712, 'pickscore': 21.3, 'masked_psnr': 28.123})
    assert list(rows.items()) == [('PSNR outside ↑', '28.1 dB'), ('MS (DIS) ↑', '0.971'), ('pickscore', '21.3')]


def test_one_scale_of_colours():
    pixels = lambda limit: Image.open(BytesIO(tint(torch.tensor([[0., .2, .4]]), limit))).convert('RGB').tobytes()
    assert pixels(.4)[:3] == bytes((0, 0, 3)) and pixels(.4)[3:6] == pixels(.2 * 2)[3:6] and pixels(.4)[3:] != pixels(.8)[3:]
    assert pixels(.4)[3:6] == pixels(.8)[6:]  # half of the limit has one colour


# the time that is left

def test_the_clock_counts_work():
    time = iter(range(0, 100, 2))
    clock = Clock({'inversion': 4., 'edit': 12.}, now=lambda: next(time))  # runs from the first step on
    clock.at('inversion', 0, 4)
    assert (clock.share, clock.left, clock.text) == (0, None, 'inversion, step 1 of 4')
    clock.at('inversion', 2, 4)  # 2 of 16 in 2 s
    assert (clock.share, clock.left, clock.text) == (2 / 16, 14, 'inversion, step 3 of 4 · about 14 s left')
    clock.at('edit', 2, 4)  # 10 of 16 in 4 s
    assert clock.left == pytest.approx(2.4)


def test_the_clock_starts_with_the_pace_of_before():
    clock = Clock({'edit': 10.}, pace=.5, now=lambda: 0.)
    clock.at('edit', 0, 5)
    assert clock.left == 5


def test_work_is_what_is_not_kept(runs):
    assert list(runs.work(START)) == ['inversion', 'null text', 'edit', 'measuring']
    runs.run(START)
    assert runs.work(START) == {} and list(runs.work(replace(START, tau_c=0))) == ['edit', 'measuring']
    less = runs.work(replace(START, null_text='none'))['null text']
    assert less < runs.work(replace(START, null_text='shared'))['null text']


# the board without a browser

def test_changes_are_from_the_start(board):
    board.run(tau_c=0.)
    assert board.run(tau_s=0.).settings == replace(START, tau_s=0.)
    assert board.controls.read() == replace(START, tau_s=0.)
    board.controls.mutual.value = False
    assert board.run().settings == replace(START, tau_s=0., mutual=False)


def test_the_button_runs_what_the_controls_say(board):
    board.controls.dials['tau_c'].switch.value = False
    board.go.click(); wait(board)
    assert list(board.runs.made) == list(board.cards) == [replace(START, tau_c=0.)]
    assert board.stage.value == board.runs.made[replace(START, tau_c=0.)].beside_source
    assert (board.go.disabled, board.cancel.disabled, board.message.value) == (False, True, '')


def test_a_change_that_the_click_overtook_still_counts(board):
    board.go.click()
    board.controls.dials['tau_c'].switch.value = False
    wait(board)
    assert list(board.cards) == [replace(START, tau_c=0.)]


@pytest.mark.parametrize('part, kept', [('inversion', 0), ('null text', 0), ('edit', 1)])
def test_cancel_ends_the_run_before_its_next_step(board, monkeypatch, part, kept):
    begun, tick = [], board.tick
    def watch(clock, *step):
        begun.append(step)
        if step[:2] == (part, 1): board.cancel.click()
        tick(clock, *step)
    monkeypatch.setattr(board, 'tick', watch)
    board.go.click(); wait(board)
    assert begun[-1][:2] == (part, 1)
    assert board.message.value == 'Cancelled.' and not board.cards and not board.runs.made
    assert len(board.runs.inversions) == kept
    monkeypatch.undo()
    board.go.click(); wait(board)
    assert len(board.cards) == 1 and board.message.value == ''
    assert torch.equal(board.runs.made[START].edit.video, some_runs(make_tiny_pipe()).run(START).edit.video)


def test_an_error_is_a_sentence_and_the_board_goes_on(board, monkeypatch):
    board.controls.prompt.value = '<b>' * 30
    board.go.click(); wait(board)
    assert 'role="alert"' in board.message.value and 'shorten it' in board.message.value
    monkeypatch.setattr(board.runs, 'run', lambda *args: [][1])
    board.go.click(); wait(board)
    assert 'IndexError: list index out of range' in board.message.value and isinstance(board.error, IndexError)
    monkeypatch.undo()
    board.controls.prompt.value = TARGET
    board.go.click(); wait(board)
    assert len(board.cards) == 1 and board.message.value == ''


def test_one_run_at_a_time(board):
    with board.running():
        assert board.go.disabled and not board.cancel.disabled
        with pytest.raises(ValueError, match='A run is going on'): board.run()
    assert not board.go.disabled
    board.run()


def test_a_kept_run_is_shown_without_the_model(board):
    first, second = board.run(), board.run(tau_c=0.)
    board.runs.pipe.unet.register_forward_hook(lambda *args: pytest.fail('the model ran'))
    for run, other in ((first, second), (second, first)):
        board.controls.show(run.settings)
        assert board.stage.value == run.beside_source != other.beside_source
    board.controls.dials['tau_c'].switch.value = True
    assert board.stage.value == first.beside_source
    board.controls.mutual.value = False
    assert 'takes an edit' in board.message.value
    board.controls.guidance_scale.value = 6
    assert 'takes a new inversion and an edit' in board.message.value


def test_the_newest_run_comes_first_and_once(board):
    one, two = board.run(), board.run(tau_c=0.)
    board.run()
    assert [card.run for card in board.cards.values()] == [one, two]
    assert board.gallery.children == tuple(board.cards[run.settings].box for run in (two, one))
    assert '<b>2</b> · CA off' in board.cards[two.settings].words.value


def test_two_can_be_pinned(board):
    for changes in dict(tau_c=0.), dict(tau_s=0.), dict(mutual=False): board.run(**changes)
    one, two, three = board.cards.values()
    one.pin.value = True
    assert 'Pin another run' in board.compare_words.value and board.compare.layout.display == 'none'
    two.pin.value = True
    assert board.pinned == [one, two] and board.compare.layout.display == ''
    assert re.findall('>([^<>]+)<', board.compare_words.value)[:8] == ['run 1', 'run 2', 'SA-I', 'τ_s 0.4', 'off', 'CA', 'off', 'τ_c 0.7']
    assert 'CA τ_c 0.7 ' not in one.words.value and 'SA-I off · CA τ_c 0.7' in two.words.value  # compared with the first pinned
    before = board.compare.value
    three.pin.value = True
    assert board.pinned == [two, three] and not one.pin.value and board.compare.value != before
    two.pin.value = three.pin.value = False
    assert board.pinned == [] and board.compare.layout.display == 'none' and board.compare_words.value == ''


def test_a_pinned_run_can_be_loaded(board):
    one, two = board.run(), board.run(tau_c=0., weights={'tiger': 2.})
    load = board.cards[one.settings].box.children[-1].children[-1]
    load.click()
    assert board.controls.read() == one.settings and board.stage.value == one.beside_source


@pytest.mark.parametrize('changes', [
    {}, dict(tau_s=0., tau_c=.3, mutual=False), dict(eta_f=0., eta_b=5., zeta_f=.25, zeta_b=0.), dict(weights={'brown tiger': 2., 'grass': .5}),
    dict(prompt='a red bear', null_text='shared', guidance_scale=7.5, region='background'), dict(clip='other', prompt='x' * 200)], ids=str)
def test_controls_say_what_they_were_set_to(runs, changes):
    settings = replace(START, **changes)
    controls = Controls(runs, START, lambda: None)
    controls.show(settings)
    assert controls.read() == settings


def test_words_get_sliders_that_follow_the_prompt(board):
    controls = board.controls
    assert list(controls.words) == ['brown', 'tiger', 'walking', 'grass']
    controls.words['tiger'].value = 2
    controls.prompt.value = 'a red tiger'
    assert list(controls.words) == ['red', 'tiger'] and controls.read().weights == (('tiger', 2.),)
    controls.prompt.value = 'a red bear'
    assert controls.read().weights == ()


def test_a_slider_keeps_its_place_while_its_part_is_off(board):
    dial = board.controls.dials['tau_s']
    dial.slider.value = .8
    dial.switch.value = False
    assert board.controls.read().tau_s == 0 and dial.slider.disabled and dial.slider.value == .8
    dial.switch.value = True
    assert board.controls.read().tau_s == .8 and not dial.slider.disabled


def test_the_board_shows_itself_live_and_as_a_picture(board):
    assert 'image/png' not in board._repr_mimebundle_()
    with pytest.raises(ValueError, match='no runs to draw yet'): board.still()
    board.run()
    low = Image.open(BytesIO(board.still().data)).size[1]
    board.run(tau_c=0.)
    bundle = board._repr_mimebundle_()
    assert {WIDGET_VIEW, 'image/png'} <= bundle.keys()
    assert low < Image.open(BytesIO(board.still().data)).size[1] and board.still(rows=1).data != board.still().data
    assert [*Board(board.runs, TARGET).cards] == [*board.cards]  # another board of the same runs


# in a browser

def test_the_lesson_in_a_browser(lab, tmp_path):
    nb = nbformat.read(NBS / '12_board.ipynb', 4)
    live = [i for i, cell in enumerate(nb.cells) if cell.source.splitlines()[-1:] == ['board']][-1]
    nb.cells.append(v4.new_code_cell("print('all' + ' done')"))
    nbformat.write(nb, tmp_path / 'board.ipynb')
    lab.page.route('https://colab.research.google.com/**', lambda route: route.fulfill(content_type='image/svg+xml', body='<svg xmlns="http://www.w3.org/2000/svg"/>'))
    lab.open(tmp_path / 'board.ipynb')
    lab.run_all('all done', 300)
    drive(lab, lab.output(live))
    assert lab.errors == []


def drive(lab, out):
    "Move controls by keyboard and mouse, and see what happens."
    from playwright.sync_api import expect
    page, cards, stage = lab.page, out.get_by_role('button', name='Pin'), out.locator('img.widget-image').first
    run, cancel = (out.get_by_role('button', name=re.compile(f'{name}$')) for name in ('Run', 'Cancel'))  # an icon comes first
    made, picture = cards.count(), stage.get_attribute('src')
    assert made >= 5

    handle = out.locator('.widget-hslider', has=page.get_by_text('τ_c', exact=True)).locator('.noUi-handle')
    handle.focus()
    page.keyboard.press('PageDown')
    expect(out.get_by_text('Not run yet: takes an edit')).to_be_visible()
    run.click()
    expect(cards).to_have_count(made + 1, timeout=60_000)
    assert stage.get_attribute('src') != picture

    out.get_by_label('SA-II').uncheck()
    run.click()
    expect(out.get_by_text(' s left')).to_be_visible(timeout=30_000)
    cancel.click()
    expect(out.get_by_text('Cancelled.')).to_be_visible(timeout=30_000)
    expect(run).to_be_enabled()
    expect(cards).to_have_count(made + 1)

    prompt = out.locator('input[type=text]').first
    prompt.fill('a dragon driving left on a city street')
    run.click()
    expect(out.get_by_role('alert')).to_contain_text("no word 'dragon'", timeout=30_000)
    out.get_by_role('button', name='Load').last.click()
    expect(out.get_by_role('alert')).to_have_count(0)
    assert prompt.input_value() == 'a green car driving left on a city street'

    for i in (0, made): cards.nth(i).click()  # the newest and the first
    expect(out.get_by_text('run 1', exact=True)).to_be_visible()
    expect(out.locator('img.widget-image').nth(1)).to_be_visible()
