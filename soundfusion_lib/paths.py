"""Folders: the project's own, and those of data and results, which the environment may set."""

import os
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]


def data_dir() -> Path:
    """Folder of corpora, stores and runs: SOUNDFUSION_DATA, or data; relative to the project's folder."""
    return _folder("SOUNDFUSION_DATA", "data")


def runs_dir() -> Path:
    """Folder of all trained runs, whatever their corpus: a run's key says what it was trained on."""
    return data_dir() / "runs"


def results_dir() -> Path:
    """Folder of results: SOUNDFUSION_RESULTS, or results; relative to the project's folder."""
    return _folder("SOUNDFUSION_RESULTS", "results")


def _folder(variable: str, default: str) -> Path:
    return (PROJECT / Path(os.environ.get(variable) or default).expanduser()).resolve()
