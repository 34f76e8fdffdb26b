"""Train an experiment once: `train_or_find` finds the run, or makes it with `loop.fit`."""

import os
import shutil
import warnings
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import torch

from soundfusion_lib.audio.augment import augmentation
from soundfusion_lib.audio.segments import Segments
from soundfusion_lib.audio.store import Store
from soundfusion_lib.datasets.corpus import SPLITS
from soundfusion_lib.device import describe
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.models import AudioClassifier, count_parameters
from soundfusion_lib.models.fusion import FusionDecision
from soundfusion_lib.models.vgg16 import freeze, load_imagenet
from soundfusion_lib.paths import lock, writing
from soundfusion_lib.training.experiment import Experiment, FromParts, FromRun, ImageNet
from soundfusion_lib.training.inference import KEYS, log_probabilities, predictions_of
from soundfusion_lib.training.loop import fit
from soundfusion_lib.training.run import ABOUT, Run, damage, find_run, kept_run, load_run, save_run, write_json


def train_or_find(
    experiment: Experiment,
    store: Store,
    folder: Path,
    device: torch.device,
    progress: bool = True,
    kept: Path | None = None,
) -> Run:
    """Train an experiment, or find it already trained, in the folder of runs or, if that is given, among the `kept`.

    Each run is in a folder named by its key, whole or absent. One in progress is in `<key>.partial`: after an
    interruption the next call resumes at the last epoch. A run whose files are damaged is put aside as `<key>.damaged`,
    with a warning, and trained anew. Raises SoundFusionError if the weights to start from or a representation are
    missing, a set of the split has no segments, training diverges, or the disk is full or read-only.
    """
    experiment = replace(experiment, split=experiment.split.resolved(store.tracks))  # what "auto" means on these tracks
    final = Path(folder) / experiment.key(store.content_id)
    if not final.is_dir() and (run := kept_run(final.name, kept)):
        return replace(run, experiment=experiment)
    partial_folder = final.with_suffix(".partial")
    with writing(final.parent), lock(final.with_suffix(".lock")):
        if final.is_dir():
            fault = damage(final)
            if not fault:
                return load_run(final, experiment)
            warnings.warn(f"the run {final} ({experiment.name}) is damaged ({fault}): it is trained anew", stacklevel=2)
            aside = final.with_suffix(".damaged")
            shutil.rmtree(aside, ignore_errors=True)
            os.replace(final, aside)
        if damage(partial_folder):  # whole only if the process was killed just before the renaming
            partial_folder.mkdir(exist_ok=True)
            about = {"corpus": store.corpus.name, "content_id": store.content_id, "experiment": experiment.to_dict()}
            write_json(partial_folder / ABOUT, about)
            _train(experiment, store, partial_folder, device, progress, kept)
        os.replace(partial_folder, final)
    return replace(load_run(final, experiment), trained=True)


def untrained(
    experiment: Experiment, store: Store, training: Segments, runs: Path, kept: Path | None = None
) -> AudioClassifier:
    """The model as training finds it: with the weights it starts from, statistics of the training segments, and
    augmentation."""
    torch.manual_seed(experiment.seed)
    model = experiment.build(len(store.labels))
    if experiment.standardize:
        model.set_statistics(training.statistics())
    found = [find_run(key, runs, kept) for key in experiment.starts_from]
    if None in found:
        raise SoundFusionError(f"a run whose weights {experiment.name!r} starts from is not in {runs}: train it")
    match experiment.start:
        case ImageNet():
            loaded = load_imagenet(model)
        case FromRun():
            loaded = model.load_backbone(found[0].weights())
        case FromParts():
            model.load_parts([run.weights() for run in found])
    if getattr(experiment.start, "frozen", False):
        freeze(model, loaded)
    model.set_augmentation({name: augmentation(name, **options) for name, options in experiment.augment.items()})
    return model


def segments_of(experiment: Experiment, store: Store, device: torch.device) -> dict[str, Segments]:
    """The segments of each set ("train", "validation", "test"; only "train" where all tracks train), as the model takes
    them."""
    with torch.device("meta"):  # only its inputs matter here, not half a gigabyte of weights
        kinds = experiment.build(len(store.labels)).inputs
    stored = [array.representation for array in store.arrays.values()]
    if lacking := [spec for spec in experiment.representations if spec not in stored]:
        raise SoundFusionError(f"{experiment.name!r} takes {lacking[0]}, which the store lacks")
    parts = experiment.split.parts(store.tracks)
    return {
        part: Segments(store, parts.index[parts == part], kinds, experiment.segmenting, device)
        for part in (("train",) if experiment.split.scheme == "all" else SPLITS)
    }


def _train(
    experiment: Experiment, store: Store, folder: Path, device: torch.device, progress: bool, kept: Path | None
) -> None:
    """Train, predict the validation and test set once, and write all of it to the folder."""
    segments = segments_of(experiment, store, device)
    validation = segments.get("validation")
    model = untrained(experiment, store, segments["train"], folder.parent, kept)
    options = {"seed": experiment.seed, "description": experiment.name, "progress": progress}
    options["checkpoint"] = folder / "checkpoint.pt"
    history, best_epoch, log_p = fit(model, segments["train"], validation, experiment.training, **options)
    predictions = [pd.DataFrame(columns=[*KEYS, "part"])]  # stays empty where all tracks train
    if validation is not None:
        outputs = {"validation": log_p, "test": log_probabilities(model, segments["test"])}
        predictions = [
            predictions_of(output, segments[part], store.labels).assign(part=part) for part, output in outputs.items()
        ]
    info = {
        "corpus": store.corpus.name,
        "synthetic": store.corpus.synthetic,
        "genres": store.labels,
        "tracks": {part: own.table["track"].nunique() for part, own in segments.items()},
        "segments": {part: len(own) for part, own in segments.items()},
        "parameters": count_parameters(model, trainable_only=False),
        "trained_parameters": count_parameters(model),
        "best_epoch": best_epoch,
        "epoch_seconds": history["seconds"].median(),
        "seconds": history["seconds"].sum(),
        "core_seconds": history["core_seconds"].sum(),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": describe(device),
        **({"weight": model.weight} if isinstance(model, FusionDecision) else {}),
    }
    save_run(folder, history, pd.concat(predictions, ignore_index=True), model.state_dict(), info)
    for file in folder.glob("checkpoint.pt*"):  # last: a run that is killed before this resumes from it
        file.unlink()
