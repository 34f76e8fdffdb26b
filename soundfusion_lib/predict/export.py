"""An exported network: a folder that loads without a corpus, a store or a run.

model.safetensors   the weights, and the statistics that inputs are standardised with
config.json         labels, experiment (network, representations, segments), training data, accuracy, checksums
README.md           the model card
"""

import os
import shutil
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from soundfusion_lib.audio.store import Store
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.models import AudioClassifier
from soundfusion_lib.paths import writing
from soundfusion_lib.predict.evaluation import evaluate, model_card, tested_runs
from soundfusion_lib.study.find import find_model, profile_and_name
from soundfusion_lib.study.study import NothingYet, Study
from soundfusion_lib.training.experiment import Experiment
from soundfusion_lib.training.run import Run, checksum, load_run, read_json, write_json

CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
FORMAT = 1  # of config.json; raise it when its content changes its meaning


def export(model: str | Path, folder: str | Path, profile: str = "demo") -> Path:
    """Write a trained network into a folder, whole or not at all; returns the folder.

    Args:
        model: see `find_model`.
        folder: new, empty, or with an exported network, which is replaced.
        profile: whose experiment it is, where its name does not say.

    Raises:
        SoundFusionError: there is no such run, it was trained on other clips than the profile's, or its weights are
            not kept; the folder holds something else, or cannot be written.
    """
    folder = Path(folder).absolute()
    _refuse_others(folder)
    run = load_run(find_model(model, profile))
    study = Study("export", profile_and_name(model, profile)[0], "cpu", progress=False, dry=True)
    config = _config(run, _store(study, run)) | {"kind": study.profile.corpus["kind"]}
    weights = run.weights()  # raises where they are not kept
    new, old = (folder.with_name(f".{folder.name}.{state}") for state in ("new", "old"))
    try:
        with writing(folder.parent, SafetensorError):
            for leftover in (new, old):
                shutil.rmtree(leftover, ignore_errors=True)
            new.mkdir(parents=True)
            save_file(weights, new / WEIGHTS)
            config["checksums"] = {WEIGHTS: checksum(new / WEIGHTS)}
            write_json(new / CONFIG, config)
            (new / CARD).write_text(model_card(config), encoding="utf-8")
            if folder.exists():
                os.replace(folder, old)
            os.replace(new, folder)
            shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return folder


def load_exported(folder: Path) -> tuple[AudioClassifier, Experiment, dict[str, Any]]:
    """The network in evaluation mode, on the CPU; its experiment; the content of config.json.

    Raises:
        SoundFusionError: a file is missing, damaged, or written by a newer version.
    """
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
        raise SoundFusionError(
            f"{folder} holds no network that can be loaded ({type(error).__name__}: {error}): export it again"
        ) from error
    return model.eval(), experiment, config


def _refuse_others(folder: Path) -> None:
    """Raise SoundFusionError where a folder holds more than an exported network, or another library's."""
    if not folder.exists():
        return
    held = {file.name for file in folder.iterdir()} if folder.is_dir() else {folder.name}
    try:
        ours = not held or {"format", "experiment", "checksums"} <= read_json(folder / CONFIG).keys()
    except (OSError, ValueError, AttributeError):
        ours = False
    if strange := sorted(held - {CONFIG, WEIGHTS, CARD}) or ([] if ours else [CONFIG]):
        raise SoundFusionError(
            f"{folder} holds something other than an exported network ({strange[0]}): give another folder"
        )


def _store(study: Study, run: Run) -> Store:
    """The clips of a study; raises SoundFusionError unless the run was trained on them."""
    hint = f"the run {run.key} was trained on corpus {run.info['corpus']!r}: name its profile by --profile"
    try:
        store = study.store
    except NothingYet as why:
        raise SoundFusionError(f"{why}. Or {hint}") from why
    if run.experiment.key(store.content_id) != run.key:
        raise SoundFusionError(f"the profile {study.profile.name} has other clips now than the run: {hint}")
    return store


def _config(run: Run, store: Store) -> dict[str, Any]:
    """The content of config.json, but for `kind` and `checksums`."""
    tested = tested_runs(run, store)
    return {
        "format": FORMAT,
        "name": run.experiment.name,
        "run": run.key,
        "label": store.corpus.label_name,
        "labels": run.info["genres"],
        "corpus": store.corpus.name,
        "synthetic": store.corpus.synthetic,
        "tracks": run.info["tracks"],
        "parameters": run.info["parameters"],
        "evaluation": tested and evaluate(tested, store),
        "experiment": run.experiment.to_dict(),
        **{name: run.info[name] for name in ("finished", "device", "commit", "versions")},
    }
