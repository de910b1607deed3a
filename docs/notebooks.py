"A notebook as a page's body: no directives, no hidden cells, links to pages, formulas as MathML."
import os
import re
from pathlib import Path
from urllib.parse import urlsplit

import nbformat
from jinja2 import pass_context
from latex2mathml.converter import convert
from lessons import NBS, NOTE, ROOT, directives, name_of
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from traitlets import default
from traitlets.config import Config

HERE = Path(__file__).parent
SHOWN = ['image/svg+xml', 'image/gif', 'text/html', 'text/markdown', 'image/png', 'image/jpeg', 'text/plain']  # the first that an output has
NAMES = re.compile(r'^(?:def|class) ([a-zA-Z]\w*)|^([A-Z][A-Z_]+) = ', re.M)


def elsewhere(url: str) -> bool: return bool(urlsplit(url).scheme) or url.startswith(('//', '#'))


class Renderer(IPythonRenderer):
    "Markdown in which nothing comes from the network: formulas are MathML, pictures of other hosts are their words."
    source = ''  # where what lies outside of nbs/ can be read
    place = NBS  # folder of the notebook

    def link(self, text, url, title=None):
        address, _, fragment = url.partition('#')
        if not elsewhere(url):
            outside = os.path.relpath(self.place / address, ROOT)
            if not outside.startswith('nbs'): address = f'{self.source}/blob/main/{outside}'
            else: address = re.sub(r'\.ipynb$', '.html', address)
            url = address + f'#{fragment}' * bool(fragment)
        return super().link(text, url, title)

    def image(self, text, url, title=None):
        if elsewhere(url): return f'<span class="badge">{text}</span>'
        return super().image(text, url, title)

    def inline_math(self, body): return convert(body)
    def block_math(self, body): return convert(body, display='block')
    def multiline_math(self, text): return convert(text.strip('$'), display='block')
    def latex_environment(self, name, body): return convert(rf'\begin{{{name}}}{body}\end{{{name}}}', display='block')


class Exporter(HTMLExporter):
    "nbconvert's pages without a head, by the template in `docs/notebook`."
    source = ''

    @default('template_name')
    def _template_name_default(self): return 'notebook'

    @default('extra_template_basedirs')
    def _basedirs_default(self): return [str(HERE)]

    @property
    def default_config(self):
        settings = super().default_config.copy()
        settings.merge(Config(NbConvertBase=Config(display_data_priority=SHOWN)))
        return settings

    def default_filters(self):
        yield from super().default_filters()
        yield 'names_in', lambda code: ', '.join(a or b for a, b in NAMES.findall(code))

    @pass_context
    def markdown2html(self, context, source):
        renderer = Renderer(escape=False, anchor_link_text='#', exclude_anchor_links=False)
        renderer.source, renderer.place = self.source, Path(context['resources']['place'])
        return MarkdownWithMath(renderer=renderer).render(source)


def seen(cell) -> bool:
    "Whether a reader is shown a cell, which loses its directives and notes in place."
    if cell.cell_type == 'markdown': cell.source = NOTE.sub('', cell.source)
    if cell.cell_type != 'code': return True
    marks = directives(cell.source)
    cell.source = re.sub(r'^#\s*\|.*\n?', '', cell.source, flags=re.M).strip('\n')
    return 'hide' not in marks and bool(cell.source or cell.outputs)


def title_of(nb) -> str:
    "What the first line of a notebook calls it."
    return nb.cells[0].source.splitlines()[0].lstrip('# ')


def promise_of(nb) -> str:
    "The sentence below the title, as markdown."
    return re.sub(r'^> ?', '', '\n'.join(line for line in nb.cells[0].source.splitlines() if line.startswith('>')), flags=re.M).strip()


def body_of(
    path: Path,  # of a notebook
    exporter: Exporter,
    change=lambda cell: None,  # function that may change a markdown cell in place
) -> str:  # HTML
    "What a page shows of a notebook."
    nb = nbformat.read(path, as_version=4)
    nb.metadata.language_info = dict(name='python', pygments_lexer='python')  # nbdev_clean drops it
    nb.cells = [cell for cell in nb.cells if seen(cell)]
    for cell in nb.cells:
        if cell.cell_type == 'markdown': change(cell)
    about = f'A picture in “{title_of(nb)}”; the text beside it says what it shows.'
    return exporter.from_notebook_node(nb, dict(place=str(path.parent), about=about, name=name_of(path)))[0]
