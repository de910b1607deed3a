"The reference: what every module offers, with the comments beside its parameters, read from the modules as they stand."
import ast
import re
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Entry:
    "A function, class, method or constant."
    name: str
    code: str  # signature with its comments; fields of a class; a constant's value
    says: str = ''  # its docstring
    methods: list = field(default_factory=list)


@dataclass
class Module:
    "A module's public names."
    name: str  # such as 'world.cast'
    says: str
    notebook: str  # where it is written, such as 'world/cast.ipynb'
    entries: list


LONGEST = 12  # lines of a constant that are shown


def read_module(
    path: Path,
    package: Path,  # the folder of `videodirector`
) -> Module:
    "The names in a module's `__all__`, in its order."
    text = path.read_text(encoding='utf-8')
    tree, lines = ast.parse(text), text.splitlines()
    public = next((ast.literal_eval(node.value) for node in tree.body if names_of(node) == ['__all__']), [])
    found = {name: entry(node, name, lines) for node in tree.body for name in names_of(node) if name in public}
    written = re.search(r'File to edit: (?:\.\./)+nbs/(\S+\.ipynb)', text)
    name = '.'.join(path.relative_to(package).with_suffix('').parts)
    return Module(name, ast.get_docstring(tree) or '', written[1], [found[name] for name in public if name in found])


def names_of(node) -> list[str]:
    "What a statement at the top of a module defines."
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)): return [node.name]
    targets = getattr(node, 'targets', []) if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)]


def entry(node, name: str, lines: list[str]) -> Entry:
    "A public name as the reference shows it."
    if isinstance(node, ast.FunctionDef): return Entry(name, signature(node, lines), ast.get_docstring(node) or '')
    if not isinstance(node, ast.ClassDef):
        code = lines[node.lineno - 1:node.end_lineno]
        return Entry(name, '\n'.join(code if len(code) <= LONGEST else [*code[:LONGEST - 1], '    …']))
    fields = [line for part in node.body if isinstance(part, (ast.AnnAssign, ast.Assign)) for line in lines[part.lineno - 1:part.end_lineno]]
    methods = [entry(part, part.name, lines) for part in node.body if isinstance(part, ast.FunctionDef) and not part.name.startswith('_')]
    head = lines[first_line(node) - 1:node.body[0].lineno - 1] or [lines[node.lineno - 1]]
    return Entry(name, '\n'.join([*head, *fields]), ast.get_docstring(node) or '', methods)


def first_line(node) -> int: return min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])


def signature(node, lines: list[str]) -> str:
    "A function's head with its comments, as it is written; of one that fits on a line, what stands before its body."
    body, start = node.body[0], first_line(node)
    if body.lineno > node.lineno: head = lines[start - 1:body.lineno - 1]
    else: head = [*lines[start - 1:node.lineno - 1], lines[node.lineno - 1].encode()[:body.col_offset].decode().rstrip()]
    return '\n'.join(line[node.col_offset:] for line in head).strip()


def read_package(package: Path) -> list[Module]:
    "Every module that a notebook makes, by name."
    paths = (path for path in package.rglob('*.py') if path.name not in ('__init__.py', '_modidx.py'))
    return sorted((read_module(path, package) for path in paths), key=lambda module: module.name)
