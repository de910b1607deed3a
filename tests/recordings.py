"Recordings of random attention, as an edit makes them."
import torch

from videodirector.attention.recording import Recording
from videodirector.attention.words import Word

F, L = 5, 9
CROSS, COARSE, SPATIAL, TEMPORAL = ('up.1.attn2', 'up.0.attn2', 'up.1.attn1', 'up.1.motion')
GRIDS = {COARSE: (2, 3), CROSS: (4, 6), SPATIAL: (4, 6), TEMPORAL: (4, 6)}
KIND = {COARSE: 'cross', CROSS: 'cross', SPATIAL: 'spatial', TEMPORAL: 'temporal'}
PROMPTS = dict(source_cond='a bear on grass', edit_cond='a zoo tiger with hat on grass')


def words_of(prompt):  # "zoo" becomes two tokens
    words, at = [], 1
    for text in prompt.split():
        n = 2 if text == 'zoo' else 1
        words.append(Word(text, tuple(range(at, at + n)), (0,) * n))
        at += n
    return words


def recorded(heads=0, steps=(2, 5, 7), slots=tuple(PROMPTS), sites=tuple(GRIDS), frames=F):
    "A recording of random maps on grids of two sizes; in its last step SA-II acts on the edit."
    made, draw = Recording(('cross', 'spatial', 'temporal'), reduce=() if heads else 'heads'), torch.Generator().manual_seed(0)
    made.words = {slot: words_of(PROMPTS[slot]) for slot in slots}
    for step in steps:
        for site in sites:
            h, w = GRIDS[site]
            made.kind_of[site] = KIND[site]
            for slot in slots:
                keys = h * w * (2 if step == steps[-1] and slot.startswith('edit') else 1)
                shape = {'cross': [frames, h, w, L], 'spatial': [frames, h, w, keys], 'temporal': [h, w, frames, frames]}[KIND[site]]
                if heads: shape.insert(2 if KIND[site] == 'temporal' else 1, heads)
                made.maps[site, step, slot] = torch.rand(shape, generator=draw).half()
    return made


def clip(seed=0, frames=F): return torch.rand(frames, 3, 32, 48, generator=torch.Generator().manual_seed(seed)) * 2 - 1
