"""FMA: A Dataset For Music Analysis (Defferrard, Benzi, Vandergheynst, Bresson, ISMIR 2017)."""

import csv
from pathlib import Path

import pandas as pd

from soundfusion_lib.corpora.corpus import Corpus
from soundfusion_lib.errors import SoundFusionError

SUBSETS = ("small", "medium", "large", "full")  # each holds the ones before it
COLUMNS = {
    "subset": ("set", "subset"),
    "split": ("set", "split"),
    "label": ("track", "genre_top"),
    "group": ("artist", "id"),
}


def fma(root, subset="small", *, name=None, synthetic=False) -> Corpus:
    """FMA-small (8,000 clips of 30 s, 8 balanced genres) or FMA-medium (25,000 clips, 16 unbalanced genres).

    The split is FMA's own: 80/10/10 within each genre, no artist on two sides. Six training clips of FMA-small are too
    short or hold no audio (098565, 098567, 098569, 099134, 108925, 133297). They are in the table, as is a clip whose
    file is missing: decoding finds them.

    Args:
        root: folder that holds ``fma_metadata/tracks.csv`` and ``fma_<subset>/012/012345.mp3``.
        subset: "small" or "medium".
        name: the corpus's name, ``fma_<subset>`` by default.
        synthetic: whether the folder only imitates FMA, with music made by a program.

    Returns:
        Corpus: track ids are FMA's, six digits; genre is the top-level genre; artist is FMA's artist id.

    Raises:
        SoundFusionError: tracks.csv is missing or is not FMA's, or there is not one clip.
    """
    if subset not in ("small", "medium"):
        raise SoundFusionError(f"FMA subset {subset!r} is none of small, medium")
    root = Path(root)
    name = name or f"fma_{subset}"
    file = root / "fma_metadata" / "tracks.csv"
    if not file.is_file():
        raise SoundFusionError(f"{file} not found: `soundfusion download fma_metadata` brings it")

    tracks = _read_tracks(file, subset)
    folder = f"fma_{subset}"
    tracks["path"] = [f"{folder}/{track[:3]}/{track}.mp3" for track in tracks.index]
    if not any((root / path).is_file() for path in tracks["path"]):
        remedy = (
            "`soundfusion download fma_small` brings them"
            if subset == "small"
            else "unpack fma_medium.zip from https://github.com/mdeff/fma there"
        )
        raise SoundFusionError(
            f"{root / folder} holds none of the {len(tracks):,} clips (the first is {tracks['path'].iloc[0]}): {remedy}"
        )
    return Corpus(name, root, tracks[["path", "label", "group", "split"]], synthetic=synthetic)


def _read_tracks(file, subset) -> pd.DataFrame:
    """The subset's rows of tracks.csv: genre, artist, split, indexed by six-digit track id."""

    def refuse(what):
        raise SoundFusionError(f"{file}: {what}. Is this FMA's tracks.csv (`soundfusion download fma_metadata`)?")

    try:
        # pandas cannot select columns under two header rows by name, so find their positions first
        with open(file, newline="", encoding="utf-8") as lines:
            rows = csv.reader(lines)
            header = list(zip(next(rows, []), next(rows, []), strict=False))
        missing = [" / ".join(column) for column in COLUMNS.values() if column not in header]
        if missing:
            refuse(f"no column {', '.join(missing)} in the two header rows")
        positions = [0, *(header.index(column) for column in COLUMNS.values())]
        table = pd.read_csv(file, header=None, skiprows=2, usecols=positions, dtype=str, encoding="utf-8")
    except (UnicodeDecodeError, csv.Error, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        refuse(f"cannot be read ({error})")
    table = table[positions].set_axis(["track", *COLUMNS], axis=1)
    if table.iloc[0, 1:].isna().all():  # a third header row names the index
        table = table.iloc[1:]

    unknown = sorted(set(table["subset"].dropna()) - set(SUBSETS))
    if unknown:
        refuse(f"subset {unknown[0]!r} is none of {', '.join(SUBSETS)}")
    # ordered: as plain strings "large" and "medium" sort before "small"
    size = pd.Categorical(table["subset"], categories=SUBSETS, ordered=True)
    table = table[size <= subset]
    if table.empty:
        refuse(f"no track is in the subset {subset}")
    foreign = table["track"][~table["track"].str.fullmatch(r"\d{1,6}", na=False)]
    if len(foreign):
        refuse(f"track id {foreign.iloc[0]!r} is not a number of at most six digits")

    artist = table["group"].astype(object)
    table = table.assign(
        track=table["track"].str.zfill(6),
        group=artist.where(artist.notna(), None),
        split=table["split"].replace("training", "train"),
    )
    return table.set_index("track")
