"""summary.json of a profile's results: what each notebook ran, when, where and with which versions."""

import json
import platform
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from soundfusion_lib.paths import lock, whole, writing
from soundfusion_lib.pool import cores
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
