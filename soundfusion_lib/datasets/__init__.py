"""Where music comes from: each reader returns a Corpus, a table of labelled tracks; downloads, splits, synthetic music.

May import only what stands beside the rooms.
"""

from soundfusion_lib.datasets.corpus import Corpus
from soundfusion_lib.datasets.download import download
from soundfusion_lib.datasets.emotify import emotify
from soundfusion_lib.datasets.fma import fma
from soundfusion_lib.datasets.folder import folder
from soundfusion_lib.datasets.gtzan import gtzan
from soundfusion_lib.datasets.soundtracks import download_soundtracks, soundtracks

__all__ = ["Corpus", "download", "download_soundtracks", "emotify", "fma", "folder", "gtzan", "soundtracks"]
