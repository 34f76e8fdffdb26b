"""Which code and which versions a number comes from."""

import importlib.metadata
import platform
import subprocess
from pathlib import Path
from typing import Any

PACKAGES = ("soundfusion", "torch", "torchaudio", "torchvision", "numpy", "soundfile", "soxr")


def provenance() -> dict[str, Any]:
    """Commit of the working tree ("-dirty" where the library has changes) and versions of what numbers depend on."""
    root = str(Path(__file__).parents[1])
    try:
        command = ["git", "-C", root, "describe", "--always", "--abbrev=12", "--exclude=*"]
        commit = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        command = ["git", "-C", root, "status", "--porcelain", "--", "soundfusion_lib"]
        changes = subprocess.run(command, capture_output=True, text=True, check=True)
        commit += "-dirty" if changes.stdout.strip() else ""
    except (OSError, subprocess.CalledProcessError):
        commit = None
    versions = {package: importlib.metadata.version(package) for package in PACKAGES}
    return {"commit": commit, "python": platform.python_version(), "versions": versions}
