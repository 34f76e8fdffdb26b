"""What the demo corpus sounds like: a clip of each genre, synthesised when the site is made."""

from dataclasses import dataclass
from pathlib import Path

from soundfusion_lib.datasets.synthetic.demo import plan_demo, write_track
from soundfusion_lib.study.profile import load_profile

SEED = 0  # of the demo corpus


@dataclass(frozen=True)
class Sound:
    """A clip of the demo corpus: what it is, and its file in the folder."""

    genre: str
    track: str
    artist: str
    file: str


def write_sounds(folder: Path) -> tuple[list[Sound], float]:
    """Write the first good test clip of each genre of the demo corpus, the very MP3 that the networks are tested on;
    returns the clips, by genre, and how many seconds each lasts."""
    corpus = load_profile("demo").corpus
    plan = plan_demo(corpus["tracks"], SEED)
    chosen = plan[(plan["split"] == "test") & (plan["form"] == "stereo")].groupby("genre").head(1).sort_values("genre")
    folder.mkdir(parents=True)
    sounds = []
    for track, row in chosen.iterrows():
        file = f"{row['genre'].lower()}.mp3"
        write_track(folder, SEED, corpus["seconds"], (track, file, row["genre"], row["artist"], row["form"]))
        sounds.append(Sound(row["genre"], f"{track:06d}", f"Synthetic Artist {row['artist']}", file))
    return sounds, corpus["seconds"]
