"""The training program, in miniature."""
from pathlib import Path

import pytest
import torch
from diffusers import UNetMotionModel
from torch import nn

from videodirector.train import (ROLES, Captions, MotionLoss, Recipe, Stage, Worker, blemish, build_motion_adapter, build_text_encoder,
                                 build_tokenizer, build_unet, build_vae, caption_tokens, cosine, draw_scene, load_shards, tokenizer_of,
                                 photo_crops, render_clip, token_attention_loss)
from videodirector.world import FIRST_TRAINING_SEED, VOCABULARY, random_scene


@pytest.fixture(scope='module')
def tokenizer(): return build_tokenizer(VOCABULARY)


def test_one_token_a_word(tokenizer):
    for word in VOCABULARY: assert len(tokenizer(word).input_ids) == 3, word
    assert len(tokenizer('zebra').input_ids) > 3
    assert tokenizer.model_max_length == 77


def test_caption_roles(tokenizer):
    for seed in range(200):
        scene = random_scene(seed)
        ids, roles = caption_tokens(scene, tokenizer)
        tokens = tokenizer.convert_ids_to_tokens(ids.tolist())
        named = [(token.removesuffix('</w>'), ROLES[role]) for token, role in zip(tokens, roles) if role]
        assert named == [(word.lower(), role) for word, role in scene.roles]


def test_scenes_of_a_part_keep_to_it():
    part = '{"subject": ["bear", "fox"], "accessory": [null]}'
    scenes = [draw_scene(seed, part) for seed in range(FIRST_TRAINING_SEED, FIRST_TRAINING_SEED + 20)]
    assert {scene.subject for scene in scenes} == {'bear', 'fox'}
    assert all(scene.accessory is None for scene in scenes)
    assert draw_scene(5) == random_scene(5)


def test_token_attention_loss_knows_hit_from_miss():
    cells = torch.zeros(1, 2, 16, 16)
    cells[:, 0, :8] = 1
    hit = cells[0, 0].flatten() / 128
    roles = torch.tensor([[0, 1]])
    def loss(map): return token_attention_loss(torch.stack([torch.rand(256), map], -1)[None, None], cells, roles)
    assert loss(hit)[0] < 1e-6 and abs(loss(hit)[1][0] - 1) < 1e-5
    assert abs(loss(hit.flip(0))[0] - 1) < 1e-5
    assert abs(loss(torch.ones(256))[0] - 0.25) < 1e-5


def test_background_words_look_at_the_complement():
    cells = torch.zeros(1, 2, 16, 16)
    cells[:, 0, :8] = 1
    outside = (1 - cells[0, 0]).flatten()[None, None, :, None]
    assert token_attention_loss(outside, cells, torch.tensor([[ROLES.index('background')]]))[0] < 1e-6


def test_new_motion_adapter_changes_nothing():
    torch.manual_seed(0)
    image = build_unet().eval()
    video = UNetMotionModel.from_unet2d(image, build_motion_adapter()).eval()
    z, text = torch.randn(1, 4, 3, 16, 16), torch.randn(1, 77, 128)
    with torch.no_grad():
        frames = image(z[0].transpose(0, 1), 500, text.expand(3, -1, -1)).sample
        clip = video(z, 500, text.expand(3, -1, -1)).sample
    torch.testing.assert_close(clip[0].transpose(0, 1), frames, atol=1e-4, rtol=1e-4)


def test_motion_stage_trains_text_and_motion_modules_alone_and_weighs_each_clip(tokenizer):
    torch.manual_seed(0)
    text, unet = build_text_encoder(tokenizer), UNetMotionModel.from_unet2d(build_unet(), build_motion_adapter())
    loss = MotionLoss(unet, text)
    z, t, ids = torch.randn(2, 4, 2, 16, 16), torch.tensor([100, 900]), torch.randint(0, len(tokenizer), (2, 77))
    one, both = (loss(z, z, t, ids, torch.tensor(w))[0] for w in ([0., 2.], [1., 1.]))
    (first, _), (second, _) = (loss(z[i:i + 1], z[i:i + 1], t[i:i + 1], ids[i:i + 1], torch.ones(1)) for i in (0, 1))
    torch.testing.assert_close(one, second, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(both, (first + second) / 2, rtol=1e-4, atol=1e-5)
    for name, module in unet.named_modules():  # the last layers start at zero, which would hide the others
        if name.endswith('motion_modules.0.proj_out'): nn.init.normal_(module.weight, std=.1)
    loss(z, z, t, ids, torch.ones(2))[0].backward()
    learned = {name for name, p in loss.named_parameters() if p.grad is not None and p.grad.any()}
    assert any(name.startswith('text.') for name in learned) and any('motion_modules' in name for name in learned)
    assert not any(name.startswith('unet.') and 'motion_modules' not in name for name in learned)


def test_parts_fit_together(tokenizer):
    text = build_text_encoder(tokenizer)
    assert text.config.hidden_size == build_unet().config.cross_attention_dim
    assert build_vae().config.latent_channels == build_unet().config.in_channels == 4


class Line(nn.Module):
    "y = a x + b, noisy; the smallest thing that a Stage can train."
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.line = nn.Linear(3, 1)

    def forward(self, x, y): return ((self.line(x) - y) ** 2).mean(), {}


def train_line(out: Path, stop: int = -1) -> dict:
    worker = Worker(0, 1, torch.device('cpu'))
    def batch(step):
        if step == stop: raise KeyboardInterrupt
        x = torch.randn(8, 3, generator=worker.generator(0, step))
        return x, x.sum(1, keepdim=True)
    module = Line()
    Stage('line', module, worker, out, steps=9, lr=0.1).run(batch, every=1, save_every=-1)
    return module.state_dict()


def test_a_killed_stage_goes_on_as_if_nothing_had_happened(tmp_path):
    for name in ('whole', 'killed'): (tmp_path / name).mkdir()
    whole = train_line(tmp_path / 'whole')
    with pytest.raises(KeyboardInterrupt): train_line(tmp_path / 'killed', stop=4)
    resumed = train_line(tmp_path / 'killed')
    for name in whole: assert torch.equal(whole[name], resumed[name])


def test_a_diverged_stage_names_the_step(tmp_path):
    worker = Worker(0, 1, torch.device('cpu'))
    stage = Stage('line', Line(), worker, tmp_path, steps=3, lr=0.1)
    with pytest.raises(FloatingPointError, match='line: .* step 1'):
        stage.run(lambda step: (torch.full((1, 3), float('nan')), torch.zeros(1, 1)), every=1)


def test_cosine():
    assert cosine(0, 1000) < 0.01 and cosine(199, 1000) == 1 and cosine(1000, 1000) < 1e-9


def test_clip_record(tokenizer):
    clip = render_clip(random_scene(3, accessory='hat'), tokenizer)
    assert clip['frames'].shape == (16, 3, 128, 128) and clip['frames'].dtype == torch.uint8
    assert clip['foreground'].shape == clip['accessory'].shape == (16, 16, 16)
    assert (clip['accessory'] <= clip['foreground']).all() and clip['accessory'].any()


def test_dropped_captions_have_no_roles(tokenizer):
    ids, roles = caption_tokens(random_scene(1), tokenizer)
    captions = Captions(dict(ids=ids[None], roles=roles[None]), tokenizer, empty=1.0)
    words, parts = captions(torch.tensor([0, 0]), torch.Generator().manual_seed(0))
    assert not parts.any() and words[0].tolist() == tokenizer('', padding='max_length').input_ids


def test_photo_crops_and_blemishes():
    draw = torch.Generator().manual_seed(0)
    crops = photo_crops([torch.randint(256, (3, 300, 400), dtype=torch.uint8)], 3, draw)
    assert crops.shape == (3, 3, 128, 128) and 0 <= crops.min() and crops.max() <= 255
    assert blemish(torch.zeros(2, 16, 3, 64, 64), draw).shape == (2, 16, 3, 64, 64)


def test_missing_data_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match='run the stage before'):
        load_shards(tmp_path, 'clips', Worker(0, 1, torch.device('cpu')), ('frames',), Recipe().clips)


def test_a_model_keeps_its_tokenizer(tokenizer, tmp_path):
    assert tokenizer_of(tmp_path).get_vocab() == tokenizer.get_vocab() == build_tokenizer(VOCABULARY).get_vocab()
    build_tokenizer(['sun', 'moon']).save_pretrained(tmp_path / 'world' / 'tokenizer')
    assert tokenizer_of(tmp_path).tokenize('sun') == ['sun</w>'] and len(tokenizer_of(tmp_path).tokenize('bear')) > 1
