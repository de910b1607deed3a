"""The toy world: what it draws, what it says, and that edits differ in nothing else."""
import subprocess
import sys

import pytest
import torch

from videodirector.world import (ACCESSORIES, BACKGROUNDS, COLOURS, FIRST_TRAINING_SEED, MOTIONS, SUBJECT_TABLE, SUBJECTS,
                                 VOCABULARY, Scene, blobs, cover, distance, ellipse, limb, parse_prompt, path_of,
                                 pixel_places, polygon, random_scene)

SIZE = dict(frames=4, height=48, width=64)


def widen(mask):
    "The mask and one pixel around it."
    return torch.nn.functional.max_pool2d(mask[:, None].float(), 3, 1, 1)[:, 0] > 0


def fields(part, x, y):
    return distance(part, [a*x + b*y + c for a, b, c in part.rows])


def test_there_is_enough_of_everything():
    assert len(SUBJECTS) >= 12 and len(COLOURS) >= 8 and len(ACCESSORIES) >= 3 and len(BACKGROUNDS) >= 8 and len(MOTIONS) >= 8
    assert FIRST_TRAINING_SEED == 1_000_000


def test_distances():
    y, x = torch.meshgrid(torch.linspace(-1, 1, 41), torch.linspace(-1, 1, 41), indexing='ij')
    torch.testing.assert_close(fields(ellipse('red', .2, -.1, .5), x, y), torch.hypot(x - .2, y + .1) - .5)
    square = fields(polygon('red', (-.5, -.5), (.5, -.5), (.5, .5), (-.5, .5), r=0.), x, y)
    torch.testing.assert_close(square, torch.maximum(x.abs(), y.abs()) - .5)
    stick = fields(limb('red', -.5, 0, .5, 0, .2), x, y)
    torch.testing.assert_close(stick, torch.hypot((x.abs() - .5).clamp(min=0), y) - .2)
    egg = fields(ellipse('red', 0, 0, .8, .4, tilt=30), x, y)
    assert ((egg < 0) == (((.75**.5*x + .5*y)/.8)**2 + ((-.5*x + .75**.5*y)/.4)**2 < 1)).all()


def test_the_way_round_a_polygon_does_not_matter():
    x, y = pixel_places(16, 16)
    corners = (-.3, .3), (.3, .3), (0., -.3)
    torch.testing.assert_close(fields(polygon('red', *corners), x, y), fields(polygon('red', *corners[::-1]), x, y))


def test_cover_is_half_at_the_edge():
    assert cover(torch.tensor([-1., 0., 1.]), 10).tolist() == [1, .5, 0]


def test_a_blob_is_half_at_its_edge():
    x, y = pixel_places(64, 64)
    blob = blobs(x, y, [(0, 0, .25, .125)])[0]
    assert blob[32, 32] > .99 and abs(blob[32, 47:49].mean() - .5) < .1 and abs(blob[39:41, 32].mean() - .5) < .1 and blob[0, 0] == 0


@pytest.mark.parametrize('frames, height, width', [(1, 32, 32), (3, 40, 72), (5, 72, 40), (16, 24, 24)])
def test_any_size(frames, height, width):
    clip = random_scene(7, accessory='hat').render(frames, height, width)
    assert clip.video.shape == (frames, 3, height, width) and clip.video.dtype == torch.float32
    assert clip.mask.shape == clip.accessory_mask.shape == (frames, height, width) and clip.mask.dtype == torch.bool
    assert -1 <= clip.video.min() and clip.video.max() <= 1


def test_default_size():
    assert Scene('bear', 'meadow', 'left').render().video.shape == (16, 3, 128, 128)


def test_same_seed_same_pixels():
    for seed in range(5):
        assert random_scene(seed) == random_scene(seed)
        one, two = random_scene(seed).render(**SIZE), random_scene(seed).render(**SIZE)
        assert torch.equal(one.video, two.video) and torch.equal(one.mask, two.mask)


def test_the_seed_changes_pixels_but_not_words():
    scene = random_scene(5)
    other = scene.replace(seed=6)
    assert scene.caption == other.caption and not torch.equal(scene.render(**SIZE).video, other.render(**SIZE).video)


def test_there_is_always_a_figure_and_most_of_it_is_inside():
    for seed in range(60):
        scene = random_scene(seed)
        clip = scene.render(4, 48, 48)
        share = clip.mask.float().mean((1, 2))
        assert share.min() > .02 and share.max() < .6, scene
        edges = torch.cat([clip.mask[:, :, [0, -1]].flatten(1), clip.mask[:, [0, -1]].flatten(1)], 1).float().mean(1)
        assert edges.max() < .12, scene
        assert bool(scene.accessory) == bool(clip.accessory_mask.any(-1).any(-1).all())
        assert not (clip.accessory_mask & ~clip.mask).any()


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
    assert torch.equal(before.mask, after.mask)
    inside = ~widen(~before.mask)
    changed = (before.video - after.video).abs().amax(1)[inside]  # only slits narrower than a pixel let it shine through
    assert (changed > .01).float().mean() < .01


def test_replacing_the_subject_keeps_its_path():
    for motion in set(MOTIONS) - {'spinning', 'swaying'}:  # those turn about the figure's middle, not that of its mask
        centres = []
        for subject in ('panda', 'butterfly'):  # both are symmetric, so the middle of the mask is the middle of the figure
            mask = Scene(subject, 'meadow', motion, seed=2).render(6, 64, 64).mask.float()
            centres.append((mask.sum(1)*torch.arange(64)).sum(1)/mask.sum((1, 2)))
        assert (centres[0] - centres[1]).abs().max() < 2


@pytest.mark.parametrize('name, values', [('subject', SUBJECTS), ('colour', COLOURS), ('accessory', (None, *ACCESSORIES)),
                                          ('background', BACKGROUNDS), ('motion', MOTIONS), ('pan', (None, 'left', 'right'))])
def test_every_value_looks_different(name, values):
    scene = Scene('fox', 'beach', 'swaying', colour='red', seed=4)
    clips = [scene.replace(**{name: value}).render(6, 40, 40).video for value in values]
    for i, one in enumerate(clips):
        for other in clips[:i]: assert (one - other).abs().mean() > .004


@pytest.mark.parametrize('background', BACKGROUNDS)
def test_what_moves_in_the_background(background):
    clip = Scene('bear', background, 'standing', seed=1).render(4, 48, 48)
    still = ~widen(clip.mask.any(0)[None])[0]
    change = (clip.video[1:] - clip.video[:-1]).abs().amax((0, 1))[still].max()
    assert (change > .05) == (background in ('water', 'snow', 'clouds', 'rain'))


def test_pan_moves_background_and_figure_together():
    still = Scene('bear', 'city', 'standing', seed=1)
    paths = {pan: path_of('standing', 1, pan) for pan in (None, 'left', 'right')}
    assert torch.equal(paths[None].x, paths['left'].x) and torch.equal(paths['left'].pan, -paths['right'].pan)
    left = still.replace(pan='left').render(16, 32, 32).mask.float()
    columns = (left.sum(1)*torch.arange(32)).sum(1)/left.sum((1, 2))
    assert columns[-1] - columns[0] > 3  # the camera turns left, the world moves right


def test_facing_follows_the_motion():
    assert path_of('left', 3).facing == -1 and path_of('right', 3).facing == 1


def test_captions_read_like_this():
    scene = Scene('bear', 'rocks', 'left', colour='brown')
    assert scene.caption == 'a brown bear walking left on rocky ground, next to a stone wall'
    scene = Scene('elephant', 'water', 'standing', accessory='hat', pan='left')
    assert scene.caption == 'an elephant with a hat standing still in rippling water, camera panning left'
    assert Scene('tiger', 'snow', 'left', colour='orange').caption == 'an orange tiger walking left in the snow'
    assert Scene('fish', 'beach', 'right').caption == 'a fish swimming right on a beach'


def test_every_caption_reads_back():
    for subject in SUBJECTS:
        for motion in MOTIONS:
            for i, background in enumerate(BACKGROUNDS):
                scene = Scene(subject, background, motion, (None, *COLOURS)[i], (None, *ACCESSORIES)[i % 5],
                              (None, 'left', 'right')[i % 3])
                assert Scene(**parse_prompt(scene.caption)) == scene
                assert {word for word, _ in scene.words} <= set(VOCABULARY)
    for seed in range(2000): assert Scene(**parse_prompt(random_scene(seed).caption), seed=seed) == random_scene(seed)


def test_reading_is_lenient_about_case_and_full_stop():
    assert parse_prompt('A Red Car driving left in the rain.')['colour'] == 'red'


def test_unknown_words_name_the_nearest():
    with pytest.raises(ValueError, match="'beer'.*bear"): parse_prompt('a brown beer walking left in a forest')
    with pytest.raises(ValueError, match="'xqzw'.*bear, tiger"): parse_prompt('a xqzw walking left in a forest')
    with pytest.raises(ValueError, match='Cannot read'): parse_prompt('bear forest')
    with pytest.raises(ValueError, match='Cannot read'): parse_prompt('')


def test_unknown_attributes_are_refused():
    with pytest.raises(ValueError, match="subject 'lion'.*bear"): Scene('lion', 'forest', 'left')
    with pytest.raises(ValueError, match="colour 'mauve'"): Scene('bear', 'forest', 'left', colour='mauve')


def test_roles_cover_what_the_caption_names():
    scene = Scene('bear', 'rocks', 'left', colour='brown', accessory='hat', pan='left')
    assert scene.roles == [('brown', 'colour'), ('bear', 'subject'), ('hat', 'accessory'), ('walking', 'motion'), ('left', 'motion'),
                           ('rocky', 'background'), ('ground', 'background'), ('stone', 'background'), ('wall', 'background')]
    for seed in range(300):
        scene, roles = random_scene(seed), {role for _, role in random_scene(seed).roles}
        assert roles == {'subject', 'background', 'motion'} | ({'colour'} if scene.colour else set()) | (
            {'accessory'} if scene.accessory else set())


def test_attributes_say_what_there_is_to_see():
    assert Scene('tiger', 'snow', 'left').attributes == dict(subject='tiger', colour='orange', accessory='none',
                                                             background='snow', motion='left')
    assert Scene('tiger', 'snow', 'left', colour='blue', accessory='hat').attributes['colour'] == 'blue'
    assert all(s.colour in COLOURS for s in SUBJECT_TABLE.values())


def test_random_scene_is_even_and_obeys():
    scenes = [random_scene(FIRST_TRAINING_SEED + i) for i in range(3000)]
    for name, values in (('subject', SUBJECTS), ('background', BACKGROUNDS), ('motion', MOTIONS)):
        counts = [sum(getattr(s, name) == v for s in scenes) for v in values]
        assert min(counts) > .7*3000/len(values), name
    for name, share in (('colour', .65), ('accessory', .4), ('pan', .1)):
        assert abs(sum(getattr(s, name) is not None for s in scenes)/3000 - share) < .03
    assert random_scene(1, subject='car', pan=None).subject == 'car'


def test_colours_are_told_apart_on_every_background():
    "The paint that is most of the figure is nearest to its own colour word."
    for background in BACKGROUNDS:
        for i, colour in enumerate(COLOURS):
            for subject in (SUBJECTS[i],):
                clip = Scene(subject, background, 'standing', colour=colour, seed=2).render(1, 64, 64)
                pixels = (clip.video[0].movedim(0, -1)[clip.mask[0]] + 1)/2
                body = torch.tensor([paint for paint in _body_colours()])
                votes = torch.cdist(pixels, body).amin(1) < .02
                nearest = torch.cdist(pixels[votes], body).argmin(1).bincount(minlength=len(COLOURS))
                assert COLOURS[nearest.argmax()] == colour, (subject, background, colour)


def _body_colours():
    from videodirector.world import COLOUR_TABLE
    return COLOUR_TABLE.values()


def test_importing_the_world_needs_torch_alone():
    code = "import sys, videodirector.world; sys.exit(any(m in sys.modules for m in ('diffusers', 'transformers', 'matplotlib')))"
    assert subprocess.run([sys.executable, '-c', code]).returncode == 0
