"""Emotify (Aljanaki, Wiering and Veltkamp, "Studying emotion induced by music through a crowdsourcing game",
Information Processing and Management, 2016): 400 excerpts of one minute from Magnatune's catalogue."""

from pathlib import Path

import pandas as pd

from soundfusion_lib.datasets.corpus import Corpus
from soundfusion_lib.errors import SoundFusionError

GENRES = ("classical", "electronic", "pop", "rock")
NO_ARTIST = "Magnatune Compilation"  # stands for whoever is on one


def emotify(root, seconds: float | None = 30.0) -> Corpus:
    """Emotify: 100 excerpts each of classical, electronic, pop and rock, MP3 in stereo at 44.1 kHz and 128 kbit/s.

    Made to study emotions; here the label is the genre. Pop and rock are hard to tell apart by design: the tags call
    147 of their two hundred "Alternative Rock". Groups are the 137 artists in the files' ID3 tags (None where a tag
    names none, or a compilation), of whom six are in two or three genres.

    Args:
        root: folder that holds ``emotifymusic/classical/1.mp3`` and so on.
        seconds: how much of each file is used, from its beginning: FMA's clips have 30 s; None for all.

    Raises:
        SoundFusionError: a genre has no file.
    """
    rows = {}
    for genre in GENRES:
        folder = Path(root) / "emotifymusic" / genre
        files = sorted(folder.glob("*.mp3"))
        if not files:
            raise SoundFusionError(f"{folder} holds no clip such as 1.mp3: `soundfusion download emotify` brings it")
        for file in files:
            path = file.relative_to(root).as_posix()
            rows[f"{genre}/{file.stem:>03}"] = {"path": path, "label": genre, "group": _artist(file)}
    tracks = pd.DataFrame.from_dict(rows, orient="index", dtype=object)
    return Corpus("emotify", Path(root), tracks, seconds=seconds)


def _artist(file: Path) -> str | None:
    from mutagen import MutagenError  # here: only this corpus needs it
    from mutagen.id3 import ID3

    if not file.is_file():  # opening a pipe would wait for its other end
        return None
    try:
        artist = " ".join(ID3(file).get("TPE1", [""])[0].split())
    except MutagenError:
        return None
    return artist if artist and artist != NO_ARTIST else None
