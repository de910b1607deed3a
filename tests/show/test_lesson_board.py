"The board in the lesson on null text, in a browser, on a clip that is made small for it."
import re

import nbformat
from lessons import NBS
from nbformat import v4


def test_the_board_begins_with_what_the_lesson_made(lab, tmp_path):
    from playwright.sync_api import expect
    nb = nbformat.read(NBS / '04_null_text.ipynb', 4)
    nb.cells = [cell for cell in nb.cells if re.search(r'^import|^model|optimise_null\(model|^board$', cell.source, re.M) and cell.cell_type == 'code']
    for cell in nb.cells:
        for large, small in {'render(8)': 'render(3)', 'steps=12': 'steps=3', 'inner_steps=5': 'inner_steps=1'}.items(): cell.source = cell.source.replace(large, small)
    nb.cells.append(v4.new_code_cell("print('both' + ' stand')"))
    nbformat.write(nb, tmp_path / 'null.ipynb')
    lab.open(tmp_path / 'null.ipynb')
    lab.run_all('both stand')
    out = lab.output(len(nb.cells) - 2)
    cards, stage, null = out.get_by_role('button', name='Pin'), out.locator('img.widget-image').first, out.get_by_label('null text')
    expect(cards).to_have_count(2)
    picture = stage.get_attribute('src')
    null.select_option('multi-frame')  # made on the page, so it is there at once
    expect(stage).not_to_have_attribute('src', picture)
    picture = stage.get_attribute('src')
    null.select_option('none')
    expect(out.get_by_text('Not run yet: takes a new inversion and an edit')).to_be_visible()
    out.get_by_role('button', name=re.compile('Run$')).click()  # an icon comes first
    expect(cards).to_have_count(3, timeout=60_000)
    expect(stage).not_to_have_attribute('src', picture)
    assert lab.errors == [] and not lab.failures()
