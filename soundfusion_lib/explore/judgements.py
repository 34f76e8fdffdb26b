"""What the runs of several networks say of clips: out of the predictions that they keep, nothing is predicted anew."""

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
    """What networks say of the clips that they were tested on, and of those that they validated on.

    Args:
        runs: by the network's name.
    """

    runs: Mapping[str, Result]

    @cached_property
    def votes(self) -> pd.DataFrame:
        """What each run says of each test clip: a row a network, seed and track, columns network, track, true,
        predicted (labels; by vote)."""
        return pd.concat(
            [
                _votes(frame).assign(network=network)
                for network, group in self.runs.items()
                for frame in group.predictions()
            ]
        )

    @cached_property
    def right(self) -> pd.DataFrame:
        """Share of a network's runs that are right: a row a clip that all networks tested, a column a network."""
        votes = self.votes.assign(right=self.votes["true"] == self.votes["predicted"])
        return votes.pivot_table(index="track", columns="network", values="right")[list(self.runs)].dropna()

    @cached_property
    def missed(self) -> list[str]:
        """The clips that all networks tested, and no run of any was right on."""
        return list(self.right.index[self.right.eq(0).all(axis=1)])

    @property
    def best(self) -> str:
        """The network that is right on most of the clips that all tested."""
        return self.right.sum().idxmax()

    def cell(self, network: str, true: str, predicted: str) -> list[str]:
        """The test clips in a cell of a network's confusion matrix: those that a run of it puts there."""
        votes = self.votes
        there = (votes["network"] == network) & (votes["true"] == true) & (votes["predicted"] == predicted)
        return sorted(votes.loc[there, "track"].unique())

    @cached_property
    def segments(self) -> dict[str, pd.DataFrame]:
        """By network, what it predicts of each segment, the mean over seeds: indexed by track and segment, columns
        `target` and each label's probability. A clip that was tested in no fold has its validation part's."""
        return {network: _of_segments(group) for network, group in self.runs.items()}

    @cached_property
    def labels(self) -> pd.DataFrame:
        """The label that each network's `segments` vote for, and the `true` one: a row a clip that any predicted, NaN
        where one did not."""
        said = {network: _votes(table.reset_index()).set_index("track") for network, table in self.segments.items()}
        true = pd.concat([one["true"] for one in said.values()])
        labels = pd.DataFrame({network: one["predicted"] for network, one in said.items()})
        return labels.assign(true=true[~true.index.duplicated()])

    def of_clip(self, network: str, track: str) -> pd.DataFrame | None:
        """A network's probabilities of one clip's segments, (segments, labels); None where it predicted none."""
        if track not in self.segments[network].index:
            return None
        own = self.segments[network].loc[track]
        return own[probability_columns(own)].set_axis(classes_of(own), axis=1)

    def tally(self, track: str) -> str:
        """How many of the networks that predicted a clip are right on it, in words."""
        said = self.labels.loc[track, list(self.runs)].dropna()
        return f"{said.eq(self.labels.loc[track, 'true']).sum()} of {len(said)} networks right"

    def run(self, network: str, track: str) -> Run:
        """The run that predicted a clip: of the first seed, where it was tested rather than where it validated."""
        runs = self.runs[network].runs
        predicted = ((run, part) for part in ("test", "validation") for run in runs)
        return next(run for run, part in predicted if run.predictions(part)["track"].astype(str).eq(track).any())


def missed_table(judgements: Judgements, tracks: pd.DataFrame) -> pd.DataFrame:
    """The clips that every network gets wrong, and what they are taken for: track (the index), label, artist, heard as
    (by how many of the runs).

    Args:
        tracks: of the study, with columns label and group.
    """
    counts = judgements.votes.groupby("track")["predicted"].value_counts()
    heard = [", ".join(f"{label} {count}" for label, count in counts[track].items()) for track in judgements.missed]
    table = tracks.loc[judgements.missed, ["label", "group"]].rename(columns={"group": "artist"})
    return table.assign(**{"heard as": heard}).rename_axis("track")


def agreement(judgements: Judgements) -> pd.DataFrame:
    """By label, and in the last row of all: tracks (tested by every network), those that every network gets right and
    those that every one gets wrong, with each of its seeds, beside the number expected if networks (not their seeds)
    erred independently of each other among the clips of a label."""
    right = judgements.right
    rows = {}
    for label, own in right.groupby(judgements.labels.loc[right.index, "true"]):
        always, never = own.eq(1), own.eq(0)
        rows[label] = {
            "tracks": len(own),
            "all right": always.all(axis=1).sum(),
            "expected right": len(own) * always.mean().prod(),
            "all wrong": never.all(axis=1).sum(),
            "expected wrong": len(own) * never.mean().prod(),
        }
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.loc["all"] = table.sum()
    return table.astype(dict.fromkeys(("tracks", "all right", "all wrong"), int)).rename_axis("label")


def _votes(frame: pd.DataFrame) -> pd.DataFrame:
    """Predictions of segments -> track, true and predicted: labels, a row a track."""
    labels, decided = np.array(classes_of(frame)), per_track(frame)
    said = {"true": labels[decided["target"]], "predicted": labels[decided["vote"]]}
    return pd.DataFrame({"track": decided.index, **said})


def _of_segments(group: Result) -> pd.DataFrame:
    test, validation = (_mean(pd.concat(group.predictions(part))) for part in ("test", "validation"))
    tested = validation.index.get_level_values("track").isin(test.index.get_level_values("track"))
    return pd.concat([test, validation[~tested]])


def _mean(frame: pd.DataFrame) -> pd.DataFrame:
    """Of several seeds, by track and segment."""
    grouped = frame.groupby([frame["track"].astype(str), "segment"])
    return pd.concat([grouped["target"].first(), grouped[probability_columns(frame)].mean()], axis=1)
