"""Any folder of music: one folder per label, or Hugging Face's AudioFolder convention (a metadata.csv)."""

import os
import posixpath
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import pandas as pd
import soundfile
from pydantic import Field

from soundfusion_lib.datasets.corpus import Corpus
from soundfusion_lib.errors import SoundFusionError

# libsndfile's format names serve as suffixes, but for RAW, which has no header to decode by; FFmpeg reads more
SUFFIXES = {f".{name.lower()}" for name in soundfile.available_formats()} - {".raw"}
MORE = "aac ac3 aif aifc ape dsf m4a m4b mka mp2 mp4 mpc oga opus snd tta wave webm wma wv"
SUFFIXES |= {f".{name}" for name in MORE.split()}
TAGS = "artist", "TPE1", "Author"  # of most kinds of tags; of ID3 in WAV and AIFF; of WMA
NOBODY = {"", "magnatune compilation", "unknown", "unknown artist", "va", "various", "various artists"}


def folder(
    path: str | Path, label: Annotated[str, Field(min_length=1)] = "genre", without: tuple[str, ...] = ()
) -> Corpus:
    """A corpus of your own, with the folder's name; track ids are paths, without suffix where this tells them apart.

    With ``metadata.csv`` in the folder (UTF-8; one row per file): columns ``file_name`` (relative to the folder, with
    ``/``; upper case and the Unicode form of accents do not matter) and ``genre``, and if you like ``artist`` (empty
    where unknown; without the column, that of the files' tags) and ``split`` (train, validation or test).

    Without it, each folder is a label, and every audio file in it, however deep, a track. Its artist is that of its
    tags, else the folder below the label (label/artist/album/song.mp3), else unknown. Hidden files are ignored.

    A file that is missing or broken stays in the table: decoding finds it. `Corpus.untried` counts the others.

    `label` is what the labels are, for titles and axes; tracks of the labels in `without` are left out. Raises
    SoundFusionError for no such folder, no audio, or an unusable metadata.csv.
    """
    root = Path(path)
    if not root.is_dir():
        raise SoundFusionError(f"{root}: no such folder")
    paths = [file.relative_to(root).as_posix() for file in files_in(root)]
    metadata = root / "metadata.csv"
    tracks = _read_metadata(metadata, paths) if metadata.is_file() else _by_folder(root, paths)
    untried = counted(set(paths).difference(tracks["path"], ["metadata.csv"]))
    tracks = tracks[~tracks["label"].isin(without)]
    ids = tracks["path"].map(lambda path: posixpath.splitext(path)[0])
    name = re.sub(r"[^\w-]+", "_", root.resolve().name).strip("_") or "folder"
    return Corpus(name, root, tracks.set_axis(ids if ids.is_unique else tracks["path"]), label, untried=untried)


def files_in(folder: Path) -> list[Path]:
    """The files in a folder, however deep, by name, without hidden ones."""
    files = []
    for parent, folders, names in os.walk(folder, followlinks=True):
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
    audio = [path for path in paths if "/" in path and is_audio(path)]
    if not audio:
        mend = "expected one folder per label with files in it (such as rock/song.mp3), or a metadata.csv"
        raise SoundFusionError(f"{root}: no audio files; {mend}. Suffixes looked for: {' '.join(sorted(SUFFIXES))}")
    rows = []
    for path in audio:
        label, *below, _ = path.split("/")
        rows.append([path, label, artist_of(root / path) or known_artist("".join(below[:1]))])
    return pd.DataFrame(rows, columns=["path", "label", "group"], dtype=object)


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
    cells = table.apply(lambda column: column.str.strip())
    cells = cells.where(cells != "", None)
    names = {_name(path): path for path in paths} | {path: path for path in paths}
    listed = [names.get(path, names.get(_name(path), path)) for path in map(posixpath.normpath, table["file_name"])]
    artists = cells["artist"] if "artist" in cells else [artist_of(file.parent / path) for path in listed]
    tracks = pd.DataFrame({"path": listed, "label": cells["genre"], "group": artists}, dtype=object)
    return tracks.assign(split=cells["split"]) if "split" in cells else tracks


def artist_of(file: Path) -> str | None:
    """The artist in a file's tags; None where it has none, cannot be read, or names a compilation."""
    import mutagen  # here: most corpora bring a table of artists

    if not file.is_file():  # a pipe would be waited for
        return None
    try:
        tags = mutagen.File(file, easy=True).tags
        return known_artist(next(str(tags[key][0]) for key in TAGS if key in tags))
    except Exception:  # of junk it raises more kinds than its own, and for what it does not know it returns None
        return None


def known_artist(name: str) -> str | None:
    """A name in one Unicode form and with single spaces; None for words that stand for nobody."""
    name = unicodedata.normalize("NFC", " ".join(name.split()))
    return None if name.casefold() in NOBODY else name
