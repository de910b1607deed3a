"Drawing a figure: matrices, joints, outline."
import math

import pytest
import torch

from videodirector.world.canvas import pixel_places
from videodirector.world.cast import SUBJECT_TABLE
from videodirector.world.colours import paint_box
from videodirector.world.figures import affine, figure_flow, paint_figure
from videodirector.world.paths import path_of
from videodirector.world.shapes import Joint, ellipse


def test_affine_undoes_a_turn_and_a_stretch_about_a_point():
    angle, sx, sy, x, y = (torch.tensor([v]) for v in (math.pi/2, 2., 4., .3, .1))
    kept, origin = affine(angle, sx, sy, x, y)[0], affine(angle, sx, sy, x, y, back=False)[0]
    torch.testing.assert_close(kept @ torch.tensor([.3, .1, 1.]), torch.tensor([.3, .1, 1.]))
    torch.testing.assert_close(origin @ torch.tensor([.3, .1, 1.]), torch.tensor([0., 0., 1.]))
    torch.testing.assert_close(origin @ torch.tensor([.3, .3, 1.]), torch.tensor([.1, 0., 1.]))  # below it: in front, once turned back


@pytest.mark.parametrize('kind, amount', [('step', 30), ('wave', 30), ('wheel', 1), ('beat', .9), ('flap', .5)])
def test_every_joint_moves_its_part(kind, amount):
    x, y = pixel_places(32, 32)
    path = path_of('right', 2, frames=5)
    path = path._replace(x=0*path.x, y=0*path.y)  # on the spot
    def edges(joint):
        return paint_figure(torch.ones(1, 3, 32, 32), [ellipse('body', (.3, 0), (.5, .2), joint=joint)], paint_box('red'), path, x, y)[1]
    still, moved = edges(None), edges(Joint(kind, (0, 0), amount))
    assert (still - still[:1]).abs().max() == 0 and (moved - moved[:1]).abs().max() > .01


def test_a_pattern_does_not_widen_a_figure():
    x, y = pixel_places(48, 48)
    tiger, path = SUBJECT_TABLE['tiger'], path_of('left', 4, frames=2)
    plain = [part for part in tiger.parts if not part.clip]
    images, edges = zip(*(paint_figure(torch.ones(1, 3, 48, 48), parts, paint_box('orange'), path, x, y) for parts in (tiger.parts, plain)))
    assert torch.equal(*edges) and not torch.equal(*images)


def test_the_flow_of_a_figure_is_its_way_and_that_of_its_parts():
    x, y = pixel_places(64, 64)
    path = path_of('right', 2, frames=4)
    seen, moved = figure_flow([ellipse('body', (0, 0), .5), ellipse('body', (.3, .6), .2, joint=Joint('step', (.3, .4), 30))], path, x, y)
    assert seen.shape == (4, 64, 64) and moved.shape == (3, 2, 64, 64)
    middle = (seen[:-1] & (y < path.y[0] + .3*path.size[0])).expand(3, 64, 64)
    torch.testing.assert_close(moved[:, 0][middle], path.x.diff()[:, None, None].expand(3, 64, 64)[middle], atol=1e-5, rtol=0)
    assert moved[:, 1][middle].abs().max() < 1e-5 < moved[:, 1][seen[:-1]].abs().max()  # only the leg swings
