"""Runs side by side on a CPU: one on each core, for networks of this size faster than all cores on one."""

from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import cached_property, partial
from pathlib import Path

import torch
from tqdm import tqdm

from soundfusion_lib import processes
from soundfusion_lib.device import memory
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.models import count_parameters
from soundfusion_lib.signals.store import Store
from soundfusion_lib.training import train
from soundfusion_lib.training.experiments import Experiment
from soundfusion_lib.training.runs import Run

RUN_BYTES = 5 * 2**30  # of memory that a run may take: what the whole VGG16 does


class SideBySide:
    """Processes that train runs.

    Args:
        store, folder, weights, progress: see `train.train_or_find`.
    """

    def __init__(self, store: Store, folder: Path, weights: Path | None, progress: bool):
        self.store, self.folder, self.progress = store, folder, progress
        self._train = partial(
            train.train_or_find, store=store, folder=folder, device=torch.device("cpu"), weights=weights, progress=False
        )

    @cached_property
    def _pool(self) -> ProcessPoolExecutor:
        cores = processes.cores()
        workers = max(1, min(cores, memory().total // RUN_BYTES))
        return processes.pool(workers, cores // workers)

    def train(self, wanted: dict[str, Experiment]) -> Iterator[Run]:
        """Train what is not trained yet of these, by their keys; each run as it is done.

        A fusion of trained parts waits for these. One whose parts are neither trained nor wanted is left out, and so is
        a single run, which had better have all cores.

        Raises:
            SoundFusionError: a process was killed; see also `train.train_or_find`.
        """
        jobs = {key: one for key, one in wanted.items() if not self._is_trained(key)}
        # the largest first: no core waits for it at the end
        jobs = dict(sorted(jobs.items(), key=lambda job: -self._size(job[1])))
        if len(jobs) < 2:
            return
        running: set[Future] = set()
        try:
            with tqdm(total=len(jobs), desc="training", unit="run", leave=False, disable=not self.progress) as bar:
                while jobs or running:
                    able = [key for key, one in jobs.items() if all(map(self._is_trained, one.start.get("parts", ())))]
                    if not able and not running:
                        return
                    running |= {self._pool.submit(self._train, jobs.pop(key)) for key in able}
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    for run in (future.result() for future in done):
                        bar.set_postfix_str(run.experiment.name)
                        bar.update()
                        yield run
        except BrokenProcessPool as error:
            message = "a process that trains was killed (out of memory?); start again: it goes on from there"
            raise SoundFusionError(message) from error
        finally:
            for future in running:
                future.cancel()

    def shutdown(self) -> None:
        """End the processes, once what they are at is done."""
        if "_pool" in self.__dict__:
            self.__dict__.pop("_pool").shutdown()

    def _is_trained(self, key: str) -> bool:
        return (self.folder / key).is_dir()

    def _size(self, experiment: Experiment) -> int:
        with torch.device("meta"):
            return count_parameters(experiment.build(len(self.store.labels)))
