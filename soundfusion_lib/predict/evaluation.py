"""The accuracy of a network on artists that it has not heard, and its model card (Mitchell et al., "Model Cards for
Model Reporting", FAT* 2019)."""

import tomllib
import warnings
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from soundfusion_lib.analysis.statistics import accuracy, interval
from soundfusion_lib.analysis.tables import recalls
from soundfusion_lib.audio.store import Store
from soundfusion_lib.datasets.splits import Split, groups_of
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.paths import runs_dir
from soundfusion_lib.training.experiment import Experiment, FromParts
from soundfusion_lib.training.result import Result, of_runs
from soundfusion_lib.training.run import ABOUT, UNREADABLE, Run, load_run, read_json

FAIR = "artist", "official"  # splits that test on other artists, or that the corpus's authors chose
WORDS = Path(__file__).with_name("card.toml")


def evaluate(result: Result, store: Store) -> dict[str, Any]:
    """The test accuracy of some runs, as JSON can hold it: accuracy, low, high (by track vote, 95 % interval by
    artist), tracks, artists (those known), scheme (of the split), folds ([tested, of so many]), seeds, runs (keys), and
    recalls: label, tracks, recall, low, high."""

    def bounds(low: float, high: float) -> dict[str, float | None]:  # JSON has no NaN
        return {"low": None if pd.isna(low) else low, "high": None if pd.isna(high) else high}

    predictions, split = result.predictions("test"), result.experiment.split
    tracks = predictions[0]["track"].unique()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of single artists, which have no interval
        by_track, by_label = interval(predictions), recalls({"": result})
    return {
        "accuracy": accuracy(predictions),
        **bounds(*by_track),
        "tracks": len(tracks),
        "artists": int(store.tracks.loc[tracks, "group"].nunique()),
        "scheme": split.scheme,
        "folds": [len(result.folds), 1 if split.scheme == "official" else split.folds],
        "seeds": result.seeds,
        "runs": sorted(run.key for run in result.runs),
        "recalls": [
            {"label": row.label, "tracks": row.tracks, "recall": row.recall, **bounds(row.low, row.high)}
            for row in by_label.itertuples()
            if row.tracks
        ],
    }


def tested_runs(run: Run, store: Store) -> Result | None:
    """The runs with a test set of the same experiment as a run, whatever its split; None where there are none.

    Of several splits the one with most runs; in it the most folds that a seed has, and all seeds with these folds.
    """
    by_split: dict[Split, dict[int, dict[int, Run]]] = defaultdict(lambda: defaultdict(dict))  # split, seed, fold
    for folder in sorted(runs_dir().glob("*")):
        try:
            if folder.suffix or read_json(folder / ABOUT)["content_id"] != store.content_id:
                continue
            other = load_run(folder)
        except (*UNREADABLE, SoundFusionError):
            continue  # a damaged run says nothing
        split = other.experiment.split
        if split.scheme in FAIR and _recipe(other.experiment) == _recipe(run.experiment):
            by_split[replace(split, fold=0)][other.experiment.seed][split.fold] = other
    if not by_split:
        return None
    by_seed = max(by_split.values(), key=lambda seeds: sum(map(len, seeds.values())))
    folds = max((by_fold.keys() for by_fold in by_seed.values()), key=len)
    runs = [run for _, by_fold in sorted(by_seed.items()) if by_fold.keys() == folds for run in by_fold.values()]
    return of_runs(runs, groups_of(store.tracks))


def _recipe(experiment: Experiment) -> str:
    """What all seeds and folds of an experiment share: its key without seed, split, and keys of its parts."""
    start = FromParts(()) if isinstance(experiment.start, FromParts) else experiment.start
    return replace(experiment, seed=0, split=Split(), start=start).key("")


def with_bounds(value: float, bounds: dict[str, Any]) -> str:
    """A share with its interval: 0.618 [0.537, 0.696]."""
    return f"{value:.3f} [{'one artist' if pd.isna(bounds['low']) else '{low:.3f}, {high:.3f}'.format(**bounds)}]"


def model_card(config: dict[str, Any]) -> str:
    """The card, in Markdown, of a network whose config.json has this content; its words are in card.toml."""
    words = tomllib.loads(WORDS.read_text(encoding="utf-8"))
    experiment, split = config["experiment"], config["experiment"]["split"]
    about = words["synthetic"] if config["synthetic"] else words.get(config["kind"], words["folder"])
    limits = about["limits"]
    if config["label"] != "genre":
        limits += f" The labels are no genres: other music gets the {config['label']} that it sounds most like."
    fold = "the official split" if split["scheme"] == "official" else f"fold {split['fold'] + 1} of {split['folds']}"
    trained = f"{{train:,}} clips of {fold}; {{validation:,}} validate and {{test:,}} test it."
    if split["scheme"] == "all":
        trained = "all {train:,} clips: none is left to test it."
    overlap = experiment["segmenting"]["overlap"]
    return words["template"].format(
        config=config,
        **experiment,
        inputs=" and ".join(map(_input, experiment["representations"])),
        overlap="" if overlap is None else f" with {overlap:.0%} overlap",
        labels=", ".join(config["labels"]),
        data=f"{about['data']} The network is trained on {trained.format(**config['tracks'])}",
        accuracy=_accuracy(config) if config["evaluation"] else "Unknown: no run of the experiment has a test set.",
        limits=limits,
    )


def _input(spec: dict[str, Any]) -> str:
    if spec["kind"] == "waveform":
        return f"the waveform (mono, {spec['sample_rate']:,} Hz)"
    channels = "stereo" if spec["channels"] == 2 else "mono"
    return f"the mel spectrogram ({channels}, {spec['sample_rate']:,} Hz, {spec['n_mels']} bands)"


def _accuracy(config: dict[str, Any]) -> str:
    tested = config["evaluation"]
    unheard = "artists" if tested["artists"] else "tracks"
    artists = f"{tested['artists']:,} artists" if tested["artists"] else "unknown artists"
    folds = "cross-validation by artist, {} of {} folds".format(*tested["folds"])
    test = "the official test set" if tested["scheme"] == "official" else folds
    lines = [
        f"**{with_bounds(tested['accuracy'], tested)}** by track vote, on {unheard} not heard in training; chance is "
        f"{1 / len(config['labels']):.3f}.\n",
        f"* Test: {test}; {tested['tracks']:,} tracks of {artists}.",
        f"* Seeds {', '.join(map(str, tested['seeds']))}; runs {', '.join(tested['runs'])}.",
        f"* In brackets: 95 % intervals, by a bootstrap over {unheard}{' and seeds' * (len(tested['seeds']) > 1)}.",
    ]
    if config["experiment"]["split"]["scheme"] == "all":
        lines.append("* This network itself has no test clips: the accuracy is that of its experiment's other runs.")
    lines += [f"\n| {config['label']} | tracks | recall [95 %] |", "|---|---|---|"]
    lines += [f"| {row['label']} | {row['tracks']} | {with_bounds(row['recall'], row)} |" for row in tested["recalls"]]
    return "\n".join(lines)
