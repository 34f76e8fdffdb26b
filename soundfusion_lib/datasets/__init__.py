"""Datasets: each reader returns a Corpus, a table of labelled tracks; beside them downloads and splits.

May import only what stands beside the rooms.
"""

from soundfusion_lib.datasets.corpus import Corpus
from soundfusion_lib.datasets.emotify import emotify
from soundfusion_lib.datasets.fma import fma
from soundfusion_lib.datasets.folder import folder
from soundfusion_lib.datasets.gtzan import gtzan

__all__ = ["Corpus", "emotify", "fma", "folder", "gtzan"]
