"""summary.json of a profile's results: what each notebook ran, when, where and with which versions."""

import json
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock


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
