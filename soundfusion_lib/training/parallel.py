"""Runs side by side: on the cores of this machine, or on the workers of a Dask cluster that share its disk."""

import asyncio
import os
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch
from tqdm import tqdm

from soundfusion_lib.audio.store import Store
from soundfusion_lib.device import choose_device, memory
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.models import count_parameters
from soundfusion_lib.paths import data_dir
from soundfusion_lib.pool import cores, worker_pool
from soundfusion_lib.training.experiment import Experiment
from soundfusion_lib.training.run import Run, versions
from soundfusion_lib.training.train import train_or_find

PROCESS = 768 * 2**20  # bytes of memory that a process takes before it trains
SHARE = 0.7  # of the main memory that runs side by side may take
SECONDS = 10  # that a scheduler may take to answer
AGAIN = "start again: finished runs are kept, the others go on at their last epoch"


class Wanted(NamedTuple):
    """A run to train."""

    experiment: Experiment
    store: Store


class Task(NamedTuple):
    """A call of a function, which also takes `device` and `progress`, and the bytes of main memory that it takes."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    after: tuple[str, ...] = ()  # keys of tasks
    memory: int = 0


def train_many(
    runs: Mapping[str, Wanted], folder: Path, device: str, progress: bool, scheduler: str = "", kept: Path | None = None
) -> Iterator[Run]:
    """Train runs, each behind those that it starts from, and yield each when it is done: see `run_tasks`."""
    tasks, sizes = {}, {}
    for key, (experiment, store) in runs.items():
        like = repr((experiment.model, experiment.options, experiment.segmenting, experiment.training.batch_size))
        sizes[like] = sizes.get(like) or memory_of(experiment, store)
        arguments = experiment, store, folder
        tasks[key] = Task(partial(train_or_find, kept=kept), arguments, experiment.starts_from, sizes[like])
    # the largest network first, so that no core waits for it at the end; last what starts from runs
    order = sorted(tasks, key=lambda key: 0 if tasks[key].after else tasks[key].memory, reverse=True)
    yield from run_tasks({key: tasks[key] for key in order}, device, progress, scheduler)


def memory_of(experiment: Experiment, store: Store) -> int:
    """Main memory that training takes on the CPU, estimated, in bytes: the process, and four thirds of six numbers for
    each parameter (weight, gradient, two of the optimizer, averaged, best) and of what a batch leaves for backward."""
    kept: set[torch.UntypedStorage] = set()

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.add(tensor.untyped_storage())
        return tensor

    # on "meta" tensors have sizes and no values
    with torch.device("meta"), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model, inputs = experiment.build(len(store.labels)), {}
        for spec in experiment.representations:
            shape = (1,) if spec.kind == "waveform" else (spec.channels, spec.bands)
            length = spec.frames(experiment.segmenting.seconds)
            inputs[spec.kind] = torch.empty(experiment.training.batch_size, *shape, length)
        model(*(inputs[kind] for kind in model.inputs))
    kept -= {parameter.untyped_storage() for parameter in model.parameters()}
    size = 6 * 4 * count_parameters(model, trainable_only=False) + sum(storage.nbytes() for storage in kept)
    return PROCESS + size * 4 // 3


def run_tasks(
    tasks: Mapping[str, Task], device: str, progress: bool, scheduler: str = "", unit: str = "run"
) -> Iterator[Any]:
    """Call what the tasks say, the first one first, and yield each result when it is there.

    Args:
        device: see `choose_device`: the tasks share the CPU's cores, and take turns on any other device.
        scheduler: address of a Dask scheduler, tcp://host:8786, whose workers each have such a device; "" for none.

    Raises SoundFusionError if a process was killed, the scheduler does not answer or is lost, or a worker has another
    disk, other versions of packages, or several threads.
    """
    if not tasks:
        return
    if scheduler:
        results = _on_cluster(tasks, device, progress, scheduler, unit)
    elif (here := choose_device(device)).type == "cpu" and min(cores(), len(tasks)) > 1:
        results = _on_cores(tasks)
    else:
        results = (task.function(*task.arguments, device=here, progress=progress) for task in tasks.values())
    options = {"desc": "training", "unit": unit, "leave": False, "disable": not progress or len(tasks) == 1}
    with tqdm(total=len(tasks), **options) as bar:
        for result in results:
            bar.update()
            yield result


def _on_cores(tasks: Mapping[str, Task]) -> Iterator[Any]:
    largest = max(task.memory for task in tasks.values())  # a process keeps what it once took
    workers = max(1, min(cores(), len(tasks), int(SHARE * memory()) // max(1, largest)))
    waiting, running = dict(tasks), dict[Future, str]()
    pool = worker_pool(workers)
    try:
        while waiting or running:
            undone = {*waiting, *running.values()}
            ready = [key for key, task in waiting.items() if undone.isdisjoint(task.after)]
            for key in ready[: workers - len(running)]:
                task = waiting.pop(key)
                call = pool.submit(task.function, *task.arguments, device=torch.device("cpu"), progress=False)
                running[call] = key
            for call in wait(running, return_when=FIRST_COMPLETED).done:
                del running[call]
                yield call.result()
    except BrokenProcessPool as error:
        raise SoundFusionError(f"a process that trains was killed (out of memory?); {AGAIN}") from error
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _on_cluster(tasks: Mapping[str, Task], device: str, progress: bool, scheduler: str, unit: str) -> Iterator[Any]:
    """Dask chooses the worker of each task, and another one where that is killed."""
    with connected(scheduler) as client:
        from distributed import as_completed
        from distributed.client import FutureCancelledError

        if progress:
            workers = f"{len(client.nthreads())} workers of {scheduler} (more: `soundfusion worker {scheduler}`)"
            print(f"{len(tasks)} {unit}s go to {workers}; dashboard: {client.dashboard_link}", file=sys.stderr)
        job, calls = uuid.uuid4().hex, {}  # another client may want the same runs
        stores = {id(value): value for task in tasks.values() for value in task.arguments if isinstance(value, Store)}
        for name, store in stores.items():  # sent once: a worker keeps what it has moved to its GPU
            stores[name] = client.submit(lambda store: store, store, key=f"store-{name}-{job}")
        for place, (key, task) in enumerate(tasks.items()):
            parts = [calls[part] for part in task.after if part in calls]
            arguments = [stores.get(id(value), value) for value in task.arguments]
            setting, options = (data_dir(), versions(), device), {"key": f"{unit}-{key}-{job}", "priority": -place}
            calls[key] = client.submit(_on_worker, setting, parts, task.function, *arguments, **options)
        try:
            for call in as_completed(calls.values(), loop=client.loop):
                yield call.result()
        except FutureCancelledError as error:
            raise SoundFusionError(f"the connection to the scheduler {scheduler} is lost; {AGAIN}") from error


def _on_worker(setting: tuple[Path, dict[str, str], str], _parts: list, function: Callable, *arguments: Any) -> Any:
    """Call a function in the data folder of the study that asks, if this worker gives the same numbers there."""
    from distributed import get_worker

    (data, expected, device), worker = setting, get_worker()
    name = f"worker {worker.address}"
    if not data.is_dir():
        raise SoundFusionError(f"{name} does not see the data folder {data}: put it on a disk that all machines share")
    if other := {package: version for package, version in versions().items() if version != expected[package]}:
        raise SoundFusionError(f"{name} has {other}, unlike the study: start it in the same environment")
    if worker.state.nthreads > 1:
        raise SoundFusionError(f"{name} has several threads, which would share random numbers: give it --nthreads 1")
    os.environ["SOUNDFUSION_DATA"] = str(data)
    return function(*arguments, device=choose_device(device), progress=False)


@contextmanager
def connected(scheduler: str) -> Iterator[Any]:
    """A client of a Dask scheduler; raises SoundFusionError if none answers."""
    if find_spec("distributed") is None:
        raise SoundFusionError("a cluster needs Dask: pip install 'soundfusion[cluster]'")
    from distributed import Client

    try:
        with ThreadPoolExecutor(1) as thread:  # beside a notebook's event loop
            thread.submit(asyncio.run, _check_answer(scheduler)).result()
        client = Client(scheduler, timeout=SECONDS, set_as_default=False)
    except Exception as error:  # of many kinds
        advice = "start one with `dask scheduler`, and give the address that it prints, tcp://host:8786"
        raise SoundFusionError(f"no Dask scheduler answers at {scheduler!r}: {advice}") from error
    with client:
        yield client


async def _check_answer(scheduler: str) -> None:
    """Raise an error unless a scheduler answers: `Client` would wait without end for a port that says nothing."""
    from distributed import rpc

    async with asyncio.timeout(SECONDS), rpc(scheduler) as remote:
        await remote.identity()
