"""Where music comes from: each reader returns a Corpus, a table of labelled tracks; downloads, splits, synthetic music.

May import only what stands beside the rooms.
"""

from soundfusion_lib.corpora.corpus import Corpus
from soundfusion_lib.corpora.download import download
from soundfusion_lib.corpora.emotify import emotify
from soundfusion_lib.corpora.fma import fma
from soundfusion_lib.corpora.folder import folder
from soundfusion_lib.corpora.gtzan import gtzan
from soundfusion_lib.corpora.soundtracks import download_soundtracks, soundtracks

__all__ = ["Corpus", "download", "download_soundtracks", "emotify", "fma", "folder", "gtzan", "soundtracks"]
