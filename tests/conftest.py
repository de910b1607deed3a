"""Fixtures shared by the tests, and each test process's share of the cores."""
import os

if 'MALLOC_TRIM_THRESHOLD_' not in os.environ:  # what is started from here keeps what one layer frees for the next: a sixth faster
    os.environ |= dict(MALLOC_MMAP_THRESHOLD_='1000000000', MALLOC_TRIM_THRESHOLD_='1000000000')
if workers := os.environ.get('PYTEST_XDIST_WORKER_COUNT'):  # only in a worker: what the first process sets, its workers inherit
    os.environ.setdefault('OMP_NUM_THREADS', str(max(1, (os.cpu_count() or 1) // int(workers))))

import pytest
import torch
from browser import browser_missing
from browser import lab as open_lab
from diffusers import (AnimateDiffPipeline, AutoencoderKL, DDIMScheduler, MotionAdapter, UNet2DConditionModel)
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from videodirector.metrics.text import TextVideoScore
from videodirector.models.animatediff import AnimateDiff
from videodirector.models.image import ImageModel
from videodirector.models.judge import Judge, world_classes


TOGETHER = ('tests/app/test_jobs.py::test_demo', 'tests/bench/test_suite.py',
            'tests/methods/test_videodirector.py::test_a_killed')  # each has a fixture that takes long, made once in one process


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    "Tests go to whichever process is free, those that share a costly fixture to the same one."
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid): return next((start for start in TOGETHER if nodeid.startswith(start)), nodeid)
    return Scheduling(config, log)


def pytest_collection_modifyitems(items):
    "Lessons, which take longest, come first; the short tests at the end let all processes finish together."
    items.sort(key=lambda item: not item.name.startswith('test_lesson_runs'))


ALPHABET = 'abcdefghijklmnopqrstuvwxyz,.'
WORDS = 'a bear tiger with hat walking brown red on grass'.split()


def tiny_tokenizer() -> CLIPTokenizer:
    "One token for each of WORDS, letters for everything else."
    vocab, merges = {}, []
    for letter in ALPHABET: vocab[letter] = len(vocab)
    for letter in ALPHABET: vocab[letter + '</w>'] = len(vocab)
    for word in WORDS:
        for i in range(1, len(word)):
            end = '</w>' if i == len(word) - 1 else ''
            pair = (word[:i], word[i] + end)
            if pair not in merges: merges.append(pair)
            vocab.setdefault(''.join(pair), len(vocab))
    for special in ('<|startoftext|>', '<|endoftext|>'): vocab[special] = len(vocab)
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=16)


def tiny_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    "A random text encoder of width 16, for as many tokens as the tokenizer gives."
    return CLIPTextModel(CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=tokenizer.model_max_length, bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id)).eval()


WIDTHS = (8, 16, 16)


def tiny_image_unet() -> UNet2DConditionModel:
    "A random UNet with two attention levels, for texts of width 16."
    return UNet2DConditionModel(
        sample_size=8, block_out_channels=WIDTHS, layers_per_block=1, norm_num_groups=4, attention_head_dim=2,
        cross_attention_dim=16, down_block_types=('CrossAttnDownBlock2D', 'CrossAttnDownBlock2D', 'DownBlock2D'),
        up_block_types=('UpBlock2D', 'CrossAttnUpBlock2D', 'CrossAttnUpBlock2D'))


def make_tiny_pipe(seed: int = 0) -> AnimateDiffPipeline:
    "A random AnimateDiff pipeline in diffusers' own classes: latents 8× smaller, two attention levels, 16 tokens of width 16."
    torch.manual_seed(seed)
    tokenizer = tiny_tokenizer()
    text = tiny_text_encoder(tokenizer)
    unet = tiny_image_unet()
    adapter = MotionAdapter(block_out_channels=WIDTHS, motion_layers_per_block=1, motion_num_attention_heads=2,
                            motion_norm_num_groups=4, use_motion_mid_block=False, motion_max_seq_length=24)
    vae = AutoencoderKL(block_out_channels=(8, 8, 8, 8), layers_per_block=1, norm_num_groups=4, mid_block_add_attention=False,
                        down_block_types=('DownEncoderBlock2D',) * 4, up_block_types=('UpDecoderBlock2D',) * 4)
    scheduler = DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule='linear', clip_sample=False,
                              set_alpha_to_one=True, timestep_spacing='linspace')
    pipe = AnimateDiffPipeline(vae=vae.eval(), text_encoder=text, tokenizer=tokenizer, unet=unet.eval(),
                               motion_adapter=adapter, scheduler=scheduler)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def make_tiny_model(seed: int = 0) -> AnimateDiff:
    "The same as a `VideoModel`."
    return AnimateDiff(make_tiny_pipe(seed))


def make_tiny_image_model(seed: int = 0) -> ImageModel:
    "The same, but for an image UNet."
    pipe = make_tiny_pipe(seed)
    pipe.unet = tiny_image_unet().eval()
    return ImageModel(pipe)


@pytest.fixture
def tiny_pipe() -> AnimateDiffPipeline:
    return make_tiny_pipe()


@pytest.fixture
def tiny_model() -> AnimateDiff:
    return make_tiny_model()


@pytest.fixture(scope='session')
def tiny_judge() -> Judge:
    torch.manual_seed(0)
    return Judge(world_classes(), widths=(8, 8, 16, 16), features=16).eval()


@pytest.fixture(scope='session')
def tiny_score() -> TextVideoScore:
    torch.manual_seed(0)
    words, sizes = tiny_tokenizer(), dict(hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2)
    ends = {name: getattr(words, name) for name in ('bos_token_id', 'eos_token_id', 'pad_token_id')}
    config = CLIPConfig(text_config=dict(vocab_size=len(words), max_position_embeddings=16, **ends, **sizes),
                        vision_config=dict(image_size=32, patch_size=8, **sizes), projection_dim=8)
    return TextVideoScore('tiny', CLIPModel(config).eval(), words)


@pytest.fixture
def lab(tmp_path):
    "JupyterLab in a browser, serving `tmp_path`; put notebooks there."
    if why := browser_missing(): pytest.skip(f'{why}, so nothing can be tried in a browser')
    with open_lab(tmp_path) as it: yield it
