"The house: packages whose imports go one way, modules and functions small enough to keep in mind, and ruff's opinion."
import ast
import subprocess
import sys
from dataclasses import fields
from graphlib import CycleError, TopologicalSorter

import nbformat
import pytest
from lessons import ROOT, directives, name_of, notebooks

from videodirector.parts.settings import EditSettings, InvertSettings

FLOORS = (('base',), ('data',), ('world',), ('attention',), ('sampling',), ('models',), ('metrics',), ('segment',), ('parts',),
          ('methods',), ('show', 'bench'), ('app',), ('train',))  # packages; each may import those on its floor and below
LINES, FUNCTION_LINES, PARAMETERS, WIDTH = 350, 40, 8, 110


def modules() -> dict[tuple, str]:
    "The text of every module by its place, such as ('world', 'scene'); `_modidx` is nbdev's."
    house = ROOT / 'videodirector'
    found = {path.relative_to(house).with_suffix('').parts: path.read_text('utf-8') for path in sorted(house.rglob('*.py'))}
    return {place: text for place, text in found.items() if place != ('_modidx',)}


def imported(place: tuple, text: str):  # yields places, those of names one part longer
    "What a module imports of the house, wherever in it the import stands."
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, (ast.Import, ast.ImportFrom)): continue
        level, module = getattr(node, 'level', 0), getattr(node, 'module', None)
        above = ('videodirector', *place)[:-level] if level else ()
        for parts in ('.'.join(filter(None, (*above, module, alias.name))).split('.') for alias in node.names):
            if parts[0] == 'videodirector': yield tuple(parts[1:])


def floor(place: tuple) -> int:
    "How high in the house something is. What is in no package is above all; of the package itself, `__version__` is for all."
    if place == ('__version__',): return -1
    return next((i for i, packages in enumerate(FLOORS) if place and place[0] in packages), len(FLOORS))


def upward(house: dict[tuple, str]) -> list[str]:
    "Imports that go up."
    return [f'{".".join(place)} imports {".".join(target)}' for place, text in house.items()
            for target in imported(place, text) if floor(target) > floor(place)]


def circle(house: dict[tuple, str]) -> list[tuple]:
    "Modules of a floor that import each other in a circle, if there are any."
    graph = {place: {target[:2] for target in imported(place, text) if floor(target) == floor(place)} for place, text in house.items()}
    try: TopologicalSorter(graph).prepare()
    except CycleError as error: return error.args[1]
    return []


def too_large(house: dict[tuple, str]) -> list[str]:
    "Modules and functions that are too long, and functions that ask for too much (`*these` and `**those` are one each)."
    found = [f'{".".join(place)} has {n} lines' for place, text in house.items() if (n := len(text.splitlines())) > LINES]
    for place, text in house.items():
        for f in (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)):
            a, lines = f.args, f.end_lineno - f.lineno + 1
            names = [x.arg for x in (*a.posonlyargs, *a.args, a.vararg, *a.kwonlyargs, a.kwarg) if x]
            taken = len(names) - (names[:1] in (['self'], ['cls']))
            if lines > FUNCTION_LINES: found.append(f'{".".join(place)}.{f.name} has {lines} lines')
            if taken > PARAMETERS: found.append(f'{".".join(place)}.{f.name} takes {taken} parameters')
    return found


def written_again(house: dict[tuple, str]) -> list[str]:
    "Numbers and words that are a setting's default, and stand outside its module as the default of a parameter or field of its name."
    defaults = {(f.name, f.default) for kind in (InvertSettings, EditSettings) for f in fields(kind)
                if isinstance(f.default, (int, float, str)) and not isinstance(f.default, bool) and f.default != ''}
    found = []
    for place, text in house.items():
        for node in ast.walk(ast.parse(text)) if place != ('parts', 'settings') else ():
            pairs = [(node.target, node.value)] if isinstance(node, ast.AnnAssign) else []
            if isinstance(node, ast.arguments):
                pairs = [*zip([*node.posonlyargs, *node.args][::-1], node.defaults[::-1]), *zip(node.kwonlyargs, node.kw_defaults)]
            for name, value in ((getattr(x, 'arg', getattr(x, 'id', None)), value) for x, value in pairs):
                if isinstance(value, ast.Call) and value.args: value = value.args[0]  # as in `option(20, …)`
                if isinstance(value, ast.Constant) and (name, value.value) in defaults: found.append(f'{".".join(place)}: {name}={value.value!r}')
    return found


def too_wide(nb) -> list[str]:
    "Lines of exported cells that are too long to be read at a glance."
    return [f'{cell.id}: {line.strip()[:60]}… has {len(line)} characters' for cell in nb.cells if directives(cell.source).keys() & {'export', 'exports'}
            for line in cell.source.splitlines() if cell.cell_type == 'code' and len(line) > WIDTH]


def test_every_module_is_in_a_package():
    outside = [place for place in modules() if floor(place) == len(FLOORS)]
    assert outside == [('__init__',)]


def test_packages_lend_no_names():
    assert [place for place, text in modules().items() if place[1:] == ('__init__',) and text.strip()] == []


def test_short_names_are_no_packages():
    from videodirector import HOMES
    assert {place[0] for place in modules()} & HOMES.keys() == set()


def test_imports_go_down(): assert upward(modules()) == []
def test_no_package_goes_in_circles(): assert circle(modules()) == []
def test_rooms_are_small(): assert too_large(modules()) == []
def test_a_default_stands_once(): assert written_again(modules()) == []


@pytest.mark.parametrize('path', notebooks(), ids=name_of)
def test_exported_lines_are_short(path): assert too_wide(nbformat.read(path, as_version=4)) == []


def test_these_rules_bite():
    house = {('world', 'scene'): 'from ..models.api import VideoModel', ('base', 'store'): 'def f():\n    import videodirector.world',
             ('world', 'cast'): 'from .pairs import Pair', ('world', 'pairs'): 'from videodirector.world import cast',
             ('app', 'cli'): 'from .. import __version__\nfrom ..world.scene import Scene\nfrom videodirector import invert'}
    assert upward(house) == ['world.scene imports models.api.VideoModel', 'base.store imports world', 'app.cli imports invert']
    assert set(circle(house)) == {('world', 'cast'), ('world', 'pairs')}
    large = 'class A:\n    def f(self, a, b, c, d, *e, g, h, **i):' + '\n        1' * 40 + '\n    def g(a, /, b, c, d, e, f, *, g, h, i): 1\n'
    assert too_large({('x', 'y'): large}) == ['x.y.f has 41 lines', 'x.y.g takes 9 parameters']
    assert too_large({('x', 'y'): 'pass\n' * 351}) == ['x.y has 351 lines']
    again = "def f(tau_c, /, steps=20, *, align='refine', mutual=True, lr=None): 1\nclass A:\n    steps: int = option(20, low=2)\n    lr: float = .3"
    assert written_again({('x', 'y'): again, ('parts', 'settings'): again}) == ['x.y: steps=20', "x.y: align='refine'", 'x.y: steps=20']
    cells = [nbformat.v4.new_code_cell(mark + 'x' * 111) for mark in ('#| export\n', '#| exports\n', '', '#| hide\n')]
    assert len(too_wide(nbformat.v4.new_notebook(cells=cells))) == 2


@pytest.mark.parametrize('folder', ['videodirector', 'tests', 'docs'])
def test_ruff_finds_nothing(folder):
    command = [sys.executable, '-m', 'ruff', 'check', '--no-cache', '--output-format', 'concise', folder]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout + found.stderr
