"The training of SAM 2, in miniature."
import json
from dataclasses import replace

import torch

from videodirector.segment.follow import follow
from videodirector.segment.sam2 import build_sam2, load_sam2
from videodirector.train.sam2 import MaskLoss, main
from videodirector.train.sam2_data import Sam2Recipe, cut, random_prompt, render_pairs
from videodirector.train.sam2_model import save_tiny, tiny_config


def test_training_steps_reach_all_weights_and_can_be_stored(tmp_path):
    recipe, draw = Sam2Recipe(size=64), torch.Generator().manual_seed(1)
    pool = {name: torch.from_numpy(x) for name, x in zip(('frames', 'who'), render_pairs(range(2), recipe))}
    torch.manual_seed(0)
    loss = MaskLoss(build_sam2(tiny_config(64)))
    for masked in (0., 1.):
        frames, who = cut(pool, 2, 3, draw)
        prompt, missed = random_prompt(who[0], replace(recipe, masked=masked), draw)
        value, figures = loss(frames, (who == 1) & ~missed[:, None, None], prompt, None)
        value.backward()
        assert value.isfinite() and 0 <= figures['iou'] <= 1
    idle = [name for name, p in loss.model.named_parameters() if p.requires_grad and p.grad is None]
    assert idle == []
    save_tiny(loss.model, tmp_path)
    again, x = load_sam2(tmp_path), torch.rand(2, 1, 3, 64, 64)
    asked = {0: dict(mask_inputs=torch.ones(1, 1, 64, 64))}
    with torch.no_grad(): close = (follow(again, x, asked)[0] - follow(loss.model.eval(), x, asked)[0]).abs().max()
    assert close < .1, 'stored in half precision'


def test_the_command_stores_what_segmenting_reads(tmp_path):
    options = dict(clips=4, size=64, steps=4, place_steps=1, batch=2, workers=1)
    main(['--out', str(tmp_path), *(text for name, value in options.items() for text in ('--' + name.replace('_', '-'), str(value)))])
    assert json.loads((tmp_path / 'sam2.curve.jsonl').read_text().splitlines()[-1])['step'] == 4
    assert load_sam2(tmp_path / 'sam2').image_size == 64
