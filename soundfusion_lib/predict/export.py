"""What is passed on: a trained network or classifier, in a folder that loads without a corpus, a store or a run.

model.safetensors   the weights, and the statistics that inputs are standardised with
config.json         labels, how inputs are made, training data, accuracy, checksums
README.md           the model card
"""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from shlex import quote
from tempfile import TemporaryDirectory
from typing import Any

import jinja2
import pandas as pd
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from soundfusion_lib.analysis import probes
from soundfusion_lib.analysis.statistics import accuracy, interval
from soundfusion_lib.analysis.tables import recalls
from soundfusion_lib.datasets.splits import groups_of
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.paths import data_dir, runs_dir, writing
from soundfusion_lib.study.catalogue import experiment_named, profile_and_name
from soundfusion_lib.study.protocol import vgg16
from soundfusion_lib.study.starts import IMAGENET, Start, musicnn
from soundfusion_lib.study.study import Study
from soundfusion_lib.training.features import UNUSED
from soundfusion_lib.training.result import Result, of_runs
from soundfusion_lib.training.run import checksum, find_run, load_run, provenance, read_json, run_folder, write_json

CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
CLASSIFIERS = "musicnn", "vgg16-imagenet"  # probes of frozen networks
OF_RUN = "tracks", "parameters", "finished", "device", "commit", "versions"  # what config.json has of a run's `info`


def find_model(model: str | Path) -> Path:
    """The folder of a trained network or classifier; raises SoundFusionError if there is none.

    `model` is the folder of a run or of an exported network; a run's key or its beginning; or a name, of the demo or
    behind its profile's ("mine.toml/musicnn"): of `CLASSIFIERS`, or an experiment's, which stands for its run on all
    clips, else of the first seed and fold.
    """
    if Path(model).is_dir():
        return Path(model)
    profile, name = profile_and_name(str(model))
    if re.fullmatch("[0-9a-f]{1,16}", name):
        return run_folder(name)
    study = Study("find", profile, "cpu", progress=False, dry=True)
    if name.casefold() in CLASSIFIERS:
        folders = [data_dir() / "classifiers" / study.profile.name / name.casefold()]
    else:
        experiment = experiment_named(study, name)
        runs = study.variants(study.on_all_clips(experiment)) + study.variants(experiment)
        folders = [runs_dir() / study.key(run) for run in runs]
    for folder in folders:
        if folder.is_dir():
            return folder
    raise SoundFusionError(f"{name} of {profile} is not trained: `soundfusion train {profile} {quote(name)}`")


def export(model: str, folder: str | Path) -> Path:
    """Write the network or classifier of this name, see `find_model`, into a new folder, whole or not at all; returns
    the folder. Raises SoundFusionError if it is not trained, or the folder is there already or cannot be written."""
    folder = Path(folder).absolute()
    if folder.exists():
        raise SoundFusionError(f"{folder} is there already: remove it, or give another folder")
    found, (profile, name) = find_model(model), profile_and_name(model)
    if (found / CONFIG).is_file():
        with writing(folder.parent):
            return Path(shutil.copytree(found, folder))
    study, run = Study("export", profile, "cpu", progress=False, dry=True), load_run(found)
    runs = [find_run(study.key(one), runs_dir(), study.kept) for one in study.variants(experiment_named(study, name))]
    tested = of_runs(runs, groups_of(study.store.tracks)) if all(runs) else None
    about = {"name": run.experiment.name, "run": run.key, "experiment": run.experiment.to_dict()}
    return _write(folder, run.weights(), study, tested, about | {name: run.info[name] for name in OF_RUN})


def fit_classifier(study: Study, name: str) -> dict[str, Any]:
    """Test one of `CLASSIFIERS` as the study's tables do, and then fit it to all clips, where `find_model` finds it;
    returns its config.json. Raises SoundFusionError where the frozen network's weights are not at hand."""
    start = musicnn() if name == "musicnn" else Start("VGG16", IMAGENET, vgg16(study, name))
    network = start.build(study, 0).state_dict()  # raises where its weights are not at hand
    result, (weight, bias) = probes.probe_of(study, start), probes.on_all_clips(study, start)
    weights = {layer: value for layer, value in network.items() if not layer.startswith(UNUSED)}
    weights |= {"weight": torch.tensor(weight), "bias": torch.tensor(bias)}
    cut = replace(start.experiment, segmenting=replace(start.experiment.segmenting, overlap=0.0))
    about = {"name": name, "frozen": start.name, "experiment": cut.to_dict(), "blocks": start.blocks}
    about |= {"standardizes": start.standardizes, "tracks": {"train": len(study.store.tracks)}}
    about |= {"finished": datetime.now(UTC).isoformat(), **provenance()}
    with writing(folder := data_dir() / "classifiers" / study.profile.name / name):
        shutil.rmtree(folder, ignore_errors=True)  # of other clips, or an older version
    return read_json(_write(folder, weights, study, result, about) / CONFIG)


def _write(
    folder: Path, weights: dict[str, Tensor], study: Study, tested: Result | None, about: dict[str, Any]
) -> Path:
    """Write the three files, with what is known of the clips and of the test; returns the folder."""
    corpus = study.corpus
    config = {"label": corpus.label_name, "labels": study.store.labels, "corpus": corpus.name}
    config |= {"kind": study.profile.corpus["kind"], "synthetic": corpus.synthetic, **about}
    config["evaluation"] = tested and evaluate(tested, study)
    with writing(folder.parent, SafetensorError):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as aside:
            new = Path(aside) / "new"
            new.mkdir()
            save_file({name: value.contiguous() for name, value in weights.items()}, new / WEIGHTS)
            config["checksums"] = {WEIGHTS: checksum(new / WEIGHTS)}
            write_json(new / CONFIG, config)
            (new / CARD).write_text(render("card.md", config), encoding="utf-8")
            new.rename(folder)
    return folder


@contextmanager
def read_exported(folder: Path) -> Iterator[tuple[dict[str, Any], dict[str, Tensor]]]:
    """The content of config.json, and the weights. Raises SoundFusionError if a file is missing or damaged, or if what
    the block makes of them cannot be made."""
    try:
        config = read_json(folder / CONFIG)
        if checksum(folder / WEIGHTS) != config["checksums"][WEIGHTS]:
            raise SoundFusionError(f"{folder / WEIGHTS} is not the file that {CONFIG} names: export it again")
        yield config, load_file(folder / WEIGHTS)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        what = f"{type(error).__name__}: {error}"
        raise SoundFusionError(f"{folder} holds no network that can be loaded ({what}): export it again") from error


def evaluate(result: Result, study: Study) -> dict[str, Any]:
    """The test accuracy of a network's runs or of a classifier, for JSON: accuracy, low, high (by track vote, 95 %
    interval by artist), balanced_accuracy (the mean of recalls), repeats ("3 seeds", "10 splits"), tracks, artists (how
    many are known; 0 where the split ignores them), scheme (of the split), folds ([tested, of so many]), seeds and runs
    (keys) of a network, recalls (label, tracks, recall, low, high)."""
    predictions, split = result.predictions("test"), study.split(0)
    tracks = predictions[0]["track"].unique()
    low, high = (None if pd.isna(bound) else bound for bound in interval(predictions))  # JSON has no NaN
    by_label = recalls({"": result}).query("tracks > 0").drop(columns="model")
    return {
        "accuracy": accuracy(predictions),
        "low": low,
        "high": high,
        "balanced_accuracy": by_label["recall"].mean(),
        "repeats": result.repeats,
        "tracks": len(tracks),
        "artists": int(study.store.tracks["group"][tracks].nunique()) if split.scheme != "stratified" else 0,
        "scheme": split.scheme,
        "folds": [len({fold for _, fold in result.by_run()}), 1 if split.scheme == "official" else split.folds],
        "seeds": result.seeds,
        "runs": sorted(run.key for run in result.runs),
        "recalls": by_label.astype(object).where(by_label.notna(), None).to_dict("records"),
    }


def render(template: str, values: dict[str, Any]) -> str:
    """A text of the folder "texts" with these values: the model card of a network with this config.json (Mitchell et
    al., "Model Cards for Model Reporting", FAT* 2019), or what a command says of an `evaluate`."""
    environment = jinja2.Environment(trim_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined)
    text = (Path(__file__).with_name("texts") / f"{template}.jinja").read_text(encoding="utf-8")
    return environment.from_string(text).render(values, with_bounds=with_bounds)


def with_bounds(value: float, bounds: dict[str, Any]) -> str:
    """A share with its interval: 0.618 [0.537, 0.696]."""
    return f"{value:.3f} [{'one artist' if pd.isna(bounds['low']) else '{low:.3f}, {high:.3f}'.format(**bounds)}]"
