"""Runs on a Dask cluster on the loopback: two workers of one thread against one; and what else could start workers.

    python benchmarks/cluster.py            # the runs of notebook 5 on the demo, whose music is made first
    python benchmarks/cluster.py --start    # until two processes are there that can train: the own pool, joblib, Dask

The workers have a data folder of their own, so that clips and runs are sent. `seconds` are until all runs are done and
here; `simulated` is the schedule of `soundfusion plan --workers` from the time that each run's epochs took, and
`foretold` the same from those on one worker, which a machine with other work to do does not keep to; `overhead` is what
a run takes that there is nothing to train of: it is asked for, found by the worker and sent.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import pandas as pd
from common import record

from soundfusion_lib.paths import PROJECT, runs_dir
from soundfusion_lib.study.graph import wanted
from soundfusion_lib.study.needs import needed_by
from soundfusion_lib.study.schedule import makespan
from soundfusion_lib.study.study import Study
from soundfusion_lib.training.cluster import train_on_cluster
from soundfusion_lib.training.train import Wanted, largest_first

IMPORTS = "import torch._dynamo, soundfusion_lib.training.train"
READY = {  # a script each, that ends when two workers have imported what training takes
    "own pool": """
from soundfusion_lib.pool import worker_pool
if __name__ == "__main__":
    with worker_pool(2) as pool:
        list(pool.map(exec, [TASK] * 2))
""",
    "joblib": """
import joblib
if __name__ == "__main__":
    joblib.Parallel(2)(joblib.delayed(exec)(TASK) for _ in range(2))
""",
    "Dask's LocalCluster": """
from distributed import Client, LocalCluster
if __name__ == "__main__":
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        client.gather(client.map(exec, [TASK] * 2, pure=False))
""",
}


@contextmanager
def cluster(folder: Path, workers: int) -> Iterator[str]:
    """Address of a scheduler with so many workers, which keep their data in a folder."""
    from distributed import Client

    file = folder / f"scheduler{workers}.json"
    environment = {**os.environ, "SOUNDFUSION_DATA": str(folder / f"workers{workers}"), "OMP_NUM_THREADS": "1"}
    options = {"env": environment, "cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    begun = [
        subprocess.Popen(
            [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host=127.0.0.1", "--port=0",
             "--dashboard-address=127.0.0.1:0", f"--scheduler-file={file}"], **options)
    ]  # fmt: skip
    try:
        with Client(scheduler_file=str(file), set_as_default=False) as client:
            address = client.scheduler.address
            code = "from soundfusion_lib.cli import main; main()"
            begun.append(
                subprocess.Popen([sys.executable, "-c", code, "worker", address, f"--count={workers}"], **options)
            )
            client.wait_for_workers(workers)
            yield address
    finally:
        for process in reversed(begun):
            process.terminate()
            process.wait()


def timed(runs: dict[str, Wanted], address: str) -> tuple[float, dict[str, float]]:
    """Seconds until all are done and here; and by run, those that its epochs took."""
    shutil.rmtree(runs_dir(), ignore_errors=True)
    began = time.perf_counter()
    took = {run.folder.name: run.info["seconds"] for run in train_on_cluster(runs, address, "cpu", progress=False)}
    return time.perf_counter() - began, took


def measure(notebook: str, folder: Path) -> pd.DataFrame:
    """A row a number of workers."""
    study = Study("benchmark", "demo", "cpu", scheduler="here")
    runs = wanted(study, needed_by(study)[notebook])
    order = largest_first(runs)
    starts_from = {key: runs[key].experiment.starts_from for key in order}
    rows, of_one = [], {}
    for workers in (1, 2):
        with cluster(folder, workers) as address:
            seconds, took = timed(runs, address)
            overhead = timed(runs, address)[0] / len(runs)  # the worker has them all
        of_one = of_one or took
        simulated, foretold = (
            makespan({key: times[key] + overhead for key in order}, starts_from, workers) for times in (took, of_one)
        )
        rows.append([workers, len(runs), seconds, sum(took.values()), simulated, foretold, overhead])
    return pd.DataFrame(rows, columns=["workers", "runs", "seconds", "training", "simulated", "foretold", "overhead"])


def start(way: str, repeats: int) -> float:
    """Shortest time of a script's whole life, in s."""
    times = []
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "start.py"
        script.write_text(f"TASK = {IMPORTS!r}\n{READY[way]}")
        for _ in range(repeats):
            began = time.perf_counter()
            subprocess.run([sys.executable, script], check=True, cwd=PROJECT)
            times.append(time.perf_counter() - began)
    return min(times)


@click.command(help=__doc__)
@click.option("--notebook", default="05_fusion", show_default=True, help="Whose runs.")
@click.option("--start", "only_start", is_flag=True, help="Time the start of two workers instead.")
@click.option("--repeats", default=3, show_default=True, help="Of each start, of which the shortest counts.")
def main(notebook: str, only_start: bool, repeats: int) -> None:
    load = f"{os.getloadavg()[0]:.1f}"
    if only_start:
        rows = [[way, start(way, repeats)] for way in READY]
        return record("cluster_start", pd.DataFrame(rows, columns=["workers by", "seconds"]), load_before=load)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SOUNDFUSION_DATA"] = f"{folder}/data"
        record("cluster", measure(notebook, Path(folder)), notebook=notebook, load_before=load)


if __name__ == "__main__":
    main()
