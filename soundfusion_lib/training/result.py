"""The runs of one experiment, as tables and figures take them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.training.experiment import Experiment
from soundfusion_lib.training.inference import GROUP
from soundfusion_lib.training.run import Run

MOST_NAMED = 6  # in a caption


@dataclass(frozen=True)
class RunGroup:
    """The runs of one experiment: one for each seed and fold.

    Args:
        runs: in any order.
        groups: of every track, see `splits.groups_of`.
    """

    runs: list[Run]
    groups: pd.Series

    @property
    def experiment(self) -> Experiment:
        return self.runs[0].experiment

    @property
    def folds(self) -> list[int]:
        return sorted({run.experiment.split.fold for run in self.runs})

    @property
    def seeds(self) -> list[int]:
        return sorted({run.experiment.seed for run in self.runs})

    def run(self, seed: int, fold: int) -> Run:
        """The run of this seed and fold; raises SoundFusionError if there is none."""
        for run in self.runs:
            if (run.experiment.seed, run.experiment.split.fold) == (seed, fold):
                return run
        raise SoundFusionError(f"{self.experiment.name!r} has no run with seed {seed} in fold {fold}, which is needed")

    def under_seeds(self, seeds: list[int]) -> "RunGroup":
        """The same runs under other numbers of their seeds, in order: for an ensemble with runs of these seeds."""
        named = dict(zip(self.seeds, seeds, strict=True))
        runs = [replace(run, experiment=replace(run.experiment, seed=named[run.experiment.seed])) for run in self.runs]
        return RunGroup(runs, self.groups)

    def in_folds_of(self, other: "RunGroup") -> "RunGroup":
        """The runs in folds that the other has runs in, too."""
        return RunGroup([run for run in self.runs if run.experiment.split.fold in other.folds], self.groups)

    @property
    def fewer_folds(self) -> str:
        """Which folds these are, "fold 1 of 4", where the split has more; empty where not."""
        split = self.experiment.split
        if split.scheme == "official" or len(self.folds) == split.folds:
            return ""
        return f"fold{'s' * (len(self.folds) > 1)} {', '.join(str(fold + 1) for fold in self.folds)} of {split.folds}"

    def by_run(self, part: str = "test") -> dict[tuple[int, int], pd.DataFrame]:
        """By seed and fold, the predictions of that run, with a column `group`; see `inference.predictions_of`."""
        frames = {(run.experiment.seed, run.experiment.split.fold): run.predictions(part) for run in self.runs}
        return {key: frame.assign(**{GROUP: self.groups[frame["track"]].to_numpy()}) for key, frame in frames.items()}

    def predictions(self, part: str = "test") -> list[pd.DataFrame]:
        """For each seed, the predictions of its folds together; see `by_run`."""
        return pooled(self.by_run(part))

    @property
    def input(self) -> str:
        """What the model takes, for tables: 1D (waveform), 2D (mel spectrogram) or mix."""
        kinds = {spec.kind for spec in self.experiment.representations}
        return "mix" if len(kinds) > 1 else {"waveform": "1D", "mel": "2D"}[kinds.pop()]

    @property
    def parameters(self) -> int:
        """Of the model, frozen ones included."""
        return self.runs[0].info["parameters"]

    @property
    def epoch_seconds(self) -> float:
        """Median over runs of the median time of an epoch, validation included, in s."""
        return float(np.median([run.info["epoch_seconds"] for run in self.runs]))

    @property
    def core_minutes(self) -> float:
        """Mean over runs of the time that their training took of all cores together, in min; NaN if one lacks it."""
        return float(np.mean([run.info.get("core_seconds", np.nan) for run in self.runs])) / 60

    @property
    def ended(self) -> bool:
        """Whether the training of every run had come to its end, see `Run.ended`."""
        return all(run.ended for run in self.runs)

    @property
    def history(self) -> pd.DataFrame:
        """The epochs of the first run, see `loop.fit`."""
        return self.runs[0].history

    @property
    def epochs(self) -> int:
        """Trained in the first run."""
        return len(self.history)


def pooled(by_run: dict[tuple[int, int], pd.DataFrame]) -> list[pd.DataFrame]:
    """For each seed, in order of appearance, the predictions of its folds together, from those by seed and fold."""
    by_seed: dict[int, list[pd.DataFrame]] = {}
    for (seed, _), frame in by_run.items():
        by_seed.setdefault(seed, []).append(frame)
    return [pd.concat(folds, ignore_index=True) for folds in by_seed.values()]


def by_name(*groups: Mapping[Any, RunGroup]) -> dict[str, RunGroup]:
    """All of them by the names of their experiments."""
    return {group.experiment.name: group for named in groups for group in named.values()}


def folds_note(groups: Mapping[str | tuple, Any]) -> str:
    """What to add to a caption where runs shown are of fewer folds than the split has: "; fold 1 of 4", and where that
    is not all of them, of which.

    Args:
        groups: `RunGroup` or `Decision` by what they are called.
    """
    fewer = {name: group.fewer_folds for name, group in groups.items() if group.fewer_folds}
    if not fewer:
        return ""
    note = "; " + ", ".join(dict.fromkeys(fewer.values()))
    if len(fewer) == len(groups):
        return note
    if len(fewer) > MOST_NAMED:
        return f"{note} (the rows of fewer tracks)"
    names = [name if isinstance(name, str) else ", ".join(map(str, name)) for name in fewer]
    return f"{note} ({'; '.join(names)})"
