"""What the runs of several networks say of clips: out of the predictions that they keep, nothing is predicted anew."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from soundfusion_lib.training.inference import classes_of, decide, per_track, probability_columns
from soundfusion_lib.training.run_groups import RunGroup
from soundfusion_lib.training.runs import Run


@dataclass(frozen=True)
class Judgements:
    """What networks say of clips.

    Args:
        runs: by the network's name.
    """

    runs: Mapping[str, RunGroup]

    @cached_property
    def votes(self) -> pd.DataFrame:
        """What each run says of each test clip, by vote: a row a network, seed and track, columns network, track,
        true, predicted (labels)."""
        rows = []
        for network, group in self.runs.items():
            for frame in group.predictions("test"):
                labels, decided = np.array(classes_of(frame)), per_track(frame)
                said = {"true": labels[decided["target"]], "predicted": labels[decided["vote"]]}
                rows.append(pd.DataFrame({"network": network, "track": decided.index, **said}))
        return pd.concat(rows, ignore_index=True)

    @cached_property
    def segments(self) -> dict[str, pd.DataFrame]:
        """By network, what it predicts of each segment, the mean over seeds: indexed by track and segment, a column
        `part` and for each label its probability. A clip that was tested in no fold has its validation part's."""
        return {network: _of_segments(group) for network, group in self.runs.items()}

    @cached_property
    def tracks(self) -> set[str]:
        """The clips that some network predicted."""
        return {track for table in self.segments.values() for track in table.index.unique("track")}

    def of_clip(self, network: str, track: str) -> pd.DataFrame | None:
        """A network's probabilities of one clip's segments, (segments, labels); None where it predicted none."""
        table = self.segments[network]
        if track not in table.index:
            return None
        own = table.loc[track]
        return own[probability_columns(own)].set_axis(classes_of(own), axis=1)

    def label(self, network: str, track: str) -> str:
        """The label that a network gives a clip, see `inference.decide`."""
        probabilities = self.of_clip(network, track)
        vote, _ = decide(probabilities.to_numpy(), np.zeros(len(probabilities), int))
        return probabilities.columns[vote[0]]

    def run(self, network: str, track: str) -> Run:
        """The run that predicted a clip: of the first seed, where it was tested rather than where it validated."""
        runs = self.runs[network].runs
        predicted = ((run, part) for part in ("test", "validation") for run in runs)
        return next(run for run, part in predicted if run.predictions(part)["track"].astype(str).eq(track).any())

    def cell(self, network: str, true: str, predicted: str) -> list[str]:
        """The test clips in a cell of a network's confusion matrix: those that a run of it puts there."""
        votes = self.votes
        there = (votes["network"] == network) & (votes["true"] == true) & (votes["predicted"] == predicted)
        return sorted(votes.loc[there, "track"].unique())

    @property
    def right(self) -> pd.DataFrame:
        """Share of a network's runs that are right: a row a clip that all networks tested, a column a network."""
        votes = self.votes.assign(right=self.votes["true"] == self.votes["predicted"])
        return votes.pivot_table(index="track", columns="network", values="right", sort=False).dropna()

    @property
    def missed(self) -> list[str]:
        """The clips that all networks tested, and no run of any was right on."""
        right = self.right
        return sorted(right.index[right.eq(0).all(axis=1)])


def missed_table(judgements: Judgements, tracks: pd.DataFrame) -> pd.DataFrame:
    """The clips that every network gets wrong, and what they are taken for: track (the index), label, artist, heard as
    (by how many of the runs).

    Args:
        tracks: of the study, with columns label and group.
    """
    votes = judgements.votes[judgements.votes["track"].isin(judgements.missed)]
    counts = votes.groupby("track")["predicted"].value_counts()
    heard = [", ".join(f"{label} {count}" for label, count in counts[track].items()) for track in judgements.missed]
    table = tracks.loc[judgements.missed, ["label", "group"]].rename(columns={"group": "artist"})
    return table.assign(**{"heard as": heard}).rename_axis("track")


def agreement(judgements: Judgements) -> pd.DataFrame:
    """By label, and in the last row of all: tracks (tested by every network), those that every network gets right and
    those that every one gets wrong, each beside the number expected if networks erred independently of each other
    among the clips of a label.
    """
    right = judgements.right
    true = judgements.votes.groupby("track")["true"].first()[right.index]
    rows = {}
    for label, own in right.groupby(true):
        recalls = own.mean()
        rows[label] = {
            "tracks": len(own),
            "all right": int(own.eq(1).all(axis=1).sum()),
            "expected right": len(own) * recalls.prod(),
            "all wrong": int(own.eq(0).all(axis=1).sum()),
            "expected wrong": len(own) * (1 - recalls).prod(),
        }
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.loc["all"] = table.sum()
    return table.astype(dict.fromkeys(("tracks", "all right", "all wrong"), int)).round(1).rename_axis("label")


def _of_segments(group: RunGroup) -> pd.DataFrame:
    parts = []
    for part in ("test", "validation"):
        frame = pd.concat(group.predictions(part))
        keys = [frame["track"].astype(str), frame["segment"]]
        parts.append(frame.groupby(keys)[probability_columns(frame)].mean().assign(part=part))
    test, validation = parts
    tested = validation.index.get_level_values("track").isin(test.index.get_level_values("track"))
    return pd.concat([test, validation[~tested]])
