"Sites by kind, glob and size; a pattern that matches nothing lists what there is."
import pytest
from videodirector.attention.processor import attend
from videodirector.attention.recording import Recording
from videodirector.attention.sites import find_sites, site_size


def test_sites_have_the_right_kind(tiny_pipe):
    sites = find_sites(tiny_pipe.unet)
    assert len(sites) == len(tiny_pipe.unet.attn_processors)
    for site in sites:
        motion, attn2 = 'motion_modules' in site.name, site.name.endswith('attn2')
        assert site.kind == ('temporal' if motion else 'cross' if attn2 else 'spatial')
    blocks = [site.name.split('_')[0] for site in sites]
    assert blocks == sorted(blocks, key=('down', 'mid', 'up').index)


def test_sites_by_glob_and_kind(tiny_pipe):
    names = [s.name for s in find_sites(tiny_pipe.unet, 'cross', 'up_blocks.*')]
    assert names and all(n.startswith('up_blocks.') and n.endswith('attn2') for n in names)
    both = find_sites(tiny_pipe.unet, ('cross', 'spatial'), ('up_blocks.1.*', 'mid_block.*'))
    assert {s.kind for s in both} == {'cross', 'spatial'} and any(s.name.startswith('mid') for s in both)


def test_an_empty_match_lists_the_sites(tiny_pipe):
    with pytest.raises(ValueError, match=r'(?s)nowhere.*\n.*mid_block.attentions.0'):
        find_sites(tiny_pipe.unet, 'cross', 'nowhere.*')
    with pytest.raises(ValueError, match='sideways is no kind'): find_sites(tiny_pipe.unet, 'sideways')
    with pytest.raises(ValueError, match='nowhere'):
        with attend(tiny_pipe.unet, record=Recording(sites='nowhere')): pass


@pytest.mark.parametrize('tokens, latent, size', [
    (64, (8, 8), (8, 8)), (15, (6, 10), (3, 5)), (12, (5, 7), (3, 4)), (4, (5, 7), (2, 2)), (1, (2, 2), (1, 1))])
def test_site_size(tokens, latent, size): assert site_size(tokens, *latent) == size


def test_site_size_refuses_a_wrong_latent():
    with pytest.raises(ValueError, match='begin'): site_size(60, 8, 8)
