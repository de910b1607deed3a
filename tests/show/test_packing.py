"Packing sends what was recorded, all of it and nothing else."
import pytest
import torch
from recordings import CROSS, recorded

from videodirector.attention.recording import Recording
from videodirector.show.packing import Packed, pack, pair_words, side_of


def test_words_of_two_prompts_are_paired():
    words = pair_words({'source': 'a bear and a fox'.split(), 'edit': 'a tiger and a red fox'.split()})
    assert words == [('a', {'source': 0, 'edit': 0}), ('bear → tiger', {'source': 1, 'edit': 1}), ('and', {'source': 2, 'edit': 2}),
                     ('a (2)', {'source': 3, 'edit': 3}), ('red', {'edit': 4}), ('fox', {'source': 4, 'edit': 5})]
    assert pair_words({'source': ['a', 'bear'], 'edit': ['a']}) == [('a', {'source': 0, 'edit': 0}), ('bear', {'source': 1})]
    assert pair_words({'': ['a', 'bear']}) == [('a', {'': 0}), ('bear', {'': 1})]


def test_sides_and_branches():
    assert [side_of(s) for s in ('edit_cond', 'source_uncond', 'cond', 'video 0', 'source')] == \
        [('edit', 'cond'), ('source', 'uncond'), ('', 'cond'), ('', 'video 0'), ('source', 'video')]


@pytest.mark.parametrize('heads', [0, 3])
def test_every_map_is_in_the_bytes(heads):
    recording = recorded(heads)
    packed = pack(recording)
    assert len(packed.entries) == len(recording.maps)
    assert sum(packed.array(e).nbytes for e in packed.entries) == len(packed.data)
    for e in packed.entries:
        m, a = recording.maps[e['site'], e['step'], e['slot']], torch.tensor(packed.array(e))
        if not heads: m = m.unsqueeze(2 if e['kind'] == 'temporal' else 1)
        if e['kind'] == 'temporal': assert torch.equal(a, m.movedim(2, 0))
        if e['kind'] == 'spatial': assert torch.equal(a.flatten(-3), m.movedim(1, 0))
        if e['kind'] == 'cross':
            for i, word in enumerate(recording.words[e['slot']]):
                sums = m[..., list(word.tokens)].float().sum(-1).movedim(1, 0)
                torch.testing.assert_close(a[:, :, i].float(), sums, rtol=1e-3, atol=1e-7)


def test_from_disk_it_is_the_same(tmp_path):
    recording = recorded()
    recording.save(tmp_path / 'maps.safetensors')
    live, loaded = pack(recording), pack(Recording.load(tmp_path / 'maps.safetensors'))
    assert (live.data, live.entries, live.words) == (loaded.data, loaded.entries, loaded.words)


def test_only_what_was_asked_for_is_sent():
    packed = pack(recorded(), kinds='cross', sites='up.1*', steps=[2, 7], slots='edit_cond')
    assert {(e['site'], e['step'], e['slot']) for e in packed.entries} == {(CROSS, 2, 'edit_cond'), (CROSS, 7, 'edit_cond')}


def test_too_much_is_refused_with_its_size():
    with pytest.raises(ValueError, match=r'these maps are .* MB \(spatial .*, cross .*, temporal .*leave some out with kinds='):
        pack(recorded(), limit=.01)
    assert isinstance(pack(recorded(), kinds='temporal', limit=.05), Packed)
    mixed = recorded()
    mixed.maps |= {(CROSS, 9, slot): m[:2] for (site, _, slot), m in mixed.maps.items() if site == CROSS}
    with pytest.raises(ValueError, match='clips of 2, 5 frames'): pack(mixed)
