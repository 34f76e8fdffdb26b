"""An exported network: a folder that loads without a corpus, a store or a run.

model.safetensors   the weights, and the statistics that inputs are standardised with
config.json         labels, experiment (network, representations, segments), training data, accuracy, checksums
README.md           the model card
"""

import warnings
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jinja2
import pandas as pd
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from soundfusion_lib.analysis.statistics import accuracy, interval
from soundfusion_lib.analysis.tables import recalls
from soundfusion_lib.datasets.splits import groups_of
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.models import AudioClassifier
from soundfusion_lib.paths import runs_dir, writing
from soundfusion_lib.study.catalogue import experiment_named, find_model, profile_and_name
from soundfusion_lib.study.study import Study
from soundfusion_lib.training.experiment import Experiment
from soundfusion_lib.training.result import Result, of_runs
from soundfusion_lib.training.run import Run, checksum, find_run, load_run, read_json, write_json

CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
FORMAT = 1  # of config.json; raise it when its content changes its meaning
FAIR = "artist", "official"  # splits that test on other artists, or that the corpus's authors chose


def export(model: str | Path, folder: str | Path, profile: str = "demo") -> Path:
    """Write a trained network, see `find_model`, into a new folder, whole or not at all; returns the folder. Raises
    SoundFusionError if there is no such run, it was trained on other clips than the profile's, or the folder is there
    already or cannot be written."""
    folder = Path(folder).absolute()
    if folder.exists():
        raise SoundFusionError(f"{folder} is there already: remove it, or give another folder")
    run = load_run(find_model(model, profile))
    weights = run.weights()  # raises where they are not kept
    config = _config(run, Study("export", profile_and_name(model, profile)[0], "cpu", progress=False, dry=True))
    with writing(folder.parent, SafetensorError):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as aside:
            new = Path(aside) / "new"
            new.mkdir()
            save_file(weights, new / WEIGHTS)
            config["checksums"] = {WEIGHTS: checksum(new / WEIGHTS)}
            write_json(new / CONFIG, config)
            (new / CARD).write_text(model_card(config), encoding="utf-8")
            new.rename(folder)
    return folder


def load_exported(folder: Path) -> tuple[AudioClassifier, Experiment, dict[str, Any]]:
    """The network in evaluation mode, on the CPU; its experiment; the content of config.json. Raises SoundFusionError
    if a file is missing, damaged, or written by a newer version."""
    try:
        config = read_json(folder / CONFIG)
        if config["format"] > FORMAT:
            raise SoundFusionError(f"{folder / CONFIG} comes from a newer version of this library: update the library")
        experiment = Experiment.from_dict(config["experiment"])
        if checksum(folder / WEIGHTS) != config["checksums"][WEIGHTS]:
            raise SoundFusionError(f"{folder / WEIGHTS} is not the file that {CONFIG} names: export it again")
        model = experiment.build(len(config["labels"]))
        model.load_weights(load_file(folder / WEIGHTS), str(folder / WEIGHTS))
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        what = f"{type(error).__name__}: {error}"
        raise SoundFusionError(f"{folder} holds no network that can be loaded ({what}): export it again") from error
    return model.eval(), experiment, config


def model_card(config: dict[str, Any]) -> str:
    """The card, in Markdown, of a network with this config.json (Mitchell et al., "Model Cards for Model Reporting",
    FAT* 2019)."""
    environment = jinja2.Environment(trim_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined)
    template = Path(__file__).with_name("card.md.jinja").read_text(encoding="utf-8")
    return environment.from_string(template).render(config, with_bounds=with_bounds)


def with_bounds(value: float, bounds: dict[str, Any]) -> str:
    """A share with its interval: 0.618 [0.537, 0.696]."""
    return f"{value:.3f} [{'one artist' if pd.isna(bounds['low']) else '{low:.3f}, {high:.3f}'.format(**bounds)}]"


def evaluate(result: Result, artists: pd.Series) -> dict[str, Any]:
    """The test accuracy of some runs, for JSON, where these are the artists by track (NaN if unknown): accuracy, low,
    high (by track vote, 95 % interval by artist), tracks, artists (how many), scheme (of the split), folds ([tested, of
    so many]), seeds, runs (keys), recalls (label, tracks, recall, low, high)."""
    predictions, split = result.predictions("test"), result.experiment.split
    tracks = predictions[0]["track"].unique()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of single artists, which have no interval
        low, high = (None if pd.isna(bound) else bound for bound in interval(predictions))  # JSON has no NaN
        by_label = recalls({"": result}).query("tracks > 0").drop(columns="model").astype(object)
    return {
        "accuracy": accuracy(predictions),
        "low": low,
        "high": high,
        "tracks": len(tracks),
        "artists": int(artists[tracks].nunique()),
        "scheme": split.scheme,
        "folds": [len(result.folds), 1 if split.scheme == "official" else split.folds],
        "seeds": result.seeds,
        "runs": sorted(run.key for run in result.runs),
        "recalls": by_label.where(by_label.notna(), None).to_dict("records"),
    }


def tested_runs(run: Run, study: Study) -> Result | None:
    """The runs that tell how accurate a run's experiment is: those of the profile's seeds and folds. None where not all
    are trained, they are not tested on other artists, or the profile has no such experiment."""
    with suppress(SoundFusionError):  # of a name that the profile does not have
        experiment = experiment_named(study, run.experiment.name)
        tested, on_all = (study.variants(kind) for kind in (experiment, study.on_all_clips(experiment)))
        runs = [find_run(study.key(variant), runs_dir(), study.kept) for variant in tested]
        if all(runs) and run.key in map(study.key, [*tested, *on_all]) and tested[0].split.scheme in FAIR:
            return of_runs(runs, groups_of(study.store.tracks))
    return None


def _config(run: Run, study: Study) -> dict[str, Any]:
    """The content of config.json, but for `checksums`; raises SoundFusionError where the study has other clips."""
    corpus, profile = run.info["corpus"], study.profile.name
    if study.corpus.name != corpus or study.key(run.experiment) != run.key:
        why = f"was trained on corpus {corpus!r}, on other clips than the profile {profile} has now"
        raise SoundFusionError(f"the run {run.key} {why}: name its profile by --profile")
    tested = tested_runs(run, study)
    return {
        "format": FORMAT,
        "name": run.experiment.name,
        "run": run.key,
        "label": study.corpus.label_name,
        "labels": run.info["genres"],
        "corpus": study.corpus.name,
        "kind": study.profile.corpus["kind"],
        "synthetic": study.corpus.synthetic,
        "evaluation": tested and evaluate(tested, study.store.tracks["group"]),
        "experiment": run.experiment.to_dict(),
        **{name: run.info[name] for name in ("tracks", "parameters", "finished", "device", "commit", "versions")},
    }
