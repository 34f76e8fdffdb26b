"""Compose the demo's music: soundfusion_lib/datasets/demo_music.zip, which is committed.

    python tooling/compose_demo.py [ARCHIVE]

Both demo corpora are synthetic: a program composes and plays them, and no recording of anybody's is in them. Composing
takes some two minutes on one core. It needs lameenc 1.9.0, which the project does not depend on. Sums of floating-point
numbers differ between processors, so another machine may compose other bytes: commit the archive with its SHA-256 in
soundfusion_lib/datasets/demo.py.

The archive holds ``fma`` in FMA's layout and ``gtzan`` in GTZAN's, as MP3s of 3.5 s. ``fma`` has 320 good tracks in
stereo at 44.1 kHz, but for one in mono and one at 48 kHz; besides, one that is too short and one that is broken. At
64 kbit/s they keep what is below 11 kHz. ``gtzan`` has 100 tracks in mono at 22.05 kHz and 32 kbit/s.
"""

import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import soxr
from composer.clip import synthesise
from composer.genres import FMA_STYLES, GTZAN_STYLES
from composer.instruments import RATE
from mp3 import encode_mp3, require_lameenc
from tqdm import tqdm

ARCHIVE = Path(__file__).parents[1] / "soundfusion_lib" / "datasets" / "demo_music.zip"
ABOUT = "Synthetic music, made by tooling/compose_demo.py of SoundFusion: no recording and nobody's composition.\n"
SECONDS = 3.5
SEED = 0
# tracks of a genre in each split, 60/20/20: FMA's own 80/10/10 would leave too few test tracks
FMA_COUNTS = {"training": 24, "validation": 8, "test": 8}
GTZAN_COUNT = 10  # tracks of a genre
SIBLINGS = 3  # tracks of an artist in the training set; elsewhere each track has its own, so that tests vary less
GTZAN_RATE = 22_050  # Hz


def plan_fma() -> pd.DataFrame:
    """The corpus in FMA's layout, as a plan: one row per track, nothing synthesised yet.

    Returns:
        A table indexed by track_id (ascending with gaps, as in FMA): genre, artist (int), split, path and form:
        "stereo", and once each, in the training set, "mono", "48 kHz", "short" (1 s) and "broken" (no audio).
    """
    rows, artist = [], 0
    for genre in FMA_STYLES:
        for split, count in FMA_COUNTS.items():
            for index in range(count):
                artist += index % (SIBLINGS if split == "training" else 1) == 0
                rows.append((genre, artist, split))
    plan = pd.DataFrame(rows, columns=["genre", "artist", "split"]).assign(form="stereo")
    rng = np.random.default_rng(SEED)
    odd = plan[plan["split"] == "training"].sample(4, random_state=rng)
    plan.loc[odd.index[:2], "form"] = ["mono", "48 kHz"]
    plan = pd.concat([plan, odd[2:].assign(form=["short", "broken"])]).sample(frac=1, random_state=rng)
    plan.index = pd.Index(1 + np.cumsum(rng.integers(1, 20, len(plan))), name="track_id")
    plan["path"] = [f"fma/fma_small/{track // 1000:03d}/{track:06d}.mp3" for track in plan.index]
    return plan


def plan_gtzan() -> pd.DataFrame:
    """The corpus in GTZAN's layout, as `plan_fma`; an artist's tracks follow each other, and the form is "gtzan"."""
    rows = [
        (genre, 1 + number * GTZAN_COUNT + index // SIBLINGS, f"gtzan/genres/{genre}/{genre}.{index:05d}.mp3", "gtzan")
        for number, genre in enumerate(GTZAN_STYLES)
        for index in range(GTZAN_COUNT)
    ]
    ids = pd.RangeIndex(2, len(rows) + 2, name="track_id")
    return pd.DataFrame(rows, ids, columns=["genre", "artist", "path", "form"])


def metadata(plan: pd.DataFrame) -> str:
    """FMA's tracks.csv for a plan."""
    columns = {
        ("artist", "id"): plan["artist"],
        ("artist", "name"): [f"Synthetic Artist {artist}" for artist in plan["artist"]],
        ("set", "split"): plan["split"],
        ("set", "subset"): "small",
        ("track", "duration"): round(SECONDS),
        ("track", "genre_top"): plan["genre"],
        ("track", "title"): [f"Synthetic Piece {track}" for track in plan.index],
    }
    return pd.DataFrame(columns, plan.index).to_csv(lineterminator="\n")


def compose(track: int, genre: str, artist: int, form: str) -> bytes:
    """The file of one track."""
    rng = np.random.default_rng([SEED, track])
    if form == "broken":
        return rng.integers(0, 128, 5000, np.uint8).tobytes()  # no byte that could begin an MPEG frame
    samples = synthesise(genre, [SEED, 1, artist], rng, 1.0 if form == "short" else SECONDS)  # (time, 2)
    rate = {"48 kHz": 48_000, "gtzan": GTZAN_RATE}.get(form, RATE)
    if form in ("mono", "gtzan"):
        samples = samples.mean(1)
    if rate != RATE:
        samples = soxr.resample(samples, RATE, rate)
    return encode_mp3(samples, rate, 32 if form == "gtzan" else 64, quality=2, out_rate=rate)


def files() -> Iterator[tuple[str, bytes]]:
    """Path and content of every file in the archive."""
    plan = plan_fma()
    yield "README.txt", ABOUT.encode()
    yield "fma/fma_metadata/tracks.csv", metadata(plan).encode()
    tracks = pd.concat([plan, plan_gtzan()]).itertuples()
    for row in tqdm(tracks, "composing", len(plan) + len(plan_gtzan()), unit="track"):
        yield row.path, compose(row.Index, row.genre, row.artist, row.form)


def main(archive: Path) -> None:
    """Write the archive."""
    require_lameenc()
    with zipfile.ZipFile(archive, "w") as opened:
        for path, content in files():
            kind = zipfile.ZIP_STORED if path.endswith(".mp3") else zipfile.ZIP_DEFLATED
            opened.writestr(zipfile.ZipInfo(path), content, kind)  # dated 1980, whenever it is made


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else ARCHIVE)
