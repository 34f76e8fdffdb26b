"""How accurate a trained network is on artists that it has not heard: of its experiment's runs by cross-validation."""

import json
import warnings
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pandas as pd

from soundfusion_lib.analysis.statistics import accuracy, interval
from soundfusion_lib.analysis.tables import recalls
from soundfusion_lib.audio.store import Store
from soundfusion_lib.datasets.splits import Split, groups_of
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.paths import runs_dir
from soundfusion_lib.training.experiment import Experiment
from soundfusion_lib.training.result import RunGroup
from soundfusion_lib.training.run import UNREADABLE, Run, load_run

FAIR = "artist", "official"  # splits whose test part is of other artists, or that the corpus's makers chose


def evaluation(run: Run, store: Store) -> dict[str, Any] | None:
    """What the runs of a run's experiment say together, as JSON can hold it: accuracy by vote, with low and high (95 %,
    by artist), tracks, artists (as far as known), scheme (of the split), folds, seeds, runs (keys); recalls, with
    tracks, recall, low and high of each label. None where there are no such runs.

    Args:
        run: of any split; one on all tracks is judged by the runs that have a part to test by.
        store: the clips that it was trained on.
    """
    group = tested_runs(run, store)
    if group is None:
        return None
    predictions = group.predictions("test")
    tracks = predictions[0]["track"].unique()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of single artists, which have no interval
        low, high = interval(predictions)
        table = recalls({"": group}).drop(columns="model")
    return {
        "accuracy": accuracy(predictions),
        **_bounds(low, high),
        "tracks": len(tracks),
        "artists": int(store.tracks.loc[tracks, "group"].nunique()),
        "scheme": group.experiment.split.scheme,
        "folds": [len(group.folds), _folds(group.experiment.split)],  # run, of so many
        "seeds": group.seeds,
        "runs": sorted(one.folder.name for one in group.runs),
        "recalls": [
            {**{name: row[name] for name in ("label", "tracks", "recall")}, **_bounds(row["low"], row["high"])}
            for row in table.to_dict("records")
            if row["tracks"]
        ],
    }


def _bounds(low: float, high: float) -> dict[str, float | None]:
    """JSON has no NaN."""
    return {"low": None if pd.isna(low) else low, "high": None if pd.isna(high) else high}


def _folds(split: Split) -> int:
    return 1 if split.scheme == "official" else split.folds


def tested_runs(run: Run, store: Store) -> RunGroup | None:
    """The runs of a run's experiment by the split that tests most: of the seed with most folds, and of all seeds that
    were run in the same; None where there are none."""
    groups = defaultdict(list)
    for one in _kept_runs(store.content_id):
        if one.experiment.split.scheme in FAIR and _without_chance(one.experiment) == _without_chance(run.experiment):
            groups[replace(one.experiment.split, fold=0)].append(one)
    if not groups:
        return None
    runs = max(groups.values(), key=len)
    by_seed = {seed: [one for one in runs if one.experiment.seed == seed] for seed in {r.experiment.seed for r in runs}}
    folds = {seed: {one.experiment.split.fold for one in own} for seed, own in by_seed.items()}
    most = max(folds.values(), key=len)
    chosen = [one for seed, own in sorted(by_seed.items()) for one in own if folds[seed] == most]
    return RunGroup(chosen, groups_of(store.tracks))


def _kept_runs(content_id: str) -> Iterator[Run]:
    """The finished runs on these tracks."""
    for file in sorted(runs_dir().glob("*/experiment.json")):
        try:
            if not file.parent.suffix and json.loads(file.read_text(encoding="utf-8"))["content_id"] == content_id:
                yield load_run(file.parent)
        except (*UNREADABLE, SoundFusionError):
            continue  # a damaged run says nothing


def _without_chance(experiment: Experiment) -> str:
    """What is the same for all seeds and folds: the key of the first, without the parts that it starts from."""
    start = {kind: None if kind == "parts" else value for kind, value in experiment.start.items()}
    return replace(experiment, seed=0, split=Split(), start=start).key("")
