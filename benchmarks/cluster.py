"""Runs on a Dask cluster on the loopback: two workers of one thread against one.

    python benchmarks/cluster.py            # fusions and their parts on the demo corpus, which is made first

`seconds` are until all runs are done, `training` those of their epochs together; `overhead` is the time per run that a
cluster takes to find what is trained already.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import click
import pandas as pd
from common import record

from soundfusion_lib.paths import runs_dir
from soundfusion_lib.study.protocol import fusions
from soundfusion_lib.study.study import Study
from soundfusion_lib.training.parallel import Task, Wanted, run_tasks
from soundfusion_lib.training.train import train_or_find

SOUNDFUSION = [sys.executable, "-c", "from soundfusion_lib.cli import main; main()"]


@contextmanager
def cluster(folder: Path, workers: int) -> Iterator[str]:
    """Address of a scheduler with so many workers."""
    from distributed import Client

    file, silent = folder / f"scheduler{workers}.json", {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    options = ["--host=127.0.0.1", "--port=0", "--dashboard-address=127.0.0.1:0", f"--scheduler-file={file}"]
    processes = [subprocess.Popen([sys.executable, "-m", "distributed.cli.dask_scheduler", *options], **silent)]
    try:
        with Client(scheduler_file=str(file), set_as_default=False) as client:
            address = client.scheduler.address
            processes.append(subprocess.Popen([*SOUNDFUSION, "worker", address, f"--count={workers}"], **silent))
            client.wait_for_workers(workers)
            yield address
    finally:
        for process in reversed(processes):
            process.terminate()
            process.wait()


def timed(runs: Mapping[str, Wanted], address: str) -> tuple[float, float]:
    """Seconds until all runs are trained or found; and the seconds of their epochs together."""
    tasks = {key: Task(train_or_find, (*run, runs_dir()), run.experiment.starts_from) for key, run in runs.items()}
    began = time.perf_counter()
    trained = sum(run.info["seconds"] for run in run_tasks(tasks, "cpu", False, address))
    return time.perf_counter() - began, trained


def measure(folder: Path) -> pd.DataFrame:
    """One row per number of workers."""
    study = Study("benchmark", "demo", "cpu")
    runs = study.wanted(fusions(study).values())
    rows = []
    for workers in (1, 2):
        shutil.rmtree(runs_dir(), ignore_errors=True)
        with cluster(folder, workers) as address:
            seconds, training = timed(runs, address)
            rows.append([workers, len(runs), seconds, training, timed(runs, address)[0] / len(runs)])
    return pd.DataFrame(rows, columns=["workers", "runs", "seconds", "training", "overhead"])


@click.command(help=__doc__)
def main() -> None:
    load = f"{os.getloadavg()[0]:.1f}"
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SOUNDFUSION_DATA"] = f"{folder}/data"
        record("cluster", measure(Path(folder)), load_before=load)


if __name__ == "__main__":
    main()
