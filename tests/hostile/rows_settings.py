"Settings of inversion, edit, guidance and benchmark: numbers out of range, of another kind, of no meaning."
from functools import partial

import numpy as np
from table import judged, rows

from videodirector.bench.rows import setting_of
from videodirector.methods.presets import find_preset
from videodirector.methods.registry import find_method
from videodirector.parts.settings import STDG, EditSettings, InvertSettings

NAN, INF = float('nan'), float('inf')
ODD = {float: {'NaN': NAN, 'infinity': INF, 'a word': 'much', 'None': None, 'a list': [1.], 'yes': True},
       int: {'NaN': NAN, 'half': 2.5, 'a word': 'many', 'None': None, 'a list': [2], 'yes': True},
       bool: {'a word': 'no', 'a number': 1, 'None': None}, str: {'a number': 3, 'None': None, 'a list': ['x']}}
KINDS = {InvertSettings: dict(steps=int, inner_steps=int, guidance_scale=float, lr=float, tolerance=float, negative_prompt=str, cfg=str,
                              inversion=str, evaluations=int, null=str, quantile=float),
         EditSettings: dict(layout=bool, mutual=bool, recompute_guidance=bool, leading=bool, align=str, region=str, blend_threshold=float)}
WRONG = {f'{field} = {name}': (lambda p, s=settings, f=field, v=value: partial(s, **{f: v}), ((ValueError, TypeError), field))
         for settings, fields in KINDS.items() for field, kind in fields.items() for name, value in ODD[kind].items()}

RANGES = {f'{field} = {value!r}': (lambda p, s=settings, f=field, v=value: partial(s, **{f: v}), ((ValueError, TypeError), pattern or field))
          for settings, field, value, pattern in (
    (InvertSettings, 'steps', 0, None), (InvertSettings, 'steps', 1, None), (InvertSettings, 'steps', -3, None), (InvertSettings, 'inner_steps', -1, None),
    (InvertSettings, 'lr', -1, None), (InvertSettings, 'guidance_scale', 1e9, None), (InvertSettings, 'cfg', 'x', None), (InvertSettings, 'stdg', True, None),
    (InvertSettings, 'stdg', dict(eta_f=1), None), (InvertSettings, 'tolerance', -2, None), (InvertSettings, 'inversion', 'x', None), (InvertSettings, 'evaluations', 1, None),
    (InvertSettings, 'null', 'x', None), (InvertSettings, 'quantile', 2., None),
    (EditSettings, 'tau_c', 1.5, None), (EditSettings, 'tau_c', -.1, None), (EditSettings, 'tau_c', (.1, .2, .3), None), (EditSettings, 'tau_c', (.8, .2), None),
    (EditSettings, 'tau_c', (), None), (EditSettings, 'tau_c', 'all', None), (EditSettings, 'tau_c', (0, NAN), None), (EditSettings, 'tau_s', NAN, None),
    (EditSettings, 'tau_s', None, None), (EditSettings, 'weights', {'fox': NAN}, None), (EditSettings, 'weights', {'fox': 'big'}, None),
    (EditSettings, 'weights', [('fox', 2)], None), (EditSettings, 'weights', {3: 2.}, None), (EditSettings, 'weights', 2, None),
    (EditSettings, 'weights', {'fox': 1e9}, None), (EditSettings, 'tau_words', {'fox': 7}, None), (EditSettings, 'tau_words', 3, None),
    (EditSettings, 'region', 'sky', None), (EditSettings, 'align', 'x', None), (EditSettings, 'blend', ('fox',), None), (EditSettings, 'blend', 'fox', None),
    (EditSettings, 'blend', 3, None), (EditSettings, 'blend_threshold', 2, None),
    (STDG, 'eta_f', -1, 'eta_f is -1'), (STDG, 'eta_f', NAN, 'eta_f is nan'), (STDG, 'zeta_b', INF, 'zeta_b is inf'), (STDG, 'eta_b', 'x', None), (STDG, 'eta_b', None, None),
    (STDG, 'region', 'x', None), (STDG, 'blocks', 'x', None), (STDG, 'blocks', (('a', 1),), None), (STDG, 'blocks', (('a', 'b', 'c'),), None), (STDG, 'blocks', 3, None))}

FINE = {
    'whole numbers of numpy': (lambda p: partial(InvertSettings, steps=np.int64(4), lr=np.float32(.5)), judged(lambda s: s.steps == 4)),
    'whole numbers for a share': (lambda p: partial(EditSettings, tau_c=1, tau_s=0), judged(lambda s: s.tau_c == 1)),
    'a list for a pair': (lambda p: partial(EditSettings, tau_c=[.2, .8]), judged(lambda s: s.tau_c == (.2, .8)))}

NAMES = {name: (lambda p, n=name: n, ((ValueError, TypeError), r'no (setting|value)|choose|give')) for name in (
    'mask=x', 'mask=', 'steps=0', 'steps=nan', 'steps=2.5', 'eta=nan', 'eta=-1', 'zeta=inf', 'tau_c=2', 'null=maybe', 'x=1', 'steps', '', ',', 'tau_s=', '=1',
    'tau_s=0.2,', 'steps=1e99', 'guidance_scale=nan', 'inner_steps=-1', 'cfg=x', 'region=sky')}
LISTED = {repr(name): (lambda p, n=name: n, ((ValueError, TypeError), 'choose|text')) for name in ('', 'x', None, 3, 'DEFAULT')}

ROWS = [
    *rows('a setting:', lambda p, make: make(), WRONG | RANGES | FINE),
    *rows('a row of a table:', lambda p, name: setting_of(name), NAMES),
    *rows('a preset:', lambda p, name: find_preset(name), LISTED),
    *rows('a method:', lambda p, name: find_method(name), LISTED)]
