"""summary.json of a profile's results: what each notebook ran, when, where and with which versions."""

import json
import platform
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.paths import lock, results_dir, runs_dir, whole, writing
from soundfusion_lib.pool import cores
from soundfusion_lib.study.profile import load_profile
from soundfusion_lib.training.provenance import provenance
from soundfusion_lib.training.run import Run

OF_RUN = "seconds", "best_epoch", "device", "commit", "finished"


def read_summary(path: Path) -> dict[str, Any]:
    """The content of a summary.json; empty where there is none, and, with a warning, where it cannot be read."""
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        content = None
    if isinstance(content, dict) and isinstance(content.get("notebooks", {}), dict):
        return content
    warnings.warn(f"{path} is no summary of notebooks: it is made anew, by each notebook that runs", stacklevel=2)
    return {}


@contextmanager
def edit_summary(path: Path) -> Iterator[dict[str, Any]]:
    """The content of a summary.json, to be changed in place; it is written when the block ends without an error.

    Under a lock, so that of notebooks which end at once none loses its entry.
    """
    with writing(path.parent), lock(path.with_name(f".{path.name}.lock")):
        content = read_summary(path)
        yield content
        with whole(path) as aside:
            aside.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def entry_of(runs: Mapping[str, Run], results: Mapping[str, str], device: str, seconds: float) -> dict[str, Any]:
    """A notebook in a summary: its runs, its tables and figures with their captions, when and where it ran."""
    trained = sum(run.trained for run in runs.values())
    return {
        "runs_trained": trained,
        "runs_found": len(runs) - trained,
        "cpu_count": cores(),
        "platform": platform.platform(),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 1),
        "device": device,
        "results": results,
        **provenance(),
        "runs": {
            key: {"name": run.experiment.name, "seed": run.experiment.seed, **{name: run.info[name] for name in OF_RUN}}
            for key, run in runs.items()
        },
    }


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
    before, _, name = named.rpartition("/")
    profile = before or profile
    folder = results_dir() / (load_profile(profile).name if profile.endswith(".toml") else profile)
    for entry in read_summary(folder / "summary.json").get("notebooks", {}).values():
        for key, run in entry["runs"].items():
            if run["name"] == name and (runs_dir() / key).is_dir():
                return runs_dir() / key
    found = [one for one in sorted(runs_dir().glob("*")) if one.name.startswith(named) and not one.suffix]
    if len(found) == 1:
        return found[0]
    if found:
        keys = ", ".join(one.name for one in found)
        raise SoundFusionError(f"the keys of {len(found)} runs begin with {named!r}: {keys}; give more of it")
    raise SoundFusionError(f"there is no run {named!r} of {profile}: `soundfusion status {profile}` lists them")
