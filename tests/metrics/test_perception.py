"Perceptual distances: the judge's, and LPIPS against torchmetrics."
import pytest
import torch
from clips import gliding
from safetensors.torch import save_file

from videodirector.metrics.perception import judge_distance, load_lpips, lpips_file


def test_judge_distance_is_nothing_for_equals_and_grows(tiny_judge):
    clip = gliding()
    noise = torch.randn(clip.shape, generator=torch.manual_seed(1))
    near, far = (judge_distance(tiny_judge, clip, clip + s * noise) for s in (.05, .5))
    assert judge_distance(tiny_judge, clip, clip) == 0 < near < far
    assert judge_distance(tiny_judge, clip + .5 * noise, clip) == pytest.approx(far)


@pytest.fixture(scope='module')
def squeezenet(tmp_path_factory):
    "SqueezeNet with random weights, and their file."
    models = pytest.importorskip('torchvision').models
    torch.manual_seed(0)
    network, file = models.squeezenet1_1(weights=None), tmp_path_factory.mktemp('weights') / 'squeezenet.safetensors'
    save_file(network.state_dict(), file)
    return network, file


def test_lpips_is_torchmetrics(squeezenet, monkeypatch):
    from torchmetrics.functional.image import learned_perceptual_image_patch_similarity as library
    network, file = squeezenet
    monkeypatch.setattr('torchvision.models.squeezenet1_1', lambda weights=None: network)  # random weights stand in for pretrained ones
    expected = library(a := gliding(), b := gliding(seed=1), net_type='squeeze').item()
    monkeypatch.undo()
    lpips = load_lpips(file)
    assert lpips(a, a) == 0 and lpips(a, b) == pytest.approx(expected, rel=1e-4)
    assert load_lpips(file.parent)(a, b) == lpips(a, b), 'a folder, and nothing is carried over from call to call'


@pytest.mark.parametrize('net', ['alexnet', 'vgg16', 'squeezenet1_1'])
def test_the_network_is_known_by_its_layers(net, tmp_path):
    models = pytest.importorskip('torchvision').models
    with torch.device('meta'): names = getattr(models, net)(weights=None).features.state_dict(prefix='features.')
    save_file({name: torch.zeros(1) for name in names}, tmp_path / 'some.safetensors')
    assert net.startswith(lpips_file(tmp_path)[1])
    with pytest.raises(ValueError, match='network for LPIPS could not be read from .*; check the file'): load_lpips(tmp_path)  # of one number each


def test_what_is_no_network_for_lpips_is_a_sentence(squeezenet, tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no network for LPIPS at .*give AlexNet's"): load_lpips(tmp_path / 'none')
    with pytest.raises(ValueError, match='holds 0 files of safetensors'): load_lpips(tmp_path)
    torch.save({}, tmp_path / 'alexnet.pth')
    with pytest.raises(ValueError, match='is cut off or no safetensors file'): load_lpips(tmp_path / 'alexnet.pth')
    save_file({'x': torch.zeros(1)}, tmp_path / 'other.safetensors')
    with pytest.raises(ValueError, match='holds no network that LPIPS knows'): load_lpips(tmp_path / 'other.safetensors')
    weights = squeezenet[0].state_dict()
    save_file({name: x for name, x in weights.items() if name != 'features.3.squeeze.bias'}, tmp_path / 'torn.safetensors')
    with pytest.raises(ValueError, match="'features.3.squeeze.bias'"): load_lpips(tmp_path / 'torn.safetensors')
    save_file(weights | {'features.0.bias': torch.full((64,), torch.nan)}, tmp_path / 'odd.safetensors')
    with pytest.raises(ValueError, match='not all is finite'): load_lpips(tmp_path / 'odd.safetensors')
