"The first lesson's slider in a browser, on a clip that is made small for it."
import nbformat
from lessons import NBS


def test_the_slider_makes_the_clip_anew(lab, tmp_path):
    from playwright.sync_api import expect
    nb = nbformat.read(NBS / '00_first_edit.ipynb', 4)
    for cell in nb.cells: cell.source = cell.source.replace('frames=8', 'frames=2').replace('steps=10', 'steps=3, inner_steps=1')
    at = next(i for i, cell in enumerate(nb.cells) if 'FloatSlider' in cell.source)
    nbformat.write(nb, tmp_path / 'first.ipynb')
    lab.page.route('https://colab.research.google.com/**', lambda route: route.fulfill(content_type='image/svg+xml', body='<svg xmlns="http://www.w3.org/2000/svg"/>'))
    lab.open(tmp_path / 'first.ipynb')
    lab.run_all('to the true edit')
    out = lab.output(at)
    clip, handle = out.locator('img').first, out.locator('.noUi-handle')
    expect(clip).to_be_visible(timeout=60_000)
    before = clip.get_attribute('src')
    handle.focus()
    lab.page.keyboard.press('End')  # no step, then all of them
    expect(out.get_by_text('1.00')).to_be_visible()
    expect(clip).not_to_have_attribute('src', before, timeout=60_000)
    assert lab.errors == [] and not lab.failures()
