"""Which code and which versions a number comes from."""

import importlib.metadata
import platform
import subprocess
from pathlib import Path
from typing import Any

LIBRARY = Path(__file__).parents[1]
PACKAGES = ("soundfusion", "torch", "torchaudio", "torchvision", "numpy", "soundfile", "soxr")


def provenance() -> dict[str, Any]:
    """Commit of the working tree ("-dirty" where the library has changes) and versions of what numbers depend on."""
    try:
        commit = _git("rev-parse", "--short=12", "HEAD") + ("-dirty" if _git("status", "--porcelain", ".") else "")
    except (OSError, subprocess.CalledProcessError):
        commit = None
    return {"commit": commit, "python": platform.python_version(), "versions": versions()}


def versions() -> dict[str, str]:
    """Of the packages that numbers depend on."""
    return {package: importlib.metadata.version(package) for package in PACKAGES}


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=LIBRARY, capture_output=True, text=True, check=True).stdout.strip()
