"""summary.json of a profile's results: what each notebook ran, when, where and with which versions."""

import json
import os
import platform
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

from soundfusion_lib import processes
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.paths import results_dir, runs_dir
from soundfusion_lib.study.profiles import load_profile
from soundfusion_lib.training.provenance import provenance
from soundfusion_lib.training.runs import Run


def read_summary(path: Path) -> dict[str, Any]:
    """The content of a summary.json; empty where there is none, and, with a warning, where it cannot be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(content, dict) and isinstance(content.get("notebooks", {}), dict):
            return content
        problem = "it holds no notebooks"
    except FileNotFoundError:
        return {}
    except ValueError as error:
        problem = error
    warnings.warn(f"{path} is no summary ({problem}): it is made anew, by each notebook that runs", stacklevel=2)
    return {}


@contextmanager
def edit_summary(path: Path) -> Iterator[dict[str, Any]]:
    """The content of a summary.json, to be changed in place; it is written when the block ends without an error.

    Under a lock, so that of notebooks which end at once none loses its entry.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock")):
        content = read_summary(path)
        yield content
        aside = path.with_suffix(".new")
        aside.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        os.replace(aside, path)


def file_notebook(
    path: Path, notebook: str, entry: dict[str, Any], runs: dict[str, Run], about: dict[str, Any]
) -> dict[str, int]:
    """File what a notebook ran, where and when, in a summary.json; returns the number of runs, trained now and found.

    Args:
        path: of the summary.
        notebook: its name.
        entry: what the study says of it.
        runs: by key.
        about: what the study says of itself, which is the same for all notebooks.
    """
    trained = sum(run.trained for run in runs.values())
    entry = {
        "runs_trained": trained,
        "runs_found": len(runs) - trained,
        "cpu_count": processes.cores(),
        "platform": platform.platform(),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        **entry,
        **provenance(),
        "runs": {key: _about(run) for key, run in runs.items()},
    }
    with edit_summary(path) as summary:
        notebooks = summary.get("notebooks", {}) | {notebook: entry}
        summary.update(about, notebooks=dict(sorted(notebooks.items())))
    return {"runs": len(runs), "trained now": trained, "found": len(runs) - trained}


def _about(run: Run) -> dict[str, Any]:
    keep = ("seconds", "best_epoch", "device", "commit", "finished")
    return {"name": run.experiment.name, "seed": run.experiment.seed, **{key: run.info[key] for key in keep}}


def find_run(named: str, profile: str) -> Path:
    """The folder of a run.

    Args:
        named: an experiment's name, alone or behind a profile's ("demo/ResNet2D-small"), whose first seed and fold it
            then is; or a run's key, of which a beginning that no other has is enough; or the folder.
        profile: whose experiment it is, where the name does not say: its name, or its TOML file.

    Raises:
        SoundFusionError: there is no such profile; there is no such run, or more than one key begins so.
    """
    if Path(named).is_dir():
        return Path(named)
    first, _, name = named.partition("/")
    if not (first and name):
        first, name = profile, named
    own = load_profile(first).name if first.endswith(".toml") else first
    notebooks = read_summary(results_dir() / own / "summary.json").get("notebooks", {}).values()
    keys = [key for entry in notebooks for key, run in entry["runs"].items() if run["name"] == name]
    found = [folder for key in dict.fromkeys(keys) if (folder := runs_dir() / key).is_dir()][:1]
    runs = (folder for folder in sorted(runs_dir().glob("*")) if not folder.suffix)
    found = found or [folder for folder in runs if folder.name.startswith(named)]
    if len(found) == 1:
        return found[0]
    if found:
        keys = ", ".join(one.name for one in found)
        raise SoundFusionError(f"the keys of {len(found)} runs begin with {named!r}: {keys}; give more of it")
    raise SoundFusionError(f"there is no run {named!r} of the profile {first}: `soundfusion status {first}` lists them")
