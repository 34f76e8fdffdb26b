"""Experiment (what to train) -> Run (what came out). A run is trained once and found again by its content."""

import dataclasses
import json
import os
import shutil
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from filelock import FileLock
from safetensors.torch import load_file, save_file

from soundfusion_lib.device import describe
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.models import AudioClassifier, count_parameters
from soundfusion_lib.models.vgg16 import freeze, load_backbone, load_imagenet
from soundfusion_lib.signals.augment import augmentation
from soundfusion_lib.signals.segments import Segments
from soundfusion_lib.signals.store import Store
from soundfusion_lib.training.experiments import Experiment
from soundfusion_lib.training.fitting import fit
from soundfusion_lib.training.inference import log_probabilities, predictions_of
from soundfusion_lib.training.provenance import provenance
from soundfusion_lib.training.runs import Run, checksum, damage

PARTS = ("validation", "test")
RESULTS = ("experiment.json", "history.csv", "predictions.parquet", "model.safetensors")  # told by run.json


def train_or_find(
    experiment: Experiment,
    store: Store,
    folder: Path,
    device: torch.device,
    *,
    weights: Path | None = None,
    progress: bool = True,
) -> Run:
    """Train an experiment, or find it already done.

    Args:
        experiment: what to train.
        store: holds the representations that it needs.
        folder: where runs are kept; this one in a folder named by its key, whole or absent. While in progress its
            state is beside that: interrupted anywhere, the next call goes on at the last epoch. A run whose files are
            damaged is put aside (`<key>.damaged`) with a warning, and trained anew.
        device: where to train.
        weights: file of ImageNet weights for an experiment that starts from one (see `vgg16.load_imagenet`).
        progress: show a progress bar.

    Raises:
        SoundFusionError: the weights to start from are not at hand; the store lacks a representation or a part of the
            split has no segments; training diverges.
    """
    experiment = resolved(experiment, store)
    key = experiment.key(store.content_id)
    final, partial = Path(folder) / key, Path(folder) / f"{key}.partial"
    if final.is_dir() and not damage(final):
        return Run(experiment, final)
    partial.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(partial.with_suffix(".lock")):
        if final.is_dir():  # another process trained it meanwhile, or it is damaged
            fault = damage(final)
            if not fault:
                return Run(experiment, final)
            warnings.warn(f"the run {final} ({experiment.name}) is damaged ({fault}): it is trained anew", stacklevel=2)
            aside = final.with_suffix(".damaged")
            shutil.rmtree(aside, ignore_errors=True)
            os.replace(final, aside)
        partial.mkdir(exist_ok=True)
        about = {"corpus": store.corpus.name, "content_id": store.content_id, "experiment": experiment.to_dict()}
        _write_json(partial / "experiment.json", about)
        _train(experiment, store, partial, device, weights, progress)
        os.replace(partial, final)
    return Run(experiment, final, trained=True)


def resolved(experiment: Experiment, store: Store) -> Experiment:
    """The experiment with the split that "auto" means on this store's tracks."""
    return dataclasses.replace(experiment, split=experiment.split.resolved(store.tracks))


def segments_of(experiment: Experiment, store: Store, device: torch.device) -> dict[str, Segments]:
    """The segments of each part ("train", "validation", "test") as the experiment's model takes them."""
    with torch.device("meta"):  # only its inputs are wanted, not half a gigabyte of weights
        kinds = experiment.build(len(store.labels)).inputs
    wanted = {spec.kind: spec for spec in experiment.representations}
    for kind in kinds:
        if kind not in wanted or kind not in store.arrays or store.arrays[kind].representation != wanted[kind]:
            raise SoundFusionError(
                f"experiment {experiment.name!r} takes {wanted.get(kind, kind)}, which the store lacks"
            )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of rare labels: the study's table of tracks shows them
        parts = experiment.split.assign(store.tracks)
    return {
        part: Segments(store, parts.index[parts == part], kinds, experiment.segmenting, device)
        for part in ("train", *PARTS)
    }


def _train(
    experiment: Experiment, store: Store, folder: Path, device: torch.device, weights: Path | None, progress: bool
) -> None:
    genres = store.labels
    segments = segments_of(experiment, store, device)
    torch.manual_seed(experiment.seed)
    model = experiment.build(len(genres))
    if experiment.standardize:
        model.set_statistics(segments["train"].statistics())
    _start(model, experiment.start, folder.parent, weights)
    model.set_augmentation({name: augmentation(name, **options) for name, options in experiment.augment.items()})
    history, best_epoch, validated = fit(
        model,
        segments["train"],
        segments["validation"],
        experiment.training,
        seed=experiment.seed,
        checkpoint=folder / "checkpoint.pt",
        description=experiment.name,
        progress=progress,
    )
    log_p = {"validation": validated, "test": log_probabilities(model, segments["test"])}
    predictions = [predictions_of(log_p[part], segments[part], genres).assign(part=part) for part in PARTS]
    info = {
        "corpus": store.corpus.name,
        "synthetic": store.corpus.synthetic,
        "genres": genres,
        "tracks": {part: int(segments[part].table["track"].nunique()) for part in segments},
        "segments": {part: len(segments[part]) for part in segments},
        "parameters": count_parameters(model, trainable_only=False),
        "trained_parameters": count_parameters(model),
        "best_epoch": best_epoch,
        "epoch_seconds": float(history["seconds"].median()),
        "seconds": float(history["seconds"].sum()),
        "core_seconds": float(history["core_seconds"].sum()),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": describe(device),
        **provenance(),
    }
    history.to_csv(folder / "history.csv", index=False)
    pd.concat(predictions, ignore_index=True).to_parquet(folder / "predictions.parquet")
    model.set_augmentation(dict.fromkeys(experiment.augment))
    trained = {name: value.cpu().contiguous() for name, value in model.state_dict().items()}
    save_file(trained, folder / "model.safetensors")
    info["checksums"] = {name: checksum(folder / name) for name in RESULTS}
    _write_json(folder / "run.json", info)
    for file in folder.glob("checkpoint.pt*"):  # last: a run that is killed before goes on from it
        file.unlink()


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _start(model: AudioClassifier, start: dict[str, Any], runs: Path, weights: Path | None) -> None:
    """Give a model the weights that an experiment starts from."""
    loaded = None
    if "imagenet" in start:
        loaded = load_imagenet(model, weights)
    elif "backbone" in start:
        loaded = load_backbone(model, _state_of(start["backbone"], runs))
    elif "parts" in start:
        model.load_parts([_state_of(key, runs) for key in start["parts"]])
    if start.get("frozen"):
        freeze(model, loaded)


def _state_of(key: str, runs: Path) -> dict[str, torch.Tensor]:
    """The trained weights of the run with this key."""
    file = runs / key / "model.safetensors"
    if not file.is_file():
        raise SoundFusionError(f"the run {key}, whose weights are to start from, is not in {runs}: train it first")
    return load_file(file)
