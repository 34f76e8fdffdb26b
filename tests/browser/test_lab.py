"""Notebook 9 in JupyterLab, in a real browser that chooses, hears and sees: `make test-browser`."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import nbformat
import psutil
import pytest
from playwright.sync_api import Page, expect, sync_playwright

from soundfusion_lib.paths import PROJECT

pytestmark = pytest.mark.browser
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
TOKEN = "for-this-test"
MARKED = "<i>low</i> & $low$"  # a label that is text, whatever it looks like
PROFILE = """
clip_seconds = 4.0
leave_out = ["vgg16"]

[corpus]
kind = "folder"
path = "music"
label = "sound"

[mel]
sample_rate = 22050
n_fft = 512

[segmenting]
seconds = 1.5

[split]
folds = 4

[training]
epochs = 1
batch_size = 32

[models.simple_cnn]
batch_size = 32

[models.nnet1]
width = 8

[models.nnet2]
width = 8

[widths]
resnet1d = { small = 4, medium = 4 }
resnet2d = { small = 4, medium = 4 }
"""


@pytest.fixture(scope="module")
def folder(corpus, tmp_path_factory):
    """A copy of the notebook with a profile of its own, and the music that it is on: tones."""
    folder = tmp_path_factory.mktemp("lab")
    tracks = corpus.tracks.assign(file_name=corpus.tracks["path"], artist=corpus.tracks["group"])
    tracks["genre"] = tracks["label"].replace("low", MARKED)
    shutil.copytree(corpus.root, folder / "music")
    tracks[["file_name", "genre", "artist"]].to_csv(folder / "music" / "metadata.csv", index=False)
    (folder / "tones.toml").write_text(PROFILE, encoding="utf-8")
    notebook = nbformat.read(PROJECT / "notebooks" / "09_listen.ipynb", as_version=4)
    parameters = next(cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", []))
    parameters.source = 'profile = "tones.toml"\ndevice = "cpu"'
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    nbformat.write(notebook, folder / "09_listen.ipynb")
    return folder


@pytest.fixture(scope="module")
def lab(folder):
    """The address of JupyterLab in that folder, which ends with its kernels."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = [f"--port={port}", f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={folder}"]
    quiet = ["--LabApp.news_url=None", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
    names = ("SOUNDFUSION_DATA", "SOUNDFUSION_RESULTS", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
    own = {name: str(folder / name.lower()) for name in names} | {"JUPYTERLAB_WORKSPACES_DIR": str(folder / "spaces")}
    path = os.pathsep.join([str(PROJECT), os.environ.get("PYTHONPATH", "")])
    call = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", "--allow-root", *options, *quiet]
    with open(folder / "lab.log", "w") as log:
        server = subprocess.Popen(call, cwd=folder, env=os.environ | own | {"PYTHONPATH": path}, stdout=log, stderr=log)
    try:
        wait_for(f"http://127.0.0.1:{port}/api?token={TOKEN}", server)
        yield f"http://127.0.0.1:{port}/lab/tree/09_listen.ipynb?token={TOKEN}"
    finally:
        kernels = psutil.Process(server.pid).children(recursive=True)
        server.terminate()
        server.wait(20)
        for process in kernels:
            if process.is_running():
                process.kill()


def wait_for(address, server):
    """Until a server answers."""
    for _ in range(300):
        assert server.poll() is None, "JupyterLab ended"
        try:
            with urllib.request.urlopen(address, timeout=5) as answer:
                return json.load(answer)
        except OSError:
            time.sleep(0.2)
    raise TimeoutError(address)


@pytest.fixture(scope="module")
def page(lab):
    """The notebook with all its cells run, and what the console said of errors."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        page.errors = []
        page.on("console", lambda said: page.errors.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.goto(lab)
        page.get_by_role("menuitem", name="Run", exact=True).click(timeout=60_000)
        page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        page.locator(".soundfusion-player img").wait_for(timeout=120_000)
        yield page
        browser.close()


def picture(page: Page) -> str:
    return page.locator(".soundfusion-player img").get_attribute("src")


def test_it(page):
    print(page.errors)
