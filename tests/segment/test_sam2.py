"SAM 2 is loaded from anywhere, and nothing but SAM 2 is."
import copy
import json
import sys
from pathlib import Path

import pytest
import torch
from sentences import refuses

from videodirector.models.folder import weights_folder
from videodirector.segment.follow import follow
from videodirector.segment.sam2 import PARTS, build_sam2, check_config, import_sam2, load_sam2, meta_config

STORED = json.loads((weights_folder() / 'sam2/config.json').read_text())
TARGET = 'builtins.open'


@pytest.fixture
def folder(tmp_path):
    "A folder as somebody could send it, and a function that puts a description into it."
    (tmp_path / 'model.safetensors').symlink_to(weights_folder() / 'sam2/model.safetensors')

    def describe(config):
        (tmp_path / 'config.json').write_text(config if isinstance(config, str) else json.dumps(config))
        return tmp_path

    return describe


def with_part(part, *way):
    "The stored description with something put into it, however deep."
    config = copy.deepcopy(STORED)
    place = config
    for step in way[:-1]: place = place.setdefault(step, {})
    place[way[-1]] = part
    return config


def deep(part, levels):
    "Something inside lists inside dictionaries."
    for _ in range(levels): part = {'inner': [part]}
    return part


def test_all_of_metas_descriptions_and_the_stored_one_pass():
    configs = Path(import_sam2().__file__).parent / 'configs'
    named = [path.stem for kind in ('sam2', 'sam2.1') for path in (configs / kind).glob('*.yaml')]
    assert len(named) == 8
    for config in (STORED, *map(meta_config, named)): check_config(config)


def test_parts_are_classes_of_sam2():
    from hydra.utils import get_class
    assert all(get_class(name).__module__.startswith('sam2.') for name in PARTS)


@pytest.mark.parametrize('call', [
    dict(_target_='torch.load', f='PLACE', weights_only=False), dict(_target_='numpy.load', file='PLACE', allow_pickle=True),
    dict(_target_='builtins.open', file='PLACE', mode='w'), dict(_target_='builtins.eval', _args_=['1']),
    dict(_target_='sam2.build_sam.build_sam2', config_file='PLACE'), dict(_target_='sam2.modeling.sam2_base.torch.load')])
@pytest.mark.parametrize('way', [
    ('memory_encoder',), ('image_encoder', 'trunk', 'embed_dim'), ('sam_mask_decoder_extra_args', 'a', 'b', 'c')])
def test_a_hostile_description_is_refused_before_anything_is_called(folder, tmp_path, call, way):
    diary = tmp_path / 'diary.txt'
    diary.write_text('dear diary')
    call = {key: str(diary) if value == 'PLACE' else value for key, value in call.items()}
    for part in (call, [1, call], deep(call, 3)):
        refuses(f"config.json' .*({call['_target_']!r}|'_args_')", load_sam2, folder(with_part(part, *way)))
    refuses('config.json', load_sam2, folder(call))
    assert diary.read_text() == 'dear diary'


def test_depth_hides_nothing(folder):
    for levels in (50, 400):
        refuses("'builtins.open'", load_sam2, folder(with_part(deep(dict(_target_=TARGET, file='x'), levels), 'extra')))
    refuses('is not JSON', load_sam2, folder('[' * 100_000))


@pytest.mark.parametrize('part, words', [
    ('${oc.env:HOME}', 'the interpolation'), (['${image_size}'], 'the interpolation'), ('a ${b} c', 'the interpolation'),
    (dict(_target_='${name}'), r"asks for '\$\{name\}'"), (dict(_target_='sam2.${rest}'), 'asks for'),
    (dict(_target_=['builtins.open']), 'asks for'), (dict(_target_=None), 'asks for'), ({'${key}': 1}, 'the key'),
    (dict(_target_='sam2.modeling.memory_encoder.Fuser '), 'asks for'), (dict(_partial_=True), "the key '_partial_'"),
    (dict(_args_=['x']), "the key '_args_'"), (dict(_recursive_=False), "the key '_recursive_'"),
    (dict(_convert_='object'), "the key '_convert_'"), (dict(weights_path='evil.pt'), "load 'evil.pt' while it is built")])
def test_tricks_are_refused(folder, part, words): refuses(words, load_sam2, folder(with_part(part, 'memory_encoder')))


def test_tricks_at_the_top_are_refused(folder):
    for key in ('_args_', '_partial_', '_recursive_', '_convert_'):
        refuses(f"the key '{key}'", load_sam2, folder(STORED | {key: True}))
    refuses('does not say which model', load_sam2, folder({k: v for k, v in STORED.items() if k != '_target_'}))
    for wrong in ([STORED], 'sam2', None, 7): refuses('holds no description', load_sam2, folder(json.dumps(wrong)))
    refuses('is not JSON', load_sam2, folder('{"_target_": '))


def test_objects_are_no_description():
    class Sly(dict): pass
    refuses('holds a object', check_config, STORED | dict(memory_encoder=object()))
    refuses('holds a type', check_config, STORED | dict(memory_encoder=dict(activation=Sly)))
    refuses('the key 7', check_config, STORED | {7: 'seven'})


def test_what_cannot_be_built_or_filled_is_said(folder):
    refuses('cannot be built', load_sam2, folder(with_part('many', 'image_encoder', 'trunk', 'embed_dim')))
    refuses('cannot be built', load_sam2, folder(STORED | dict(wheels=4)))
    refuses('are not those of the model', load_sam2, folder(STORED | dict(num_maskmem=4)))


def test_broken_weights(folder, tmp_path):
    place = folder(STORED)
    (place / 'model.safetensors').unlink()
    (place / 'model.safetensors').write_bytes(b'nothing')
    refuses('are not those of the model', load_sam2, place)


def test_a_stored_folder_is_loaded(folder, tmp_path):
    again, shipped = load_sam2(folder(STORED)).state_dict(), load_sam2().state_dict()
    assert all(torch.equal(again[name], shipped[name]) for name in shipped)


def test_without_sam2_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, 'sam2', None)
    with pytest.raises(ImportError, match='pip install RF-SAM-2==1.0.3'): load_sam2()


def test_sources_that_are_none(tmp_path):
    refuses('neither a folder nor', load_sam2, 'nobody/nothing')
    refuses('holds no SAM 2', load_sam2, tmp_path, error=FileNotFoundError)


def test_metas_format(tmp_path):
    torch.manual_seed(0)
    weights = build_sam2(meta_config('sam2.1_hiera_t')).half().state_dict()
    torch.save(dict(model=weights), tmp_path / 'sam2.1_hiera_tiny.pt')
    model = load_sam2(tmp_path)
    assert model.image_size == 1024 and sum(p.numel() for p in model.parameters()) > 38e6
    point = dict(point_coords=torch.tensor([[[500., 500.]]]), point_labels=torch.ones(1, 1, dtype=torch.int32))
    with torch.no_grad(): logits, _ = follow(model, torch.zeros(1, 1, 3, 1024, 1024), {0: dict(point_inputs=point)})
    assert logits.shape == (1, 1, 1024, 1024) and logits.isfinite().all()
    (tmp_path / 'sam2.1_hiera_tiny.pt').write_bytes(b'nothing')
    refuses('not a readable checkpoint', load_sam2, tmp_path)


def test_shipped_weights_are_small():
    files = list((weights_folder() / 'sam2').iterdir())
    assert {f.name for f in files} == {'config.json', 'model.safetensors'} and sum(f.stat().st_size for f in files) < 8e6
