"""What the demo corpus sounds like: a clip of each genre."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from soundfusion_lib.datasets.demo import demo

SECONDS = 3.5


@dataclass(frozen=True)
class Sound:
    """A clip of the demo corpus: what it is, and its file in the folder."""

    genre: str
    track: str
    artist: str
    file: str


def write_sounds(folder: Path) -> tuple[list[Sound], float]:
    """Copy the first test clip of each genre of the demo corpus; returns the clips, by genre, and how many seconds
    each lasts."""
    corpus = demo()
    chosen = corpus.tracks[corpus.tracks["split"] == "test"].groupby("label").head(1).sort_values("label")
    folder.mkdir(parents=True)
    sounds = []
    for track, row in chosen.iterrows():
        file = f"{row['label'].lower()}.mp3"
        shutil.copyfile(corpus.file(track), folder / file)
        sounds.append(Sound(row["label"], track, f"Synthetic Artist {row['group']}", file))
    return sounds, SECONDS
