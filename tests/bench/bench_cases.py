"Models and rows that several tests of the bench need."
import pytest
import torch
from conftest import make_tiny_pipe, tiny_text_encoder

from videodirector.models.animatediff import AnimateDiff
from videodirector.models.judge import Judge, world_classes


@pytest.fixture
def judge():
    torch.manual_seed(0)
    return Judge(world_classes(), widths=(8, 8, 8, 8), features=16).eval()


@pytest.fixture
def model():
    "The tiny model, with room for whole captions."
    pipe = make_tiny_pipe()
    pipe.tokenizer.model_max_length = 160
    pipe.text_encoder = tiny_text_encoder(pipe.tokenizer)
    return AnimateDiff(pipe)


def row(kind='colour', **changes):
    "A row as `evaluate_edit` makes it, everything as wished."
    wanted = dict(subject='bear', colour='red', accessory='none', background='rocks', motion='left')
    edit = dict(masked_psnr=20. if kind == 'background' else 30., truth_psnr=25., new=1.)
    return dict(kind=kind, seed=1, source='a', target='b', psnr=dict(vae=36., ddim_cfg=20., null_text=35.5),
                same_prompt_difference=0., wanted=wanted, untouched=[k for k in wanted if k != kind], edit=edit,
                read_edited=dict(wanted)) | changes
