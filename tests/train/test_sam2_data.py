"What SAM 2 is shown and asked."
import torch

from videodirector.train.sam2_data import Sam2Recipe, clip_length, cut, places, random_prompt, render_pairs


def test_discs_lie_around_their_clicks():
    discs, prompt = places(Sam2Recipe(batch=6, size=64), torch.Generator().manual_seed(0))
    clicks = prompt['point_inputs']['point_coords'][:, 0]
    inside = ((clicks - 32).abs() < 20).all(1)
    assert discs.shape == (1, 6, 64, 64) and inside.any()
    for disc, click in zip(discs[0][inside], clicks[inside]):
        middle_of = disc.nonzero().float().mean(0).flip(0) + .5
        assert (middle_of - click).abs().max() < .6 and abs(disc.float().mean() - torch.pi * .15 ** 2) < .01


def test_clips_grow_longer(): assert [clip_length(step, 100) for step in (0, 19, 20, 54, 56, 99)] == [2, 2, 4, 4, 8, 8]


def test_clicks_and_masks_ask_for_the_figure_that_is_meant():
    draw = torch.Generator().manual_seed(0)
    pool = {name: torch.from_numpy(x) for name, x in zip(('frames', 'who'), render_pairs(range(4), Sam2Recipe(size=64)))}
    frames, who = cut(pool, 3, 4, draw)
    assert frames.shape == (4, 3, 3, 64, 64) and frames.abs().max() <= 1 and set(who.unique().tolist()) <= {0, 1, 2}
    prompt, missed = random_prompt(who[0], Sam2Recipe(masked=1), draw)
    assert torch.equal(prompt['mask_inputs'][:, 0] > 0, who[0] == 1) and not missed.any()
    for _ in range(20):
        prompt, missed = random_prompt(who[0], Sam2Recipe(masked=0), draw)
        xy, labels = prompt['point_inputs']['point_coords'], prompt['point_inputs']['point_labels']
        if labels[0, 0] == 2: continue  # a box
        for i in range(3):
            x, y = xy[i, 0].int()
            assert (who[0, i, y, x] == 1) != bool(missed[i])
