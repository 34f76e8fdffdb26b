"""Run: what came out of an experiment, in a folder of its own."""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from safetensors.torch import load_file
from torch import Tensor

from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.models import AudioClassifier
from soundfusion_lib.training.experiment import Experiment

ENDED = 0.1  # a training has ended whose loss fell by no more than this share in its last tenth
COLUMNS = ["run", "name", "model", "seed", "fold", "epochs", "epoch_seconds", "validation_accuracy", "state"]
INFO, WEIGHTS = "run.json", "model.safetensors"
UNREADABLE = (OSError, ValueError, KeyError, TypeError)  # what reading a damaged file of JSON may raise


@dataclass(frozen=True)
class Run:
    """A trained experiment.

    Args:
        experiment: what was trained.
        folder: holds experiment.json, run.json, history.csv, predictions.parquet and, but where only what it predicted
            is kept (see `study.kept`), model.safetensors.
        trained: whether it was trained just now, not found.
    """

    experiment: Experiment
    folder: Path
    trained: bool = False

    @property
    def key(self) -> str:
        return self.folder.name

    @cached_property
    def info(self) -> dict[str, Any]:
        """When and where it was trained: date, commit, versions, device, seconds, parameters, best epoch, labels."""
        return read_json(self.folder / INFO)

    @cached_property
    def history(self) -> pd.DataFrame:
        """One row an epoch, see `loop.fit`."""
        return pd.read_csv(self.folder / "history.csv")

    @cached_property
    def ended(self) -> bool:
        """Whether the training had come to its end: patience stopped it, or its learning rate went through its one
        cycle and the mean training loss of its last tenth of epochs is at most `ENDED` below that of the tenth before.
        """
        training, loss = self.experiment.training, self.history["train_loss"]
        if len(loss) < training.epochs:
            return True
        tenth = max(1, len(loss) // 10)
        before, last = loss[-2 * tenth : -tenth].mean(), loss[-tenth:].mean()  # NaN before a single epoch
        return training.schedule == "one_cycle" and bool(last >= (1 - ENDED) * before)

    @cached_property
    def _predictions(self) -> pd.DataFrame:
        return pd.read_parquet(self.folder / "predictions.parquet")

    def predictions(self, part: str = "test") -> pd.DataFrame:
        """Predictions of the validation or the test part, one row a segment, see `inference.predictions_of`."""
        rows = self._predictions[self._predictions["part"] == part]
        return rows.drop(columns="part").reset_index(drop=True)

    def model(self) -> AudioClassifier:
        """The trained model, on the CPU, in evaluation mode; raises as `weights`."""
        model = self.experiment.build(len(self.info["genres"]))
        model.load_state_dict(self.weights())
        return model.eval()

    def weights(self) -> dict[str, Tensor]:
        """The trained weights; raises SoundFusionError where only what they predicted is kept."""
        if WEIGHTS not in self.info["checksums"]:
            raise SoundFusionError(
                f"of the run {self.folder.name} ({self.experiment.name}) only what it predicted is kept, not its "
                f"weights: delete {self.folder}, and it is trained anew where it is needed"
            )
        return load_file(self.folder / WEIGHTS)


def load_run(folder: Path) -> Run:
    """The run in a folder.

    Raises:
        SoundFusionError: the folder holds no finished run, or one that is damaged.
    """
    folder = Path(folder)
    if folder.suffix or not (folder / "experiment.json").is_file():
        raise SoundFusionError(f"{folder} holds no finished run: `soundfusion status PROFILE` lists those there are")
    if fault := damage(folder):
        raise SoundFusionError(
            f"the run in {folder} is damaged ({fault}): `soundfusion reproduce PROFILE` makes it anew"
        )
    return Run(Experiment.from_dict(read_json(folder / "experiment.json")["experiment"]), folder)


def read_json(file: Path) -> dict[str, Any]:
    """What a file of JSON holds."""
    return json.loads(file.read_text(encoding="utf-8"))


def write_json(file: Path, content: dict[str, Any]) -> None:
    """Write a file of JSON, for people to read, too."""
    file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def damage(folder: Path) -> str | None:
    """What is wrong with the files of a finished run; None if they are as they were written."""
    try:
        checksums = read_json(folder / INFO)["checksums"]
        wrong = [name for name, wanted in checksums.items() if checksum(folder / name) != wanted]
    except UNREADABLE as error:
        return f"{type(error).__name__}: {error}"
    return f"{', '.join(wrong)} changed since it was written" if wrong else None


def checksum(file: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with open(file, "rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def list_runs(folder: Path, content_id: str | None = None) -> pd.DataFrame:
    """The runs kept in a folder, oldest first: run (its key, the name of its folder), name, model, seed, fold, epochs,
    epoch_seconds, validation_accuracy, state.

    Args:
        folder: where runs are kept.
        content_id: only those on these tracks, see `Store.content_id`.
    """
    rows = []
    folders = [file for file in Path(folder).glob("*") if file.is_dir()]
    for one in sorted(folders, key=lambda file: file.stat().st_mtime):
        try:
            about = read_json(one / "experiment.json")
            if content_id not in (None, about["content_id"]):
                continue
            run = Run(Experiment.from_dict(about["experiment"]), one)
        except (*UNREADABLE, SoundFusionError) as error:
            rows.append({"run": one.name, "state": f"unreadable ({error}); made anew when it is wanted"})
        else:
            rows.append({"run": one.stem, **_listed(run)})
    return pd.DataFrame(rows, columns=COLUMNS).astype(dict.fromkeys(("seed", "fold", "epochs"), "Int64"))


def _listed(run: Run) -> dict[str, Any]:
    one = run.experiment
    row = {"name": one.name, "model": one.model, "seed": one.seed, "fold": one.split.fold}
    if run.folder.suffix == ".partial":
        return {**row, "state": "in progress"}
    if fault := damage(run.folder):
        return {**row, "state": f"damaged ({fault}); made anew when it is wanted"}
    best = round(run.history["validation_accuracy"].max(), 3)
    seconds = round(run.history["seconds"].median(), 2)
    return {**row, "epochs": len(run.history), "epoch_seconds": seconds, "validation_accuracy": best, "state": "done"}
