"""Run the lessons in nbs/ in a real kernel and store their outputs.

    python tests/lessons.py nbs/03_inversion.ipynb    # re-execute one lesson and save what it shows
    python tests/lessons.py                           # all of them, and README.md from the index
"""
import argparse
import base64
import io
import json
import os
import re
import sys
import time
from pathlib import Path

import nbformat
from execnb.nbio import dict2nb, write_nb
from nbclient import NotebookClient
from nbconvert import MarkdownExporter
from nbdev.clean import clean_nb
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
NBS = ROOT / 'nbs'
SKIP_FLAGS = {'notest', 'slow'}  # as tst_flags in settings.ini
WIDGET_VIEW = 'application/vnd.jupyter.widget-view+json'


def lessons() -> list[Path]:
    "Every notebook of the project, in reading order, the index last."
    return sorted(NBS.glob('*.ipynb'), key=lambda path: (path.stem == 'index', path.name))


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
    image.convert('RGB').quantize(256, dither=Image.Dither.FLOYDSTEINBERG).save(small, 'png', optimize=True)
    data['image/png'] = base64.b64encode(small.getvalue()).decode()


def strip(nb) -> None:
    "Drop what must not be saved: progress bars and warnings (stderr), widget views, widget state, needless bytes."
    nb.metadata.pop('widgets', None)
    for cell in nb.cells:
        if cell.cell_type != 'code': continue
        cell.outputs = [o for o in cell.outputs if strip_output(o)]
        for output in cell.outputs: shrink_picture(output)


def save_notebook(nb, path: Path) -> None:
    "Write `nb` as nbdev_clean would leave it, through a temporary file."
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


def execute_lesson(
    path: str | Path,  # the notebook
    save: bool = False,  # write the fresh outputs into it?
    timeout: int = 600,  # seconds that one cell may take
):
    "Run a lesson top to bottom in its own kernel, in nbs/; returns the notebook, raises `CellExecutionError`."
    path = Path(path).resolve()
    nb = nbformat.read(path, as_version=4)
    client = LessonClient(nb, timeout=timeout, kernel_name='python3', record_timing=False,
                          resources={'metadata': {'path': str(path.parent)}})
    client.execute(env=kernel_env())
    strip(nb)
    if save: save_notebook(nb, path)
    return nb


def readme_text() -> str:
    "README.md: the index notebook as markdown, directives dropped, relative links made from the project's root."
    nb = nbformat.read(NBS / 'index.ipynb', as_version=4)
    nb.metadata.language_info = {'name': 'python'}  # nbdev_clean drops it; code blocks want it
    text, resources = MarkdownExporter().from_notebook_node(nb)
    if resources.get('outputs'): raise ValueError('index.ipynb has a picture as an output; link one in images/ instead.')
    text = re.sub(r'^#\|.*\n', '', text, flags=re.M)
    relative = r'(?!https?:|#|mailto:|\.\./|nbs/)'
    text = re.sub(rf'(\]\(|src="){relative}', r'\1nbs/', text)
    return re.sub(r'(\]\(|src=")\.\./', r'\1', text).strip() + '\n'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('notebooks', nargs='*', type=Path, help='lessons to run (all when left out)')
    for path in parser.parse_args().notebooks or lessons():
        start = time.perf_counter()
        execute_lesson(path, save=True)
        if path.stem == 'index': (ROOT / 'README.md').write_text(readme_text(), encoding='utf-8')
        print(f'{path.name}: {time.perf_counter() - start:.0f} s, {path.stat().st_size // 1000} kB')


if __name__ == '__main__': main()
