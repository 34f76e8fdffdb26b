"""Runs kept among the results: settings, learning curves and predictions, so that tables and figures can be made anew
where nothing is trained."""

import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.paths import lock, results_dir, runs_dir, writing
from soundfusion_lib.study.profile import load_profile
from soundfusion_lib.study.protocol import fine_tuned
from soundfusion_lib.study.status import Look, NothingYet
from soundfusion_lib.training.run import INFO, UNREADABLE, WEIGHTS, list_runs, load_run, read_json, write_json

SEARCH = "search.json"  # beside the folder of runs


def keep(profile: str | Path) -> list[str]:
    """Copy the finished runs on a profile's clips, and what they start from, into results/<profile>/runs, and the
    trials of its search into results/<profile>/search.json.

    Weights go along only where another of these runs or a probe of other music starts from them; the others have done
    their work. So have those of seeds that [seeds_of] adds to the profile's, which no probe has. A run that is there as
    it is now is left alone; none is taken away, but those that this version would not find.

    Returns:
        Keys of the runs that were copied.

    Raises:
        SoundFusionError: no such profile, or its corpus is not there or not decoded.
    """
    from soundfusion_lib.study import search  # here: Optuna is an extra

    study = Look(profile)
    listed = list_runs(runs_dir(), study.decoded.content_id)
    runs = {key: load_run(runs_dir() / key) for key in listed.loc[listed["state"] == "done", "run"]}
    first = [run.experiment for run in runs.values() if run.experiment.seed in study.profile.seeds]
    needed = {key for experiment in first for key in experiment.starts_from} | _of_other_music(study)
    runs |= {key: load_run(runs_dir() / key) for key in needed - runs.keys() if (runs_dir() / key).is_dir()}
    folder = _folder(study.profile.name)
    for old in _kept(folder):
        if not _is_current(old):
            shutil.rmtree(old)
    lacks_weights = {key for key in needed & runs.keys() if _has_weights(runs[key].folder) > _has_weights(folder / key)}
    changed = [key for key in sorted(runs) if key in lacks_weights or not _is_same(runs[key].folder, folder / key)]
    for key in changed:
        _copy(runs[key].folder, folder / key, weights=key in needed)
    if trials := search.to_json(study):
        folder.parent.mkdir(parents=True, exist_ok=True)
        write_json(folder.with_name(SEARCH), {"key": search.key_of(study), "trials": trials})
    return changed


def adopt(profile: str | Path) -> tuple[list[str], list[str]]:
    """Bring the runs in results/<profile>/runs to where runs are looked for, and the search; one that is there with its
    weights is left alone.

    They are found again on the same clips alone, wherever these lie: a run's key holds the clips' contents.

    Returns:
        Keys of the runs that were brought, and of those that are damaged or of another version, which are left out with
        a warning.

    Raises:
        SoundFusionError: no such profile, or nothing is kept of it.
    """
    folder = _folder(load_profile(profile).name)
    brought, refused = [], []
    for run in _kept(folder):
        if not _is_current(run):
            refused.append(run.name)
            warnings.warn(f"the run kept in {run} is damaged, or of another version: it is left out", stacklevel=2)
            continue
        final = runs_dir() / run.name
        with lock(final.with_suffix(".lock")):
            if not final.is_dir() or _has_weights(run) > _has_weights(final):
                _copy(run, final, weights=True)
                brought.append(run.name)
    if not any(_kept(folder)):
        raise SoundFusionError(f"nothing is kept in {folder}: `soundfusion reproduce {profile}` trains them")
    return brought, refused


def _of_other_music(study: Look) -> set[str]:
    """Keys of the networks that are trained on the profile's other corpus first."""
    with suppress(NothingYet):  # it is not decoded, so there are none
        return {study.variants(one)[0].start["backbone"] for one in fine_tuned(study).values()}
    return set()


def _folder(profile: str) -> Path:
    return results_dir() / profile / "runs"


def _kept(folder: Path) -> Iterator[Path]:
    return (one for one in sorted(folder.glob("*")) if one.is_dir() and not one.suffix)


def _is_current(folder: Path) -> bool:
    """Whether a kept run is whole, and would be found under its name by this version."""
    try:
        content_id = read_json(folder / "experiment.json")["content_id"]
        return load_run(folder).experiment.key(content_id) == folder.name
    except (*UNREADABLE, SoundFusionError):
        return False


def _has_weights(folder: Path) -> bool:
    """Whether a run has its weights; it may have been kept without them on one corpus, and with them on the other."""
    return (folder / WEIGHTS).is_file()


def _is_same(one: Path, other: Path) -> bool:
    """Whether two folders hold the same training of a run."""
    try:
        return read_json(one / INFO)["finished"] == read_json(other / INFO)["finished"]
    except UNREADABLE:
        return False


def _copy(source: Path, target: Path, weights: bool) -> None:
    """Copy a run, whole or not at all; where weights stay behind, its checksums do not ask for them."""
    aside = target.with_suffix(".copy")
    shutil.rmtree(aside, ignore_errors=True)
    info = read_json(source / INFO)
    if not weights:
        info["checksums"].pop(WEIGHTS, None)
    with writing(target.parent):
        aside.mkdir(parents=True)
        for name in info["checksums"]:
            shutil.copyfile(source / name, aside / name)
        write_json(aside / INFO, info)
        shutil.rmtree(target, ignore_errors=True)
        os.replace(aside, target)
