"""Experiment (what to train) -> Run (what came out). A run is trained once and found again by its content."""

import os
import shutil
import warnings
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

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
from soundfusion_lib.training.experiment import Experiment
from soundfusion_lib.training.inference import KEYS, log_probabilities, predictions_of
from soundfusion_lib.training.loop import fit
from soundfusion_lib.training.provenance import provenance
from soundfusion_lib.training.run import INFO, WEIGHTS, Run, checksum, damage, load_run, write_json

RESULTS = ("experiment.json", "history.csv", "predictions.parquet", WEIGHTS)  # told by run.json


def train_or_find(
    experiment: Experiment, store: Store, folder: Path, device: torch.device, progress: bool = True
) -> Run:
    """Train an experiment, or find it already done.

    Args:
        experiment: what to train.
        store: holds the representations that it needs.
        folder: where runs are kept; this one in a folder named by its key, whole or absent. In progress it is
            `<key>.partial`: interrupted anywhere, the next call goes on at the last epoch. A run whose files are
            damaged is put aside (`<key>.damaged`) with a warning, and trained anew.
        device: where to train.
        progress: show a progress bar.

    Raises:
        SoundFusionError: the weights to start from or a representation are lacking; a part of the split has no
            segments; training diverges; the disk is full or read-only.
    """
    experiment = replace(experiment, split=experiment.split.resolved(store.tracks))  # what "auto" means on them
    final = Path(folder) / experiment.key(store.content_id)
    partial = final.with_suffix(".partial")
    with writing(final.parent), lock(final.with_suffix(".lock")):
        if final.is_dir():
            fault = damage(final)
            if not fault:
                return Run(experiment, final)
            warnings.warn(f"the run {final} ({experiment.name}) is damaged ({fault}): it is trained anew", stacklevel=2)
            aside = final.with_suffix(".damaged")
            shutil.rmtree(aside, ignore_errors=True)
            os.replace(final, aside)
        if damage(partial):  # else it was killed before it could be renamed
            partial.mkdir(exist_ok=True)
            about = {"corpus": store.corpus.name, "content_id": store.content_id, "experiment": experiment.to_dict()}
            write_json(partial / "experiment.json", about)
            _train(experiment, store, partial, device, progress)
        os.replace(partial, final)
    return Run(experiment, final, trained=True)


def segments_of(experiment: Experiment, store: Store, device: torch.device) -> dict[str, Segments]:
    """The segments of each part ("train", "validation", "test"; "train" alone where all tracks train) as the
    experiment's model takes them."""
    with torch.device("meta"):  # only its inputs are wanted, not half a gigabyte of weights
        kinds = experiment.build(len(store.labels)).inputs
    wanted = {spec.kind: spec for spec in experiment.representations}
    for kind in kinds:
        if kind not in wanted or kind not in store.arrays or store.arrays[kind].representation != wanted[kind]:
            raise SoundFusionError(f"{experiment.name!r} takes {wanted.get(kind, kind)}, which the store lacks")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of rare labels: the study's table of tracks shows them
        parts = experiment.split.assign(store.tracks)
    return {
        part: Segments(store, parts.index[parts == part], kinds, experiment.segmenting, device)
        for part in (("train",) if experiment.split.scheme == "all" else SPLITS)
    }


def _train(experiment: Experiment, store: Store, folder: Path, device: torch.device, progress: bool) -> None:
    """Train, and write what comes out to the folder."""
    segments = segments_of(experiment, store, device)
    training, validation = segments["train"], segments.get("validation")
    model = untrained(experiment, store, training, folder.parent)
    options = {"seed": experiment.seed, "checkpoint": folder / "checkpoint.pt", "progress": progress}
    history, best_epoch, validated = fit(
        model, training, validation, experiment.training, description=experiment.name, **options
    )
    history.to_csv(folder / "history.csv", index=False)
    predictions = [pd.DataFrame(columns=[*KEYS, "part"])]  # all that there is where every track trains
    if validation is not None:
        log_p = {"validation": validated, "test": log_probabilities(model, segments["test"])}
        predictions = [predictions_of(log_p[part], segments[part], store.labels).assign(part=part) for part in log_p]
    pd.concat(predictions, ignore_index=True).to_parquet(folder / "predictions.parquet")
    trained = {name: value.cpu().contiguous() for name, value in model.state_dict().items()}
    with writing(folder, SafetensorError):
        save_file(trained, folder / WEIGHTS)
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
        **provenance(),
        "checksums": {name: checksum(folder / name) for name in RESULTS},
    }
    write_json(folder / INFO, info)
    for file in folder.glob("checkpoint.pt*"):  # last: a run that is killed before goes on from it
        file.unlink()


def untrained(experiment: Experiment, store: Store, training: Segments, runs: Path) -> AudioClassifier:
    """The model as training finds it: with the weights that it starts from, statistics and augmentation."""
    torch.manual_seed(experiment.seed)
    model = experiment.build(len(store.labels))
    if experiment.standardize:
        model.set_statistics(training.statistics())
    _start(model, experiment.start, runs)
    model.set_augmentation({name: augmentation(name, **options) for name, options in experiment.augment.items()})
    return model


def _start(model: AudioClassifier, start: dict[str, Any], runs: Path) -> None:
    """Give a model the weights that an experiment starts from."""
    loaded = None
    if "imagenet" in start:
        loaded = load_imagenet(model)
    elif "backbone" in start:
        loaded = model.load_backbone(_state_of(runs / start["backbone"]))
    elif "parts" in start:
        model.load_parts([_state_of(runs / key) for key in start["parts"]])
    if start.get("frozen"):
        freeze(model, loaded)


def _state_of(run: Path) -> dict[str, torch.Tensor]:
    """The trained weights in a run's folder."""
    if not run.is_dir():
        raise SoundFusionError(f"the run {run.name}, whose weights are to start from, is not in {run.parent}: train it")
    return load_run(run).weights()
