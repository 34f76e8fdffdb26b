"""What the runs of several networks say of clips, from the predictions that they keep: nothing is predicted anew."""

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
    """What networks predict of the clips that they were tested on.

    Args:
        runs: by the network's name.
    """

    runs: Mapping[str, Result]

    @cached_property
    def votes(self) -> pd.DataFrame:
        """The vote of each run on each test clip, one row per network, seed and track: columns network, track, true,
        predicted (labels)."""
        frames = ((network, frame) for network, group in self.runs.items() for frame in group.predictions("test"))
        return pd.concat([_votes(frame).assign(network=network) for network, frame in frames])

    @cached_property
    def right(self) -> pd.DataFrame:
        """Share of each network's runs that are right: one row per clip that all networks tested, one column per
        network."""
        votes = self.votes.assign(right=self.votes["true"] == self.votes["predicted"])
        return votes.pivot_table(index="track", columns="network", values="right")[list(self.runs)].dropna()

    @cached_property
    def missed(self) -> list[str]:
        """The clips that all networks tested and every run is wrong on."""
        return list(self.right.index[self.right.eq(0).all(axis=1)])

    @property
    def best(self) -> str:
        """The network that is right on most of the clips that all tested."""
        return self.right.sum().idxmax()

    def cell(self, network: str, true: str, predicted: str) -> list[str]:
        """The test clips in a cell of a network's confusion matrix: those that any of its runs puts there."""
        votes = self.votes
        there = (votes["network"] == network) & (votes["true"] == true) & (votes["predicted"] == predicted)
        return sorted(votes.loc[there, "track"].unique())

    @cached_property
    def segments(self) -> dict[str, pd.DataFrame]:
        """By network, its predictions of segments, the mean over seeds: indexed by track and segment, columns `target`
        and each label's probability."""
        return {network: _mean(pd.concat(group.predictions("test"))) for network, group in self.runs.items()}

    @cached_property
    def labels(self) -> pd.DataFrame:
        """The label that each network's `segments` vote for, and the `true` one: one row per clip that any network
        tested, NaN where a network did not."""
        votes = {network: _votes(table.reset_index()).set_index("track") for network, table in self.segments.items()}
        true = pd.concat([table["true"] for table in votes.values()])
        labels = pd.DataFrame({network: table["predicted"] for network, table in votes.items()})
        return labels.assign(true=true[~true.index.duplicated()])

    def of_clip(self, network: str, track: str) -> pd.DataFrame | None:
        """A network's probabilities of a clip, (segments, labels); None if it was not tested on the clip."""
        if track not in self.segments[network].index:
            return None
        table = self.segments[network].loc[track]
        return table[probability_columns(table)].set_axis(classes_of(table), axis=1)

    def tally(self, track: str) -> str:
        """How many of the networks tested on a clip are right on it, in words."""
        predicted = self.labels.loc[track, list(self.runs)].dropna()
        return f"{predicted.eq(self.labels.loc[track, 'true']).sum()} of {len(predicted)} networks right"

    def run(self, network: str, track: str) -> Run:
        """The run of the first seed that was tested on a clip."""
        runs = self.runs[network].runs
        return next(run for run in runs if run.predictions("test")["track"].astype(str).eq(track).any())


def missed_table(judgements: Judgements, tracks: pd.DataFrame) -> pd.DataFrame:
    """The clips that every network gets wrong: track (the index), label, artist, heard as (the labels predicted, with
    the number of runs).

    Args:
        tracks: of the study, with columns label and group.
    """
    counts = judgements.votes.groupby("track")["predicted"].value_counts()
    heard = [", ".join(f"{label} {count}" for label, count in counts[track].items()) for track in judgements.missed]
    table = tracks.loc[judgements.missed, ["label", "group"]].rename(columns={"group": "artist"})
    return table.assign(**{"heard as": heard}).rename_axis("track")


def agreement(judgements: Judgements) -> pd.DataFrame:
    """By label, and for all: the tracks that every network tested, and of these those that all networks get right, or
    wrong, with every seed; beside them the number expected if networks erred independently within a label."""
    right, rows = judgements.right, {}
    for label, shares in right.groupby(judgements.labels.loc[right.index, "true"]):
        rows[label] = {"tracks": len(shares)}
        for name, agree in (("right", shares.eq(1)), ("wrong", shares.eq(0))):
            rows[label] |= {
                f"all {name}": agree.all(axis=1).sum(),
                f"expected {name}": len(shares) * agree.mean().prod(),
            }
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.loc["all"] = table.sum()
    return table.astype(dict.fromkeys(("tracks", "all right", "all wrong"), int)).rename_axis("label")


def _votes(frame: pd.DataFrame) -> pd.DataFrame:
    """Predictions of segments -> track, true, predicted (labels): one row per track."""
    labels, decided = np.array(classes_of(frame)), per_track(frame)
    votes = {"true": labels[decided["target"]], "predicted": labels[decided["vote"]]}
    return pd.DataFrame({"track": decided.index, **votes})


def _mean(frame: pd.DataFrame) -> pd.DataFrame:
    """The mean over seeds, indexed by track and segment."""
    frame = frame.assign(track=frame["track"].astype(str))
    return frame.groupby(["track", "segment"])[["target", *probability_columns(frame)]].mean().astype({"target": int})
