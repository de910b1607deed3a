"Scenes that are trained on."
import numpy as np
import torch

from videodirector.train.recipe import Recipe
from videodirector.train.scenes import draw_scene, render_pool
from videodirector.world.scene import FIRST_TRAINING_SEED, random_scene


def test_scenes_of_a_part_keep_to_it():
    part = '{"subject": ["bear", "fox"], "accessory": [null]}'
    scenes = [draw_scene(seed, part) for seed in range(FIRST_TRAINING_SEED, FIRST_TRAINING_SEED + 20)]
    assert {scene.subject for scene in scenes} == {'bear', 'fox'}
    assert all(scene.accessory is None for scene in scenes)
    assert draw_scene(5) == random_scene(5)


def count_up(seeds, recipe): return np.array(seeds), np.array(seeds) * 0 + recipe.clips


def test_the_pool_holds_all_seeds_in_order():
    seeds, clips = render_pool(count_up, Recipe(clips=10), chunk=4, workers=2)
    assert torch.equal(seeds, torch.arange(FIRST_TRAINING_SEED, FIRST_TRAINING_SEED + 10)) and clips.eq(10).all()
