"All pages of the site, and the folder that they are written to."
import re
import shutil
from configparser import ConfigParser
from dataclasses import dataclass
from html import escape
from pathlib import Path

import nbformat
from jinja2 import Environment, FileSystemLoader
from lessons import NBS, ROOT, beside_the_course, is_tour, lessons, name_of
from nbconvert.filters import Highlight2HTML, markdown2html
from pygments.formatters import HtmlFormatter

from videodirector.show.diagram import method_diagram

from .api import read_package
from .notebooks import HERE, Exporter, body_of, promise_of, title_of
from .reading import Amount, amount

highlight = Highlight2HTML(pygments_lexer='python')


@dataclass
class Place:
    "A notebook's page."
    path: Path
    title: str
    promise: str  # HTML
    amount: Amount

    @property
    def page(self) -> str: return f'{name_of(self.path)}.html'


def place_of(path: Path) -> Place:
    nb = nbformat.read(path, as_version=4)
    return Place(path, title_of(nb), markdown2html(promise_of(nb)).removeprefix('<p>').removesuffix('</p>'), amount(nb))


def said(text: str) -> str:
    "A docstring as HTML; its paragraphs are markdown."
    return markdown2html(text) if text else ''


class Site:
    "What the pages have in common, and where they go."

    def __init__(self, out: Path):
        settings = ConfigParser()
        settings.read(ROOT / 'settings.ini', encoding='utf-8')
        self.out, self.exporter = Path(out), Exporter(exclude_input_prompt=True, exclude_output_prompt=True)
        self.exporter.source = settings['DEFAULT']['git_url']
        self.course = list(map(place_of, lessons()))
        self.shelves = list(map(place_of, beside_the_course()))
        self.modules = read_package(ROOT / 'videodirector')
        self.frame = Environment(loader=FileSystemLoader(HERE), trim_blocks=True, lstrip_blocks=True).get_template('page.html.j2')

    def pages(self) -> dict[str, callable]:
        "Every page by its address, as a function that writes it."
        order = [None, *self.course, None]
        found = {place.page: (lambda p=place, b=before, a=after: self.notebook(p, b, a)) for before, place, after in zip(order, order[1:], order[2:])}
        found |= {place.page: (lambda p=place: self.notebook(p)) for place in self.shelves}
        found |= {address_of(module): (lambda m=module: self.module(m)) for module in self.modules}
        return found | {'index.html': self.home, 'shelves.html': self.shelf_list, 'api/index.html': self.module_list}

    def write(self, address: str, title: str, body: str, kind: str = '', **more) -> None:
        "A page in its frame."
        file = self.out / address
        file.parent.mkdir(parents=True, exist_ok=True)
        root = '../' * address.count('/')
        file.write_text(self.frame.render(title=title, body=body, root=root, kind=kind, course='The-lessons', **more), encoding='utf-8')

    def assets(self) -> None:
        "The style sheet, and what notebooks link to that is no notebook."
        self.out.mkdir(parents=True, exist_ok=True)
        light, dark = (HtmlFormatter(style=style).get_style_defs('.highlight') for style in ('default', 'github-dark'))
        style = (HERE / 'style.css').read_text(encoding='utf-8')
        code = f'{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}\n'
        (self.out / 'style.css').write_text(code + style, encoding='utf-8')
        (self.out / 'method.svg').write_text(method_diagram()._repr_svg_(), encoding='utf-8')
        for path in NBS.rglob('*'):
            if path.is_file() and path.suffix != '.ipynb' and not any(part.startswith('.') for part in path.relative_to(NBS).parts):
                target = self.out / path.relative_to(NBS)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)

    def notebook(self, place: Place, before: Place | None = None, after: Place | None = None) -> None:
        "A lesson or a shelf."
        kind, root = 'Lesson' if place in self.course else 'Tour' if is_tour(place.path) else '', '../' * place.page.count('/')
        above = f'{kind} · {place.amount.minutes:.0f} minutes to read' if kind else ''
        if module := next((m for m in self.modules if m.notebook == f'{name_of(place.path)}.ipynb'), None):
            above += ' · ' * bool(above) + f'<a href="{root}{address_of(module)}">API: {module.name}</a>'
        ends = {name: (p.page, p.title) for name, p in (('before', before), ('after', after)) if p}
        self.write(place.page, place.title, body_of(place.path, self.exporter), 'notebook', above=above, **ends)

    def home(self) -> None:
        "The index notebook, with the method's diagram and the time that each lesson takes."
        minutes = {place.path.name: place.amount.minutes for place in self.course}

        def add(cell):
            row = r'^(\| \[[^\]]+\]\((\d\w*\.ipynb)\)) \|'
            cell.source = re.sub(row, lambda m: f'{m[1]} <span class="time">{minutes[m[2]]:.0f} min</span> |', cell.source, flags=re.M)
            cell.source = cell.source.replace('## The lessons\n', '## The lessons\n\n![The method in one picture](method.svg)\n')
        self.write('index.html', 'videodirector', body_of(NBS / 'index.ipynb', self.exporter, add), 'notebook')

    def shelf_list(self) -> None:
        "All shelves with their sentences."
        body = '<h1>Shelves</h1><p>One idea each, with its source, its tests and something to look at; tours go through a shelf at length. No lesson needs them.</p>'
        for folder in sorted({place.path.parent for place in self.shelves}):
            rows = [(place.page, place.title, place.promise) for place in self.shelves if place.path.parent == folder]
            body += self.section(folder.relative_to(NBS).as_posix().replace('.', 'Beside the course'), rows)
        self.write('shelves.html', 'Shelves', body, 'list')

    def module_list(self) -> None:
        "All modules with their sentences."
        body = '<h1>API</h1><p>Every public name, with the comments that stand beside its parameters.</p>'
        for package in dict.fromkeys(module.name.partition('.')[0] for module in self.modules):
            rows = [(address_of(m).removeprefix('api/'), m.name, said(m.says)) for m in self.modules if m.name.partition('.')[0] == package]
            body += self.section(package, rows)
        self.write('api/index.html', 'API', body, 'list')

    def section(self, title: str, rows: list[tuple]) -> str:
        "A heading, and a line for each page: address, name, what it says."
        lines = ''.join(f'<dt><a href="{page}">{escape(name)}</a></dt><dd>{says}</dd>' for page, name, says in rows)
        return f'<h2 id="{title}">{title}</h2><dl>{lines}</dl>'

    def module(self, module) -> None:
        "The reference of one module."
        def show(entry, tag): return f'<{tag} id="{entry.name}">{entry.name}</{tag}>{highlight(entry.code)}{said(entry.says)}'
        body = f'<h1>{module.name}</h1><blockquote>{said(module.says)}</blockquote>'
        for entry in module.entries:
            methods = ''.join(f'<div class="method">{highlight(m.code)}{said(m.says)}</div>' for m in entry.methods)
            body += f'<div class="entry">{show(entry, "h3")}{methods}</div>'
        notebook = module.notebook.removesuffix('.ipynb')
        self.write(address_of(module), module.name, body, 'api', above=f'<a href="../{notebook}.html">Its notebook: {notebook}</a>')


def address_of(module) -> str: return f'api/{module.name}.html'


def build(
    out: str | Path,  # folder; what an earlier build left there goes
    only: set[str] | None = None,  # addresses to build; None: all
) -> Site:
    "Write the site. A `ValueError` for a folder that holds something else."
    site = Site(out)
    if site.out.exists():
        if any(site.out.iterdir()) and not (site.out / 'method.svg').exists():
            raise ValueError(f'{str(out)!r} holds something that is no site; choose another folder with --out.')
        shutil.rmtree(site.out)
    site.assets()
    for address, make in site.pages().items():
        if only is None or address in only: make()
    return site
