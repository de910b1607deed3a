"The folder that training fills."
import json

import pytest
import torch
from diffusers import AutoencoderKL

from videodirector.models.folder import weights_folder
from videodirector.train.folder import save_part, tokenizer_of, write_index
from videodirector.train.networks import build_tokenizer, build_vae
from videodirector.world.captions import VOCABULARY


def test_a_model_keeps_its_tokenizer(tmp_path):
    assert tokenizer_of(tmp_path).get_vocab() == build_tokenizer(VOCABULARY).get_vocab()
    build_tokenizer(['sun', 'moon']).save_pretrained(tmp_path / 'world' / 'tokenizer')
    assert tokenizer_of(tmp_path).tokenize('sun') == ['sun</w>'] and len(tokenizer_of(tmp_path).tokenize('bear')) > 1


def test_parts_are_stored_in_half_precision_without_pickles(tmp_path):
    vae = build_vae()
    save_part(vae, tmp_path / 'vae')
    assert {file.suffix for file in (tmp_path / 'vae').iterdir()} == {'.json', '.safetensors'}
    stored = AutoencoderKL.from_pretrained(tmp_path / 'vae', use_safetensors=True)
    assert vae.dtype == torch.float32 and all(map(torch.equal, vae.state_dict().values(), stored.float().state_dict().values()))


def test_a_part_is_stored_whole_or_not_at_all(tmp_path):
    vae = build_vae()
    save_part(vae, tmp_path / 'vae')
    def held(): return {file.relative_to(tmp_path): file.read_bytes() for file in tmp_path.rglob('*') if file.is_file()}
    before = held()

    def torn(folder):
        (folder / 'config.json').write_text('{')
        raise KeyboardInterrupt
    vae.save_pretrained = torn
    with pytest.raises(KeyboardInterrupt): save_part(vae, tmp_path / 'vae')
    assert held() == before


def index_of(folder):
    index = json.loads((folder / 'model_index.json').read_text())
    return {name: value for name, value in index.items() if not name.startswith('_diffusers')}


def test_the_index_names_the_parts_that_ship(tmp_path):
    write_index(tmp_path)
    assert index_of(tmp_path) == index_of(weights_folder() / 'world') and len(list(tmp_path.iterdir())) == 1
