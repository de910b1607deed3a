"""Run the notebooks in nbs/ in a real kernel and store their outputs, or compare with those that are stored.

    python tests/lessons.py nbs/02_inversion.ipynb            # re-execute one notebook and save what it shows
    python tests/lessons.py nbs/world                         # those of a folder; of nbs/, all, and README.md from the index
    python tests/lessons.py --check nbs/02_inversion.ipynb    # say what it prints otherwise than is saved, and save nothing
"""
import argparse
import base64
import io
import json
import os
import re
import time
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from pathlib import Path
from statistics import mean

import nbformat
import torch
from execnb.nbio import dict2nb, write_nb
from jupyter_core.utils import run_sync
from nbclient import NotebookClient
from nbconvert import MarkdownExporter
from nbdev.clean import clean_nb
from nbformat import v4
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
NBS = ROOT / 'nbs'
SKIP_FLAGS = {'notest', 'slow'}  # as tst_flags in settings.ini
WIDGET_VIEW = 'application/vnd.jupyter.widget-view+json'


def lessons() -> list[Path]:
    "The course, in reading order: the numbered notebooks at the top of nbs/."
    return sorted(NBS.glob('[0-9]*.ipynb'))


def beside_the_course() -> list[Path]:
    "What is in the folders of nbs/, and what has no number at the top."
    course = {*lessons(), NBS / 'index.ipynb'}
    return sorted(path for path in NBS.rglob('*.ipynb') if path not in course and '.ipynb_checkpoints' not in path.parts)


def is_tour(path: Path) -> bool:
    "Whether a notebook of a folder exports no module. It goes through its shelf at length, as a lesson would, and may take as long to run."
    return path.parent != NBS and '#| default_exp' not in path.read_text(encoding='utf-8')


def tours() -> list[Path]:
    "The long notebooks beside the course."
    return list(filter(is_tour, beside_the_course()))


def shelves() -> list[Path]:
    "The reference notebooks: one idea and one module each, and quick to run."
    return [path for path in beside_the_course() if not is_tour(path)]


def notebooks() -> list[Path]:
    "Every notebook of the project, the index last."
    return [*lessons(), *tours(), *shelves(), NBS / 'index.ipynb']


def name_of(path: Path) -> str:
    "A notebook's place in nbs/, such as `world/places`."
    return path.relative_to(NBS).with_suffix('').as_posix()


def directives(source: str) -> dict[str, str]:
    "The `#|` lines at the top of a cell, as name → value."
    found = {}
    for line in source.splitlines():
        if not (match := re.match(r'\s*#\s*\|\s*([\w-]+)\s*:?\s*(.*)', line)): break
        found[match[1]] = match[2].strip()
    return found


def is_skipped(source: str) -> bool:
    "Whether a cell is kept as it is: `#| eval: false`, a test flag, or nbdev's own export call."
    marks = directives(source)
    return marks.get('eval', '').lower() == 'false' or bool(SKIP_FLAGS & marks.keys()) or 'nbdev_export(' in source


class LessonClient(NotebookClient):
    "An nbclient that leaves skipped cells, and the outputs saved in them, alone."

    async def async_execute_cell(self, cell, cell_index, **kwargs):
        if cell.cell_type == 'code' and is_skipped(cell.source): return cell
        return await super().async_execute_cell(cell, cell_index, **kwargs)


def strip_output(output) -> bool:
    "Take the widget view out of `output` in place; False if nothing worth saving is left."
    if output.output_type == 'stream': return output.name != 'stderr'
    data = output.get('data', {})
    if data.pop(WIDGET_VIEW, None) is None: return True
    return any(kind != 'text/plain' for kind in data)


def shrink_picture(output) -> None:
    "Give a large PNG a palette of 256 colours, in place: a third of the bytes, and the eye does not see it."
    data = output.get('data', {})
    picture = base64.b64decode(data.get('image/png', ''))
    if len(picture) < 50_000 or not picture.startswith(b'\x89PNG'): return
    image, small = Image.open(io.BytesIO(picture)), io.BytesIO()
    if image.mode == 'P': return
    image.convert('RGB').quantize(256, kmeans=1, dither=Image.Dither.FLOYDSTEINBERG).save(small, 'png', optimize=True)
    data['image/png'] = base64.b64encode(small.getvalue()).decode()


def strip(nb) -> None:
    "Drop what must not be saved: progress bars and warnings (stderr), widget views, widget state."
    nb.metadata.pop('widgets', None)
    for cell in nb.cells:
        if cell.cell_type != 'code': continue
        cell.outputs = [o for o in cell.outputs if strip_output(o)]


def save_notebook(nb, path: Path) -> None:
    "Write `nb` as nbdev_clean would leave it, its large pictures made small, through a temporary file."
    for cell in nb.cells:
        for output in cell.get('outputs', ()): shrink_picture(output)
    clean = dict2nb(json.loads(nbformat.writes(nb)))
    clean_nb(clean)
    temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
    try:
        write_nb(clean, temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def kernel_env() -> dict[str, str]:
    "The kernel's environment: this checkout first on the path, matplotlib inline."
    env = {k: v for k, v in os.environ.items() if k != 'MPLBACKEND'}
    env['PYTHONPATH'] = os.pathsep.join(filter(None, [str(ROOT), env.get('PYTHONPATH')]))
    env['TOKENIZERS_PARALLELISM'] = 'false'
    return env


@contextmanager
def shared_kernel():
    "A kernel for many notebooks, one after the other, so that libraries are loaded once; pass it to `execute_lesson`."
    manager = LessonClient(v4.new_notebook(), kernel_name='python3').create_kernel_manager()
    try: yield manager
    finally:
        if manager.has_kernel: run_sync(manager.shutdown_kernel)(now=True)


def cleared(folder: Path):
    "A cell that makes a used kernel as good as new: no names, and the right folder."
    libraries = 'import diffusers, transformers'  # whose loggers write for ever to the stderr that they find first; later it may be redirected
    return v4.new_code_cell(f'%reset -f\n{libraries}, os\nos.chdir({str(folder)!r})\ndel diffusers, transformers, os')


def execute_lesson(
    path: str | Path,  # the notebook
    save: bool = False,  # write the fresh outputs into it?
    timeout: int = 600,  # seconds that one cell may take
    kernel=None,  # from `shared_kernel`; None: one of its own
):
    "Run a notebook top to bottom in its own folder; returns it, raises `CellExecutionError`."
    path = Path(path).resolve()
    nb = nbformat.read(path, as_version=4)
    if kernel: nb.cells.insert(0, cleared(path.parent))
    client = LessonClient(nb, km=kernel, timeout=timeout, kernel_name='python3', record_timing=False,
                          resources={'metadata': {'path': str(path.parent)}})
    client.execute(env=kernel_env())
    if kernel: nb.cells.pop(0)
    strip(nb)
    if save: save_notebook(nb, path)
    return nb


# What a run prints, against what is saved. Another machine rounds otherwise, so numbers may be a little off; words may not.

SHARE, UNITS, NOISE = .02, 2, 1e-5  # by 2 %, by two units of the last printed digit, or by what is too small to matter
NUMBER = re.compile(r'(?:(?<![\w.])[-−])?\d+(?:,\d{3})*(?:\.\d*)?(?:e[-+]\d+)?(?: ?%)?')
TIME = re.compile(r'\d[\d.,]* ?(?:µs|ms|s|min|seconds|minutes|it/s|s/it)\b')
ADDRESS = re.compile(r'0x[0-9a-f]{6,}')


def printed(cell) -> str:
    "All that a cell printed, and its results as text."
    texts = [o.text if o.output_type == 'stream' else '\n' + (o.data.get('text/markdown') or o.data.get('text/plain', '')) + '\n'
             for o in cell.outputs if o.output_type != 'error']
    return ''.join(texts).strip()


def words_and_numbers(text: str) -> tuple[list[str], list[str]]:
    "What stands between the numbers of a text, however it is spaced, and the numbers; times and addresses are left out."
    text = ADDRESS.sub('0x…', TIME.sub('… s', text))
    return [' '.join(words.split()) for words in NUMBER.split(text)], NUMBER.findall(text)


def number_of(text: str) -> tuple[float, float]:
    "A printed number, and the unit of its last digit; 0 for a count, which has no such unit."
    digits, _, power = text.rstrip(' %').replace(',', '').replace('−', '-').partition('e')
    decimals, scale = len(digits.partition('.')[2]), 10. ** int(power or 0)
    return float(digits) * scale, 10. ** -decimals * scale if decimals or power or '%' in text else 0.


def near(a: str, b: str) -> bool:
    "Could two printed numbers be the same, computed on two machines?"
    (x, unit), (y, other) = number_of(a), number_of(b)
    return abs(x - y) <= max(SHARE * max(abs(x), abs(y)), UNITS * max(unit, other), NOISE if unit else 0) * (1 + 1e-9)


def same_text(a: str, b: str) -> bool:
    "Do two texts say the same in the same words, with numbers that are near each other?"
    (words, numbers), (others, their) = words_and_numbers(a), words_and_numbers(b)
    return words == others and all(map(near, numbers, their))


def shows(cell) -> set[str]:
    "The kinds of pictures that a cell shows."
    return {kind for o in cell.outputs for kind in o.get('data', {}) if kind.startswith('image/')}


def differences(saved, fresh) -> list[str]:
    "What a run shows otherwise than is saved, cell by cell; cells marked `#| volatile` may say what they like."
    before, found = {cell.id: cell for cell in saved.cells}, []
    for cell in fresh.cells:
        if cell.cell_type != 'code' or is_skipped(cell.source) or 'volatile' in directives(cell.source): continue
        old, what = before[cell.id], cell.source.strip().splitlines()[:1] or ['']
        if not old.outputs: continue  # nothing is saved, so nothing can have gone stale
        if not same_text(printed(old), printed(cell)):
            found.append(f'Cell {cell.id} ({what[0][:60]}) has saved\n{printed(old)}\nand prints now\n{printed(cell)}')
        if shows(old) != shows(cell): found.append(f'Cell {cell.id} ({what[0][:60]}) has saved {shows(old)} and shows now {shows(cell)}')
    return found


# Figures in prose. A markdown cell that quotes stored results says at its end, where no reader sees it, what each figure is:
#
#     <!-- figures of results/evaluate_model.json
#     99.5 % = generated / subject
#     -->
#
# A path goes down by keys; `*` and the like stand for several, `kind=colour` for rows of a list, `{a − b}` for the difference of
# two entries, pair by pair. Of several numbers it is the mean, or what stands before the path: least, greatest, count, low, high
# (the ends of the 95 % interval).

NOTE = re.compile(r'\s*<!-- figures of (\S+)\n(.*?)-->', re.S)


def quoted(source: str) -> list[tuple[str, str, str]]:
    "(file, figure, path) for every figure that a cell says to quote."
    return [(file, *map(str.strip, line.split(' = ', 1))) for file, lines in NOTE.findall(source) for line in lines.strip().splitlines()]


def numbers_at(data, path: list[str]) -> dict[tuple, float]:
    "All numbers at a path, by the keys that its patterns stand for; `KeyError` if there are none."
    if not path: return {(): float(data)}
    step, *rest = path
    if step.startswith('{'):
        a, b = (numbers_at(data[name], rest) for name in step.strip('{}').split(' − '))
        return {keys: a[keys] - b[keys] for keys in a if keys in b}
    if isinstance(data, list):
        field, _, wanted = step.partition('=')
        chosen = {i: row for i, row in enumerate(data) if step == '*' or str(row.get(field)) == wanted}
    else: chosen = {key: x for key, x in data.items() if key == step or step not in data and fnmatchcase(key, step)}
    found = {}
    for key, x in chosen.items():
        with suppress(KeyError): found |= {(key, *more): number for more, number in numbers_at(x, rest).items()}
    if not found: raise KeyError(step)
    return found


def stored_figure(data, path: str) -> float:
    "The number that a path stands for."
    first, _, rest = path.partition(' ')
    how, way = (first, rest) if first in ('least', 'greatest', 'count', 'low', 'high') else ('mean', path)
    found = [number for _, number in sorted(numbers_at(data, way.split(' / ')).items())]
    if how in ('low', 'high'):
        from videodirector.bench.tables import interval
        return interval(torch.tensor(found, dtype=torch.float64))[1 if how == 'low' else 2]
    return dict(least=min, greatest=max, count=len, mean=mean)[how](found)


def wrong_figures(source: str, folder: Path) -> list[str]:
    "What a cell quotes that is not in its prose, or is not what the results in this folder say, rounded to the digits it shows."
    prose, complaints = NOTE.sub('', source), []
    for file, figure, path in quoted(source):
        if not re.search(rf'(?<![\w.,]){re.escape(figure)}(?![\d]|\.\d)', prose): complaints.append(f'{figure!r} is not in the prose')
        try: value = stored_figure(json.loads((folder / file).read_text(encoding='utf-8')), path)
        except (KeyError, FileNotFoundError) as error: complaints.append(f'{file} has no {path!r} ({error!r})'); continue
        shown, unit = (1., 1e-9) if figure == 'all' else number_of(figure.lstrip('+'))
        if '%' in figure: value *= 100
        if abs(value - shown) > (unit or 1) / 2 + 1e-9: complaints.append(f'{figure!r} is {value:.6g} in {file}: {path}')
    return complaints


def readme_text() -> str:
    "README.md: the index notebook as markdown, directives and notes dropped, relative links made from the project's root."
    nb = nbformat.read(NBS / 'index.ipynb', as_version=4)
    nb.metadata.language_info = {'name': 'python'}  # nbdev_clean drops it; code blocks want it
    text, resources = MarkdownExporter().from_notebook_node(nb)
    if resources.get('outputs'): raise ValueError('index.ipynb has a picture as an output; link one in images/ instead.')
    text = re.sub(r'^#\|.*\n', '', NOTE.sub('', text), flags=re.M)
    relative = r'(?!https?:|#|mailto:|\.\./|nbs/)'
    text = re.sub(rf'(\]\(|src="){relative}', r'\1nbs/', text)
    return re.sub(r'(\]\(|src=")\.\./', r'\1', text).strip() + '\n'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('places', nargs='*', type=Path, default=[NBS], help='notebooks, or folders of them (default: all)')
    parser.add_argument('--check', action='store_true', help='compare with what is saved instead of saving')
    args, shelved = parser.parse_args(), {*shelves()}
    chosen = [[path for path in notebooks() if place.resolve() in (path, *path.parents)] for place in args.places]
    if not all(chosen): parser.error(f'there is no notebook at {args.places[chosen.index([])]}')
    with shared_kernel() as kernel:
        for path in dict.fromkeys(path for some in chosen for path in some):
            start, saved = time.perf_counter(), nbformat.read(path, as_version=4)
            fresh = execute_lesson(path, save=not args.check, kernel=kernel if path in shelved else None)
            if args.check: print(*differences(saved, fresh), sep='\n\n')
            elif path.stem == 'index': (ROOT / 'README.md').write_text(readme_text(), encoding='utf-8')
            print(f'{name_of(path)}: {time.perf_counter() - start:.0f} s, {path.stat().st_size // 1000} kB')


if __name__ == '__main__': main()
