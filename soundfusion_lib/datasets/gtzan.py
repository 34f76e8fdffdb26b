"""GTZAN: the benchmark that most papers on genre recognition used, and its faults."""

from pathlib import Path

import pandas as pd

from soundfusion_lib.datasets.corpus import Corpus
from soundfusion_lib.datasets.download import Source
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.paths import data_dir

CITATION = "Tzanetakis and Cook, Musical genre classification of audio signals, IEEE TSAP 10(5), 2002"
LICENCE = "None is stated: the clips are cut from commercial recordings, for research."
URL = "https://huggingface.co/datasets/marsyas/gtzan/resolve/main/data/genres.tar.gz"
GTZAN = Source("gtzan", URL, needed=2_700_000_000)  # torchaudio's checksum is of another copy
GENRES = ("blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock")
SUFFIXES = (".au", ".mp3", ".wav")  # where a clip has several, the last counts


def gtzan(path: str | Path | None = None, fault_filtered: bool = True) -> Corpus:
    """GTZAN: 1,000 clips of 30 s, mono, 22,050 Hz, 10 genres of 100 clips each.

    GTZAN repeats recordings, artists cross any random split, and some clips are distorted or wrongly labelled (Sturm,
    "The GTZAN dataset", 2013). The fault-filtered split (Kereliuk, Sturm, Larsen, "Deep learning and music
    adversaries", 2015; torchaudio's lists) leaves out 70 such clips and keeps artists in one set: 443 train, 197
    validation, 290 test. A listed clip that is missing or broken (jazz.00054 in the common copy) stays in the table:
    decoding finds it. The group is None: GTZAN names no artists.

    `path` holds ``genres/blues/blues.00000.wav`` and so on (or .au, .mp3); by default it is the download's. Without
    `fault_filtered` every file is taken, and there is no split: for a folder in GTZAN's layout that is not GTZAN.
    Raises SoundFusionError for no clips.
    """
    root = Path(path or data_dir() / "gtzan")
    files = {}
    for genre in GENRES:
        clips = sorted(file for file in (root / "genres" / genre).glob(f"{genre}.*") if file.suffix in SUFFIXES)
        files |= {file.stem: file.relative_to(root).as_posix() for file in clips}
    if not files:
        raise SoundFusionError(f"{root / 'genres'} holds no clip of GTZAN's: `soundfusion download gtzan` brings it")
    split = dict.fromkeys(files)
    if fault_filtered:
        from torchaudio.datasets import gtzan as lists  # here: it imports torch, which takes seconds

        sets = {"train": lists.filtered_train, "validation": lists.filtered_valid, "test": lists.filtered_test}
        split = {track: part for part, tracks in sets.items() for track in tracks}
    genres = [track.split(".")[0] for track in split]
    paths = [files.get(track, f"genres/{genre}/{track}.wav") for track, genre in zip(split, genres, strict=True)]
    tracks = pd.DataFrame({"path": paths, "label": genres, "group": None}, list(split), dtype=object)
    if fault_filtered:
        tracks["split"] = list(split.values())
    return Corpus("gtzan", root, tracks)
