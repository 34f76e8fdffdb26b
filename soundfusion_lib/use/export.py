"""Writing a trained network into a folder of its own, see `exported`."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

from soundfusion_lib.audio.store import Store
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.paths import writing
from soundfusion_lib.study.status import Look, NothingYet
from soundfusion_lib.training.run import Run, checksum, load_run, read_json
from soundfusion_lib.use.card import model_card
from soundfusion_lib.use.evaluation import evaluation
from soundfusion_lib.use.exported import CONFIG, FORMAT, WEIGHTS
from soundfusion_lib.use.finding import find_model, profile_named
from soundfusion_lib.use.onnx_graph import ONNX, write_onnx

CARD = "README.md"


def export(named: str | Path, folder: str | Path, profile: str = "demo", onnx: bool = True) -> Path:
    """Write a trained network into a folder: weights, config.json, model card, ONNX; whole or not at all.

    Args:
        named: see `find_model`.
        folder: new, empty, or with an exported network, which is replaced.
        profile: whose run it is, where its name does not say.
        onnx: write the ONNX graph, too.

    Returns:
        The folder.

    Raises:
        SoundFusionError: no such run, not on this profile's clips, or its weights are not kept; the folder holds
            something else, or cannot be written; the ONNX graph gives other numbers than the network.
    """
    folder = Path(folder).absolute()
    _refuse_others(folder)
    run = load_run(find_model(named, profile))
    store = _store_of(run, profile_named(named, profile))
    aside, old = (folder.with_name(f".{folder.name}.{what}") for what in ("new", "old"))
    shutil.rmtree(aside, ignore_errors=True)
    with writing(folder.parent):
        aside.mkdir(parents=True)
    try:
        _write(run, store, aside, onnx)
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)
            os.replace(folder, old)
        os.replace(aside, folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
    return folder


def _refuse_others(folder: Path) -> None:
    """Raise SoundFusionError where a folder holds more than an exported network, or another one's."""
    if not folder.exists():
        return
    held = {one.name for one in folder.iterdir()} if folder.is_dir() else {folder.name}
    try:
        ours = not held or {"format", "experiment", "checksums"} <= read_json(folder / CONFIG).keys()
    except (OSError, ValueError, AttributeError):
        ours = False
    if strange := sorted(held - {CONFIG, WEIGHTS, CARD, ONNX}) or ([] if ours else [CONFIG]):
        raise SoundFusionError(
            f"{folder} holds something else than an exported network ({strange[0]}): give another folder"
        )


def _store_of(run: Run, profile: str) -> Store:
    """The clips that a run was trained on, which are to be the profile's."""
    about = read_json(run.folder / "experiment.json")
    try:
        store = Look(profile).store
    except NothingYet as why:
        of = f"the run {run.folder.name} is on corpus {about['corpus']!r}: say by --profile whose it is"
        raise SoundFusionError(f"{why}; or, if that is not its profile, {of}") from why
    if store.content_id != about["content_id"]:
        raise SoundFusionError(
            f"the run {run.folder.name} is on other clips (corpus {about['corpus']!r}) than {profile} has now: say by "
            "--profile whose it is"
        )
    return store


def _write(run: Run, store: Store, folder: Path, onnx: bool) -> None:
    network = run.model()  # raises where its weights are not kept
    shutil.copyfile(run.folder / WEIGHTS, folder / WEIGHTS)
    graph = write_onnx(network, run.experiment, folder / ONNX) if onnx else None
    config = _config(run, store, graph, folder)
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    (folder / CARD).write_text(model_card(config), encoding="utf-8")


def _config(run: Run, store: Store, graph: dict[str, Any] | None, folder: Path) -> dict[str, Any]:
    """What config.json says."""
    info = run.info
    return {
        "format": FORMAT,
        "name": run.experiment.name,
        "run": run.folder.name,
        "label": store.corpus.label_name,
        "labels": info["genres"],
        "corpus": store.corpus.name,
        "synthetic": store.corpus.synthetic,
        "tracks": info["tracks"],
        "parameters": info["parameters"],
        "evaluation": evaluation(run, store),
        "onnx": graph,
        "experiment": run.experiment.to_dict(),
        **{name: info[name] for name in ("finished", "device", "commit", "versions")},
        "checksums": {name: checksum(folder / name) for name in (WEIGHTS, ONNX) if (folder / name).exists()},
    }
