"""JupyterLab in a real browser: a server of our own, a headless Chromium, and nothing of the user's is touched.

    with lab(folder) as it:
        it.open(folder / 'some.ipynb')
        it.run_all('a text that the last cell prints')
        it.page.mouse.click(300, 400)
        assert it.errors == []

While this context is open, Playwright's event loop counts as running in this thread; leave it before anything else asks for one.
"""
import json
import os
import re
import secrets
import shutil
import site
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import nbformat
from lessons import kernel_env
from nbformat import v4

CHROMIUM = ('chromium', 'chromium-browser', 'google-chrome')
FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
         '--disable-component-update', '--disable-sync']
SETTINGS = {  # no questions, no saving behind our back, every cell in the page even when it is out of sight
    'apputils-extension/notification': dict(fetchNews='false', checkForUpdates=False),
    'docmanager-extension/plugin': dict(autosave=False),
    'notebook-extension/tracker': dict(windowingMode='none'),
}
OPEN = 'jupyterapp.shell.currentWidget'  # the notebook in front


def browser_missing() -> str | None:
    "Why no browser can be driven here, or None if one can."
    if not find_spec('playwright'): return 'playwright is not installed'
    if not chromium(): return f'no browser: none of {", ".join(CHROMIUM)} is on the path'


def chromium() -> str | None:
    return next(filter(None, map(shutil.which, CHROMIUM)), None)


def plain(text: str) -> str:
    "A traceback without colours."
    return re.sub(r'\x1b\[[\d;]*m', '', text)


class Lab:
    "One JupyterLab in one browser page."

    def __init__(self, page, folder: Path, url: str, token: str):
        self.page, self.folder, self.url, self.token = page, folder, url, token
        self.errors = []  # errors of the page and of callbacks in the kernel, as text; of itself JupyterLab makes none, so none is left out
        page.on('console', lambda message: message.type == 'error' and self.errors.append(f'{plain(message.text)} {message.location.get("url", "")}'))
        page.on('pageerror', lambda error: self.errors.append(str(error)))

    def open(self, notebook: Path) -> None:
        "Open a notebook of the folder in a new workspace; returns when its kernel is idle."
        name = Path(notebook).resolve().relative_to(self.folder).as_posix()
        self.page.goto(f'{self.url}lab/workspaces/w{secrets.token_hex(4)}/tree/{quote(name)}?token={self.token}')
        self.page.wait_for_selector('.jp-Notebook .jp-Cell', timeout=60_000)
        self.page.wait_for_selector('#jupyterlab-splash', state='detached', timeout=60_000)
        self._wait(f'() => {OPEN}?.sessionContext?.session?.kernel?.status === "idle"', 60, 'the kernel is idle')
        self.page.evaluate(f'() => {{ {OPEN}.sessionContext.iopubMessage.connect((_, message) => {{'
                           ' if (message.header.msg_type === "error") console.error(message.content.traceback.join("\\n")); }); }')

    def run_all(
        self,
        sentinel: str,  # a text that shows in an output when all is done
        timeout: float = 120,  # seconds
    ) -> None:
        "Run all cells. AssertionError with the cell's text and a screenshot, if one fails or the text does not come."
        self._run('run-all-cells')
        self.wait_for_output(sentinel, timeout)

    def run_cell(self, number: int, sentinel: str, timeout: float = 120) -> None:
        "Run one cell, counted from 0, and wait for a text as `run_all` does."
        self.page.evaluate(f'() => {{ {OPEN}.content.activeCellIndex = {number}; }}')
        self._run('run-cell')
        self.wait_for_output(sentinel, timeout)

    def _run(self, command):
        self.page.evaluate(f'() => {{ jupyterapp.commands.execute("notebook:{command}"); }}')

    def wait_for_output(self, sentinel: str, timeout: float = 120) -> None:
        "Wait until a text shows in any output."
        outputs = '[...document.querySelectorAll(".jp-OutputArea-output")]'
        shown = f'{outputs}.some(o => o.innerText.includes({json.dumps(sentinel)}))'
        self._wait(f'() => {shown} || {OPEN}.content.widgets.some(c => c.model.outputs?.toJSON().some(o => o.output_type === "error"))',
                   timeout, f'an output shows {sentinel!r}')
        if failed := self.failures(): self._fail('A cell failed.\n' + '\n'.join(failed))

    def failures(self) -> list[str]:
        "Source and traceback of each cell that failed."
        cells = self.page.evaluate(f'() => {OPEN}.content.widgets.map(c => [c.model.sharedModel.source, c.model.outputs?.toJSON() ?? []])')
        return [f'{source}\n' + plain('\n'.join(output['traceback']))
                for source, outputs in cells for output in outputs if output['output_type'] == 'error']

    def cell(self, number: int):
        "A cell in the page, counted from 0, as a Playwright locator."
        return self.page.locator('.jp-Notebook .jp-Cell').nth(number)

    def output(self, number: int):
        "What a cell shows, as a Playwright locator."
        return self.cell(number).locator('.jp-Cell-outputArea')

    def _wait(self, condition, timeout, what):
        from playwright.sync_api import TimeoutError as TooLate
        try: self.page.wait_for_function(condition, timeout=timeout * 1000, polling=100)
        except TooLate: self._fail(f'Waited {timeout} s in vain until {what}.')

    def _fail(self, text):
        handle, picture = tempfile.mkstemp(prefix='jupyterlab-', suffix='.png')
        os.close(handle)
        self.page.screenshot(path=picture)
        raise AssertionError('\n'.join([text, f'Screenshot: {picture}', *self.errors]))


def write_notebook(path: Path, *sources: str) -> Path:
    "A new notebook with these code cells; gives back its path."
    kernel = dict(display_name='python3', language='python', name='python3')
    nbformat.write(v4.new_notebook(cells=list(map(v4.new_code_cell, sources)), metadata=dict(kernelspec=kernel)), path)
    return path


@contextmanager
def lab(
    folder: Path,  # what the server serves; its notebooks can be opened
    theme: str = 'JupyterLab Light',  # or "JupyterLab Dark"
):  # a `Lab`
    "Start JupyterLab and a browser; both are gone afterwards, whatever happens."
    from playwright.sync_api import sync_playwright
    folder = Path(folder).resolve()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home, _server(folder, Path(home), theme) as (url, token), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), headless=True, args=FLAGS, env=os.environ | dict(HOME=home))
        try: yield Lab(browser.new_page(viewport=dict(width=1200, height=1000)), folder, url, token)
        finally: browser.close()


@contextmanager
def _server(folder, home, theme):
    "JupyterLab on a free port of this machine only; its address and its token."
    token, runtime = secrets.token_hex(16), home / 'runtime'
    for name, values in (SETTINGS | {'apputils-extension/themes': dict(theme=theme)}).items():
        file = home / 'settings/@jupyterlab' / f'{name}.jupyterlab-settings'
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values), encoding='utf-8')
    command = [sys.executable, '-m', 'jupyterlab', '--no-browser', '--ip=127.0.0.1', f'--port={_free_port()}', '--allow-root',
               '--expose-app-in-browser', f'--IdentityProvider.token={token}', f'--ServerApp.root_dir={folder}']
    with open(home / 'log', 'w+', encoding='utf-8') as log:
        process = subprocess.Popen(command, cwd=folder, env=_environment(home), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try: yield _address(process, runtime, home / 'log'), token
        finally:
            process.terminate()  # the server ends its kernels, too
            try: process.wait(20)
            except subprocess.TimeoutExpired: process.kill(); process.wait()


def _environment(home):
    "As a lesson's kernel has it, but with a home and Jupyter's folders of its own."
    places = dict(HOME='', JUPYTER_CONFIG_DIR='config', JUPYTER_DATA_DIR='data', JUPYTER_RUNTIME_DIR='runtime', IPYTHONDIR='ipython',
                  JUPYTERLAB_SETTINGS_DIR='settings', JUPYTERLAB_WORKSPACES_DIR='workspaces', MPLCONFIGDIR='matplotlib')
    return kernel_env() | {name: str(home / place) for name, place in places.items()} | dict(PYTHONUSERBASE=site.getuserbase())


def _free_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def _address(process, runtime, log):
    "Where the server listens, once it does."
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        time.sleep(0.1)
        for file in runtime.glob('jpserver-*.json'):
            try:
                url = json.loads(file.read_text(encoding='utf-8'))['url']
                urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f'{url}api', timeout=5).close()
                return url
            except (OSError, ValueError): pass
    raise RuntimeError('JupyterLab did not start:\n' + log.read_text(encoding='utf-8')[-3000:])
