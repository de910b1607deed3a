"Colour words and paints."
import pytest
import torch

from videodirector.world.cast import SUBJECTS
from videodirector.world.colours import COLOUR_TABLE, COLOURS, paint_box
from videodirector.world.places import BACKGROUNDS
from videodirector.world.scene import Scene


@pytest.mark.parametrize('background', BACKGROUNDS)
def test_colours_are_told_apart_on_every_background(background):
    "The paint that is most of the figure is nearest to its own colour word."
    body = torch.tensor(list(COLOUR_TABLE.values()))
    for subject, colour in zip(SUBJECTS, COLOURS):
        clip = Scene(subject, background, 'standing', colour=colour, seed=2).render(1, 64, 64)
        pixels = (clip.video[0].movedim(0, -1)[clip.mask.hard[0]] + 1)/2
        votes = torch.cdist(pixels, body).amin(1) < .02
        nearest = torch.cdist(pixels[votes], body).argmin(1).bincount(minlength=len(COLOURS))
        assert COLOURS[nearest.argmax()] == colour, (subject, background, colour)


def test_a_colour_word_changes_the_body_and_leaves_patterns():
    red, green = paint_box('red'), paint_box('green')
    assert {paint for paint in red if red[paint] != green[paint]} == {'body', 'shade', 'light', 'rim'}
    assert paint_box('black')['mark'] != red['mark'] and paint_box('white')['pale'] != red['pale']
