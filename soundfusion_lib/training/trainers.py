"""Who trains the trials of a search: this machine's cores or its GPU; for other machines see `cluster.trainers`."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from soundfusion_lib.audio.store import Store
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.paths import data_dir
from soundfusion_lib.training.experiment import Experiment
from soundfusion_lib.training.train import KILLED, cpu_pool, train_a_while


@dataclass(frozen=True)
class Trainers:
    """So many workers, and how they are asked to train.

    Args:
        workers: trainings that go on at once.
        submit: takes an experiment, the place of its checkpoint in a data folder, and the epoch to stop after; the
            future's result are its epochs, see `train.train_a_while`.
    """

    workers: int
    submit: Callable[[Experiment, str, int], Future]


@contextmanager
def trainers_here(store: Store, device: torch.device) -> Iterator[Trainers]:
    """The cores of this machine, a training each; or its GPU, one after the other.

    Raises:
        SoundFusionError: a process was killed.
    """
    executor, workers = cpu_pool() if device.type == "cpu" else (ThreadPoolExecutor(1), 1)

    def submit(experiment: Experiment, place: str, until: int) -> Future:
        return executor.submit(train_a_while, experiment, store, data_dir() / place, device, until)

    try:
        yield Trainers(workers, submit)
    except BrokenProcessPool as error:
        raise SoundFusionError(KILLED) from error
    finally:
        executor.shutdown(wait=False, cancel_futures=True)
