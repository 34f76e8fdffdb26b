"""The demo corpora: synthetic music in the folders of FMA and of GTZAN, so that everything runs without a download.

No recording and no composition of anybody's is in it: results on it say that the machinery works, and nothing about
music.
"""

import json
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
import soxr
from tqdm import tqdm

from soundfusion_lib.audio.decode import encode_mp3
from soundfusion_lib.datasets.synthetic.composer import synthesise
from soundfusion_lib.datasets.synthetic.genres import FMA_STYLES, GTZAN_STYLES
from soundfusion_lib.datasets.synthetic.instruments import RATE
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.paths import writing
from soundfusion_lib.pool import cores, worker_pool

SYNTHESIS = 1  # revision: raise it when the same arguments give other samples
SIBLINGS = 3  # tracks of an artist in the training part; in the others each track has its own, for tests that vary less
TEST_SHARE = 0.2  # of the tracks, and as much again for validation
GTZAN_RATE = 22_050  # Hz


def plan_demo(tracks: int, seed: int) -> pd.DataFrame:
    """Who plays what in the FMA layout, nothing synthesised yet.

    60 % of each genre's tracks are for training, 20 % for validation, 20 % for testing (FMA-small has 80/10/10, which
    would leave a corpus of this size too few test tracks), no artist in two parts.

    Args:
        tracks: number of good tracks, a multiple of eight; two bad ones come on top.
        seed: order and ids of the tracks, and which of the training part are odd.

    Returns:
        One row a track, indexed by track_id (int, ascending with gaps as in FMA): genre, artist (int), split, title,
        path,
        and form: "stereo", and once each, in the training part, "mono", "48 kHz", "short" (1 s) and "broken" (no
            audio).

    Raises:
        SoundFusionError: tracks is not a multiple of eight, or fewer than 24.
    """
    per_genre = _per_genre(tracks, len(FMA_STYLES), fewest=3)
    test = max(1, round(per_genre * TEST_SHARE))
    rows, artist = [], 0
    for genre in FMA_STYLES:
        for split, count in (("training", per_genre - 2 * test), ("validation", test), ("test", test)):
            for index in range(count):
                artist += index % (SIBLINGS if split == "training" else 1) == 0
                rows.append((genre, artist, split))
    plan = pd.DataFrame(rows, columns=["genre", "artist", "split"])
    rng = np.random.default_rng(seed)
    odd = plan[plan["split"] == "training"].sample(4, random_state=rng)
    plan["form"] = "stereo"
    plan.loc[odd.index[:2], "form"] = ["mono", "48 kHz"]
    plan = pd.concat([plan, odd[2:].assign(form=["short", "broken"])]).sample(frac=1, random_state=rng)
    plan.index = pd.Index(1 + np.cumsum(rng.integers(1, 20, len(plan))), name="track_id")
    plan["title"] = [f"Synthetic Piece {track}" for track in plan.index]
    plan["path"] = [f"fma_small/{track // 1000:03d}/{track:06d}.mp3" for track in plan.index]
    return plan


def plan_demo_gtzan(tracks: int) -> pd.DataFrame:
    """Who plays what in the GTZAN layout.

    Args:
        tracks: a multiple of ten.

    Returns:
        One row a track, indexed by track_id (int): genre, artist (int; consecutive tracks), path, form ("wav").

    Raises:
        SoundFusionError: tracks is not a multiple of ten, or none.
    """
    per_genre = _per_genre(tracks, len(GTZAN_STYLES), fewest=1)
    rows = [
        (genre, 1 + number * per_genre + index // SIBLINGS, f"genres/{genre}/{genre}.{index:05d}.wav", "wav")
        for number, genre in enumerate(GTZAN_STYLES)
        for index in range(per_genre)
    ]
    return pd.DataFrame(
        rows, columns=["genre", "artist", "path", "form"], index=pd.RangeIndex(2, tracks + 2, name="track_id")
    )


def write_demo(
    root: Path,
    tracks: int = 240,
    seconds: float = 6.5,
    seed: int = 0,
    workers: int | None = None,
    progress: bool = True,
) -> Path:
    """Synthesise a corpus of FMA-small's eight genres in FMA's layout: stereo MP3 at 44.1 kHz and
    fma_metadata/tracks.csv.

    Writes beside ``root`` and renames, so that ``root`` is whole or absent; returns at once where it is there already.

    Args:
        root: folder to make.
        tracks: number of good tracks, a multiple of eight; one too short and one that does not decode come on top.
        seconds: length of a clip, 2 or more.
        seed: another one is another corpus.
        workers: processes; None for one a core. The audio does not depend on it.
        progress: show a bar.

    Returns:
        root.

    Raises:
        SoundFusionError: root holds something else, or an argument is out of range.
    """
    plan = plan_demo(tracks, seed)
    table = pd.DataFrame(
        {
            ("artist", "id"): plan["artist"],
            ("artist", "name"): [f"Synthetic Artist {artist}" for artist in plan["artist"]],
            ("set", "split"): plan["split"],
            ("set", "subset"): "small",
            ("track", "duration"): round(seconds),
            ("track", "genre_top"): plan["genre"],
            ("track", "title"): plan["title"],
        },
        index=plan.index,
    )
    arguments = {"layout": "fma", "tracks": tracks, "seconds": seconds, "seed": seed}
    return _write(
        Path(root), plan, arguments, workers, progress, {"fma_metadata/tracks.csv": table.to_csv(lineterminator="\n")}
    )


def write_demo_gtzan(
    root: Path,
    tracks: int = 100,
    seconds: float = 6.5,
    seed: int = 0,
    workers: int | None = None,
    progress: bool = True,
) -> Path:
    """Synthesise a corpus of GTZAN's ten genres in GTZAN's layout: genres/blues/blues.00000.wav, 22,050 Hz, mono, 16
    bit.

    Arguments, result, errors and wholeness are write_demo's; tracks is a multiple of ten, and all clips are good.
    """
    arguments = {"layout": "gtzan", "tracks": tracks, "seconds": seconds, "seed": seed}
    return _write(Path(root), plan_demo_gtzan(tracks), arguments, workers, progress, {})


def _per_genre(tracks: int, genres: int, fewest: int) -> int:
    if tracks % genres or tracks < fewest * genres:
        raise SoundFusionError(
            f"tracks={tracks}: the demo corpus needs a multiple of {genres}, {fewest * genres} or more"
        )
    return tracks // genres


def _write(root: Path, plan: pd.DataFrame, arguments: dict, workers, progress: bool, texts: dict) -> Path:
    description = {"synthetic": True, **arguments, "synthesis": SYNTHESIS}
    if arguments["seconds"] < 2:
        raise SoundFusionError(f"seconds={arguments['seconds']}: clips of the demo corpus last 2 s or more")
    if root.exists():
        _refuse_others(root, description)
        return root
    with writing(root.parent):
        return _synthesise(
            root, plan, arguments, workers, progress, texts | {"demo.json": json.dumps(description, indent=2) + "\n"}
        )


def _synthesise(root: Path, plan: pd.DataFrame, arguments: dict, workers, progress: bool, texts: dict) -> Path:
    aside = root.with_name(root.name + ".partial")
    shutil.rmtree(aside, ignore_errors=True)  # of a run that was killed
    for folder in {(aside / path).parent for path in [*plan["path"], *texts]}:
        folder.mkdir(parents=True, exist_ok=True)
    work = partial(write_track, aside, arguments["seed"], arguments["seconds"])
    jobs = list(plan[["path", "genre", "artist", "form"]].itertuples(name=None))
    bar = partial(tqdm, total=len(jobs), desc="synthesising", unit="clip", disable=not progress)
    if workers == 1:
        for _ in bar(map(work, jobs)):
            pass
    else:
        with worker_pool(workers or cores()) as pool:
            for _ in bar(pool.map(work, jobs, chunksize=4)):
                pass
    for path, text in texts.items():
        (aside / path).write_text(text, encoding="utf-8", newline="\n")
    aside.rename(root)
    return root


def _refuse_others(root: Path, description: dict) -> None:
    try:
        found = json.loads((root / "demo.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise SoundFusionError(f"{root} exists and is no demo corpus: give another folder, or move it away") from None
    if found != description:
        raise SoundFusionError(
            f"{root} holds a demo corpus made with {found}, not {description}: remove it, or give another folder"
        )


def write_track(root: Path, seed: int, seconds: float, job: tuple) -> None:
    """Synthesise one file of a corpus with this seed; the job is its track, path below root, genre, artist and form."""
    track, path, genre, artist, form = job
    rng = np.random.default_rng([seed, track])
    if form == "broken":
        (root / path).write_bytes(
            rng.integers(0, 128, 5000, np.uint8).tobytes()
        )  # no byte that could begin an MPEG frame
        return
    samples = synthesise(genre, [seed, 1, artist], rng, 1.0 if form == "short" else seconds)
    rate = {"48 kHz": 48_000, "wav": GTZAN_RATE}.get(form, RATE)
    if form in ("mono", "wav"):
        samples = samples.mean(1)
    if rate != RATE:
        samples = soxr.resample(samples, RATE, rate)
    if form == "wav":
        soundfile.write(root / path, samples, rate, subtype="PCM_16")
    else:
        (root / path).write_bytes(encode_mp3(samples, rate))  # most of a demo corpus's time
