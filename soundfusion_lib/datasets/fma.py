"""FMA: music of the Free Music Archive, with the archive's own genres and artists."""

from pathlib import Path
from typing import Literal

import pandas as pd

from soundfusion_lib.datasets.corpus import Corpus
from soundfusion_lib.datasets.download import Source
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.paths import data_dir

CITATION = "Defferrard, Benzi, Vandergheynst and Bresson, FMA: A Dataset For Music Analysis, ISMIR 2017"
LICENCE = "Each track is under the Creative Commons licence in its metadata; the metadata are under CC BY 4.0."
URL = "https://os.unil.cloud.switch.ch/fma"
SHA1 = "ade154f733639d52e35e32f5593efe5be76c6d70", "f0df49ffe5f2a6008d7dc83c6915b31835dfe733"
FMA_SMALL = Source("fma_small", f"{URL}/fma_small.zip", 15_500_000_000, SHA1[0])
FMA_METADATA = Source("fma_metadata", f"{URL}/fma_metadata.zip", 2_400_000_000, SHA1[1])
COLUMNS = {"subset": ("set", "subset"), "split": ("set", "split")}  # of tracks.csv
COLUMNS |= {"label": ("track", "genre_top"), "group": ("artist", "id")}


def fma(path: str | Path | None = None, subset: Literal["small", "medium"] = "small") -> Corpus:
    """FMA-small (8,000 clips of 30 s, 8 balanced genres) or FMA-medium (25,000 clips, 16 unbalanced genres).

    The split is FMA's own: 80/10/10 within each genre, no artist in two sets. The label is the top-level genre, the
    group FMA's artist id. A clip that is missing, too short or empty stays in the table: decoding finds it (six in
    FMA-small's training set: 098565, 098567, 098569, 099134, 108925, 133297).

    `path` holds ``fma_metadata/tracks.csv`` and ``fma_<subset>/012/012345.mp3``; by default it is the download's.
    Raises SoundFusionError if tracks.csv is missing or not FMA's, or there is no clip.
    """
    root = Path(path or data_dir() / "fma")
    file = root / "fma_metadata" / "tracks.csv"
    if not file.is_file():
        raise SoundFusionError(f"{file} not found: `soundfusion download fma_metadata` brings it")
    tracks = _read_tracks(file)
    tracks = tracks[tracks["subset"].isin(["small", subset])]  # FMA-medium holds FMA-small
    folder = f"fma_{subset}"
    paths = [f"{folder}/{track[:3]}/{track}.mp3" for track in tracks.index]
    if not any((root / path).is_file() for path in paths):
        mend = "`soundfusion download fma_small` brings those of FMA-small; for FMA-medium unpack fma_medium.zip there"
        raise SoundFusionError(f"{root / folder} holds none of the {len(tracks):,} clips of {file}: {mend}")
    tracks = tracks.assign(path=paths)[["path", "label", "group", "split"]]
    return Corpus(folder, root, tracks)


def _read_tracks(file: Path) -> pd.DataFrame:
    """tracks.csv as subset, split, label, group, indexed by six-digit track id."""
    try:
        # pandas cannot select columns under two header rows by name, so find their positions first
        header = pd.read_csv(file, header=None, nrows=2, dtype=str).to_numpy()
        names = list(zip(*header, strict=True))
        positions = [0, *(names.index(column) for column in COLUMNS.values())]
        table = pd.read_csv(file, header=None, skiprows=2, usecols=positions, dtype=str)
        if table[0].isna().any():
            raise ValueError("a track has no id")
    except (OSError, ValueError) as error:  # pandas' errors are ValueErrors, too
        mend = "`soundfusion download fma_metadata` brings that"
        raise SoundFusionError(f"{file} is not FMA's tracks.csv ({error}): {mend}") from error
    table = table[positions].set_axis(["track", *COLUMNS], axis=1)
    table = table.astype(object).where(table.notna(), None)
    table["split"] = table["split"].replace("training", "train")
    return table.set_index(table.pop("track").str.zfill(6))
