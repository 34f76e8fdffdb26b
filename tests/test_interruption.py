"""The commands killed at random moments and started again: what is lost, and whether anything comes out otherwise. The
whole of it is `make test-slow`, which appends to benchmarks/results/interruption.csv; `make test` has a few kills."""

import contextlib
import hashlib
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pandas as pd
import psutil
import pytest
from conftest import NARROW, TESTS_TOO, copy_music
from jupyter_client.manager import start_new_kernel
from test_download import FILES, Handler, names, read, site, zipped  # noqa: F401
from test_pool import assert_ended, family

from soundfusion_lib.audio.clips import digest
from soundfusion_lib.models import MODELS
from soundfusion_lib.paths import PROJECT
from soundfusion_lib.training.run import read_json

sys.path.insert(0, str(PROJECT / "benchmarks"))  # scripts, not a package

from common import record

# Of every process of a command: writes down each clip decoded and each epoch begun. A clip takes as long as a real one.
WATCH = """
import os, sys, time

def note(*words):
    with open(os.environ["LOG"], "a") as log:
        log.write(" ".join(map(str, words)) + "\\n")

if "resource_tracker" not in " ".join(sys.orig_argv):
    from soundfusion_lib.audio import representations
    from soundfusion_lib.training import loop
    stream, learn = representations.stream, loop.train_epoch

    def watched_stream(file, seconds=None):
        time.sleep(0.05)
        note("decoded", file.name)
        return stream(file, seconds)

    def watched_learn(state, train, training, seed):
        note("epoch", seed // 1_000_003, seed % 1_000_003)
        return learn(state, train, training, seed)

    representations.stream, loop.train_epoch = watched_stream, watched_learn
"""
COMMAND = """
import sys
from pathlib import Path
from soundfusion_lib import notebooks
from soundfusion_lib.cli import main

notebooks.PROJECT = Path(sys.argv.pop(1))
main()
"""
PROFILE = """
clip_seconds = 4.0
test_folds = [0]
waveform = { sample_rate = 16000 }
mel = { sample_rate = 22050, n_mels = 32, n_fft = 512, hop_length = 256 }
corpus = { kind = "folder", path = 'PATH' }
segmenting = { seconds = 1.0 }
split = { scheme = "artist", folds = 4 }
augment = { mel = { max_fraction = 0.1 } }

[training]
epochs = EPOCHS
batch_size = 16
learning_rate = 3e-3
optimizer = "adamw"
schedule = "one_cycle"
averaging = 0.9
mixup = 0.2
random_starts = true
keep = "last"
"""
OUTCOME = (
    "data/store/*/*/data.bin", "data/store/*/*/clips.jsonl", "data/runs/*/predictions.parquet",
    "data/runs/*/model.safetensors", "results/tones/*/*.csv", "results/tones/*/*.png", "results/tones/*/*.ipynb",
)  # fmt: skip
FEW = ("simple_cnn", "resnet1d", "fusion_concat")  # what `make test` has seconds for
CELLS = """
profile = "demo"
device = "auto"
---
import dataclasses, pandas as pd, matplotlib.pyplot as plt
from soundfusion_lib import Study
study = Study("01_small", profile, device)
---
wanted = {
    name: dataclasses.replace(study.experiment(name, name, augment=True, **options), seeds=(seed,))
    for seed, (name, options) in enumerate(OPTIONS.items())
}
runs = study.train(wanted)
---
for name, group in runs.items():
    table = study.save_table(group.predictions()[0].round(6), name, f"Of {name}")
    figure, axes = plt.subplots()
    axes.plot(group.runs[0].history["train_loss"])
    study.save_figure(figure, name, f"Loss of {name}")
---
_ = study.finish()
"""


class Place:
    """A project of one notebook, its data and its results, in a folder of their own."""

    def __init__(self, root: Path, music: Path, models: tuple[str, ...], epochs: int = 8):
        (root / "watch").mkdir(parents=True)
        (root / "watch" / "sitecustomize.py").write_text(WATCH)
        (root / "project" / "notebooks").mkdir(parents=True)
        self.notebook = root / "project" / "notebooks" / "01_small.ipynb"
        cells = CELLS.replace("OPTIONS", repr({name: NARROW[name] for name in models})).split("\n---\n")
        self.cells = [cell.strip() for cell in cells]
        code = [nbformat.v4.new_code_cell(cell, id=str(number)) for number, cell in enumerate(self.cells)]
        notebook = nbformat.v4.new_notebook(cells=code)
        notebook.metadata.kernelspec = {"name": "python3", "language": "python", "display_name": ""}
        notebook.cells[0].metadata.tags = ["parameters"]
        nbformat.write(notebook, self.notebook)
        self.profile = root / "tones.toml"
        self.profile.write_text(PROFILE.replace("PATH", str(music)).replace("EPOCHS", str(epochs)))
        self.log, self.runs, self.store, self.music = root / "log", root / "data/runs", root / "data/store", music
        paths = os.pathsep.join([str(root / "watch"), str(PROJECT)])
        folders = {"SOUNDFUSION_DATA": str(root / "data"), "SOUNDFUSION_RESULTS": str(root / "results")}
        self.environment = {**os.environ, **folders, "LOG": str(self.log), "PYTHONPATH": paths}
        self.log.touch()

    def start(self, *arguments: str) -> subprocess.Popen:
        command = [sys.executable, "-c", COMMAND, str(self.notebook.parents[1]), *arguments]
        with open(self.log.with_name("said"), "a") as said:
            return subprocess.Popen(command, env=self.environment, stdout=said, stderr=said)

    def events(self) -> list[tuple[str, ...]]:
        return [tuple(line.split()) for line in self.log.read_text().splitlines()]

    def stored(self) -> set[str]:
        """Names of the files whose clips are in both representations."""
        journals = [file.read_bytes().split(b"\n")[:-1] for file in self.store.glob("*/*/clips.jsonl")]
        clips = [{json.loads(line)["digest"] for line in lines} for lines in journals]
        whole = clips[0] & clips[1] if len(clips) == 2 else set()
        return {file.name for file in self.music.glob("*.wav") if digest(file) in whole}

    def finished(self) -> set[str]:
        """Seeds of the runs that are done."""
        files = [file for file in self.runs.glob("*/experiment.json") if not file.parent.suffix]
        return {str(read_json(file)["experiment"]["seed"]) for file in files}

    def outcome(self) -> dict[str, str]:
        """By file: what it holds, of all that has no times in it."""
        root = self.log.parent
        found = {file: file.read_bytes() for pattern in OUTCOME for file in root.glob(pattern)}
        for file in self.runs.glob("*/history.csv"):
            found[file] = pd.read_csv(file).drop(columns=["seconds", "core_seconds"]).to_csv().encode()
        contents = {str(file.relative_to(root)): content.replace(bytes(root), b"") for file, content in found.items()}
        return {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}


def check_life(begun: list[tuple[str, ...]], earlier: list[tuple[str, ...]], stored: set[str], finished: set[str]):
    """What a process did must be nothing that was done before, but for one epoch of each run."""
    assert not stored & {name for kind, name, *_ in begun if kind == "decoded"}
    for run in {run for kind, run, *_ in begun if kind == "epoch"}:
        epochs, before = ([int(one[2]) for one in events if one[:2] == ("epoch", run)] for events in (begun, earlier))
        assert run not in finished
        assert epochs == list(range(epochs[0], epochs[0] + len(epochs)))
        assert epochs[0] in ({before[-1], before[-1] + 1} if before else {1})


def kill_one(members: list[psutil.Process], rng: random.Random) -> str:
    """Kill the command, which is the first of these, its kernel or a worker; returns which."""
    victims = {"command": members[:1]}
    for one in members[1:]:
        with contextlib.suppress(psutil.NoSuchProcess, AttributeError):  # it may have ended, or its parent
            if "ipykernel_launcher" in " ".join(one.cmdline()):
                victims["kernel"] = [one]
            elif "forkserver" in " ".join(one.parent().cmdline()):
                victims.setdefault("worker", []).append(one)
    name = rng.choice(sorted(victims))
    rng.choice(victims[name]).kill()
    return name


def kill_and_start_again(place: Place, command: str, kills: int, rng: random.Random) -> list[dict[str, str | int]]:
    """Start a command and kill it or one of its processes, so many times if it does not end before; then let it end.
    Returns a row a kill."""
    rows = []
    while True:
        stored, finished, earlier = place.stored(), place.finished(), place.events()
        killed, started = "", set()
        with place.start(command, str(place.profile)) as process:
            wanted, moment = len(earlier) + rng.randint(1, 3), rng.uniform(0, 0.5)
            while process.poll() is None:
                with contextlib.suppress(psutil.NoSuchProcess):
                    if len(rows) < kills and not killed and len(place.events()) >= wanted:
                        time.sleep(moment)
                        started.update(members := family(psutil.Process(process.pid)))
                        killed = kill_one(members, rng)
                    started.update(family(psutil.Process(process.pid)))
                time.sleep(0.2)
        assert_ended(list(started))
        begun = place.events()[len(earlier) :]
        check_life(begun, earlier, stored, finished)
        again = set(begun) & set(earlier)  # what was cut off before it was kept
        if killed:
            rows.append({"command": command, "killed": killed, "clips stored": len(stored), "runs done": len(finished),
                         "clips decoded again": len([kind for kind, *_ in again if kind == "decoded"]),
                         "epochs begun again": len([kind for kind, *_ in again if kind == "epoch"])})  # fmt: skip
        if process.returncode == 0:  # a preparation goes on without a worker
            return rows
        assert killed


@pytest.fixture(scope="module")
def music(corpus, tmp_path_factory) -> Path:
    """The corpus's files and a list of them."""
    folder = tmp_path_factory.mktemp("user") / "music"
    copy_music(corpus, folder)
    return folder


def left_alone(root: Path, music: Path, models: tuple[str, ...], epochs: int = 8) -> Place:
    """A study of these models that nobody interrupted."""
    place = Place(root, music, models, epochs)
    assert kill_and_start_again(place, "reproduce", 0, random.Random()) == []
    return place


@pytest.fixture(scope="module")
def whole(music, tmp_path_factory) -> Place:
    return left_alone(tmp_path_factory.mktemp("whole") / "place", music, FEW)


def killed_study(whole: Place, killed: Place, kills: dict[str, int], seed: int) -> pd.DataFrame:
    """Run these commands, each killed so often; what comes out must be as in the one that was left alone."""
    rng = random.Random(seed)
    rows = [row for command, count in kills.items() for row in kill_and_start_again(killed, command, count, rng)]
    assert killed.outcome() == whole.outcome()
    assert not [file.name for file in killed.runs.iterdir() if file.suffix in (".partial", ".damaged")]
    return pd.DataFrame(rows)


def test_a_study_killed_a_few_times_ends_as_if_it_had_not_been(whole, music, tmp_path):
    rows = killed_study(whole, Place(tmp_path / "killed", music, FEW), {"prepare": 1, "reproduce": 2}, seed=1)
    assert len(rows) == 3
    predicted = [name for name in whole.outcome() if name.endswith("predictions.parquet")]
    assert len(predicted) == len(FEW) and len(whole.outcome()) == 4 + 5 * len(FEW) + 1  # store, runs, notebook


@pytest.mark.slow
def test_a_study_of_every_model_killed_thirty_times_ends_as_if_it_had_not_been(music, tmp_path):
    models = tuple(MODELS)
    kills = {"prepare": 10, "reproduce": 30}
    whole = left_alone(tmp_path / "whole", music, models, epochs=16)
    rows = killed_study(whole, Place(tmp_path / "killed", music, models, epochs=16), kills, seed=0)
    sums = {name: (name, "sum") for name in ("clips decoded again", "epochs begun again")}
    found = {f"{name}, at most": (name, "max") for name in ("clips stored", "runs done")}
    table = rows.groupby(["command", "killed"]).agg(kills=("killed", "size"), **found, **sums)
    record("interruption", table.reset_index(), by="make test-slow")
    assert len(rows) >= 30


def test_an_interrupted_cell_goes_on_when_it_is_run_again(whole, music, tmp_path):
    """By the signal that Jupyter's stop button sends: to the kernel and to all that it has started."""
    stopped = Place(tmp_path / "stopped", music, FEW)
    _, begin, train, show, finish = stopped.cells
    manager, client = start_new_kernel(kernel_name="python3", env=stopped.environment)
    kernel = psutil.Process(manager.provisioner.pid)
    try:
        for code in (f"profile, device = {str(stopped.profile)!r}, 'cpu'", begin):
            assert client.execute_interactive(code, timeout=200)["content"]["status"] == "ok"
        message = client.execute(train, stop_on_error=False)  # else what is sent a moment later is not run
        while len([kind for kind, *_ in stopped.events() if kind == "epoch"]) < 4:
            time.sleep(0.05)
        manager.interrupt_kernel()
        stored, finished = stopped.stored(), stopped.finished()
        while (answer := client.get_shell_msg(timeout=200))["parent_header"]["msg_id"] != message:
            pass
        assert answer["content"]["ename"] == "KeyboardInterrupt"
        earlier = stopped.events()
        for code in (train, show, finish):
            reply = client.execute_interactive(code, timeout=200)["content"]
            assert reply["status"] == "ok", reply
        members = family(kernel)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    assert_ended(members)
    check_life(stopped.events()[len(earlier) :], earlier, stored, finished)
    outcome = {name: content for name, content in whole.outcome().items() if not name.endswith(".ipynb")}
    assert stopped.outcome() == outcome


class Slow(Handler):
    """Sends the body over a second or two."""

    def setup(self):
        super().setup()
        self.wfile.write = self._write

    def _write(self, content: bytes) -> int:
        for first in range(0, len(content), 5_000):
            self.connection.sendall(content[first : first + 5_000])
            time.sleep(0.01 if len(content) > 10_000 else 0)
        return len(content)


DOWNLOAD = """
import sys

from soundfusion_lib.datasets.download import Source, download

url, sha1, root = sys.argv[1:]
download(Source("clips", url, 10_000_000, sha1), root)
"""


@pytest.mark.parametrize("site", [Slow], indirect=True)
@pytest.mark.parametrize("kills", [2, pytest.param(10, marks=pytest.mark.slow)])
def test_a_download_killed_goes_on_with_the_bytes_that_it_has(site, tmp_path, kills):  # noqa: F811
    files, rng = FILES | {"clips/000/000003.mp3": random.Random(0).randbytes(1_000_000)}, random.Random(kills)
    site.body = zipped(files)
    url, sha1 = f"http://127.0.0.1:{site.port}/music/clips.zip", hashlib.sha1(site.body).hexdigest()
    command = [sys.executable, "-c", DOWNLOAD, url, sha1, str(tmp_path)]
    environment = {**TESTS_TOO, "NO_PROXY": "127.0.0.1"}
    part, kept = tmp_path / "clips.zip.part", [0]
    for _ in range(kills):
        with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
            more = kept[-1] + rng.randint(1, len(site.body) // (2 * kills))
            while process.poll() is None and not (part.exists() and part.stat().st_size >= more):
                time.sleep(0.005)
            process.kill()
        kept.append(part.stat().st_size)
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL, timeout=120)
    assert site.asked == [None, *(f"bytes={size}-" for size in kept[1:])] and kept == sorted({*kept})
    assert read(tmp_path / "clips") == files and names(tmp_path) == {"clips"}
