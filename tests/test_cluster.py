"""Runs on a real Dask cluster: a scheduler and two workers on the loopback."""

import os
import runpy
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from click.testing import CliRunner
from distributed import Client

from soundfusion_lib.cli import main
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.models import vgg16
from soundfusion_lib.paths import PROJECT, data_dir, runs_dir
from soundfusion_lib.study import search, space
from soundfusion_lib.study.graph import wanted
from soundfusion_lib.study.study import SCHEDULER, Study
from soundfusion_lib.training import cluster, worker
from soundfusion_lib.training.run import checksum, load_run
from soundfusion_lib.training.train import train_a_while

PROFILE = """
name = "tones"
clip_seconds = 4.0

[corpus]
kind = "folder"
path = '{path}'

[pretraining]
kind = "folder"
path = '{path}'

[mel]
sample_rate = 22050
n_mels = 32
n_fft = 512
hop_length = 256

[segmenting]
seconds = 1.0

[split]
folds = 4

[search]
trials = 3

[widths]
resnet2d = {{ small = 2 }}

[training]
epochs = 2
batch_size = 8
learning_rate = 3e-3
"""
LONG = 100  # epochs of a run that something happens to


@pytest.fixture(scope="module")
def profile(corpus, tmp_path_factory):
    music = corpus.tracks.rename(columns={"path": "file_name", "label": "genre", "group": "artist"})
    music[["file_name", "genre", "artist"]].to_csv(corpus.root / "metadata.csv", index=False)
    file = tmp_path_factory.mktemp("profile") / "tones.toml"
    file.write_text(PROFILE.format(path=corpus.root))
    return file


@contextmanager
def in_folder(folder):
    """This process's data are in a folder, and it trains on one thread, as workers do."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOUNDFUSION_DATA", str(folder))
        patch.setenv("SOUNDFUSION_RESULTS", str(folder / "results"))
        yield folder
    torch.set_num_threads(threads)


def command(*arguments, **options) -> subprocess.Popen:
    """A process in a group of its own, as on another machine."""
    return subprocess.Popen([sys.executable, *arguments], start_new_session=True, **options)


def kill(process: subprocess.Popen) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


class Cluster:
    """A scheduler and two workers, whose data are in a folder of their own."""

    def __init__(self, folder):
        self.folder, file = folder / "data", folder / "scheduler.json"
        log = open(folder / "log", "w")  # noqa: SIM115
        options = {"cwd": folder, "stdout": log, "stderr": log}
        options["env"] = {**os.environ, "SOUNDFUSION_DATA": str(self.folder), "OMP_NUM_THREADS": "1"}
        address = "--host=127.0.0.1", "--port=0", "--dashboard-address=127.0.0.1:0", f"--scheduler-file={file}"
        self.scheduler = command("-m", "distributed.cli.dask_scheduler", *address, **options)
        with Client(scheduler_file=str(file), set_as_default=False) as client:  # waits for the file
            self.address = client.scheduler.address
            code = "from soundfusion_lib.cli import main; main()"
            self.workers = [
                subprocess.Popen(
                    [sys.executable, "-c", code, "worker", self.address], start_new_session=True, **options
                )
                for _ in range(2)
            ]
            client.wait_for_workers(2, timeout=300)
            self.processes = client.run(os.getpid)  # by address; each is in the group of its nanny

    def end(self) -> None:
        for process in (self.scheduler, *self.workers):
            kill(process)


@pytest.fixture(scope="module")
def dask(tmp_path_factory):
    made = Cluster(tmp_path_factory.mktemp("cluster"))
    yield made
    made.end()


def study_of(profile, scheduler="") -> Study:
    return Study("cluster", profile, "cpu", progress=False, scheduler=scheduler)


def experiments(study):
    """A fusion that waits for its parts, and a network that starts from other music."""
    parts = [study.experiment(f"part {rate}", "simple_cnn", learning_rate=rate) for rate in (1e-3, 2e-3)]
    of_parts = {"parts": [("simple_cnn", {}), ("simple_cnn", {})], "start": {"trained": parts}}
    fused = study.experiment("fused", "fusion_concat", **of_parts)
    tuned = study.experiment("tuned", "simple_cnn", start={"pretrained": parts[0]})
    return {"fused": fused, "tuned": tuned}


def outcome(run):
    """What must be the same, to the last bit."""
    losses = run.history[["train_loss", "validation_loss"]].to_numpy().tolist()
    return checksum(run.folder / "model.safetensors"), losses, run.predictions().to_numpy().tolist()


@pytest.fixture(scope="module")
def serial(profile, tmp_path_factory):
    """By key, what comes out of the runs one after the other in this process."""
    with in_folder(tmp_path_factory.mktemp("serial")):
        study = study_of(profile)
        for experiment in experiments(study).values():
            study.train(experiment)
        return {folder.name: outcome(load_run(folder)) for folder in runs_dir().glob("*") if not folder.suffix}


def test_runs_wait_for_what_they_start_from_and_equal_the_serial_ones(profile, dask, serial):
    with in_folder(dask.folder):
        study = study_of(profile, dask.address)
        groups = study.train_all(experiments(study))
        assert [len(group.runs) for group in groups.values()] == [1, 1] and len(serial) == 5
        found = {folder.name: outcome(load_run(folder)) for folder in runs_dir().glob("*") if folder.is_dir()}
        assert found == serial
        assert study.finish().loc["cluster"].to_dict() == {"runs": 5, "trained now": 5, "found": 0}
        assert not list(runs_dir().glob(".*")) and not (data_dir() / "sent").exists()


def test_without_a_shared_disk_a_worker_is_sent_what_it_needs_once_and_sends_the_run(profile, dask, serial, tmp_path):
    with in_folder(tmp_path / "far"):
        study = study_of(profile)
        one = study.experiment("other part", "simple_cnn", learning_rate=4e-3)
        study.train(one)  # which the workers do not have
        study = study_of(profile, dask.address)
        fused = experiments(study)["fused"]
        fused = replace(fused, start={"trained": [one, fused.start["trained"][1]]})
        [run] = study.train(fused).runs
        again = study.train(replace(one, seeds=(3,))).runs[0]
        assert run.trained and again.trained and not list((data_dir() / "sent").glob("*"))
        sent = sorted((dask.folder / "sent").glob("*/data.bin"))
        assert len(sent) == 2  # waveforms and spectrograms, each once for both runs and both workers
        keys = {one.name for one in dask.folder.glob("runs/*") if one.is_dir()}
        assert {run.folder.name, again.folder.name, *run.experiment.start["parts"]} < keys
        found = outcome(run), outcome(again)
    with in_folder(tmp_path / "near"):
        study = study_of(profile)
        assert found == (outcome(study.train(fused).runs[0]), outcome(study.train(replace(one, seeds=(3,))).runs[0]))


def test_workers_share_a_search_and_their_trials_equal_those_that_are_trained_here(profile, dask, tmp_path):
    with in_folder(tmp_path / "far"):
        study = study_of(profile, dask.address)
        found = search.search(study)
        assert len(found.trials) == 3 and all(trial.state.is_finished() for trial in found.trials)
        store, base = study.store, search.experiment_of(study)
        for trial in found.trials:
            one = space.settled(base, "here", trial.params)
            file = tmp_path / f"{trial.number}.pt"
            history = train_a_while(one, store, file, study.device, len(trial.intermediate_values))
            assert dict(zip(history["epoch"], history["validation_loss"], strict=True)) == trial.intermediate_values
        assert not (dask.folder / "search" / search.key_of(study)).exists()
        assert not list(runs_dir().glob("*"))


def test_the_benchmark_times_runs_and_what_a_cluster_adds(profile, dask, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(PROJECT / "benchmarks")  # scripts, not a package
    benchmark = runpy.run_path(str(PROJECT / "benchmarks" / "cluster.py"))
    with in_folder(tmp_path):
        study = study_of(profile)
        runs = wanted(study, [study.experiment("part", "simple_cnn", epochs=1)])
        for _ in range(2):
            seconds, took = benchmark["timed"](runs, dask.address)
            assert took.keys() == runs.keys() and sum(took.values()) > 0 and seconds > 0


def long_run(study, seed) -> tuple:
    """A run that takes its time: its experiment and its key."""
    experiment = study.experiment("long", "simple_cnn", epochs=LONG, patience=LONG)
    experiment = replace(experiment, seeds=(seed,))
    return experiment, next(iter(wanted(study, [experiment])))


class Started(threading.Thread):
    """A training on a cluster, which has come to its third epoch; `before` are those that there are then."""

    def __init__(self, study, experiment, key):
        super().__init__()
        self.study, self.experiment, self.error = study, experiment, None
        self.start()
        while len(before := epochs(key)) < 3:
            assert self.is_alive()
            time.sleep(0.02)
        self.before = before

    def run(self):
        try:
            self.study.train(self.experiment)
        except SoundFusionError as error:
            self.error = error


def epochs(key) -> list[float]:
    """The seconds of each epoch of a run in training."""
    try:
        state = torch.load(runs_dir() / f"{key}.partial" / "checkpoint.pt", weights_only=True)
    except FileNotFoundError:
        return []
    return [epoch["seconds"] for epoch in state["history"]]


def goes_on(run, before) -> bool:
    """Whether the run is whole, and has the epochs that were there before, as they were timed then."""
    return 3 <= len(before) < LONG == len(run.history) and run.history["seconds"].tolist()[: len(before)] == before


def test_a_run_of_a_killed_worker_goes_on_at_its_last_epoch_on_the_other(profile, dask):
    with in_folder(dask.folder), Client(dask.address, set_as_default=False) as client:
        study = study_of(profile, dask.address)
        experiment, key = long_run(study, 5)
        training = Started(study, experiment, key)
        [busy] = [address for address, tasks in client.processing().items() if tasks]
        group = os.getpgid(dask.processes[busy])
        kill(next(process for process in dask.workers if process.pid == group))
        before = epochs(key)
        training.join()
        assert training.error is None and goes_on(load_run(runs_dir() / key), before)
        assert list(client.nthreads()) != [busy]


def test_a_lost_scheduler_is_a_clear_end_and_the_next_start_goes_on(profile, dask):
    """The worker trains its run to the end, which the next start waits for, or is ended, and the next start goes on."""
    with in_folder(dask.folder):
        study = study_of(profile, dask.address)
        experiment, key = long_run(study, 6)
        training = Started(study, experiment, key)
        kill(dask.scheduler)
        training.join()
        assert f"the connection to the scheduler {dask.address} is lost" in str(training.error)
        assert goes_on(study_of(profile).train(experiment).runs[0], training.before)


def test_a_job_of_slurm_starts_such_workers(tmp_path):
    options = ["--show", "--workers", "2", "--partition", "gpu", "--directive=--gpus=1"]
    done = subprocess.run(
        [sys.executable, PROJECT / "tooling" / "slurm.py", "demo", *options],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    lines = done.stdout.splitlines()
    assert {"#SBATCH -p gpu", "#SBATCH --gpus=1", "#SBATCH --cpus-per-task=2"} < set(lines), done.stderr
    [started] = [line for line in lines if "dask_worker" in line]
    assert lines.index("export MALLOC_ARENA_MAX=1") < lines.index(started)
    assert started.startswith(sys.executable) and "--nthreads 1 " in started and "--nworkers 2 " in started
    assert started.rindex("--memory-limit") == started.index("--memory-limit=0")  # the last one counts
    assert "--preload=soundfusion_lib.training.worker" in started


def test_no_scheduler_is_said_before_a_notebook_runs(profile, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "SECONDS", 0.5)
    monkeypatch.setenv(SCHEDULER, "")  # and as it was before, when the test ends
    with in_folder(tmp_path):
        said = CliRunner().invoke(main, ["reproduce", str(profile), "--only", "07", "--scheduler", "tcp://127.0.0.1:1"])
        assert said.exit_code == 1 and "no Dask scheduler answers at tcp://127.0.0.1:1" in said.output
        assert not list(tmp_path.rglob("*.ipynb")) and study_of(profile).scheduler == "tcp://127.0.0.1:1"


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1", "http://x:1", "tcp://127.0.0.1:99999", "tcp://x:"])
def test_what_is_no_address_is_said_by_a_worker_and_by_a_study(address, profile):
    said = CliRunner().invoke(main, ["worker", address])
    assert said.exit_code == 1 and f"{address!r} is no address of a Dask scheduler" in said.output
    study = study_of(profile, address)
    with pytest.raises(SoundFusionError, match="is no address"):
        study.train(study.experiment("waits", "simple_cnn", learning_rate=0.5))


def test_a_worker_without_a_scheduler_says_so(tmp_path):
    code = "from soundfusion_lib.cli import main; main()"
    command = [sys.executable, "-c", code, "worker", "tcp://127.0.0.1:1"]
    soon = os.environ | {"DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "2s"}
    said = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=tmp_path, env=soon)
    assert said.returncode == 1 and "no Dask scheduler answers at tcp://127.0.0.1:1" in said.stderr


def test_other_versions_and_other_weights_of_imagenet_are_refused(profile, tmp_path):
    with in_folder(tmp_path):
        study = study_of(profile)
        experiment = replace(study.experiment("x", "simple_cnn"), start={"imagenet": "torchvision"})
        order = worker.order(experiment, study.store, "mark", "cpu")
        worker._check_versions(order, "here")
        with pytest.raises(SoundFusionError, match="worker here has torch .*, and 1.0 is what asks"):
            worker._check_versions(replace(order, versions={"torch": "1.0"}), "here")
        assert list(order.store.arrays) == ["mel"] and len(order.needs) == 1
        worker._check_imagenet(experiment, "here")
        file = data_dir() / "vgg16_imagenet.pth"
        file.write_bytes(b"weights")
        assert vgg16.imagenet_file() == worker.needs(experiment, study.store)[file.name] == file
        with pytest.raises(SoundFusionError, match="worker here has other weights of ImageNet"):
            worker._check_imagenet(experiment, "here")
        worker._check_imagenet(replace(experiment, start={"imagenet": checksum(file)[:12]}), "here")
