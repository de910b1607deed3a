"""The site as a folder that needs no network and no server: open its index.html.

    python -m docs              # into _docs/; ends with 1 if a link leads nowhere or something is loaded from elsewhere
    python -m docs --out site
"""
import argparse
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path += [str(ROOT), str(ROOT / 'tests')]  # where the list of lessons is

from docs.links import complaints  # noqa: E402
from docs.site_pages import build  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser('python -m docs', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, default=ROOT / '_docs', help='folder; what an earlier build left there goes')
    args, start = parser.parse_args(), time.perf_counter()
    site = build(args.out)
    size = sum(path.stat().st_size for path in args.out.rglob('*') if path.is_file()) / 1e6
    for place in site.course:
        words, pictures, lines = place.amount
        print(f'{place.path.stem:24}{place.amount.minutes:5.1f} min{words:6} words{pictures:4} pictures{lines:5} lines of code')
    print(f'{"all lessons":24}{sum(place.amount.minutes for place in site.course) / 60:5.1f} hours')
    print(f'{len(site.pages())} pages, {size:.0f} MB, {time.perf_counter() - start:.0f} s: {args.out / "index.html"}')
    wrong = complaints(args.out)
    print(*wrong, sep='\n', end='\n' * bool(wrong))
    return bool(wrong)


if __name__ == '__main__': sys.exit(main())
