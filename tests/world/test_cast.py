"Who there is and what they can wear."
from videodirector.world.accessories import ACCESSORIES, ACCESSORY_TABLE
from videodirector.world.cast import SUBJECT_TABLE, SUBJECTS
from videodirector.world.colours import COLOURS, paint_box


def test_there_is_enough_of_everyone():
    assert len(SUBJECTS) >= 12 and len(ACCESSORIES) >= 3 and len(COLOURS) >= 8


def test_every_figure_has_a_colour_word():
    assert all(s.colour in COLOURS for s in SUBJECT_TABLE.values())


def test_there_is_a_paint_for_every_part():
    for s in SUBJECT_TABLE.values():
        worn = [part for wear in ACCESSORY_TABLE.values() for part in wear(s)]
        assert {part.paint for part in s.parts + worn} <= set(paint_box(s.colour))


def test_a_figure_prints_in_one_line():
    assert repr(SUBJECT_TABLE['bear']) == 'brown figure of 16 parts'
