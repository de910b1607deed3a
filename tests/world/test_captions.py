"What is said of a scene, and how it is read back."
import pytest

from videodirector.world.accessories import ACCESSORIES
from videodirector.world.captions import VOCABULARY, parse_prompt
from videodirector.world.cast import SUBJECTS
from videodirector.world.colours import COLOURS
from videodirector.world.light import LIGHTS
from videodirector.world.paths import MOTIONS
from videodirector.world.places import BACKGROUNDS
from videodirector.world.scene import Scene, random_scene


def test_captions_read_like_this():
    scene = Scene('bear', 'rocks', 'left', colour='brown')
    assert scene.caption == 'a brown bear walking left on rocky ground, next to a stone wall'
    scene = Scene('elephant', 'water', 'standing', accessory='hat', pan='left')
    assert scene.caption == 'an elephant with a hat standing still in rippling water, camera panning left'
    assert Scene('tiger', 'snow', 'left', colour='orange').caption == 'an orange tiger walking left in the snow'
    assert Scene('fish', 'beach', 'right').caption == 'a fish swimming right on a beach'
    assert Scene('fox', 'meadow', 'left', light='dusk').caption == 'a fox walking left on a grassy meadow at dusk'
    scene = Scene('fox', 'city', 'left', light='fog', pan='right')
    assert scene.caption == 'a fox walking left on a city street in fog, camera panning right' and ('fog', 'background') in scene.roles


def test_every_caption_reads_back():
    for subject in SUBJECTS:
        for motion in MOTIONS:
            for i, background in enumerate(BACKGROUNDS):
                scene = Scene(subject, background, motion, (None, *COLOURS)[i], (None, *ACCESSORIES)[i % 5],
                              (None, 'left', 'right')[i % 3], (None, *LIGHTS)[i//2 % 3])
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


def test_roles_cover_what_the_caption_names():
    scene = Scene('bear', 'rocks', 'left', colour='brown', accessory='hat', pan='left')
    assert scene.roles == [('brown', 'colour'), ('bear', 'subject'), ('hat', 'accessory'), ('walking', 'motion'), ('left', 'motion'),
                           ('rocky', 'background'), ('ground', 'background'), ('stone', 'background'), ('wall', 'background')]
    for seed in range(300):
        scene, roles = random_scene(seed), {role for _, role in random_scene(seed).roles}
        assert roles == {'subject', 'background', 'motion'} | ({'colour'} if scene.colour else set()) | (
            {'accessory'} if scene.accessory else set())
