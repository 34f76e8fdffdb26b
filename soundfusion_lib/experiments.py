"""Experiment (what to train) -> Run (what came out). A run is trained once and found again by its content."""

import dataclasses
import hashlib
import inspect
import json
import os
import warnings
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from filelock import FileLock
from safetensors.torch import load_file, save_file

from soundfusion_lib import representations
from soundfusion_lib.augment import augmentation
from soundfusion_lib.device import describe
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.evaluation import log_probabilities, predictions_of
from soundfusion_lib.models import MODELS, AudioClassifier, build_model, count_parameters
from soundfusion_lib.models.vgg16 import freeze, load_backbone, load_imagenet
from soundfusion_lib.provenance import provenance
from soundfusion_lib.representations import Representation
from soundfusion_lib.segments import Segmenting, Segments
from soundfusion_lib.splits import Split
from soundfusion_lib.store import Store
from soundfusion_lib.training import Training, fit

REVISION = 3  # raise it when a change to the library changes what runs come out as: old ones are then not found again
PARTS = ("validation", "test")


@dataclass(frozen=True)
class Experiment:
    """What to train; everything its outcome depends on but the corpus.

    Args:
        name: title in tables and figures; not part of the content.
        model: a name in `MODELS`.
        representations: what the model's inputs are computed with, one of each kind that it takes.
        options: of the model; `in_channels` and `n_mels` follow from the mel spectrogram.
        segmenting: how clips are cut.
        augment: options of the augmentation of each input that has one: {"mel": {}, "waveform": {"noise_std": 0.01}}.
        standardize: give inputs mean 0 and deviation 1 (per mel band; over the training part). False: raw dB.
        split: which tracks train, validate and test.
        training: epochs, batch size, optimizer.
        seed: of the initial weights, the order of segments, dropout and augmentation.
        start: where the weights come from, random ones if empty: {"imagenet": fingerprint of a weights file, or
            "torchvision"} or {"backbone": key of another VGG16's run}, for VGG16, with "frozen": True to train only
            what the authors trained (see `vgg16.freeze`); {"parts": keys of the parts' runs}, for a fusion.
    """

    name: str
    model: str
    representations: tuple[Representation, ...]
    options: dict[str, Any] = field(default_factory=dict)
    segmenting: Segmenting = Segmenting()
    augment: dict[str, dict[str, float]] = field(default_factory=dict)
    standardize: bool = True
    split: Split = Split()
    training: Training = Training()
    seed: int = 0
    start: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        if self.model not in MODELS:
            raise SoundFusionError(f"experiment {self.name!r}: there is no model {self.model!r}, only {', '.join(MODELS)}")

    def to_dict(self) -> dict[str, Any]:
        """The experiment as JSON can hold it."""
        content = {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}
        content["representations"] = [representations.to_dict(spec) for spec in self.representations]
        for name in ("segmenting", "split", "training"):
            content[name] = dataclasses.asdict(content[name])
        return content

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> "Experiment":
        """The inverse of `to_dict`."""
        content = dict(content)
        content["representations"] = tuple(representations.from_dict(spec) for spec in content["representations"])
        for name, kind in (("segmenting", Segmenting), ("split", Split), ("training", Training)):
            content[name] = kind(**content[name])
        return cls(**content)

    def key(self, corpus_id: str) -> str:
        """Hash of the experiment's content (not its name) on a corpus (`Corpus.content_id`), 16 hexadecimal digits."""
        content = self.to_dict()
        del content["name"]
        text = json.dumps([REVISION, corpus_id, content], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def build(self, num_classes: int) -> AudioClassifier:
        """The untrained model, with random weights from torch's generator as it stands."""
        accepted = inspect.signature(MODELS[self.model]).parameters
        shape = {}
        for spec in self.representations:
            if spec.kind == "mel":
                shape = {"in_channels": spec.channels, "n_mels": spec.n_mels}
        shape = {name: value for name, value in shape.items() if name in accepted}
        return build_model(self.model, num_classes, **{**shape, **self.options})


@dataclass(frozen=True)
class Run:
    """A trained experiment.

    Args:
        experiment: what was trained.
        folder: holds experiment.json, run.json, history.csv, predictions.parquet and model.safetensors.
        trained: whether it was trained just now, not found.
    """

    experiment: Experiment
    folder: Path
    trained: bool = False

    @cached_property
    def info(self) -> dict[str, Any]:
        """When and where it was trained: date, commit, versions, device, seconds, parameters, best epoch, genres."""
        return json.loads((self.folder / "run.json").read_text(encoding="utf-8"))

    @cached_property
    def history(self) -> pd.DataFrame:
        """One row an epoch, see `training.fit`."""
        return pd.read_csv(self.folder / "history.csv")

    @cached_property
    def _predictions(self) -> pd.DataFrame:
        return pd.read_parquet(self.folder / "predictions.parquet")

    def predictions(self, part: str = "test") -> pd.DataFrame:
        """Predictions of the validation or the test part, one row a segment, see `evaluation.predictions_of`."""
        rows = self._predictions[self._predictions["part"] == part]
        return rows.drop(columns="part").reset_index(drop=True)

    def model(self) -> AudioClassifier:
        """The trained model, on the CPU, in evaluation mode."""
        model = self.experiment.build(len(self.info["genres"]))
        model.load_state_dict(load_file(self.folder / "model.safetensors"))
        return model.eval()


def load_run(folder: Path) -> Run:
    """The run in a folder.

    Raises:
        SoundFusionError: the folder holds no finished run.
    """
    file = Path(folder) / "experiment.json"
    if not file.is_file() or Path(folder).suffix == ".partial":
        raise SoundFusionError(f"{folder} holds no finished run: `soundfusion status` lists those there are")
    return Run(Experiment.from_dict(json.loads(file.read_text(encoding="utf-8"))), Path(folder))


def list_runs(folder: Path) -> pd.DataFrame:
    """The runs kept in a folder, oldest first: name, model, seed, fold, epochs, validation accuracy, state, folder."""
    rows = []
    for file in sorted(Path(folder).glob("*/experiment.json"), key=lambda file: file.stat().st_mtime):
        experiment = Experiment.from_dict(json.loads(file.read_text(encoding="utf-8")))
        row = {"name": experiment.name, "model": experiment.model, "seed": experiment.seed, "fold": experiment.split.fold}
        if file.parent.suffix == ".partial":
            rows.append({**row, "epochs": None, "validation_accuracy": None, "state": "in progress", "folder": file.parent})
            continue
        history = Run(experiment, file.parent).history
        best = history["validation_accuracy"].max()
        rows.append({**row, "epochs": len(history), "validation_accuracy": round(best, 3), "state": "done", "folder": file.parent})
    return pd.DataFrame(rows)


def run(
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
            state is beside that: interrupted anywhere, the next call goes on at the last epoch.
        device: where to train.
        weights: file of ImageNet weights for an experiment that starts from one (see `vgg16.load_imagenet`).
        progress: show a progress bar.

    Raises:
        SoundFusionError: the weights to start from are not at hand; the store lacks a representation or a part of the split has no segments; training diverges.
    """
    key = experiment.key(store.content_id)
    final, partial = Path(folder) / key, Path(folder) / f"{key}.partial"
    if final.is_dir():
        return Run(experiment, final)
    partial.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(partial.with_suffix(".lock")):
        if final.is_dir():  # another process trained it meanwhile
            return Run(experiment, final)
        partial.mkdir(exist_ok=True)
        _write_json(partial / "experiment.json", experiment.to_dict())
        _train(experiment, store, partial, device, weights, progress)
        os.replace(partial, final)
    return Run(experiment, final, trained=True)


def segments_of(experiment: Experiment, store: Store, device: torch.device) -> dict[str, Segments]:
    """The segments of each part ("train", "validation", "test") as the experiment's model takes them."""
    with torch.device("meta"):  # only its inputs are wanted, not half a gigabyte of weights
        kinds = experiment.build(len(store.corpus.genres)).inputs
    wanted = {spec.kind: spec for spec in experiment.representations}
    for kind in kinds:
        if kind not in wanted or kind not in store.arrays or store.arrays[kind].representation != wanted[kind]:
            raise SoundFusionError(f"experiment {experiment.name!r} takes {wanted.get(kind, kind)}, which the store lacks")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of rare labels: the study's table of tracks shows them
        parts = experiment.split.assign(store.tracks)
    return {
        part: Segments(store, parts.index[parts == part], kinds, experiment.segmenting, device)
        for part in ("train", *PARTS)
    }


def _train(experiment, store, folder, device, weights, progress):
    genres = store.corpus.genres
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
        "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "device": describe(device),
        **provenance(),
    }
    history.to_csv(folder / "history.csv", index=False)
    pd.concat(predictions, ignore_index=True).to_parquet(folder / "predictions.parquet")
    model.set_augmentation({name: None for name in experiment.augment})
    weights = {name: value.cpu().contiguous() for name, value in model.state_dict().items()}
    save_file(weights, folder / "model.safetensors")
    _write_json(folder / "run.json", info)
    (folder / "checkpoint.pt").unlink()


def _write_json(path: Path, content: dict[str, Any]):
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _start(model: AudioClassifier, start: dict[str, Any], runs: Path, weights: Path | None):
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
    """The trained weights of the run with this key, of this corpus or of another whose runs lie beside."""
    files = list(runs.parent.glob(f"*/{key}/model.safetensors"))
    if not files:
        raise SoundFusionError(f"the run {key}, whose weights are to start from, is not in {runs.parent}: train it first")
    return load_file(files[0])
