"""Notebook 9 in JupyterLab in Chromium: what tests/browser drives, and the README's picture of the explorer.

python tooling/lab.py emotify notebooks/images/explorer.png
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import papermill
import requests
from playwright.sync_api import Browser, Page, sync_playwright
from requests.adapters import HTTPAdapter, Retry

ROOT = Path(__file__).parents[1]
SETTINGS = {  # no question about news, and cells out of sight are there, too
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},
}


@contextmanager
def chromium() -> Iterator[Browser]:
    """The machine's Chromium, or Playwright's."""
    names = "chromium", "chromium-browser", "google-chrome", "google-chrome-stable"
    executable = next(filter(None, map(shutil.which, names)), None)
    with sync_playwright() as playwright, closing(playwright.chromium.launch(executable_path=executable)) as browser:
        yield browser


@contextmanager
def opened(folder: Path, profile: str, **environment: str) -> Iterator[Page]:
    """Notebook 9 with a profile, run in a folder; `page.errors` are those of the browser's console."""
    parameters = {"profile": profile, "device": "cpu"}
    papermill.execute_notebook(ROOT / "notebooks/09_listen.ipynb", folder / "9.ipynb", parameters, prepare_only=True)
    config = folder / ".jupyter"
    (config / "labconfig").mkdir(parents=True)
    (config / "labconfig/default_setting_overrides.json").write_text(json.dumps(SETTINGS), encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = [f"--port={port}", "--IdentityProvider.token=t", f"--ServerApp.root_dir={folder}", "--no-browser"]
    names = "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTERLAB_WORKSPACES_DIR", "JUPYTERLAB_SETTINGS_DIR"
    environment = os.environ | dict.fromkeys(names, str(config)) | {"PYTHONPATH": str(ROOT)} | environment
    lab = subprocess.Popen([sys.executable, "-m", "jupyterlab", "--allow-root", *options], cwd=folder, env=environment)
    try:
        session = requests.Session()
        session.mount("http://", HTTPAdapter(max_retries=Retry(60, backoff_factor=0.1, backoff_max=1)))
        session.get(f"http://127.0.0.1:{port}/api?token=t")
        with chromium() as browser:
            page = browser.new_page(viewport={"width": 1366, "height": 768})
            page.errors = []
            page.on("console", lambda said: page.errors.append(said.text) if said.type == "error" else None)
            page.on("pageerror", lambda error: page.errors.append(str(error)))
            page.goto(f"http://127.0.0.1:{port}/lab/tree/9.ipynb?token=t")
            page.get_by_text("| Idle").wait_for(timeout=90_000)  # before its kernel runs it would ask for one
            page.get_by_role("menuitem", name="Run", exact=True).click()
            page.locator("[data-command='runmenu:run-all']").click()
            page.locator(".soundfusion-explorer img, .jp-mod-error").first.wait_for(timeout=300_000)
            yield page
    finally:
        lab.terminate()  # which ends its kernels
        lab.wait()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name, opened(Path(name), sys.argv[1]) as page:
        page.keyboard.press("Control+b")  # no list of files
        page.get_by_role("button", name="what did it look at?").click()
        page.locator(".soundfusion-explorer img[alt]").scroll_into_view_if_needed()
        page.wait_for_timeout(10_000)
        page.screenshot(path=sys.argv[2])
