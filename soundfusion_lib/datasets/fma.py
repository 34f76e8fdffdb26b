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
    Raises SoundFusionError if tracks.csv or the folder of clips is missing, or the table is not FMA's.
    """
    root = Path(path or data_dir() / "fma")
    file = root / "fma_metadata" / "tracks.csv"
    try:
        table = pd.read_csv(file, header=[0, 1], index_col=0, dtype=str, low_memory=False)[[*COLUMNS.values()]]
    except (OSError, ValueError, KeyError) as error:  # pandas' errors are ValueErrors, too
        mend = "`soundfusion download fma_metadata` brings it"
        raise SoundFusionError(f"{file} is not FMA's tracks.csv ({error}): {mend}") from error
    table = table.set_axis([*COLUMNS], axis=1).astype(object).where(table.notna().to_numpy(), None)
    table["split"] = table["split"].replace("training", "train")
    tracks = table.set_axis(table.index.astype(str).str.zfill(6))
    tracks = tracks[tracks["subset"].isin(["small", subset])].copy()  # FMA-medium holds FMA-small
    folder = f"fma_{subset}"
    if not (root / folder).is_dir():
        raise SoundFusionError(f"{root / folder} not found: `soundfusion download fma_small` brings FMA-small's")
    tracks["path"] = [f"{folder}/{track[:3]}/{track}.mp3" for track in tracks.index]
    return Corpus(folder, root, tracks[["path", "label", "group", "split"]])
