"""The site's folder: written aside, then renamed, so that it is whole or absent."""

import os
import tempfile
from contextlib import ExitStack
from pathlib import Path

from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.paths import writing
from soundfusion_lib.site.pages import GENERATOR, Site


def write_site(folder: Path) -> Path:
    """Write the site into a folder, in the place of an older one; returns the folder.

    Raises:
        SoundFusionError: the folder holds something else; there are no results; the README has no answer.
    """
    folder = Path(folder).absolute()
    _refuse_others(folder)
    with ExitStack() as stack:
        with writing(folder.parent):
            folder.parent.mkdir(parents=True, exist_ok=True)
            aside = stack.enter_context(tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent))
        new = Path(aside, "new")
        Site(new).write()
        if folder.exists():
            _refuse_strangers(folder, new)
            os.replace(folder, Path(aside, "old"))
        os.replace(new, folder)
    return folder


def _refuse_strangers(folder: Path, new: Path) -> None:
    """Raise SoundFusionError where an older site has something beside it that is none of its pages, such as .git."""
    ours = {one.name for one in new.iterdir()}
    if strange := sorted(one.name for one in folder.iterdir() if one.name not in ours and one.suffix != ".html"):
        raise SoundFusionError(
            f"{folder} holds {strange[0]}, which is none of the site's: move it away, or give another"
        )


def _refuse_others(folder: Path) -> None:
    index = folder / "index.html"
    ours = index.is_file() and GENERATOR in index.read_text(encoding="utf-8", errors="replace")
    empty = folder.is_dir() and not any(folder.iterdir())
    if folder.exists() and not ours and not empty:
        raise SoundFusionError(f"{folder} exists and is no site of ours: give another folder, or move it away")
