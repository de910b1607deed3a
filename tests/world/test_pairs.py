"Pairs of scenes that differ in one attribute."
import pytest

from videodirector.world.cast import SUBJECTS
from videodirector.world.pairs import EDIT_KINDS, EDIT_SEED, KIN, TUNING_SEED, choices, demo_scenes, edit_pairs
from videodirector.world.scene import FIRST_TRAINING_SEED, Scene


@pytest.mark.parametrize('seed', range(8))
def test_demo_scenes_differ_in_one_attribute(seed):
    source, target = demo_scenes(seed)
    changed = [name for name, word in source.attributes.items() if target.attributes[name] != word]
    assert EDIT_KINDS[seed % 4] in changed and set(changed) <= {EDIT_KINDS[seed % 4], 'colour'}
    assert source.caption != target.caption
    if seed % 4: assert changed == [EDIT_KINDS[seed % 4]]


def test_the_kind_can_be_named():
    source, target = demo_scenes(4, 'background')
    assert target == source.replace(background=target.background) != source
    with pytest.raises(ValueError, match="kind 'motion'; choose from subject, colour"): demo_scenes(4, 'motion')
    with pytest.raises(ValueError, match="kind 'motion'; choose from subject, colour"): choices(source, 'motion')


def test_every_subject_has_kin():
    assert sorted(name for names in KIN for name in names) == sorted(SUBJECTS) and min(map(len, KIN)) > 1


def test_edit_pairs_change_one_attribute():
    pairs = edit_pairs(20)
    assert [sum(kind == k for kind, *_ in pairs) for k in EDIT_KINDS] == [5] * 4
    assert len({a.seed for _, a, _ in pairs}) == 20
    for kind, a, b in pairs:
        changed = [k for k in ('subject', 'colour', 'accessory', 'background', 'motion', 'pan', 'light', 'seed')
                   if getattr(a, k) != getattr(b, k)]
        assert changed == [kind]
        if kind in ('subject', 'colour'):
            assert sum(x != y for x, y in zip(a.caption.split(), b.caption.split())) == 1
    assert pairs == edit_pairs(20)
    tuning = edit_pairs(20, TUNING_SEED)
    assert not {a.seed for _, a, _ in tuning} & {a.seed for _, a, _ in edit_pairs(75)} and [kind for kind, *_ in tuning] == [kind for kind, *_ in pairs]


def test_pairs_are_the_measured_ones():
    "Stored figures belong to these very pairs."
    demo = [target.caption for _, target in (demo_scenes(seed) for seed in range(2))]
    assert demo == ['a boat rising up among drifting clouds', 'a brown bird growing in the rain']
    assert [(a.seed, a.attributes[kind], b.attributes[kind]) for kind, a, b in edit_pairs(4)] == [
        (700001, 'fish', 'swan'), (700002, 'pink', 'red'), (700004, 'none', 'scarf'), (700005, 'water', 'meadow')]


def test_choices_may_be_none():
    assert choices(Scene('bear', 'rocks', 'left'), 'colour') == []
    assert choices(Scene('bear', 'rocks', 'left', accessory='hat'), 'accessory') == []


def test_the_measured_edits_are_unseen():
    assert EDIT_SEED < FIRST_TRAINING_SEED - 100_000
