"""How long the runs of a study take on so many workers, each of which trains one at a time."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from heapq import heappop, heappush

import pandas as pd
import psutil
import torch

from soundfusion_lib.device import choose_device
from soundfusion_lib.study import graph
from soundfusion_lib.study.plan import CPU, core_hours, epoch_seconds, runs_of
from soundfusion_lib.study.study import Study
from soundfusion_lib.training.experiment import Experiment
from soundfusion_lib.training.parallel import Wanted, largest_first


def schedules(study: Study, experiments: Iterable[Experiment], workers: Sequence[int]) -> pd.DataFrame:
    """How long what is left of a study takes on so many workers, on a CPU (one thread each) and, where this machine has
    one, on a GPU.

    Args:
        study: see `plan_of`, which says what is not in it.
        experiments: whose runs are wanted.
        workers: numbers of them.

    Returns:
        By device and number of workers: hours; gib_a_worker, what its process takes of the machine's memory (clips,
        which are mapped from the disk, aside), or of the GPU's.
    """
    left: dict[str, Experiment] = {}
    for experiment in experiments:
        runs = [run for one in (*graph.parts(study, experiment), experiment) for run in runs_of(study, one)]
        left |= {run.folder.name: run.experiment for run in runs if not run.folder.is_dir()}
    order = largest_first({key: Wanted(experiment, study.store) for key, experiment in left.items()})
    starts_from = {key: left[key].starts_from for key in order}
    rows = {}
    for device in dict.fromkeys((CPU, choose_device("auto"))):
        of_run = core_hours if device == CPU else _gpu_hours
        hours = {key: of_run(study, left[key]) for key in order}
        memory = torch.cuda.max_memory_reserved(device) if device.type == "cuda" else psutil.Process().memory_info().rss
        for number in workers:
            rows[device.type, number] = makespan(hours, starts_from, number), memory / 2**30
    index = pd.MultiIndex.from_tuples(rows, names=["device", "workers"])
    return pd.DataFrame(rows.values(), index, ["hours", "gib_a_worker"])


def _gpu_hours(study: Study, experiment: Experiment) -> float:
    return experiment.training.epochs * epoch_seconds(study, experiment, choose_device("auto")) / 3600


def makespan(hours: Mapping[str, float], starts_from: Mapping[str, Collection[str]], workers: int) -> float:
    """When the last run is done, by the schedule of `training.cluster`: a worker that is free takes the first run that
    waits for no other.

    Args:
        hours: of each run, in their order.
        starts_from: the runs that it waits for; those that are not in `hours` are done.
        workers: their number.
    """
    waiting, running, now = list(hours), [], 0.0
    while waiting or running:
        pending = {*waiting, *(key for _, key in running)}
        able = [key for key in waiting if pending.isdisjoint(starts_from[key])]
        for key in able[: workers - len(running)]:
            waiting.remove(key)
            heappush(running, (now + hours[key], key))
        now, _ = heappop(running)
    return now
