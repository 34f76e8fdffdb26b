"""Result: what a classifier predicted, with what tables and figures say about it.

Networks, fusions of decisions, baselines and probes all end in this type; analysis takes nothing else.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.training.experiment import Experiment
from soundfusion_lib.training.inference import FOLD, GROUP
from soundfusion_lib.training.run import Run

NETWORK, PART, FUSION, CONTROL, BASELINE, PROBE = ROLES = "network", "part", "fusion", "control", "baseline", "probe"
ByRun = dict[tuple[int, int], pd.DataFrame]  # predictions by seed and fold


@dataclass(frozen=True)
class Result:
    """What a classifier predicted.

    Args:
        name: title in tables and figures.
        load: gives the predictions of "validation" or "test" by seed (or split) and fold, see
            `inference.predictions_of`; with a column `group`, the artist.
        input: what it takes: "1D" (waveform), "2D" (mel spectrogram), "mix", "MFCC", "features" or "none".
        role: what it stands for, one of `ROLES`.
        parameters, epochs: NaN where it has none that compare to a network's.
        core_minutes: CPU time of training, mean over runs, in min; NaN where unknown.
        ended: whether every training had come to its end, see `Run.ended`; None where nothing is trained.
        fewer_folds: which folds these are, "fold 1 of 4", where the split has more.
        runs: of a network: one for each seed and fold.
        network, start: of a probe: the frozen network and where its weights come from.
        unit: what its predictions are repeated over: "seed", or "split" of a classifier that is fitted under several.
    """

    name: str
    load: Callable[[str], ByRun]
    input: str
    role: str = NETWORK
    parameters: float = float("nan")
    epochs: float = float("nan")
    core_minutes: float = float("nan")
    ended: bool | None = None
    fewer_folds: str = ""
    runs: tuple[Run, ...] = ()
    network: str = ""
    start: str = ""
    unit: str = "seed"

    def by_run(self, part: str = "test") -> ByRun:
        """Predictions by seed and fold."""
        return self.load(part)

    def predictions(self, part: str = "test") -> list[pd.DataFrame]:
        """For each seed (or split), the predictions of its folds together."""
        by_seed: dict[int, list[pd.DataFrame]] = {}
        for (seed, fold), frame in self.load(part).items():
            by_seed.setdefault(seed, []).append(frame.assign(**{FOLD: fold}))
        return [pd.concat(folds, ignore_index=True) for folds in by_seed.values()]

    @property
    def repeats(self) -> str:
        """How often it was trained and tested: "3 seeds", "10 splits"."""
        count = len(self.seeds) or len({seed for seed, _ in self.load("test")})  # which a network need not read
        return f"{count} {self.unit}{'s' * (count > 1)}"

    @property
    def experiment(self) -> Experiment:
        """Of the first run."""
        return self.runs[0].experiment

    @property
    def seeds(self) -> list[int]:
        return sorted({run.experiment.seed for run in self.runs})

    @property
    def folds(self) -> list[int]:
        return sorted({run.experiment.split.fold for run in self.runs})

    @property
    def epoch_seconds(self) -> float:
        """Median over runs of the median time of an epoch, validation included, in s."""
        return float(np.median([run.info["epoch_seconds"] for run in self.runs]))

    def run(self, seed: int, fold: int) -> Run:
        """The run of this seed and fold; raises SoundFusionError if there is none."""
        for run in self.runs:
            if (run.experiment.seed, run.experiment.split.fold) == (seed, fold):
                return run
        raise SoundFusionError(f"{self.name!r} has no run with seed {seed} in fold {fold}, which is needed")


def of_runs(runs: list[Run], groups: pd.Series, name: str = "", parts: Sequence[Run] = ()) -> Result:
    """The result of an experiment's runs, one for each seed and fold; `groups` are the artists of all tracks, `parts`
    runs of the networks that a fusion starts from, whose time counts, too."""
    experiment = runs[0].experiment
    split, folds = experiment.split, sorted({run.experiment.split.fold for run in runs})
    kinds = [spec.kind for spec in experiment.representations]
    fewer = split.scheme not in ("official", "all") and len(folds) < split.folds
    numbers = ", ".join(str(fold + 1) for fold in folds)

    def load(part: str) -> ByRun:
        frames = {(run.experiment.seed, run.experiment.split.fold): run.predictions(part) for run in runs}
        return {key: frame.assign(**{GROUP: groups[frame["track"]].to_numpy()}) for key, frame in frames.items()}

    return Result(
        name or experiment.name,
        load,
        "mix" if len(kinds) > 1 else {"waveform": "1D", "mel": "2D"}[kinds[0]],
        experiment.role,
        parameters=runs[0].info["parameters"],
        epochs=len(runs[0].history),
        core_minutes=sum(run.info.get("core_seconds", np.nan) for run in (*runs, *parts)) / 60 / len(runs),
        ended=all(run.ended for run in runs),
        fewer_folds=f"fold{'s' * (len(folds) > 1)} {numbers} of {split.folds}" if fewer else "",
        runs=tuple(runs),
    )


def by_name(*results: Mapping[Any, Result]) -> dict[str, Result]:
    """All of them by their names."""
    return {result.name: result for named in results for result in named.values()}


def folds_note(results: Mapping[str | tuple, Result]) -> str:
    """What a caption adds where results are of fewer folds than the split has: "; fold 1 of 4"."""
    fewer = [result.fewer_folds for result in results.values() if result.fewer_folds]
    rows = " (the rows of fewer tracks)" if 0 < len(fewer) < len(results) else ""
    return "; " * bool(fewer) + ", ".join(dict.fromkeys(fewer)) + rows
