"""Any folder of music: one folder per label, or Hugging Face's AudioFolder convention (a metadata.csv)."""

import os
import posixpath
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from pathlib import Path, PureWindowsPath
from typing import Annotated

import pandas as pd
import soundfile
from pydantic import Field

from soundfusion_lib.datasets.artists import artist_of, known_artist
from soundfusion_lib.datasets.corpus import SPLITS, Corpus
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.paths import data_dir

# libsndfile's format names serve as suffixes, but for RAW, which has no header to decode by; FFmpeg reads more
SUFFIXES = {f".{name.lower()}" for name in soundfile.available_formats()} - {".raw"}
MORE = "aac ac3 aif aifc ape dsf m4a m4b mka mp2 mp4 mpc oga opus snd tta wave webm wma wv"
SUFFIXES |= {f".{name}" for name in MORE.split()}
SOUNDTRACKS = ("soundtracks", "soundtracks_b")  # folders in the data folder that tooling/soundtracks.py makes


def folder(path: str | Path, label: Annotated[str, Field(min_length=1)] = "genre") -> Corpus:
    """A corpus of your own, with the folder's name; track ids are paths, without suffix where this tells them apart.

    With ``metadata.csv`` in the folder (UTF-8; one row per file): columns ``file_name`` (relative to the folder, with
    ``/``; upper case and the Unicode form of accents do not matter) and ``genre``, and if you like ``artist`` (empty
    where unknown; without the column, that of the files' tags) and ``split`` (train, validation or test).

    Without it, each folder is a label, and every audio file in it, however deep, a track. Its artist is that of its
    tags, else the folder below the label (label/artist/album/song.mp3), else unknown. Hidden files are ignored.

    A file that is missing or broken stays in the table: decoding finds it. `Corpus.untried` counts the others.

    `label` is what the labels are, for titles and axes.

    Raises:
        SoundFusionError: no such folder, no audio, or an unusable metadata.csv.
    """
    root = Path(path)
    if not root.is_dir():
        ours = root.parent.resolve() == data_dir() and root.name in SOUNDTRACKS
        hint = f": `python tooling/soundtracks.py {root.name}` makes it"
        raise SoundFusionError(f"{root}: no such folder{hint * ours}")
    entries = [entry for entry in sorted(root.iterdir()) if not entry.name.startswith(".")]
    files = [file for entry in entries for file in (files_in(entry) if entry.is_dir() else [entry])]
    paths = [file.relative_to(root).as_posix() for file in files]
    metadata, why = root / "metadata.csv", "in no label's folder"
    if metadata.is_file():
        tracks, why = _read_metadata(metadata, paths), "not listed in metadata.csv"
    else:
        tracks = _by_folder(root, paths)
    rest = set(paths).difference(tracks["path"], ["metadata.csv"])
    audio = set(filter(is_audio, rest))
    untried = "; ".join([f"{counted(audio)} ({why})"] * bool(audio) + [counted(rest - audio)] * (rest > audio))
    ids = tracks["path"].map(lambda path: posixpath.splitext(path)[0])
    name = re.sub(r"[^\w-]+", "_", root.resolve().name).strip("_") or "folder"
    return Corpus(name, root, tracks.set_axis(ids if ids.is_unique else tracks["path"]), label, untried=untried)


def files_in(folder: Path) -> list[Path]:
    """The files in a folder, however deep, by name, without hidden ones."""
    files = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        files += [Path(parent, name) for name in names if not name.startswith(".")]
    return sorted(files)


def is_audio(path: str | Path) -> bool:
    """Whether a file's name ends as an audio file's."""
    return Path(path).suffix.lower() in SUFFIXES


def counted(paths: Iterable[str | Path]) -> str:
    """Files by suffix, most frequent first: "12 .jpg, 1 .m3u"."""
    suffixes = Counter(Path(path).suffix.lower() or "without suffix" for path in sorted(paths))
    return ", ".join(f"{count} {suffix}" for suffix, count in suffixes.most_common())


def _by_folder(root: Path, paths: list[str]) -> pd.DataFrame:
    """One folder per label: path, label and group of every audio file below it."""
    labels = sorted({path.split("/")[0] for path in paths if "/" in path})
    if labels and {label.lower() for label in labels} <= {*SPLITS, "valid", "val"}:
        are = f"its folders ({', '.join(labels)}) are parts of a split, not labels"
        mend = "list the files in a metadata.csv with the columns file_name, genre and split"
        raise SoundFusionError(f"{root}: {are}; {mend}")
    audio = [path for path in paths if "/" in path and is_audio(path)]
    if not audio:
        mend = "expected one folder per label with files in it (such as rock/song.mp3), or a metadata.csv"
        raise SoundFusionError(f"{root}: no audio files; {mend}. Suffixes looked for: {' '.join(sorted(SUFFIXES))}")
    below = [path.split("/")[1:-1] for path in audio]  # the folders between a label and a file
    groups = [
        artist_of(root / path) or known_artist("".join(names[:1])) for path, names in zip(audio, below, strict=True)
    ]
    return pd.DataFrame({"path": audio, "label": [path.split("/")[0] for path in audio], "group": groups}, dtype=object)


def _name(path: str) -> str:
    """A path by which the same file is known whatever the case and the Unicode form."""
    return unicodedata.normalize("NFC", path).casefold()


def _read_metadata(file: Path, paths: list[str]) -> pd.DataFrame:
    """metadata.csv as path, label, group and, where it has that column, split; of a folder with the files `paths`."""
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
    known, names = set(paths), pd.Series(paths, map(_name, paths), dtype=object)
    names = names[~names.index.duplicated(keep=False)].to_dict()  # of two that differ in case alone, neither
    listed = [posixpath.normpath(name) for name in table["file_name"]]
    listed = [path if path in known else names.get(_name(path), path) for path in listed]
    artists = cells["artist"] if "artist" in cells else [artist_of(file.parent / path) for path in listed]
    tracks = pd.DataFrame({"path": listed, "label": cells["genre"], "group": artists}, dtype=object)
    return tracks.assign(split=cells["split"]) if "split" in cells else tracks
