"""Emotify: 400 excerpts of Magnatune's catalogue, made to study emotions; here the label is the genre."""

from pathlib import Path

import pandas as pd

from soundfusion_lib.checks import Seconds
from soundfusion_lib.datasets.corpus import Corpus
from soundfusion_lib.datasets.download import Source
from soundfusion_lib.datasets.folder import artist_of
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.paths import data_dir

CITATION = (
    "Aljanaki, Wiering and Veltkamp, Studying emotion induced by music through a crowdsourcing game, "
    "Information Processing and Management 52(1), 2016"
)
LICENCE = "The music belongs to its artists and to Magnatune, which licenses it for non-commercial use."
URL = "http://www2.projects.science.uu.nl/memotion/emotifydata/emotifymusic.zip"  # the server knows no https
EMOTIFY = Source("emotify", URL, needed=760_000_000)
GENRES = ("classical", "electronic", "pop", "rock")


def emotify(path: str | Path | None = None, seconds: Seconds | None = 30.0) -> Corpus:
    """Emotify: 100 excerpts each of classical, electronic, pop and rock: a minute of MP3, stereo, 44.1 kHz, 128 kbit/s.

    Pop and rock are hard to tell apart: the tags call 147 of these two hundred "Alternative Rock". Groups are the 137
    artists in the ID3 tags (None where a tag names none, or a compilation); six of them are in two or three genres.

    `path` holds ``emotifymusic/classical/1.mp3`` and so on; by default it is the download's. Of each file so many
    `seconds` are used (FMA's clips have 30), None for all. Raises SoundFusionError if a genre has no file.
    """
    root = Path(path or data_dir() / "emotify")
    rows = {}
    for genre in GENRES:
        folder = root / "emotifymusic" / genre
        files = sorted(folder.glob("*.mp3"))
        if not files:
            raise SoundFusionError(f"{folder} holds no clip such as 1.mp3: `soundfusion download emotify` brings it")
        for file in files:
            name = file.relative_to(root).as_posix()
            rows[f"{genre}/{file.stem:>03}"] = {"path": name, "label": genre, "group": artist_of(file)}
    tracks = pd.DataFrame.from_dict(rows, orient="index", dtype=object)
    return Corpus("emotify", root, tracks, seconds=seconds)
