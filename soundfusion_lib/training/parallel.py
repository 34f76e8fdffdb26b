"""Runs side by side."""

from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import NamedTuple

import torch
from tqdm import tqdm

from soundfusion_lib.audio.store import Store
from soundfusion_lib.device import memory
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.models import count_parameters
from soundfusion_lib.pool import cores, worker_pool
from soundfusion_lib.training.experiment import Experiment
from soundfusion_lib.training.run import Run
from soundfusion_lib.training.train import train_or_find

RUN_BYTES = 5 * 2**30  # of memory that a run may take: what the whole VGG16 does
CPU = torch.device("cpu")
KILLED = "a process that trains was killed (out of memory?); start again: it goes on from there"


class Wanted(NamedTuple):
    """A run that is wanted."""

    experiment: Experiment
    store: Store


def largest_first(wanted: Mapping[str, Wanted]) -> list[str]:
    """The keys of these runs, the largest network first, so that nobody waits for it at the end; what another starts
    from goes before it. In `wanted` it does so, too."""
    sizes: dict[str, int] = {}
    for key, (experiment, store) in reversed(wanted.items()):
        with torch.device("meta"):
            sizes[key] = max(sizes.get(key, 0), count_parameters(experiment.build(len(store.labels))))
        for part in experiment.starts_from:
            sizes[part] = max(sizes.get(part, 0), sizes[key])
    return sorted(wanted, key=sizes.__getitem__, reverse=True)


def cpu_pool() -> tuple[ProcessPoolExecutor, int]:
    """Processes that train a run each, on as many threads as there are cores for each; and their number."""
    available = cores()
    workers = max(1, min(available, memory().total // RUN_BYTES))
    return worker_pool(workers, available // workers), workers


def train_many(
    wanted: dict[str, Wanted], folder: Path, device: torch.device, progress: bool, scheduler: str = ""
) -> Iterator[Run]:
    """Train what is not trained yet of these, by their keys; each run as it is done.

    A fusion of trained parts waits for these. One whose parts are neither trained nor wanted is left out, and so is
    a single run, which had better have all cores.

    Raises:
        SoundFusionError: a process was killed; see also `train_or_find`.
    """

    def is_trained(key: str) -> bool:
        return (folder / key).is_dir()

    waiting = largest_first({key: one for key, one in wanted.items() if not is_trained(key)})
    if len(waiting) < 2 or device.type != "cpu" or cores() == 1:
        return
    pool, _ = cpu_pool()
    running: set[Future] = set()
    try:
        with tqdm(total=len(waiting), desc="training", unit="run", leave=False, disable=not progress) as bar:
            while waiting or running:
                able = [key for key in waiting if all(map(is_trained, wanted[key].experiment.starts_from))]
                if not able and not running:
                    return
                waiting = [key for key in waiting if key not in able]
                running |= {pool.submit(train_or_find, *wanted[key], folder, CPU, False) for key in able}
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    run = future.result()
                    bar.set_postfix_str(run.experiment.name)
                    bar.update()
                    yield run
    except BrokenProcessPool as error:
        raise SoundFusionError(KILLED) from error
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
