"""A notebook in JupyterLab in a real browser: what tests/browser drives, and the README's picture of the explorer.

python tooling/lab.py emotify notebooks/images/explorer.png
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import nbformat
import psutil
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).parents[1]
BROWSERS = "chromium", "chromium-browser", "google-chrome", "google-chrome-stable"
TOKEN = "of-this-machine-alone"
ERROR = "[data-mime-type='application/vnd.jupyter.stderr'].jp-mod-error, .jp-RenderedText[data-mime-type*='error']"
SETTINGS = {  # under lab/user-settings/@jupyterlab: no question about news, and cells out of sight are there, too
    "apputils-extension/notification": '{"fetchNews": "false", "checkForUpdates": false}',
    "notebook-extension/tracker": '{"windowingMode": "none"}',
}


def copy_notebook(name: str, folder: Path, profile: str) -> None:
    """A notebook with this profile and no outputs, in another folder."""
    notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        if "parameters" in cell.metadata.get("tags", []):
            cell.source = f'profile = "{profile}"\ndevice = "cpu"'
    nbformat.write(notebook, folder / f"{name}.ipynb")


@contextmanager
def opened(folder: Path, name: str, environment: Mapping[str, str], dark: bool = False) -> Iterator[Page]:
    """A notebook of a folder, its cells run up to the explorer, in a window of 1,366 x 768 px; JupyterLab and its
    kernels end with it. `page.errors` holds the errors that the console shows."""
    chromium = next(filter(None, map(shutil.which, BROWSERS)), None)
    with _jupyterlab(folder, environment, dark) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1366, "height": 768})
        page.errors = []
        page.on("console", lambda said: page.errors.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.goto(f"{address}/lab/tree/{name}.ipynb?token={TOKEN}")
        page.get_by_text("| Idle").wait_for(timeout=90_000)  # before its kernel runs it would ask for one
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.locator("[data-command='runmenu:run-all']").click()
        page.locator(f".soundfusion-player img, {ERROR}").first.wait_for(timeout=300_000)
        for error in page.locator(ERROR).all_inner_texts():
            raise RuntimeError(error)
        yield page
        browser.close()


@contextmanager
def _jupyterlab(folder: Path, environment: Mapping[str, str], dark: bool) -> Iterator[str]:
    """The address of JupyterLab in a folder, which keeps its settings there, too."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    own = {name: str(folder / ".jupyter") for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")}
    own |= {"JUPYTERLAB_WORKSPACES_DIR": str(folder / ".jupyter"), "PYTHONPATH": str(ROOT), **environment}
    theme = {"apputils-extension/themes": '{"theme": "JupyterLab Dark"}'} if dark else {}
    for name, content in (SETTINGS | theme).items():
        file = folder / ".jupyter/lab/user-settings/@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, encoding="utf-8")
    options = [f"--port={address.rpartition(':')[2]}", f"--IdentityProvider.token={TOKEN}", "--ip=127.0.0.1"]
    options += [f"--ServerApp.root_dir={folder}", "--no-browser", "--allow-root"]
    with open(folder / ".jupyter" / "log", "w") as log:
        call = [sys.executable, "-m", "jupyterlab", *options]
        server = subprocess.Popen(call, cwd=folder, env=os.environ | own, stdout=log, stderr=log)
    try:
        _wait_for(f"{address}/api?token={TOKEN}", server)
        yield address
    finally:
        processes = psutil.Process(server.pid).children(recursive=True)
        server.terminate()
        server.wait(30)
        for process in processes:
            if process.is_running():
                process.kill()


def _wait_for(address: str, server: subprocess.Popen) -> None:
    for _ in range(300):
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except OSError:
            if server.poll() is not None:
                raise
            time.sleep(0.2)
    raise TimeoutError(address)


def main(profile: str, file: str) -> None:
    """Write a picture of notebook 9's explorer: a clip out of the largest mistake."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy_notebook("09_listen", folder, profile)
        results = os.environ.get("SOUNDFUSION_RESULTS") or str(folder / "results")
        with opened(folder, "09_listen", {"SOUNDFUSION_RESULTS": results}) as page:
            page.keyboard.press("Control+b")  # no list of files
            page.locator(".lm-TabBar-tab", has_text="by confusion").click()
            page.wait_for_timeout(5_000)
            page.get_by_role("button", name="what did it look at?").click()
            page.locator(".soundfusion-player").evaluate("explorer => explorer.scrollIntoView()")
            page.locator(".soundfusion-player audio").evaluate("sound => { sound.currentTime = 1 }")
            page.wait_for_timeout(5_000)
            page.screenshot(path=file)


if __name__ == "__main__":
    main(*sys.argv[1:])
