"Null texts, losses and guidance over steps."
import torch
from figures import F, L, clip, h, rows, w

from videodirector.show.inversion import show_guidance, show_losses, show_null


def test_null_text_by_step_and_frame():
    fig = show_null(torch.ones(7, F, L, 3), torch.zeros(1, L, 3))
    assert fig.axes[0].images[0].get_array().shape == (F, 7) and fig.axes[0].images[0].get_array().max() == 1


def test_losses_and_guidance_over_steps():
    curves = [line.get_xydata().tolist() for line in show_losses([[3., 2.], [5., 4., 1.]]).axes[0].lines]
    assert curves == [[[0, 3], [1, 2]], [[2, 5], [3, 4], [4, 1]]]
    gradients = torch.zeros(3, 4, F, h, w)
    gradients[1, :2] = torch.tensor([3., 4.])[:, None, None, None]
    fig = show_guidance(gradients, clip(), steps=[1, 2])
    assert rows(fig) == ['step 1\n(max 5)', 'step 2\n(max 0)']
