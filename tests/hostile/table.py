"The table's form: what is given, what is done with it, and what must come of it."
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from clips import moving_clip
from sentences import refuses

from videodirector.app.cli import main
from videodirector.data.mask import Mask

HEIGHT, WIDTH, FRAMES = 32, 48, 6


@dataclass(frozen=True)
class Row:
    "One line of the table."
    room: str  # the class that it belongs to
    given: str  # in words
    act: Callable  # function of a `Place`
    expected: object  # a pattern of the refusal; (error, pattern); or a function that judges the result

    def __str__(self): return f'{self.room}: {self.given}'

    def check(self, place):
        "Do it, and compare."
        if callable(self.expected): self.expected(self.act(place))
        else:
            error, pattern = self.expected if isinstance(self.expected, tuple) else (ValueError, self.expected)
            refuses(pattern, self.act, place, error=error)
            assert not place.left(), 'nothing may be left behind'


@dataclass(frozen=True)
class Typed(Row):
    "A line about the command: `act` gives (exit code, stdout, stderr)."
    def check(self, place):
        if callable(self.expected): return self.expected(self.act(place))
        code, out, error = self.act(place)
        said = error.partition('error: ')[2] or error.removeprefix('videodirector: ')  # argparse has its own way
        assert (code, out) == (2, ''), error
        assert len(said.strip().splitlines()) == 1 and not re.search(r'[a-z]\. [A-Z]', said), said
        assert re.search(self.expected, said), said
        assert not place.left(), 'nothing may be left behind'


def rows(room: str, act: Callable, cases: dict, kind: type = Row) -> list[Row]:
    "Rows of one class: given → (function of the place that makes it, what is expected); `act` takes place and that."
    return [kind(room, given, lambda place, make=make: act(place, make(place)), expected) for given, (make, expected) in cases.items()]


class Place:
    "A folder of its own for a row, and what is ready for all rows."
    def __init__(self, folder: Path, ready: Path, tiny, capsys, monkeypatch):
        self.folder, self.ready, self.tiny, self.capsys, self.monkeypatch = folder, ready, tiny, capsys, monkeypatch
        self.out, self.clip, self.inversion = folder / 'out', ready / 'clip.mp4', ready / 'inversion.safetensors'
        self.film = moving_clip(FRAMES, HEIGHT, WIDTH)

    def left(self) -> list[Path]:
        "Results, and files that should have been temporary."
        return [path for path in self.folder.rglob('*') if path.name == 'out' or path.name[0] == '.' and path.name != '._0.png']

    def file(self, name: str, content: bytes = b'') -> Path:
        "A file with this content."
        (self.folder / name).write_bytes(content)
        return self.folder / name

    def type(self, *words, **options) -> tuple[int, str, str]:
        "The command; exit code, stdout, stderr. Keywords are options; None leaves one out."
        given = [part for name, value in options.items() if value is not None for part in ('--' + name.replace('_', '-'), str(value))]
        self.capsys.readouterr()
        try: code = main([*map(str, words), *given])
        except SystemExit as exit: code = exit.code
        return code, *self.capsys.readouterr()

    def edit(self, *flags, video=None, **changes) -> tuple[int, str, str]:
        "The command `edit`, on the tiny model unless the model or its device is what is tried."
        if not {'model', 'device'} & changes.keys(): self.monkeypatch.setattr('videodirector.app.jobs.load_model', self.load)
        options = dict(source='a bear walking', target='a tiger walking', model='tiny', steps=2, inner_steps=1, frames=4,
                       size=f'{HEIGHT}x{WIDTH}', out=self.out) | changes
        return self.type('edit', video or self.clip, '--quiet', *flags, **options)

    def load(self, args): return self.tiny, None


def same(expected, within: float = 0.) -> Callable:
    "Judges a clip, a mask or an array: is it this?"
    def judge(found):
        found, wanted = (torch.as_tensor(x.values if isinstance(x, Mask) else np.asarray(x)).float() for x in (found, expected))
        torch.testing.assert_close(found, wanted, rtol=0, atol=within)
    return judge


def succeeded(result) -> None:
    "Judges a command: did it end well?"
    code, _, error = result
    assert code == 0, error


def judged(test: Callable) -> Callable:
    "Judges a result by a function that says whether it is right."
    def judge(found): assert test(found), found
    return judge


def skip_unless(can: bool, why: str) -> None:
    "For what this machine cannot show."
    if not can: pytest.skip(why)
