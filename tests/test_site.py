"The site: pages that need no network, links that lead somewhere, a reference that leaves nothing out, and honest times."
import ast
import re

import nbformat
import pytest
from browser import FLAGS, browser_missing, chromium
from lessons import NBS, ROOT, lessons, name_of, notebooks
from nbformat import v4

from docs.api import read_module, read_package
from docs.links import complaints, read_page
from docs.notebooks import Renderer, seen
from docs.reading import Amount, amount
from docs.site_pages import address_of, build
from videodirector.show.diagram import PARTS

LESSON, MODULE = '02_inversion.html', 'api/methods.videodirector.html'  # with formulas and pictures; with classes
SOME = {'index.html', 'shelves.html', 'glossary.html', 'api/index.html', 'show/diagram.html', LESSON, MODULE}


@pytest.fixture(scope='module')
def site(tmp_path_factory): return build(tmp_path_factory.mktemp('site'), SOME)


def text_of(site, address): return (site.out / address).read_text(encoding='utf-8')


def test_links_lead_somewhere_and_nothing_is_loaded(site):
    assert {path.relative_to(site.out).as_posix() for path in site.out.rglob('*.html')} == SOME
    assert complaints(site.out, set(site.pages())) == []


def test_every_notebook_and_module_has_a_page(site):
    assert {f'{name_of(path)}.html' for path in notebooks()} <= site.pages().keys()
    links = {link for page in ('index.html', 'shelves.html', 'api/index.html') for link in read_page(site.out / page).links}
    missing = {address.removeprefix('api/') for address in site.pages()} - {link.partition('#')[0].removeprefix('../') for link in links}
    assert missing == set()


def test_a_lesson_is_shown_without_what_is_for_tools(site):
    text = text_of(site, LESSON)
    assert '<math' in text and 'data:image/png' in text and '#|' not in text and 'google.colab' not in text and '$' not in re.sub(r'<div class="highlight.*?</div>', '', text, flags=re.S)
    assert re.search(r'Lesson · \d+ minutes to read · <a href="api/parts.inversion.html">', text) and 'rel="prev"' in text and 'rel="next"' in text


def test_the_index_says_how_long_each_lesson_takes(site):
    assert len(re.findall(r'<span class="time">\d+ min</span>', text_of(site, 'index.html'))) == len(lessons())
    assert 'method.svg' in text_of(site, 'index.html')


@pytest.mark.skipif(bool(browser_missing()), reason=str(browser_missing()))
def test_pages_fit_a_phone_and_ask_for_nothing(site):
    from playwright.sync_api import sync_playwright
    wide, asked = [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), headless=True, args=FLAGS)
        page = browser.new_page(viewport=dict(width=390, height=844), color_scheme='dark')
        page.on('request', lambda request: request.url.startswith(('file:', 'data:')) or asked.append(request.url))
        for address in SOME:
            page.goto((site.out / address).as_uri())
            if page.evaluate('document.documentElement.scrollWidth') > 390: wide.append(address)
        background = page.evaluate('getComputedStyle(document.body).backgroundColor')
        browser.close()
    assert (wide, asked, background) == ([], [], 'rgb(18, 21, 29)')


def test_a_folder_with_something_else_stays(tmp_path):
    (tmp_path / 'thesis.tex').touch()
    with pytest.raises(ValueError, match='holds something that is no site'): build(tmp_path)
    assert (tmp_path / 'thesis.tex').exists()


def test_what_is_wrong_is_found(tmp_path):
    (tmp_path / 'a.html').write_text('<p id="x"><a href="b.html">1</a><a href="#y">2</a><a href="#x">3</a><a href="c.html">4</a><a href="../d">5</a>'
                                     '<script src="https://cdn.io/x.js"></script><link href="//fonts.io/x.css"><img src="http://x.io/y.png">')
    (tmp_path / 's.css').write_text('@import "x"')
    assert complaints(tmp_path, {'c.html'}) == ['a.html loads https://cdn.io/x.js', 'a.html loads //fonts.io/x.css', 'a.html loads http://x.io/y.png',
                                                's.css loads something', 'a.html links to b.html', 'a.html links to #y', 'a.html links to ../d']


def test_links_to_notebooks_become_links_to_pages():
    renderer = Renderer(escape=False)
    renderer.source, renderer.place = 'https://x.io', NBS / 'show'
    assert 'href="../04_null_text.html#a"' in renderer.link('x', '../04_null_text.ipynb#a')
    assert 'href="https://x.io/blob/main/videodirector/widgets/click.js"' in renderer.link('x', '../../videodirector/widgets/click.js')
    assert renderer.image('Colab', 'https://x.io/y.svg') == '<span class="badge">Colab</span>'


def test_directives_and_hidden_cells_are_not_seen():
    hidden, code, empty = (v4.new_code_cell(source) for source in ('#| hide\n1', '#| export\n#| eval: false\nx = 1', '#| default_exp a'))
    assert not seen(hidden) and seen(code) and code.source == 'x = 1' and not seen(empty)


# the reference

def test_the_reference_leaves_nothing_out():
    for module in read_package(ROOT / 'videodirector'):
        text = (ROOT / 'videodirector' / (module.name.replace('.', '/') + '.py')).read_text(encoding='utf-8')
        public = next(ast.literal_eval(node.value) for node in ast.parse(text).body if isinstance(node, ast.Assign) and node.targets[0].id == '__all__')
        assert sorted(entry.name for entry in module.entries) == sorted(public), module.name
        assert (NBS / module.notebook).exists() and all(entry.code for entry in module.entries)


def test_signatures_keep_their_comments(tmp_path):
    (tmp_path / 'm.py').write_text(""""A module."
# AUTOGENERATED! DO NOT EDIT! File to edit: ../../nbs/a/m.ipynb.
__all__ = ['f', 'g', 'C', 'X']
def f(
    x: int,  # in metres
) -> int:  # doubled
    "Doubles."
    return 2 * x
def g(τ): return τ
@dataclass
class C:
    "A class."
    x: int  # the x
    @property
    def y(self) -> int:
        "A y."
        return 1
    def _z(self): pass
X = 3
""")
    module = read_module(tmp_path / 'm.py', tmp_path)
    f, g, c, x = module.entries
    assert (module.says, module.notebook, address_of(module)) == ('A module.', 'a/m.ipynb', 'api/m.html')
    assert f.code == 'def f(\n    x: int,  # in metres\n) -> int:  # doubled' and f.says == 'Doubles.'
    assert g.code == 'def g(τ):' and x.code == 'X = 3'
    assert c.code == '@dataclass\nclass C:\n    x: int  # the x' and [m.code for m in c.methods] == ['@property\ndef y(self) -> int:']


# reading time

def test_reading_time_counts_what_a_reader_sees():
    picture = v4.new_output('display_data', data={'image/png': '…', 'text/plain': 'x'})
    film = v4.new_output('display_data', data={'text/html': '<img src="data:image/gif;base64,…"><img src="data:image/gif;base64,…">'})
    nb = v4.new_notebook(cells=[
        v4.new_markdown_cell('# Two words\n\n[three more words](far/away.ipynb)\n<!-- figures of x.json\n3 = a\n-->'),
        v4.new_code_cell('#| export\nx = 1\n\ny = 2', outputs=[picture, film]), v4.new_code_cell('#| hide\nz = 3')])
    assert amount(nb) == Amount(words=5, pictures=3, lines=2)
    assert Amount(200, 0, 0).minutes == Amount(0, 3, 0).minutes == Amount(0, 0, 20).minutes == 1


@pytest.mark.parametrize('path', lessons(), ids=name_of)
def test_a_lesson_has_a_reading_time(path): assert 1 < amount(nbformat.read(path, as_version=4)).minutes < 60


# the glossary

def test_the_glossary_has_a_line_for_each_word_in_order():
    words = re.findall(r'^\| ([^|]+) \| [^|]+ \|$', nbformat.read(NBS / 'glossary.ipynb', as_version=4).cells[1].source, re.M)[1:]
    assert words == sorted(words, key=str.lower) and len(words) == len(set(words)) > 30
    named = ', '.join(words)
    assert [part for part in PARTS if part.rstrip('s') not in named] == ['edit loop', 'output']  # which say themselves what they are
