"Recipes and the command line that sets them."
import argparse
from dataclasses import fields

import pytest

from videodirector.train.clip_data import ClipRecipe
from videodirector.train.recipe import Recipe, parse_recipe
from videodirector.train.sam2_data import Sam2Recipe


@pytest.mark.parametrize('kind', (Recipe, Sam2Recipe, ClipRecipe))
def test_every_field_is_an_option(kind, tmp_path):
    changed = {field.name: type(field.default)('7') for field in fields(kind)}
    options = [text for name, value in changed.items() for text in ('--' + name.replace('_', '-'), str(value))]
    args, recipe = parse_recipe(argparse.ArgumentParser(), kind, ['--out', str(tmp_path / 'new'), *options])
    assert recipe == kind(**changed) and args.out.is_dir()
    assert parse_recipe(argparse.ArgumentParser(), kind, ['--out', str(tmp_path)])[1] == kind()
