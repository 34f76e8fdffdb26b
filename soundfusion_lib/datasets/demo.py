"""The demo corpora: synthetic music in the layouts of FMA and GTZAN, so that everything runs without a download.

A program composed it (tooling/compose_demo.py): no recording and nobody's composition is in it. Results on it say that
everything works, and nothing about music.
"""

from dataclasses import replace
from pathlib import Path

from soundfusion_lib.datasets.corpus import Corpus
from soundfusion_lib.datasets.download import unpack
from soundfusion_lib.datasets.fma import fma
from soundfusion_lib.datasets.gtzan import gtzan
from soundfusion_lib.paths import data_dir, lock, writing

LICENCE = "The project's own (MIT)."
ARCHIVE = Path(__file__).with_name("demo_music.zip")
SHA256 = "318d58c7394c953a8f0f482b50c653a1cd56c45778ad990eca19f52105928324"  # of the archive


def demo() -> Corpus:
    """FMA's eight genres: 320 tracks of 3.5 s, split 60/20/20 by artist; besides, one too short and one broken."""
    return replace(fma(_unpacked() / "fma"), name="demo", synthetic=True)


def demo_gtzan() -> Corpus:
    """GTZAN's ten genres: 100 tracks of 3.5 s, without a split."""
    return replace(gtzan(_unpacked() / "gtzan", fault_filtered=False), name="demo_gtzan", synthetic=True)


def _unpacked() -> Path:
    """The folder of the unpacked archive; the first call unpacks it, whole or not at all."""
    folder = data_dir() / "demo" / SHA256[:8]
    with writing(folder.parent), lock(folder.with_name(f".{folder.name}.lock")):
        if not folder.exists():
            unpack(ARCHIVE, folder)
    return folder
