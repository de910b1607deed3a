"Are all links of a site alive, and does nothing come from elsewhere?"
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


@dataclass
class Page(HTMLParser):
    "What a page names."
    links: list = field(default_factory=list)
    loads: list = field(default_factory=list)  # what a browser fetches without being asked
    ids: set = field(default_factory=set)

    def __post_init__(self): super().__init__()

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        if 'id' in found: self.ids.add(found['id'])
        if tag == 'a' and found.get('href'): self.links.append(found['href'])
        if tag == 'link' and found.get('href'): self.loads.append(found['href'])
        if tag == 'script': self.loads.append(found.get('src') or 'http:script')  # the site has none at all
        if tag in ('img', 'video', 'source', 'iframe', 'audio', 'embed') and found.get('src'): self.loads.append(found['src'])
        self.loads += re.findall(r'url\(["\']?(https?:[^)"\']+)', found.get('style') or '')


def read_page(path: Path) -> Page:
    page = Page()
    page.feed(path.read_text(encoding='utf-8'))
    return page


def complaints(
    site: Path,
    planned: set[str] = frozenset(),  # pages that count as there although they are not built
) -> list[str]:
    "Links that lead nowhere, and whatever is loaded from the network."
    pages = {path.relative_to(site).as_posix(): read_page(path) for path in sorted(site.rglob('*.html'))}
    found = [f'{name} loads {what[:80]}' for name, page in pages.items() for what in page.loads if re.match('(https?:)?//|http:', what)]
    for style in site.rglob('*.css'):
        if re.search(r'@import|url\(', style.read_text(encoding='utf-8')): found.append(f'{style.name} loads something')
    for name, page in pages.items():
        for link in dict.fromkeys(page.links + page.loads):
            parts = urlsplit(link)
            if parts.scheme or link.startswith('//'): continue
            target = Path(name).parent.joinpath(unquote(parts.path)) if parts.path else Path(name)
            target = (site / target).resolve()
            place = target.relative_to(site.resolve()).as_posix() if target.is_relative_to(site.resolve()) else '..'
            if place in pages: dead = parts.fragment and not {parts.fragment, unquote(parts.fragment)} & pages[place].ids
            else: dead = place not in planned and not target.is_file()
            if dead: found.append(f'{name} links to {link}')
    return found
