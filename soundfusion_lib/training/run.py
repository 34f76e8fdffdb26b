"""Run: what came out of an experiment, in a folder of its own, or kept with many others among the results."""

import hashlib
import importlib.metadata
import json
import platform
import re
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.models import AudioClassifier
from soundfusion_lib.paths import runs_dir, writing
from soundfusion_lib.training.experiment import Experiment
from soundfusion_lib.training.inference import PROBABILITY

ENDED = 0.1  # a training has ended when its loss fell by no more than this share in its last tenth
ABOUT, INFO, HISTORY = "experiment.json", "run.json", "history.csv"
PREDICTIONS, WEIGHTS = "predictions.parquet", "model.safetensors"
LIBRARY = Path(__file__).parents[1]
PACKAGES = ("soundfusion", "torch", "torchaudio", "torchvision", "numpy", "soundfile", "soxr")  # numbers depend on them
UNREADABLE = (OSError, ValueError, KeyError, TypeError)  # what reading a damaged JSON file may raise


@dataclass(frozen=True)
class Run:
    """A trained experiment.

    Args:
        experiment: what was trained.
        key: its name in the folder of runs, see `Experiment.key`.
        info: date, commit, versions, device, seconds, parameters, best epoch, labels ("genres"), checksums.
        history: one row per epoch, see `loop.Fitted`.
        read_predictions: reads the predictions of its validation and test set.
        weights_file: None where the weights are not kept.
        trained: whether it was trained just now, not found.
    """

    experiment: Experiment
    key: str
    info: dict[str, Any] = field(compare=False, repr=False)
    history: pd.DataFrame = field(compare=False, repr=False)
    read_predictions: Callable[[], pd.DataFrame] = field(compare=False, repr=False)
    weights_file: Path | None = field(compare=False)
    trained: bool = False

    @property
    def ended(self) -> bool:
        """Whether the training had come to its end: patience stopped it, or its learning rate went through its one
        cycle and the mean loss of its last tenth of epochs is at most `ENDED` below that of the tenth before."""
        training, loss = self.experiment.training, self.history["train_loss"]
        if len(loss) < training.epochs:
            return True
        tenth = max(1, len(loss) // 10)
        before, last = loss[-2 * tenth : -tenth].mean(), loss[-tenth:].mean()  # NaN before a single epoch
        return training.schedule == "one_cycle" and bool(last >= (1 - ENDED) * before)

    def predictions(self, part: str = "test") -> pd.DataFrame:
        """Predictions of the "validation" or "test" set, one row per segment, see `inference.predictions_of`."""
        rows = self.read_predictions()
        return rows[rows["part"] == part].drop(columns="part").reset_index(drop=True)

    def model(self) -> AudioClassifier:
        """The trained model, on the CPU, in evaluation mode; raises as `weights`."""
        model = self.experiment.build(len(self.info["genres"]))
        model.load_state_dict(self.weights())
        return model.eval()

    def weights(self) -> dict[str, Tensor]:
        """The trained weights; raises SoundFusionError where they are not kept."""
        if self.weights_file is None:
            raise SoundFusionError(f"weights of the run {self.key} are not kept: train it anew, without --kept")
        return load_file(self.weights_file)


def save_run(
    folder: Path, history: pd.DataFrame, predictions: pd.DataFrame, weights: Mapping[str, Tensor], info: dict[str, Any]
) -> None:
    """Write what came out of an experiment beside its description; last INFO, with provenance and checksums."""
    history.to_csv(folder / HISTORY, index=False)
    predictions.to_parquet(folder / PREDICTIONS)
    with writing(folder, SafetensorError):
        save_file({name: value.cpu().contiguous() for name, value in weights.items()}, folder / WEIGHTS)
    checksums = {name: checksum(folder / name) for name in (ABOUT, HISTORY, PREDICTIONS, WEIGHTS)}
    write_json(folder / INFO, {**info, **provenance(), "checksums": checksums})


def run_folder(key: str) -> Path:
    """The folder of the run whose key begins so; raises SoundFusionError if there is none, or are several."""
    folders = [folder for folder in runs_dir().glob(f"{key}*") if not folder.suffix]
    if len(folders) != 1:
        count = f"{len(folders)} runs have" if folders else "no run has"
        raise SoundFusionError(f"{count} a key that begins with {key!r}: `soundfusion train` prints the keys")
    return folders[0]


def load_run(folder: str | Path, experiment: Experiment | None = None) -> Run:
    """The run in a folder, or of a key or its beginning, of this experiment or, by default, of the one described there.
    Raises SoundFusionError if the folder holds no finished run, or a damaged one."""
    is_key = re.fullmatch("[0-9a-f]{1,16}", str(folder)) and not Path(folder).is_dir()
    folder = run_folder(str(folder)) if is_key else Path(folder)
    if folder.suffix or not (folder / ABOUT).is_file():
        raise SoundFusionError(f"{folder} holds no finished run: train it first, or name the folder of another run")
    if fault := damage(folder):
        raise SoundFusionError(f"the run in {folder} is damaged ({fault}): `soundfusion reproduce PROFILE` redoes it")
    info = read_json(folder / INFO)
    return Run(
        experiment or Experiment.from_dict(read_json(folder / ABOUT)["experiment"]),
        folder.name,
        info,
        pd.read_csv(folder / HISTORY),
        partial(pd.read_parquet, folder / PREDICTIONS),
        folder / WEIGHTS if WEIGHTS in info["checksums"] else None,
    )


def find_run(key: str, folder: Path, kept: Path | None = None) -> Run | None:
    """The run of this key in a folder of runs, or among kept ones; None if there is none, raises as `load_run`."""
    return load_run(folder / key) if (folder / key).is_dir() else kept_run(key, kept)


# Runs kept among the results: runs.json (experiment and info by key), histories.parquet, predictions.parquet (one row
# group per run), and <key>.safetensors for those that another run starts from.
KEPT = "runs.json", "histories.parquet", "predictions.parquet"


def kept_run(key: str, folder: Path | None) -> Run | None:
    """A run kept among the results; None if it is not there, or none are looked for."""
    if folder is None:
        return None
    about, history, predictions = (folder / name for name in KEPT)
    if not about.is_file() or not (content := _read_kept(about, about.stat().st_mtime_ns).get(key)):
        return None
    experiment, weights = Experiment.from_dict(content["experiment"]), folder / f"{key}.safetensors"
    read = partial(rows_of, predictions, key)
    return Run(experiment, key, content["info"], rows_of(history, key), read, weights if weights.is_file() else None)


@lru_cache(maxsize=4)
def _read_kept(file: Path, modified: int) -> dict[str, Any]:
    return read_json(file)


def rows_of(file: Path, key: str) -> pd.DataFrame:
    """One run's rows of a table, without the labels that only other runs have."""
    rows = pq.read_table(file, filters=[("run", "=", key)]).to_pandas()
    others = [name for name in rows if name.startswith(PROBABILITY) and rows[name].isna().all()]
    return rows.drop(columns=["run", *others])


def read_json(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text(encoding="utf-8"))


def write_json(file: Path, content: dict[str, Any]) -> None:
    file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def damage(folder: Path) -> str | None:
    """What is wrong with the files of a finished run; None if they are as they were written."""
    try:
        checksums = read_json(folder / INFO)["checksums"]
        wrong = [name for name, expected in checksums.items() if checksum(folder / name) != expected]
    except UNREADABLE as error:
        return f"{type(error).__name__}: {error}"
    return f"{', '.join(wrong)} changed since it was written" if wrong else None


def checksum(file: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with open(file, "rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def provenance() -> dict[str, Any]:
    """Commit of the working tree ("-dirty" where the library has changes) and versions of what numbers depend on."""
    try:
        commit = _git("rev-parse", "--short=12", "HEAD") + ("-dirty" if _git("status", "--porcelain", ".") else "")
    except (OSError, subprocess.CalledProcessError):
        commit = None
    return {"commit": commit, "python": platform.python_version(), "versions": versions()}


def versions() -> dict[str, str]:
    """Of the packages that numbers depend on."""
    return {package: importlib.metadata.version(package) for package in PACKAGES}


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=LIBRARY, capture_output=True, text=True, check=True).stdout.strip()
