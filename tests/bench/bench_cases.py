"Models and rows that several tests of the bench need."
import pytest
import torch
from conftest import make_tiny_pipe
from transformers import CLIPTextConfig, CLIPTextModel

from videodirector.models.judge import Judge, world_classes


@pytest.fixture
def judge():
    torch.manual_seed(0)
    return Judge(world_classes(), widths=(8, 8, 8, 8), features=16).eval()


@pytest.fixture
def model.pipe():
    "The tiny pipeline, with room for whole captions."
    pipe = make_tiny_pipe()
    model.tokenizer.model_max_length = 160
    model.text_encoder = CLIPTextModel(CLIPTextConfig(
        vocab_size=len(model.tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=1,
        num_attention_heads=2, max_position_embeddings=160, bos_token_id=model.tokenizer.bos_token_id,
        eos_token_id=model.tokenizer.eos_token_id, pad_token_id=model.tokenizer.pad_token_id)).eval()
    return pipe


def row(kind='colour', **changes):
    "A row as `evaluate_edit` makes it, everything as wished."
    wanted = dict(subject='bear', colour='red', accessory='none', background='rocks', motion='left')
    edit = dict(judge=dict(wanted), background_psnr=30., foreground_psnr=20., ground_truth_psnr=25.)
    return dict(kind=kind, seed=1, source='a', target='b', psnr=dict(vae=36., ddim_cfg=20., null_text=35.5),
                same_prompt_difference=0., wanted=wanted, untouched=[k for k in wanted if k != kind], edit=edit) | changes
