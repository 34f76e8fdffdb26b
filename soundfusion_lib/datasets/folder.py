"""Any folder of music: one folder per label, or Hugging Face's AudioFolder convention (a metadata.csv)."""

import posixpath
import re
from pathlib import Path, PureWindowsPath
from typing import Annotated

import pandas as pd
import soundfile
from pydantic import Field

from soundfusion_lib.datasets.corpus import SPLITS, Corpus
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.paths import data_dir

# libsndfile's format names serve as suffixes, with these common ones besides; RAW has no header to decode by
SUFFIXES = {f".{name.lower()}" for name in soundfile.available_formats()} - {".raw"}
SUFFIXES |= {".aif", ".aifc", ".oga", ".opus", ".snd", ".wave"}
SOUNDTRACKS = ("soundtracks", "soundtracks_b")  # folders in the data folder that tooling/soundtracks.py makes


def folder(path: str | Path, label: Annotated[str, Field(min_length=1)] = "genre") -> Corpus:
    """A corpus of your own, with the folder's name; track ids are paths, without suffix where this tells them apart.

    With ``metadata.csv`` in the folder (UTF-8; one row per file): columns ``file_name`` (relative to the folder, with
    ``/``) and ``genre``, and if you like ``artist`` (empty where unknown) and ``split`` (train, validation or test).
    Without it, each folder is a label, every audio file in it, however deep, a track, and no artist is known; hidden
    files are ignored. A file that is missing or broken stays in the table: decoding finds it.

    `label` is what the labels are, for titles and axes.

    Raises:
        SoundFusionError: no such folder, no audio, or an unusable metadata.csv.
    """
    root = Path(path)
    if not root.is_dir():
        ours = root.parent.resolve() == data_dir() and root.name in SOUNDTRACKS
        hint = f": `python tooling/soundtracks.py {root.name}` makes it"
        raise SoundFusionError(f"{root}: no such folder{hint * ours}")
    metadata = root / "metadata.csv"
    tracks = _read_metadata(metadata) if metadata.is_file() else _walk(root)
    ids = tracks["path"].map(lambda path: posixpath.splitext(path)[0])
    name = re.sub(r"[^\w-]+", "_", root.resolve().name).strip("_") or "folder"
    return Corpus(name, root, tracks.set_axis(ids if ids.is_unique else tracks["path"]), label)


def audio_files(folder: Path) -> list[Path]:
    """The audio files in a folder, however deep, by name, without hidden ones."""
    files = [file for file in sorted(folder.rglob("*")) if file.suffix.lower() in SUFFIXES]
    return [file for file in files if not any(part.startswith(".") for part in file.relative_to(folder).parts)]


def _walk(root: Path) -> pd.DataFrame:
    """One folder per label: every audio file below it."""
    labels = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    if labels and {path.name.lower() for path in labels} <= {*SPLITS, "valid", "val"}:
        are = f"its folders ({', '.join(path.name for path in labels)}) are parts of a split, not labels"
        mend = "list the files in a metadata.csv with the columns file_name, genre and split"
        raise SoundFusionError(f"{root}: {are}; {mend}")
    paths = [file.relative_to(root) for label in labels for file in audio_files(label)]
    if not paths:
        mend = "expected one folder per label with files in it (such as rock/song.mp3), or a metadata.csv"
        raise SoundFusionError(f"{root}: no audio files; {mend}. Suffixes looked for: {' '.join(sorted(SUFFIXES))}")
    rows = [{"path": path.as_posix(), "label": path.parts[0], "group": None} for path in paths]
    return pd.DataFrame(rows, dtype=object)


def _read_metadata(file: Path) -> pd.DataFrame:
    """metadata.csv as path, label, group and, where it has that column, split."""
    try:
        table = pd.read_csv(file, dtype=str, keep_default_na=False, encoding="utf-8-sig").astype(object)
    except (OSError, ValueError) as error:  # pandas' errors are ValueErrors, too
        raise SoundFusionError(f"{file}: cannot be read as CSV in UTF-8 ({error})") from error
    table.columns = table.columns.str.strip()
    if not {"file_name", "genre"} <= set(table):
        raise SoundFusionError(f"{file}: needs the columns file_name and genre, and has {', '.join(table)}")
    if not isinstance(table.index, pd.RangeIndex):  # pandas takes surplus cells for an index
        raise SoundFusionError(f"{file}: the first row has more cells than the header; names with a comma need quotes")
    for name in table["file_name"]:
        drive = PureWindowsPath(name).anchor  # or the / that it begins with
        if not name.strip() or drive or "\\" in name or posixpath.normpath(name).split("/")[0] == "..":
            raise SoundFusionError(f"{file}: {name!r} is not a path inside the folder, relative to it and with /")
    cells = table.apply(lambda column: column.str.strip())
    cells = cells.where(cells != "", None)
    tracks = pd.DataFrame({"path": table["file_name"].map(posixpath.normpath), "label": cells["genre"]}, dtype=object)
    tracks["group"] = cells.get("artist")
    return tracks.assign(split=cells["split"]) if "split" in cells else tracks
