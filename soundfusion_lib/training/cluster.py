"""Runs on the workers of a Dask cluster that exists: each is a task, and waits for those that it starts from.

Which worker takes which run, and that another one takes it over when one is killed, is Dask's doing. On a disk that all
see the run then goes on at its last epoch, elsewhere it begins anew.
"""

import os
import re
import sys
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from tqdm import tqdm

from soundfusion_lib.audio.store import Store
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.paths import runs_dir, writing
from soundfusion_lib.training import worker
from soundfusion_lib.training.experiment import Experiment
from soundfusion_lib.training.run import Run
from soundfusion_lib.training.train import Wanted, largest_first
from soundfusion_lib.training.trainers import Trainers

if TYPE_CHECKING:
    from distributed import Client, Future

SECONDS = 10  # that a scheduler may take to answer
ADDRESS = re.compile(r"(?:(?:tcp|tls)://)?[^\s/]+:(\d+)")
PIECE = 2**25  # bytes sent at once
# Of workers. Dask's limit of memory would count the clips, which are mapped from the disk. A task is a thread, and by
# itself each has memory of its own, which `keep_freed_memory` does not reach: a step takes twice as long.
OPTIONS = ["--memory-limit=0", f"--preload={worker.__name__}", "--preload=torch._dynamo"]
ENVIRONMENT = {"MALLOC_ARENA_MAX": "1"}
AGAIN = "what is trained is kept, and what was in training goes on: start again"


def train_on_cluster(wanted: dict[str, Wanted], scheduler: str, device: str, progress: bool) -> Iterator[Run]:
    """Train what is not trained yet of these runs, by their keys, on a cluster; each run as it is done.

    Args:
        wanted: what a run starts from stands before it, or is trained.
        scheduler: address of a Dask scheduler, tcp://host:port.
        device: on a worker, see `choose_device`.
        progress: show a progress bar, and first where the runs go.

    Raises:
        SoundFusionError: no scheduler answers, or it is lost; a run cost several workers their lives; see also
            `worker.train_here`.
    """
    waiting = largest_first({key: one for key, one in wanted.items() if not (runs_dir() / key).is_dir()})
    if not waiting:
        return
    with _connected(scheduler) as client, _marked() as mark:
        from distributed import as_completed

        if progress:
            print(_greeting(client, f"{len(waiting)} runs"), file=sys.stderr, flush=True)
        tasks: dict[str, Future] = {}  # by key of the run

        def submit(key: str) -> "Future":
            experiment, store = wanted[key]
            order = worker.order(experiment, store, mark, device)
            parts = [tasks[part] for part in experiment.starts_from if part in tasks]
            name = f"{experiment.model}-{uuid.uuid4().hex}"  # another client may want the same run
            tasks[key] = client.submit(worker.train_here, order, parts, key=name, priority=-waiting.index(key))
            return tasks[key]

        asked = as_completed([submit(key) for key in waiting], loop=client.loop)
        with tqdm(total=len(waiting), desc="training", unit="run", leave=False, disable=not progress) as bar:
            for task in asked:
                [key] = [key for key, own in tasks.items() if own is task]
                experiment, store = wanted[key]
                outcome = _outcome(task, experiment.name, scheduler)
                if outcome.lacks:
                    _send(client, outcome, worker.needs(experiment, store), mark)
                    asked.add(submit(key))
                    continue
                worker.keep_run(outcome)
                bar.set_postfix_str(experiment.name)
                bar.update()
                yield Run(experiment, runs_dir() / key, outcome.trained)


@contextmanager
def trainers(store: Store, scheduler: str, device: str, progress: bool, checkpoints: str) -> Iterator[Trainers]:
    """The workers of a cluster that there are now, for trials; a trial goes on where it was, or anew, with the same
    numbers, where that worker is busy or gone. Raises as `train_on_cluster`.

    Args:
        checkpoints: the folder of their places, which is removed on the workers at the end.
    """
    with _connected(scheduler) as client, _marked() as mark:
        if progress:
            print(_greeting(client, "trials"), file=sys.stderr, flush=True)
        threads = ThreadPoolExecutor(max(1, len(client.nthreads())))
        last: dict[str, str] = {}  # worker by checkpoint

        def train(experiment: Experiment, place: str, until: int) -> pd.DataFrame:
            wanted = worker.order(experiment, store, mark, device, place, until)
            while True:
                name = f"{experiment.model}-{uuid.uuid4().hex}"
                here = {"workers": [last[place]], "allow_other_workers": True} if place in last else {}
                task = client.submit(worker.train_here, wanted, [], key=name, **here)
                outcome = _outcome(task, experiment.name, scheduler)
                last[place] = outcome.worker
                if not outcome.lacks:
                    return outcome.history
                _send(client, outcome, worker.needs(experiment, store), mark)

        try:
            yield Trainers(max(1, len(client.nthreads())), partial(threads.submit, train))
            client.run(worker.discard, checkpoints)
        finally:
            threads.shutdown(wait=False, cancel_futures=True)


def work(scheduler: str, count: int) -> None:
    """Be workers of a scheduler, so many processes, until it ends or this one is told to.

    Each trains a run at a time, on one thread unless OMP_NUM_THREADS says otherwise. Raises SoundFusionError where no
    scheduler answers.
    """
    with _connected(scheduler):  # raises where none answers
        pass
    from distributed.cli.dask_worker import main

    os.environ |= ENVIRONMENT
    main([scheduler, f"--nworkers={count}", "--nthreads=1", *OPTIONS], standalone_mode=False)


def _check(scheduler: str) -> None:
    """Raise SoundFusionError where Dask is not installed, or this is no address of a scheduler."""
    if find_spec("distributed") is None:
        raise SoundFusionError("a cluster takes Dask: pip install 'soundfusion[cluster]'")
    port = ADDRESS.fullmatch(scheduler)
    if not port or not 0 < int(port[1]) < 2**16:
        raise SoundFusionError(f"{scheduler!r} is no address of a Dask scheduler: it is written tcp://host:8786")


@contextmanager
def _connected(scheduler: str) -> Iterator["Client"]:
    _check(scheduler)
    from distributed import Client

    try:
        client = Client(scheduler, timeout=SECONDS, set_as_default=False, name="soundfusion")
    except OSError as error:
        advice = "start one with `dask scheduler`, and give the address that it prints"
        raise SoundFusionError(f"no Dask scheduler answers at {scheduler}: {advice}") from error
    with client:
        yield client


@contextmanager
def _marked() -> Iterator[str]:
    """Name of a file in the folder of runs, by which a worker knows that its own is the same."""
    mark = runs_dir() / f".{uuid.uuid4().hex}.mark"
    with writing(mark.parent):
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()
    try:
        yield mark.name
    finally:
        mark.unlink()


def _greeting(client: "Client", what: str) -> str:
    address, workers = client.scheduler.address, len(client.nthreads())
    lacking = "" if workers else f"; it waits for some: `soundfusion worker {address}`"
    return f"{what} go to the {workers} workers of {address}{lacking}; dashboard: {client.dashboard_link}"


def _outcome(task: "Future", name: str, scheduler: str) -> worker.Outcome:
    """What a task gave; raises what it raised, and what befell it as a SoundFusionError."""
    from distributed.client import FutureCancelledError
    from distributed.scheduler import KilledWorker

    try:
        return task.result()
    except FutureCancelledError as error:
        raise SoundFusionError(f"the connection to the scheduler {scheduler} is lost; {AGAIN}") from error
    except KilledWorker as error:
        deaths = error.allowed_failures + 1
        raise SoundFusionError(f"{name}: {deaths} workers ended while they had it (out of memory?); {AGAIN}") from error


def _send(client: "Client", outcome: worker.Outcome, sources: dict[str, Path], mark: str) -> None:
    """Send a worker what it lacks, but what it has got meanwhile, or what is still to come here.

    Raises:
        SoundFusionError: it cannot take it. One that is gone is no error: its run goes to another.
    """
    try:
        for place in outcome.lacks:
            source, aside = sources[place], f"sent/{place.replace('/', '-')}{mark}"
            if not source.exists() or _on(client, outcome, worker.is_here, place):
                continue
            for file in [source] if source.is_file() else source.iterdir():
                target = aside if source.is_file() else f"{aside}/{file.name}"
                with open(file, "rb") as content:
                    for piece in iter(partial(content.read, PIECE), b""):
                        _on(client, outcome, worker.receive, target, content.tell() - len(piece), piece)
            _on(client, outcome, worker.rename, aside, place)
    except OSError as error:
        if outcome.worker in client.nthreads():
            raise SoundFusionError(f"worker {outcome.worker} cannot be sent {place}: {error}") from error


def _on(client: "Client", outcome: worker.Outcome, function: Callable, *arguments: Any) -> Any:
    """What a function gives on a worker."""
    return client.run(function, *arguments, workers=[outcome.worker])[outcome.worker]
