"""Disks that are full or read-only, and two processes that do the same at once: an error that says so, or a wait; never
something half-written, never a lock that outlives its process."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from click.testing import CliRunner
from conftest import SMALL_MEL, TESTS_TOO, build, copy_music
from test_store import assert_same_files

from soundfusion_lib.audio.segments import Segmenting
from soundfusion_lib.cli import main
from soundfusion_lib.datasets.splits import Split
from soundfusion_lib.paths import whole
from soundfusion_lib.training.experiment import Experiment
from soundfusion_lib.training.loop import Training
from soundfusion_lib.training.train import train_or_find

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="it has neither limits on files nor users to become")

# What a process of its own does on a disk that takes files of so many bytes, or as a user who may write nothing. A
# limit on the size of files refuses as a full disk does, in the middle of a write.
WORK = """
import os, resource, sys
import pandas as pd, torch
from pathlib import Path
from conftest import build
from test_disk import EXPERIMENT
from soundfusion_lib.datasets import Corpus
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.training.train import train_or_find

what, limit, root, folder = sys.argv[1:]
corpus = Corpus("tones", root, pd.read_csv(Path(root) / "tracks.csv", index_col="track"))
runs = Path(folder) / "runs"
store = build(corpus, folder) if what == "train" else None
if limit == "read-only":
    runs.chmod(0o555)
    if os.geteuid() == 0:  # whom no mode refuses anything
        os.setuid(65534)
elif limit != "none":
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
try:
    if store is None:
        build(corpus, folder)
    else:
        print("trained", train_or_find(EXPERIMENT, store, runs, torch.device("cpu"), False).trained)
except SoundFusionError as error:
    sys.exit(str(error))
"""
EXPERIMENT = Experiment(
    "small", "simple_cnn", (SMALL_MEL,), {"dropout": 0.1}, Segmenting(1.0, 0.25), split=Split("artist", 4),
    training=Training(epochs=3, batch_size=16, learning_rate=3e-3),
)  # fmt: skip


@pytest.fixture
def folder():
    """One that every user may enter, unlike pytest's."""
    path = Path(tempfile.mkdtemp())
    path.chmod(0o755)
    yield path
    path.chmod(0o755)
    shutil.rmtree(path)


def start(what: str, limit: str, corpus, folder: Path) -> subprocess.Popen:
    corpus.tracks.to_csv(corpus.root / "tracks.csv")
    command = [sys.executable, "-c", WORK, what, limit, str(corpus.root), str(folder)]
    return subprocess.Popen(command, env=TESTS_TOO, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run(*arguments) -> tuple[int, str, str]:
    process = start(*arguments)
    said, error = process.communicate(timeout=300)
    return process.returncode, said, error


def test_a_full_disk_ends_the_preparation_and_leaves_a_whole_store(store, corpus, folder):
    code, _, error = run("prepare", "1000000", corpus, folder)
    assert code == 1 and f"cannot write to {folder} (File too large): what was finished is kept" in error
    assert "Traceback" not in error
    assert_same_files(build(corpus, folder), store)


# the checkpoint, which torch writes; the weights, which safetensors does, need as much less as the optimizer's state
@pytest.mark.parametrize("limit", ["2000", "read-only"])
def test_a_disk_that_takes_nothing_ends_the_training_and_leaves_no_run(store, corpus, folder, cpu, limit, tmp_path):
    other = build(corpus, folder)
    (folder / "runs").mkdir()
    code, _, error = run("train", limit, corpus, folder)
    assert code == 1 and f"cannot write to {folder / 'runs'}" in error and "Traceback" not in error, error
    (folder / "runs").chmod(0o755)
    assert {entry.suffix for entry in (folder / "runs").iterdir() if entry.is_dir()} <= {".partial"}
    expected = train_or_find(EXPERIMENT, store, tmp_path, cpu, progress=False)
    assert train_or_find(EXPERIMENT, other, folder / "runs", cpu, False).predictions().equals(expected.predictions())


def test_a_folder_that_cannot_be_made_is_one_message_that_names_its_variable(corpus, tmp_path, monkeypatch):
    """A mistyped SOUNDFUSION_DATA or SOUNDFUSION_RESULTS, which is a file here."""
    for variable in ("SOUNDFUSION_DATA", "SOUNDFUSION_RESULTS"):
        monkeypatch.setenv(variable, str(tmp_path / variable))
    copy_music(corpus, tmp_path / "music")
    mine = tmp_path / "mine.toml"
    mine.write_text('[corpus]\nkind = "folder"\npath = "music"\n')
    file = tmp_path / "file"
    file.write_text("")
    for variable, *command in (
        ("SOUNDFUSION_DATA", "prepare", "demo"),
        ("SOUNDFUSION_DATA", "status", str(mine)),
        ("SOUNDFUSION_RESULTS", "reproduce", "demo", "--only", "01", "--set", "training.epochs=1"),
    ):
        with monkeypatch.context() as context:
            context.setenv(variable, str(file / "folder"))
            said = CliRunner().invoke(main, command)
        assert said.exit_code == 1 and f"cannot write to {file}" in said.output, (command, said.output)
        assert variable in said.output


def test_two_processes_that_train_the_same_train_it_once_and_a_killed_one_leaves_no_lock(corpus, folder):
    build(corpus, folder)
    both = [start("train", "none", corpus, folder) for _ in range(2)]
    said = [process.communicate(timeout=300) for process in both]
    assert sorted(out for out, _ in said) == ["trained False\n", "trained True\n"], said
    for run_folder in [path for path in (folder / "runs").iterdir() if path.is_dir()]:
        shutil.rmtree(run_folder)
    with start("train", "none", corpus, folder) as process:
        while not list((folder / "runs").glob("*.partial/checkpoint.pt")) and process.poll() is None:
            pass
        process.kill()
    assert run("train", "none", corpus, folder)[1] == "trained True\n"


def test_a_file_is_written_whole_or_stays_as_it_was(tmp_path):
    file = tmp_path / "new" / "table.csv"
    with whole(file) as aside:
        aside.write_text("old")
        assert not file.exists()
    with pytest.raises(ZeroDivisionError), whole(file) as aside:
        aside.write_text("half" * (aside.write_text("begun") // 0))
    assert file.read_text() == "old" and [entry.name for entry in file.parent.iterdir()] == ["table.csv"]
