"""GTZAN (Tzanetakis and Cook, "Musical genre classification of audio signals", IEEE TSAP 2002)."""

from pathlib import Path

import pandas as pd

from soundfusion_lib.datasets.corpus import Corpus
from soundfusion_lib.errors import SoundFusionError

GENRES = ("blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock")


def gtzan(root, fault_filtered=True) -> Corpus:
    """GTZAN: 1,000 clips of 30 s, mono, 22,050 Hz, 10 genres of 100 clips each.

    GTZAN repeats recordings, artists cross any random split, and some clips are distorted or wrongly labelled (Sturm,
    "The GTZAN dataset", 2013). The fault-filtered split (Kereliuk, Sturm, Larsen, "Deep learning and music
    adversaries", 2015), here as torchaudio lists it, leaves out 70 such clips and keeps artists on one side:
    443 train, 197 validation, 290 test. A listed clip whose file is missing, or cannot be decoded (the training clip
    jazz.00054 in the common copy), stays in the table: decoding finds it. The group is None: GTZAN names no artists.

    Args:
        root: folder that holds ``genres/blues/blues.00000.wav`` and so on (or ``.au``).
        fault_filtered: False takes every file, without a split: for a folder in GTZAN's layout that is not GTZAN.

    Raises:
        SoundFusionError: no clips, or fewer than half of those of the fault-filtered split.
    """
    root = Path(root)
    files = {}
    for genre in GENRES:
        for file in sorted((root / "genres" / genre).glob(f"{genre}.*")):
            if file.suffix in (".au", ".wav"):  # where both exist, .wav comes last and stays
                files[file.stem] = file.relative_to(root).as_posix()
    split = _fault_filtered_split() if fault_filtered else dict.fromkeys(files)
    found = len(split.keys() & files.keys())
    if not found or 2 * found < len(split):
        raise SoundFusionError(
            f"{root / 'genres'} holds {found} of GTZAN's clips (such as blues/blues.00000.wav): it is not GTZAN, or "
            "not all of it. `soundfusion download gtzan` brings it"
        )
    genres = [track.split(".")[0] for track in split]
    paths = [files.get(track, f"genres/{genre}/{track}.wav") for track, genre in zip(split, genres, strict=True)]
    tracks = pd.DataFrame({"path": paths, "label": genres, "group": None}, list(split), dtype=object)
    if fault_filtered:
        tracks["split"] = list(split.values())
    return Corpus("gtzan", root, tracks)


def _fault_filtered_split() -> dict[str, str]:
    """Track id -> split."""
    from torchaudio.datasets import gtzan as lists  # imports torch: seconds, and only needed here

    return {
        **dict.fromkeys(lists.filtered_train, "train"),
        **dict.fromkeys(lists.filtered_valid, "validation"),
        **dict.fromkeys(lists.filtered_test, "test"),
    }
