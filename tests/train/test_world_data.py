"Clips of the world, stored and loaded."
from functools import partial

import pytest
import torch
from safetensors.torch import load_file, save_file

from videodirector.train import world_data
from videodirector.train.folder import save_part
from videodirector.train.networks import build_tokenizer, build_vae
from videodirector.train.recipe import Recipe
from videodirector.train.stage import Worker
from videodirector.train.world_data import encode_world, load_shards, render_clip, render_shard, render_view, render_world, shard_path
from videodirector.world.captions import VOCABULARY
from videodirector.world.scene import random_scene


@pytest.fixture(scope='module')
def tokenizer(): return build_tokenizer(VOCABULARY)


def test_clip_record(tokenizer):
    clip = render_clip(random_scene(3, accessory='hat'), tokenizer)
    assert clip['frames'].shape == (16, 3, 128, 128) and clip['frames'].dtype == torch.uint8
    assert clip['foreground'].shape == clip['accessory'].shape == (16, 16, 16)
    assert (clip['accessory'] <= clip['foreground']).all() and clip['accessory'].any()


def test_missing_data_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match='run the stage before'):
        load_shards(tmp_path, 'clips', Worker(0, 1, torch.device('cpu')), ('frames',), Recipe().clips)


def test_each_process_loads_its_share(tmp_path):
    for i in range(3): save_file({'ids': torch.full((2,), i)}, shard_path(tmp_path, 'clips', i))
    shares = [load_shards(tmp_path, 'clips', Worker(rank, 2, torch.device('cpu')), ('ids',), 3 * world_data.SHARD)['ids'].tolist() for rank in (0, 1)]
    assert shares == [[0, 0, 2, 2], [1, 1]]


def test_clips_are_rendered_and_encoded_once(tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr(world_data, 'SHARD', 2)
    recipe = Recipe(clips=4, judge_clips=2)
    render = partial(render_clip, tokenizer=tokenizer)
    for shard in (0, 1): render_shard(shard_path(tmp_path, 'clips', shard), 10 + 2 * shard, render)
    torch.manual_seed(0)
    save_part(build_vae(), tmp_path / 'world' / 'vae')
    encode_world(recipe, tmp_path, tmp_path)
    first, second = (load_file(shard_path(tmp_path, 'latents', shard)) for shard in (0, 1))
    assert first['latents'].shape == (2, 16, 8, 16, 16) and first['true'].shape == first['seen'].shape == (2, 16, 3, 64, 64)
    assert 'true' not in second and second.keys() == first.keys() - {'true', 'seen'} and 'frames' not in first
    times = {file: file.stat().st_mtime_ns for file in tmp_path.glob('*.safetensors')}
    render_shard(shard_path(tmp_path, 'clips', 0), 10, render)
    encode_world(recipe, tmp_path, tmp_path)
    assert times == {file: file.stat().st_mtime_ns for file in tmp_path.iterdir() if file.is_file()}


def test_a_view_shows_what_the_clip_shows_at_the_judges_size(tokenizer):
    scene = random_scene(3, accessory='hat')
    clip, view = render_clip(scene, tokenizer), render_view(scene)
    small = torch.nn.functional.interpolate(clip['frames'].float(), (64, 64), mode='area')
    assert view['true'].shape == (16, 3, 64, 64) and (view['true'] - small).abs().mean() < 8 and torch.equal(view['labels'], clip['labels'])


def test_views_go_on_where_the_seeds_of_the_clips_end(tokenizer, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(world_data.mp, 'get_context', lambda kind: Asked(asked))
    render_world(Recipe(clips=256, judge_views=256), tmp_path, tokenizer)
    assert [path.stem for path, *_ in asked] == ['clips-000', 'clips-001', 'views-000', 'views-001']
    assert [first - world_data.FIRST_TRAINING_SEED for _, first, *_ in asked] == [0, 128, 256, 384]


class Asked:
    "A pool that only writes down what it is asked for."
    def __init__(self, tasks): self.tasks = tasks
    def Pool(self, workers): return self
    def __enter__(self): return self
    def __exit__(self, *_): pass
    def starmap(self, work, tasks, chunksize): self.tasks.extend(tasks)
