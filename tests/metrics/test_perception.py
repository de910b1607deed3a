"Perceptual distances: the judge's, and LPIPS against torchmetrics."
import pytest
import torch
from clips import gliding

from videodirector.metrics.perception import judge_distance, load_lpips


def test_judge_distance_is_nothing_for_equals_and_grows(tiny_judge):
    clip = gliding()
    noise = torch.randn(clip.shape, generator=torch.manual_seed(1))
    near, far = (judge_distance(tiny_judge, clip, clip + s * noise) for s in (.05, .5))
    assert judge_distance(tiny_judge, clip, clip) == 0 < near < far
    assert judge_distance(tiny_judge, clip + .5 * noise, clip) == pytest.approx(far)


def test_lpips_says_what_it_needs_where_there_is_no_network(monkeypatch, tmp_path):
    def offline(*args, **kwargs): raise OSError('no network')
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    monkeypatch.setattr('torch.hub.download_url_to_file', offline)
    with pytest.raises(ValueError, match='LPIPS needs torchvision and its pretrained weights'): load_lpips('squeeze')


def test_lpips_is_torchmetrics(monkeypatch):
    torchvision = pytest.importorskip('torchvision')
    from torchmetrics.functional.image import learned_perceptual_image_patch_similarity as library
    build = torchvision.models.squeezenet1_1
    def untrained(weights=None):  # random weights stand in for the downloaded ones
        torch.manual_seed(0)
        return build(weights=None)
    monkeypatch.setattr(torchvision.models, 'squeezenet1_1', untrained)
    lpips, a, b = load_lpips('squeeze'), gliding(), gliding(seed=1)
    assert lpips(a, a) == 0
    assert lpips(a, b) == pytest.approx(library(a, b, net_type='squeeze').item(), rel=1e-4)
    assert lpips(a, b) == lpips(a, b)  # nothing is carried over from call to call
