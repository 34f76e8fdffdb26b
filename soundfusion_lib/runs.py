"""The runs of one experiment, as tables and figures take them."""

from dataclasses import dataclass

import pandas as pd

from soundfusion_lib.evaluation import ARTIST
from soundfusion_lib.experiments import Experiment, Run


@dataclass(frozen=True)
class Runs:
    """The runs of one experiment: one for each seed and fold.

    Args:
        runs: in any order.
        artists: of every track, see `splits.groups_of`.
    """

    runs: list[Run]
    artists: pd.Series

    @property
    def experiment(self) -> Experiment:
        return self.runs[0].experiment

    def predictions(self, part: str = "test") -> list[pd.DataFrame]:
        """For each seed, the predictions of its folds together, with a column `artist`; see `evaluation.predictions_of`."""
        by_seed: dict[int, list[pd.DataFrame]] = {}
        for run in self.runs:
            by_seed.setdefault(run.experiment.seed, []).append(run.predictions(part))
        together = [pd.concat(folds, ignore_index=True) for folds in by_seed.values()]
        return [frame.assign(**{ARTIST: self.artists[frame["track"]].to_numpy()}) for frame in together]

    @property
    def parameters(self) -> int:
        """Of the model, frozen ones included."""
        return self.runs[0].info["parameters"]

    @property
    def epoch_seconds(self) -> float:
        """Median over runs of the median time of an epoch, validation included, in s."""
        return float(pd.Series([run.info["epoch_seconds"] for run in self.runs]).median())

    @property
    def history(self) -> pd.DataFrame:
        """The epochs of the first run, see `training.fit`."""
        return self.runs[0].history
