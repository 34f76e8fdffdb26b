"""What the runs of several networks predict of clips, from the predictions that they keep."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from soundfusion_lib.training.inference import classes_of, per_track, probability_columns
from soundfusion_lib.training.result import Result
from soundfusion_lib.training.run import Run


@dataclass(frozen=True)
class Judgements:
    """What networks, by name, predict of the clips that they were tested on."""

    runs: Mapping[str, Result]

    @cached_property
    def votes(self) -> pd.DataFrame:
        """One row per network, seed and test clip: network, track, true, predicted (labels), right."""
        votes = []
        for network, result in self.runs.items():
            for frame in result.predictions("test"):
                labels, decided = np.array(classes_of(frame)), per_track(frame)
                true, predicted = labels[decided["target"]], labels[decided["vote"]]
                columns = {"network": network, "track": decided.index, "true": true, "predicted": predicted}
                votes.append(pd.DataFrame(columns | {"right": true == predicted}))
        return pd.concat(votes, ignore_index=True)

    @cached_property
    def right(self) -> pd.DataFrame:
        """Share of a network's runs that are right: one row per clip that all networks tested, one column each."""
        return self.votes.pivot_table(index="track", columns="network", values="right")[list(self.runs)].dropna()

    @property
    def missed(self) -> list[str]:
        """The clips that all networks tested and every run is wrong on."""
        return list(self.right.index[self.right.eq(0).all(axis=1)])

    @property
    def best(self) -> str:
        """The network that is right on most of the clips that all tested."""
        return self.right.sum().idxmax()

    def cell(self, network: str, true: str, predicted: str) -> list[str]:
        """The clips that any run of a network puts in a cell of its confusion matrix; first those that the fewest runs
        of all networks are right on."""
        cell = self.votes[["network", "true", "predicted"]].eq([network, true, predicted]).all(axis=1)
        votes = self.votes[self.votes["track"].isin(self.votes.loc[cell, "track"])]
        return list(votes.groupby("track")["right"].mean().sort_values(kind="stable").index)

    def tally(self, track: str) -> str:
        """How many of the runs tested on a clip are right on it, in words."""
        right = self.votes.loc[self.votes["track"] == track, "right"]
        return f"{right.sum()} of {len(right)} runs right"

    @cached_property
    def probabilities(self) -> dict[str, pd.DataFrame]:
        """By network, the mean over seeds of its probabilities: indexed by track and segment, one column per label."""
        means = {}
        for network, result in self.runs.items():
            frame = pd.concat(result.predictions("test"))
            by_segment = frame.assign(track=frame["track"].astype(str)).groupby(["track", "segment"])
            means[network] = by_segment[probability_columns(frame)].mean().set_axis(classes_of(frame), axis=1)
        return means

    def run(self, network: str, track: str) -> Run:
        """The run of the first seed that was tested on a clip."""
        runs = self.runs[network].runs
        return next(run for run in runs if run.predictions("test")["track"].astype(str).eq(track).any())
