"The training of the VAE."
import pytest
import torch
from PIL import Image

from videodirector.train.recipe import Recipe
from videodirector.train.stage import Worker
from videodirector.train.vae import VAEBatches, load_photos, photo_crops


CPU = Worker(0, 1, torch.device('cpu'))


def test_photo_crops():
    draw = torch.Generator().manual_seed(0)
    crops = photo_crops([torch.randint(256, (3, 300, 400), dtype=torch.uint8)], 3, draw)
    assert crops.shape == (3, 3, 128, 128) and 0 <= crops.min() and crops.max() <= 255


def test_photographs_are_read_or_missed(tmp_path):
    with pytest.raises(FileNotFoundError, match='holds no .jpg'): load_photos(tmp_path, CPU.device)
    Image.new('RGB', (150, 130), 'red').save(tmp_path / 'red.jpg')
    (photo,) = load_photos(tmp_path, CPU.device)
    assert photo.shape == (3, 130, 150) and photo[0].min() > 250 > 5 > photo[1].max() and load_photos(None, CPU.device) == []


def test_a_batch_holds_its_share_of_photographs():
    frames, photo = torch.zeros(5, 3, 128, 128, dtype=torch.uint8), torch.full((3, 130, 150), 255, dtype=torch.uint8)
    for photos, count in (([photo], 2), ([], 0)):
        x, noise = VAEBatches(frames, photos, Recipe(vae_batch=8, vae_photos=.25, vae_crops=16), CPU)(0)
        assert noise.shape == (8, 8, 16, 16) and (x.flatten(1).mean(1) == 1).sum() == count and (x.flatten(1).mean(1) == -1).sum() == 8 - count
