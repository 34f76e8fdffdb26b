"""The demo corpora: synthetic music in the layouts of FMA and GTZAN, so that everything runs without a download.

A program composed it (tooling/compose_demo.py): no recording and nobody's composition is in it. Results on it say that
everything works, and nothing about music.
"""

import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

from soundfusion_lib.checks import Count
from soundfusion_lib.datasets.corpus import Corpus
from soundfusion_lib.datasets.fma import fma
from soundfusion_lib.datasets.gtzan import gtzan
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.paths import data_dir, lock, writing

LICENCE = "The project's own (MIT)."
ARCHIVE = Path(__file__).with_name("demo_music.zip")
SHA256 = "318d58c7394c953a8f0f482b50c653a1cd56c45778ad990eca19f52105928324"  # of the archive
ODD = ["000613", "002926"]  # the broken track and the short one
HELD_OUT = 0.2  # share of a label's tracks in the test set, and in the validation set


def demo(tracks: Count | None = None) -> Corpus:
    """FMA's eight genres: 320 tracks of 3.5 s, split 60/20/20 by artist; besides, one too short and one broken.

    Args:
        tracks: a smaller corpus of the first good tracks of each genre and set, a multiple of 8 from 24 to 320.
    """
    corpus = replace(fma(_unpacked() / "fma"), name="demo", synthetic=True)
    return corpus if tracks is None else _first(replace(corpus, tracks=corpus.tracks.drop(ODD)), tracks)


def demo_gtzan(tracks: Count | None = None) -> Corpus:
    """GTZAN's ten genres: 100 tracks of 3.5 s, without a split; `tracks` as for `demo`, a multiple of 10 from 30."""
    corpus = replace(gtzan(_unpacked() / "gtzan", fault_filtered=False), name="demo_gtzan", synthetic=True)
    return corpus if tracks is None else _first(corpus, tracks)


def _unpacked() -> Path:
    """The folder of the unpacked archive; the first call unpacks it, whole or not at all."""
    folder = data_dir() / "demo" / SHA256[:8]
    if not folder.exists():
        with writing(folder.parent), lock(folder.with_name(f".{folder.name}.lock")):
            if not folder.exists():  # another process may have unpacked it meanwhile
                partial = folder.with_name(f"{folder.name}.partial")
                shutil.rmtree(partial, ignore_errors=True)  # from a process that was killed
                with zipfile.ZipFile(ARCHIVE) as archive:
                    archive.extractall(partial)
                partial.rename(folder)
    return folder


def _first(corpus: Corpus, tracks: int) -> Corpus:
    """A smaller corpus: the first tracks of each label, 60/20/20 of them in each set where there is a split."""
    table, labels = corpus.tracks, len(corpus.labels)
    least, most = 3 * labels, table["label"].value_counts().min() * labels
    if tracks % labels or not least <= tracks <= most:
        raise SoundFusionError(
            f"corpus {corpus.name!r}: tracks = {tracks}: must be a multiple of {labels}, {least} to {most}"
        )
    each = tracks // labels
    if "split" not in table:
        return replace(corpus, tracks=table.groupby("label").head(each))
    held_out = max(1, round(HELD_OUT * each))
    counts = {"train": each - 2 * held_out, "validation": held_out, "test": held_out}
    position = table.groupby(["label", "split"]).cumcount()
    return replace(corpus, tracks=table[position < table["split"].map(counts)])
