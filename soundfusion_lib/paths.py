"""Folders: the project's own, those of data and results, which the environment may set, and what is written there."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock

from soundfusion_lib.errors import SoundFusionError

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


def _set() -> Iterator[tuple[str, Path]]:
    """Variables of the environment that name a folder, and that folder."""
    for variable, folder in (("SOUNDFUSION_DATA", data_dir), ("SOUNDFUSION_RESULTS", results_dir)):
        if os.environ.get(variable):
            yield variable, folder()


@contextmanager
def writing(folder: Path, *others: type[Exception]) -> Iterator[None]:
    """Say what the disk refuses, full or read-only, as a SoundFusionError; `others` are errors that a library has for
    it instead of OSError."""
    try:
        yield
    except (OSError, *others) as error:
        reason = getattr(error, "strerror", None) or error
        named = "".join(f" ({variable} names it)" for variable, own in _set() if Path(folder).is_relative_to(own))
        raise SoundFusionError(
            f"cannot write to {folder} ({reason}): what was finished is kept; make room, or a folder that may be "
            f"written to{named}, and start again"
        ) from error


def lock(file: Path) -> FileLock:
    """A lock, to be held in a `with`, in a folder that is made where there is none. It ends with its process."""
    with writing(file.parent):
        file.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(file)


@contextmanager
def whole(file: Path) -> Iterator[Path]:
    """A path to write to; what is there when the block ends becomes the file, and where it fails the file stays as it
    was. Raises as `writing`."""
    aside = file.with_name(f".{file.stem}.{os.getpid()}{file.suffix}")  # another process may write the same file
    try:
        with writing(file.parent):
            file.parent.mkdir(parents=True, exist_ok=True)
            yield aside
            os.replace(aside, file)
    finally:
        with suppress(OSError):
            aside.unlink()
