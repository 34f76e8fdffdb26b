"""The site's folder: written aside, then renamed, so that it is whole or absent."""

import os
import tempfile
from pathlib import Path

from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.site.pages import GENERATOR, Site


def write_site(folder: Path) -> Path:
    """Write the site into a folder, in the place of an older one; returns the folder.

    Raises:
        SoundFusionError: the folder holds something else; there are no results; the README has no answer.
    """
    folder = Path(folder).absolute()
    _refuse_others(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as aside:
        new = Path(aside, "new")
        Site(new).write()
        if folder.exists():
            os.replace(folder, Path(aside, "old"))
        os.replace(new, folder)
    return folder


def _refuse_others(folder: Path) -> None:
    index = folder / "index.html"
    ours = index.is_file() and GENERATOR in index.read_text(encoding="utf-8", errors="replace")
    empty = folder.is_dir() and not any(folder.iterdir())
    if folder.exists() and not ours and not empty:
        raise SoundFusionError(f"{folder} exists and is no site of ours: give another folder, or move it away")
