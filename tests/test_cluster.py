"""Runs on a real Dask cluster: a scheduler and two workers on the loopback."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from click.testing import CliRunner
from conftest import SMALL_SIGNALS, at_home_in, copy_music
from distributed import Client, LocalCluster

from soundfusion_lib.cli import main
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.paths import runs_dir
from soundfusion_lib.study import search
from soundfusion_lib.study.study import SCHEDULER, Study
from soundfusion_lib.training import parallel
from soundfusion_lib.training.experiment import FromParts, FromRun
from soundfusion_lib.training.parallel import Task, run_tasks
from soundfusion_lib.training.run import PREDICTIONS, WEIGHTS, load_run

PROFILE = f"""
clip_seconds = 4.0
test_folds = [0]
corpus = {{ kind = "folder", path = "music" }}
pretraining = {{ kind = "folder", path = "music" }}
widths = {{ resnet2d = {{ small = 2 }} }}
search = {{ trials = 3 }}
training = {{ epochs = 2, batch_size = 8, learning_rate = 3e-3 }}
{SMALL_SIGNALS}"""
LONG = 100  # epochs of a run that something happens to
WORKER = [sys.executable, "-c", "from soundfusion_lib.cli import main; main()", "worker"]


@pytest.fixture(scope="module")
def profile(corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("profile")
    copy_music(corpus, folder / "music")
    (folder / "tones.toml").write_text(PROFILE)
    return folder / "tones.toml"


@contextmanager
def in_folder(folder):
    """This process keeps its data in a folder, and trains on one thread, as workers do."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with at_home_in(folder):
        yield
    torch.set_num_threads(threads)


def kill(process: subprocess.Popen) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


class Cluster:
    """A scheduler and two workers, each in a process group of its own, as on machines of their own. The workers are
    not told where the data are."""

    def __init__(self, folder):
        self.folder, file = folder, folder / "scheduler.json"
        log = open(folder / "log", "w")  # noqa: SIM115
        options = {"cwd": folder, "stdout": log, "stderr": log, "start_new_session": True}
        address = "--host=127.0.0.1", "--port=0", "--dashboard-address=127.0.0.1:0", f"--scheduler-file={file}"
        self.scheduler = subprocess.Popen([sys.executable, "-m", "distributed.cli.dask_scheduler", *address], **options)
        with Client(scheduler_file=str(file), set_as_default=False) as client:  # waits for the file
            self.address = client.scheduler.address
            self.workers = [subprocess.Popen([*WORKER, self.address], **options) for _ in range(2)]
            client.wait_for_workers(2, timeout=300)
            self.processes = client.run(os.getpid)  # by address; each is in the group of its nanny

    def end(self) -> None:
        for process in (self.scheduler, *self.workers):
            kill(process)


@pytest.fixture(scope="module")
def dask(tmp_path_factory):
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    yield cluster
    cluster.end()


def study_of(profile, scheduler="") -> Study:
    return Study("cluster", profile, "cpu", progress=False, scheduler=scheduler)


def experiments(study):
    """A fusion that waits for its parts, and a network that starts from other music."""
    parts = [study.experiment(f"part {rate}", "simple_cnn", learning_rate=rate) for rate in (1e-3, 2e-3)]
    of_parts = {"parts": [("simple_cnn", {}), ("simple_cnn", {})], "start": FromParts(tuple(parts))}
    fused = study.experiment("fused", "fusion_concat", **of_parts)
    tuned = study.experiment("tuned", "simple_cnn", start=FromRun(parts[0]))
    return {"fused": fused, "tuned": tuned}


def outcomes() -> dict:
    """By key of each run, what must be the same to the last bit."""
    runs = [load_run(folder) for folder in runs_dir().glob("*") if folder.is_dir()]
    return {run.key: [run.info["checksums"][file] for file in (PREDICTIONS, WEIGHTS)] for run in runs}


def test_runs_wait_for_what_they_start_from_and_equal_the_serial_ones_and_a_search_is_shared(profile, dask, tmp_path):
    with in_folder(tmp_path):
        for experiment in experiments(study := study_of(profile)).values():
            study.train(experiment)
        serial = outcomes()
    with in_folder(dask.folder):
        study = study_of(profile, dask.address)
        groups = study.train(experiments(study))
        assert [len(group.runs) for group in groups.values()] == [1, 1] and len(serial) == 5
        assert outcomes() == serial
        assert study.finish().loc["cluster"].to_dict() == {"runs": 5, "trained now": 5, "found": 0}
        assert len(search.ended(search.search(study))) == 3  # trials, which the workers share
        assert outcomes() == serial


class Started(threading.Thread):
    """A run of many epochs on a cluster, which has come to its third one."""

    def __init__(self, profile, scheduler, seed):
        super().__init__()
        self.study, self.error = study_of(profile, scheduler), None
        experiment = self.study.experiment("long", "simple_cnn", epochs=LONG, patience=LONG)
        self.experiment = replace(experiment, seeds=(seed,))
        self.key = next(iter(self.study.wanted([self.experiment])))
        self.start()
        while len(self.epochs()) < 3:
            assert self.is_alive()
            time.sleep(0.02)

    def run(self):
        try:
            self.study.train(self.experiment)
        except SoundFusionError as error:
            self.error = error

    def epochs(self) -> list[float]:
        """The seconds of each epoch so far."""
        try:
            state = torch.load(runs_dir() / f"{self.key}.partial" / "checkpoint.pt", weights_only=True)
        except FileNotFoundError:
            return []
        return [epoch["seconds"] for epoch in state["history"]]


def goes_on(run, before) -> bool:
    """Whether the run is whole, and has the epochs that were there before, as they were timed then."""
    return 3 <= len(before) < LONG == len(run.history) and run.history["seconds"].tolist()[: len(before)] == before


def test_a_run_of_a_killed_worker_goes_on_at_its_last_epoch_on_the_other(profile, dask):
    with in_folder(dask.folder), Client(dask.address, set_as_default=False) as client:
        training = Started(profile, dask.address, seed=5)
        [busy] = [address for address, tasks in client.processing().items() if tasks]
        group = os.getpgid(dask.processes[busy])
        kill(next(process for process in dask.workers if process.pid == group))
        before = training.epochs()
        training.join()
        assert training.error is None and goes_on(load_run(runs_dir() / training.key), before)
        assert list(client.nthreads()) != [busy]


def test_a_lost_scheduler_is_a_clear_end_and_the_next_start_goes_on(profile, dask):
    """The worker trains its run to the end, which the next start waits for, or is ended, and the next start goes on."""
    with in_folder(dask.folder):
        training = Started(profile, dask.address, seed=6)
        before = training.epochs()
        kill(dask.scheduler)
        training.join()
        assert f"the connection to the scheduler {dask.address} is lost" in str(training.error)
        assert goes_on(study_of(profile).train(training.experiment).runs[0], before)


def called(device, progress) -> None:
    """A task."""


@pytest.mark.parametrize(
    "name, value, threads, said",
    [
        ("data_dir", lambda: Path("/elsewhere"), 1, "does not see the data folder /elsewhere"),
        ("versions", Mock(side_effect=[{"torch": "1.0"}, {"torch": "2.0"}]), 1, "has {'torch': '2.0'}, unlike"),
        ("SECONDS", 10, 2, "has several threads"),
    ],
)
def test_a_worker_that_would_give_other_numbers_is_refused(name, value, threads, said, tmp_path, monkeypatch):
    monkeypatch.setattr(parallel, name, value)
    here = {"n_workers": 1, "threads_per_worker": threads, "processes": False, "dashboard_address": None}
    (tmp_path / "data").mkdir()
    with LocalCluster(protocol="tcp", **here) as cluster, in_folder(tmp_path):
        results = run_tasks({"task": Task(called, ())}, "cpu", False, cluster.scheduler_address)
        with pytest.raises(SoundFusionError, match=said):
            list(results)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nonsense", "one that says nothing"])
def test_no_scheduler_is_said_before_a_notebook_runs_and_by_a_worker(address, profile, tmp_path, monkeypatch):
    monkeypatch.setattr(parallel, "SECONDS", 0.5)
    monkeypatch.setenv(SCHEDULER, "")  # and as it was before, when the test ends
    with socket.create_server(("127.0.0.1", 0)) as silent, in_folder(tmp_path):
        if address == "one that says nothing":
            address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        for command in (["worker"], ["reproduce", str(profile), "--only", "07", "--scheduler"]):
            said = CliRunner().invoke(main, [*command, address])
            assert said.exit_code == 1 and f"no Dask scheduler answers at {address!r}" in said.output
        assert not list(tmp_path.rglob("*.ipynb")) and study_of(profile).scheduler == address
