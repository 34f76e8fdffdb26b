"""What a study costs: the core-hours that its runs took, and those that are left."""

import math
from collections.abc import Mapping
from dataclasses import replace

import pandas as pd
import torch

from soundfusion_lib.audio.augment import augmentation
from soundfusion_lib.audio.segments import Segments
from soundfusion_lib.audio.store import Store
from soundfusion_lib.models.vgg16 import freeze, imagenet_file, load_imagenet
from soundfusion_lib.paths import runs_dir
from soundfusion_lib.study.status import NothingYet
from soundfusion_lib.study.study import Study
from soundfusion_lib.training.experiment import Experiment
from soundfusion_lib.training.loop import fit
from soundfusion_lib.training.run import Run
from soundfusion_lib.training.train import segments_of

CPU = torch.device("cpu")
STEPS = 4  # that are timed
_measured: dict[str, float] = {}  # seconds of an epoch, by device and key of the trial


def plan_of(study: Study, needed: Mapping[str, list[Experiment]], measure: bool = True) -> pd.DataFrame:
    """What the runs of each notebook took, and what is left to train; a run counts in the first one that shows it.

    Args:
        study: a `Look` makes and downloads nothing.
        needed: experiments by notebook, see `needs.needed_by`.
        measure: see `core_hours`.

    Returns:
        By notebook, and "all": experiments, runs, done (of these), core_hours_done and core_hours_left, NaN where they
        are not known. Training on another corpus first, which is one run, is not in it.

    Raises:
        SoundFusionError: the corpus is not there, or (NothingYet) not decoded.
    """
    rows, seen = {}, set()
    for notebook, experiments in needed.items():
        row = dict.fromkeys(("experiments", "runs", "done", "core_hours_done", "core_hours_left"), 0)
        for experiment in experiments:
            new = [run for run in runs_of(study, experiment) if run.folder not in seen]
            done = [run for run in new if run.folder.is_dir()]
            seen |= {run.folder for run in new}
            row["experiments"] += bool(new)
            row["runs"] += len(new)
            row["done"] += len(done)
            row["core_hours_done"] += sum(run.info.get("core_seconds", math.nan) for run in done) / 3600
            if len(new) > len(done):
                row["core_hours_left"] += (len(new) - len(done)) * core_hours(study, experiment, measure)
        rows[notebook] = row
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("notebook")
    table.loc["all"] = table.sum(skipna=False)
    return table.astype(dict.fromkeys(("experiments", "runs", "done"), int))


def core_hours(study: Study, experiment: Experiment, measure: bool = True) -> float:
    """Core-hours of one run of an experiment on the study's clips, all its epochs; raises as `plan_of`.

    An epoch takes what it took in runs that are done, of any seed and fold of the study. Where there are none, a few
    of its steps are timed here on one thread, or, unless `measure`, it is NaN.
    """
    done = [run.history for run in runs_of(study, experiment) if run.folder.is_dir()]
    history = pd.concat(done) if done else pd.DataFrame()
    of_epoch = history["core_seconds"].mean() if "core_seconds" in history else math.nan
    if measure and math.isnan(of_epoch):
        of_epoch = epoch_seconds(study, experiment)
    return experiment.training.epochs * of_epoch / 3600


def runs_of(study: Study, experiment: Experiment) -> list[Run]:
    """The runs of an experiment, trained or not."""
    try:
        variants = study.variants(experiment)
    except NothingYet:  # of the corpus that it is trained on first, so that there is no run
        start = {**experiment.start, "first": experiment.name}
        del start["pretrained"]
        variants = study.variants(replace(experiment, start=start))
    return [Run(one, runs_dir() / study.key(one)) for one in variants]


def epoch_seconds(study: Study, experiment: Experiment, device: torch.device = CPU) -> float:
    """Seconds of an epoch on one thread (on a CPU core-seconds), by a few of its steps; each kind is timed once."""
    trial = replace(
        experiment,
        split=study.split(study.profile.test_folds[0]),
        seed=0,
        augment={kind: {} for kind in experiment.augment},
        training=replace(experiment.training, epochs=2, patience=2, learning_rate=1e-6, schedule="constant"),
        start={key: value for key, value in experiment.start.items() if key in ("imagenet", "frozen")},
    )
    key = f"{device} {study.key(trial)}"
    if key not in _measured:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            _measured[key] = _timed(trial, study.store, device)
        finally:
            torch.set_num_threads(threads)
    return _measured[key]


def _timed(trial: Experiment, store: Store, device: torch.device) -> float:
    """Seconds of an epoch, from some tracks of the training part and the same share of the validation part."""
    segments = segments_of(trial, store, device)
    model = trial.build(len(store.labels))
    model.set_augmentation({kind: augmentation(kind) for kind in trial.augment})
    if trial.start.get("frozen"):
        every = [name for name, _ in model.named_parameters() if not name.startswith("head.")]
        freeze(model, load_imagenet(model) if "imagenet" in trial.start and imagenet_file() else every)
    share = min(1, STEPS * trial.training.batch_size / len(segments["train"]))
    few = {}
    for part in ("train", "validation"):
        tracks = pd.Index(segments[part].table["track"].unique())
        few[part] = Segments(store, tracks[: math.ceil(share * len(tracks))], model.inputs, trial.segmenting, device)
    history, *_ = fit(model, few["train"], few["validation"], trial.training, progress=False)
    seconds = history["core_seconds" if device.type == "cpu" else "seconds"].iloc[-1]
    return seconds * len(segments["train"]) / len(few["train"])
