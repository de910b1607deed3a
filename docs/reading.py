"How long a notebook takes to read, and how much code stands in a row."
import re
from typing import NamedTuple

from lessons import NOTE, directives

WORDS_A_MINUTE, SECONDS_A_PICTURE, SECONDS_A_LINE = 200, 20, 3


class Amount(NamedTuple):
    "What there is to read."
    words: int  # of prose
    pictures: int
    lines: int  # of code, exported code included

    @property
    def minutes(self) -> float: return self.words / WORDS_A_MINUTE + (self.pictures * SECONDS_A_PICTURE + self.lines * SECONDS_A_LINE) / 60


def pictures_in(output) -> int:
    "1 if an output of a cell shows a picture, of whatever kind; of several in HTML, all."
    data = output.get('data', {})
    if any(kind.startswith('image/') for kind in data): return 1
    return ''.join(data.get('text/html', '')).count('data:image/')


def code_lines(cell) -> int:
    "What a reader sees of a cell's code: neither empty lines nor directives, and nothing of a hidden cell."
    if cell.cell_type != 'code' or 'hide' in directives(cell.source): return 0
    return sum(bool(line.strip()) and not line.startswith('#|') for line in cell.source.splitlines())


def amount(nb) -> Amount:
    "What a reader sees of a notebook: neither hidden cells nor empty lines nor directives."
    words = pictures = lines = 0
    for cell in nb.cells:
        if cell.cell_type == 'markdown':
            text = NOTE.sub('', cell.source)
            words += len(re.findall(r"\w[\w'’-]*", re.sub(r'\]\([^)]*\)', ']', text)))
            pictures += len(re.findall(r'!\[[^\]]*\]\((?!https?:)|<img ', text))
        elif cell.cell_type == 'code' and 'hide' not in directives(cell.source):
            lines += code_lines(cell)
            pictures += sum(map(pictures_in, cell.outputs))
    return Amount(words, pictures, lines)


def longest_run(nb) -> int:
    "The most lines of code that follow each other without prose or an output between them."
    longest = run = 0
    for cell in nb.cells:
        if cell.cell_type == 'markdown': run = 0
        longest = max(longest, run := run + code_lines(cell))
        if cell.get('outputs'): run = 0
    return longest
