"The browser that tests widgets sees what goes wrong in the page, in a cell and in a callback."
import pytest
from browser import write_notebook

BUTTON = """import ipywidgets
button = ipywidgets.Button(description='go')
button.on_click(lambda _: 1 / 0)
button"""
SCRIPT = "from IPython.display import Javascript\nJavascript('console.error(\"from the page\")')"
DONE = "print('all' + ' done')"


def test_browser_sees_errors(lab, tmp_path):
    lab.open(write_notebook(tmp_path / 'good.ipynb', BUTTON, DONE))
    lab.run_all('all done')
    assert lab.errors == []
    with lab.page.expect_console_message(lambda message: 'ZeroDivisionError' in message.text): lab.page.click('button:has-text("go")')
    lab.open(write_notebook(tmp_path / 'bad.ipynb', SCRIPT, '[][7]', DONE))
    with pytest.raises(AssertionError, match=r'\[\]\[7\]\n[^Z]*IndexError'): lab.run_all('all done')
    assert 'ZeroDivisionError' in lab.errors[0] and 'from the page' in lab.errors[1]
