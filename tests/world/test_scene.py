"Scenes: what they draw, and that edits differ in nothing else."
import subprocess
import sys

import pytest
import torch

from videodirector.world.accessories import ACCESSORIES
from videodirector.world.camera import camera_of
from videodirector.world.canvas import pixel_places
from videodirector.world.cast import SUBJECTS
from videodirector.world.colours import COLOURS
from videodirector.world.light import LIGHTS
from videodirector.world.paths import MOTIONS, path_of
from videodirector.world.places import BACKGROUNDS
from videodirector.world.planes import compose, look
from videodirector.world.scene import FIRST_TRAINING_SEED, Scene, paint_front, paint_standing, random_scene, shoot

SIZE = dict(frames=4, height=48, width=64)


def widen(mask):
    "The mask and one pixel around it."
    return torch.nn.functional.max_pool2d(mask.values[:, None], 3, 1, 1)[:, 0] > 0


@pytest.mark.parametrize('frames, height, width', [(1, 32, 32), (3, 40, 72), (5, 72, 40), (16, 24, 24)])
def test_any_size(frames, height, width):
    clip = random_scene(7, accessory='hat').render(frames, height, width)
    assert clip.video.shape == (frames, 3, height, width) and clip.video.dtype == torch.float32
    assert clip.mask.values.shape == clip.accessory_mask.values.shape == (frames, height, width) and not clip.mask.is_soft
    assert -1 <= clip.video.min() and clip.video.max() <= 1


def test_default_size():
    assert Scene('bear', 'meadow', 'left').render().video.shape == (16, 3, 128, 128)


def test_same_seed_same_pixels():
    for seed in range(5):
        assert random_scene(seed) == random_scene(seed)
        one, two = random_scene(seed).render(**SIZE), random_scene(seed).render(**SIZE)
        assert torch.equal(one.video, two.video) and torch.equal(one.mask.values, two.mask.values)


def test_the_seed_changes_pixels_but_not_words():
    scene = random_scene(5)
    other = scene.replace(seed=6)
    assert scene.caption == other.caption and not torch.equal(scene.render(**SIZE).video, other.render(**SIZE).video)


def test_there_is_always_a_figure_and_most_of_it_is_inside():
    for seed in range(60):
        scene = random_scene(seed)
        clip = scene.render(4, 48, 48)
        share, mask = clip.mask.area, clip.mask.hard
        assert share.min() > .02 and share.max() < .6, scene
        edges = torch.cat([mask[:, :, [0, -1]].flatten(1), mask[:, [0, -1]].flatten(1)], 1).float().mean(1)
        assert edges.max() < .12, scene
        assert bool(scene.accessory) == bool(clip.accessory_mask.hard.any(-1).any(-1).all())
        assert not (clip.accessory_mask & ~clip.mask).hard.any()


@pytest.mark.parametrize('change', [dict(subject='swan'), dict(colour='pink'), dict(accessory='balloon'), dict(accessory=None)])
def test_replacing_the_figure_leaves_the_background_alone(change):
    for seed in range(6):
        scene = random_scene(seed, subject='bear', colour='grey', accessory='crown')
        before, after = scene.render(**SIZE), scene.replace(**change).render(**SIZE)
        outside = ~widen(before.mask | after.mask)
        assert torch.equal(before.video.movedim(1, -1)[outside], after.video.movedim(1, -1)[outside])
        assert not torch.equal(before.video, after.video)


def test_replacing_the_background_leaves_the_figure_alone():
    scene = random_scene(3, background='rocks')
    before, after = scene.render(**SIZE), scene.replace(background='snow').render(**SIZE)
    assert torch.equal(before.mask.values, after.mask.values)
    inside = ~widen(~before.mask)
    changed = (before.video - after.video).abs().amax(1)[inside]  # only slits narrower than a pixel let it shine through
    assert (changed > .01).float().mean() < .01


def test_replacing_the_subject_keeps_its_path():
    for motion in set(MOTIONS) - {'spinning', 'swaying'}:  # those turn about the figure's middle, not that of its mask
        centres = []
        for subject in ('panda', 'butterfly'):  # both are symmetric, so the middle of the mask is the middle of the figure
            mask = Scene(subject, 'meadow', motion, seed=2).render(6, 64, 64).mask.values
            centres.append((mask.sum(1)*torch.arange(64)).sum(1)/mask.sum((1, 2)))
        assert (centres[0] - centres[1]).abs().max() < 2


@pytest.mark.parametrize('name, values', [('subject', SUBJECTS), ('colour', COLOURS), ('accessory', (None, *ACCESSORIES)),
                                          ('background', BACKGROUNDS), ('motion', MOTIONS), ('pan', (None, 'left', 'right')), ('light', (None, *LIGHTS))])
def test_every_value_looks_different(name, values):
    scene = Scene('fox', 'beach', 'swaying', colour='red', seed=4)
    clips = [scene.replace(**{name: value}).render(6, 40, 40).video for value in values]
    for i, one in enumerate(clips):
        for other in clips[:i]: assert (one - other).abs().mean() > .004


def front_seed():
    "A seed for which something stands in front."
    return next(seed for seed in range(99) if shoot(Scene('bear', 'meadow', 'standing', seed=seed), 1, 32, 32).place.front)


def test_what_stands_in_front_is_not_part_of_the_figure():
    scene = Scene('bear', 'meadow', 'standing', accessory='scarf', seed=front_seed())
    x, y = pixel_places(48, 64)
    shot, clip = shoot(scene, 4, 48, 64), scene.render(**SIZE)
    hidden = look(shot.place.front, x, y, shot.camera)[:, 3] >= .5
    whole = paint_standing(compose(shot.place.planes, x, y, shot.camera), scene, shot, x, y)[1]
    assert (whole & hidden).any().item() and not (hidden <= whole).all().item() and torch.equal(clip.mask.hard, whole & ~hidden)
    for change in (dict(background='snow'), dict(light='dusk')):  # other colours, the same place
        assert torch.equal(scene.replace(**change).render(**SIZE).mask.values, clip.mask.values)


def test_replacing_the_light_leaves_the_figure_and_the_camera_alone():
    for seed in range(4):
        scene = random_scene(seed, light=None)
        before, after = scene.render(**SIZE), scene.replace(light='dusk').render(**SIZE)
        assert torch.equal(before.mask.values, after.mask.values) and torch.equal(before.flow, after.flow)
        assert (before.video - after.video).abs().mean() > .03


def followed(clip):
    "Each frame but the last, made by following the flow into the next one; and where that is inside the picture."
    h, w = clip.video.shape[-2:]
    x, y = torch.arange(w) + .5, (torch.arange(h) + .5)[:, None]
    there = torch.stack([(x + clip.flow[:, 0])*2/w - 1, (y + clip.flow[:, 1])*2/h - 1], -1)
    return torch.nn.functional.grid_sample(clip.video[1:], there, align_corners=False), (there.abs() < .98).all(-1)


@pytest.mark.parametrize('background', BACKGROUNDS)
def test_following_the_flow_finds_the_same_again(background):
    for seed, pan in ((1, None), (2, 'left'), (3, 'right')):
        clip = random_scene(seed, background=background, pan=pan).render(16, 64, 64)
        found, inside = followed(clip)
        error, rest = ((a - clip.video[:-1]).abs().mean(1)[inside]/2 for a in (found, clip.video[1:]))
        assert error.mean() < (.95 if background in ('rain', 'snow') else .8)*rest.mean() and error.median() < .01  # the rest was uncovered
    assert clip.flow.shape == (15, 2, 64, 64)


def test_the_flow_of_a_figure_at_rest_is_nothing_and_of_a_running_one_its_way():
    still = next(seed for seed in range(20) if camera_of(seed).still and not shoot(Scene('car', 'city', 'left', seed=seed), 1, 32, 32).place.front)
    scene = Scene('boat', 'desert', 'standing', seed=still)
    clip = scene.render(4, 48, 48)
    assert clip.flow.movedim(1, -1)[clip.mask.hard[:-1]].abs().max() < 1e-3
    ran = scene.replace(motion='right').render(4, 48, 48)
    step = 48*path_of('right', still, 4).x.diff()[0]
    torch.testing.assert_close(ran.flow[:, 0][ran.mask.hard[:-1]].mean(), step, atol=1e-3, rtol=0)


def test_a_clip_from_elsewhere_has_no_flow():
    with pytest.raises(ValueError, match='flow is not known'): assert Scene('bear', 'city', 'left').render(1, 16, 16)._replace(movement=None).flow


def test_pan_moves_background_and_figure_together():
    still = Scene('bear', 'city', 'standing', seed=1)
    left = still.replace(pan='left').render(16, 32, 32).mask.values
    columns = (left.sum(1)*torch.arange(32)).sum(1)/left.sum((1, 2))
    assert columns[-1] - columns[0] > 3  # the camera turns left, the world moves right


def test_unknown_attributes_are_refused():
    with pytest.raises(ValueError, match="subject 'lion'.*bear"): Scene('lion', 'forest', 'left')
    with pytest.raises(ValueError, match="light 'noon'.*dusk, fog"): Scene('bear', 'forest', 'left', light='noon')
    with pytest.raises(ValueError, match="colour 'mauve'"): Scene('bear', 'forest', 'left', colour='mauve')


def test_attributes_say_what_there_is_to_see():
    assert Scene('tiger', 'snow', 'left').attributes == dict(subject='tiger', colour='orange', accessory='none',
                                                             background='snow', motion='left')
    assert Scene('tiger', 'snow', 'left', colour='blue', accessory='hat').attributes['colour'] == 'blue'


def test_random_scene_is_even_and_obeys():
    scenes = [random_scene(FIRST_TRAINING_SEED + i) for i in range(3000)]
    for name, values in (('subject', SUBJECTS), ('background', BACKGROUNDS), ('motion', MOTIONS)):
        counts = [sum(getattr(s, name) == v for s in scenes) for v in values]
        assert min(counts) > .7*3000/len(values), name
    assert FIRST_TRAINING_SEED == 1_000_000
    for name, share in (('colour', .65), ('accessory', .4), ('pan', .1), ('light', .2)):
        assert abs(sum(getattr(s, name) is not None for s in scenes)/3000 - share) < .03
    assert random_scene(1, subject='car', pan=None).subject == 'car'


def test_importing_the_world_needs_torch_alone():
    code = "import sys, videodirector.world.pairs; sys.exit(any(m in sys.modules for m in ('diffusers', 'transformers', 'matplotlib')))"
    assert subprocess.run([sys.executable, '-c', code]).returncode == 0


def test_all_is_drawn_where_it_is_asked_for():
    "A tensor left on the processor would be refused by one on the device; 'meta' is a device that every machine has."
    for seed, background in enumerate(BACKGROUNDS*2):
        scene, (x, y) = random_scene(seed, background=background), pixel_places(32, 32, 'meta')
        shot = shoot(scene, 2, 32, 32, 'meta')
        image = paint_standing(compose(shot.place.planes, x, y, shot.camera), scene, shot, x, y)[0]
        assert paint_front(image, shot, x, y)[0].is_meta and shot.place.planes[-1].flow(x, y, shot.camera).is_meta
