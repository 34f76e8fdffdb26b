"""Folders of the project, of data and of results; files that are written whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock

from soundfusion_lib.errors import SoundFusionError

PROJECT = Path(__file__).resolve().parents[1]


def _folder(variable: str, default: str) -> Path:
    return (PROJECT / Path(os.environ.get(variable) or default).expanduser()).resolve()


def data_dir() -> Path:
    """Folder of datasets, stores and runs: SOUNDFUSION_DATA, or data; relative to the project's folder."""
    return _folder("SOUNDFUSION_DATA", "data")


def runs_dir() -> Path:
    """Folder of all trained runs of all datasets."""
    return data_dir() / "runs"


def results_dir() -> Path:
    """Folder of results: SOUNDFUSION_RESULTS, or results; relative to the project's folder."""
    return _folder("SOUNDFUSION_RESULTS", "results")


@contextmanager
def writing(folder: Path, *others: type[Exception]) -> Iterator[None]:
    """Turn what a full or read-only disk raises, `others` included, into a SoundFusionError."""
    try:
        yield
    except (OSError, *others) as error:
        reason = getattr(error, "strerror", None) or error
        mend = "make room, or set SOUNDFUSION_DATA or SOUNDFUSION_RESULTS, and start again"
        raise SoundFusionError(f"cannot write to {folder} ({reason}): what was finished is kept; {mend}") from error


def lock(file: Path) -> FileLock:
    """A lock for a `with`, in a folder that is made where there is none. It ends with its process."""
    with writing(file.parent):
        file.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(file)


@contextmanager
def whole(file: Path) -> Iterator[Path]:
    """A path to write to, which becomes the file when the block ends; where it fails the file stays as it was. Raises
    as `writing`."""
    aside = file.with_name(f".{file.stem}.{os.getpid()}{file.suffix}")  # another process may write the same file
    try:
        with writing(file.parent):
            file.parent.mkdir(parents=True, exist_ok=True)
            yield aside
            os.replace(aside, file)
    finally:
        with suppress(OSError):
            aside.unlink()
