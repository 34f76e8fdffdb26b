"""GTZAN (Tzanetakis and Cook, "Musical genre classification of audio signals", IEEE TSAP 2002)."""

import logging
from pathlib import Path

import pandas as pd

from soundfusion_lib.corpora.corpus import Corpus
from soundfusion_lib.errors import SoundFusionError

GENRES = ("blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock")

logger = logging.getLogger(__name__)


def gtzan(root, fault_filtered=True, *, name="gtzan", synthetic=False) -> Corpus:
    """GTZAN: 1,000 clips of 30 s, mono, 22,050 Hz, 10 genres of 100 clips each.

    GTZAN repeats recordings, artists cross any random split, and some clips are distorted or wrongly labelled (Sturm,
    "The GTZAN dataset", 2013). The fault-filtered split (Kereliuk, Sturm, Larsen, "Deep learning and music
    adversaries", 2015), here as torchaudio lists it, leaves out 70 such clips and keeps artists on one side:
    443 train, 197 validation, 290 test.
    One of these, the training clip jazz.00054, cannot be decoded in the common copy: decoding finds it. A listed clip
    whose file is missing stays in the table too.

    Args:
        root: folder that holds ``genres/blues/blues.00000.wav`` and so on (or ``.au``).
        fault_filtered: True keeps the tracks of the fault-filtered split and gives it as ``split``. False takes every
            file, without a split: for a folder in GTZAN's layout that is not GTZAN.
        name: the corpus's name.
        synthetic: whether the folder only imitates GTZAN, with music made by a program.

    Returns:
        Corpus: track ids are GTZAN's ("blues.00000"); artist is None throughout, since GTZAN does not name them.

    Raises:
        SoundFusionError: no clips, or fewer than half of those of the fault-filtered split.
    """
    root = Path(root)
    files = {}
    for genre in GENRES:
        for file in sorted((root / "genres" / genre).glob(f"{genre}.*")):
            if file.suffix in (".au", ".wav"):  # where both exist, .wav comes last and stays
                files[file.stem] = file.relative_to(root).as_posix()
    if not files:
        raise SoundFusionError(
            f"{root / 'genres'} holds no clip such as blues/blues.00000.wav: `soundfusion download gtzan` brings them"
        )

    split = _fault_filtered_split() if fault_filtered else None
    if fault_filtered:
        found = len(split.keys() & files.keys())
        if 2 * found < len(split):
            raise SoundFusionError(
                f"{root / 'genres'} holds {found} of the {len(split)} clips of GTZAN's fault-filtered split: it is not "
                "GTZAN, or not all of it. `soundfusion download gtzan` brings it; fault_filtered=False takes any files"
            )
        left_out = len(files.keys() - split.keys())
        logger.info("%s: %d clips are not in the fault-filtered split and were left out", name, left_out)
    ids = sorted(split or files)
    rows = []
    for track in ids:
        genre = track.split(".")[0]
        row = {"path": files.get(track, f"genres/{genre}/{track}.wav"), "label": genre, "group": None}
        rows.append(row | {"split": split[track]} if split else row)
    tracks = pd.DataFrame(rows, index=pd.Index(ids, name="track"), dtype=object)
    return Corpus(name, root, tracks, synthetic=synthetic)


def _fault_filtered_split() -> dict[str, str]:
    """Track id -> split."""
    from torchaudio.datasets import gtzan as lists  # imports torch: seconds, and only needed here

    return {
        **dict.fromkeys(lists.filtered_train, "train"),
        **dict.fromkeys(lists.filtered_valid, "validation"),
        **dict.fromkeys(lists.filtered_test, "test"),
    }
