"""What the benchmarks share: records of what was measured, and a store of synthetic clips."""

import csv
import json
import platform
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import torch

from soundfusion_lib.audio.representations import Representation
from soundfusion_lib.audio.store import Store, StoredArray
from soundfusion_lib.datasets.corpus import Corpus
from soundfusion_lib.device import describe
from soundfusion_lib.training.run import provenance

RESULTS = Path(__file__).parent / "results"
GENRES = ["Electronic", "Experimental", "Folk", "Hip-Hop", "Instrumental", "International", "Pop", "Rock"]
CHUNK = 50  # clips made at once


def record(benchmark: str, table: pd.DataFrame, **settings) -> None:
    """Print a table and append its rows to results/<benchmark>.csv, each with date, machine, commit and versions."""
    print(table.to_string(index=False, float_format=lambda value: f"{value:.4g}"))
    about = {"date": datetime.now(UTC).isoformat(timespec="seconds"), "machine": _machine()}
    about |= {key: json.dumps(value) if isinstance(value, dict) else value for key, value in provenance().items()}
    rows = table.assign(**settings, **about)
    path = RESULTS / f"{benchmark}.csv"
    RESULTS.mkdir(exist_ok=True)
    if path.exists():  # columns may have come or gone since
        rows = pd.concat([pd.read_csv(path), rows], ignore_index=True)
    rows.to_csv(path, index=False, float_format="%.5g", quoting=csv.QUOTE_MINIMAL, lineterminator="\n")
    print(f"appended to {path}", file=sys.stderr)


def least_seconds(function: Callable[[], object], repeats: int = 6) -> float:
    """Seconds of the fastest of so many calls; on a GPU until it has computed."""
    wait = torch.cuda.synchronize if torch.cuda.is_available() else lambda: None
    times = []
    for _ in range(repeats):
        wait()
        began = time.perf_counter()
        function()
        wait()
        times.append(time.perf_counter() - began)
    return min(times)


def _machine() -> str:
    names = [line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    memory = psutil.virtual_memory().total / 2**30
    name = names[0] if names else platform.processor() or platform.machine()
    numbers = describe(torch.device("cpu")).rpartition(", ")[2].rstrip(")")
    name += f" ({torch.backends.cpu.get_cpu_capability()}, {numbers})"
    return f"{name}, {psutil.cpu_count()} cores, {memory:.0f} GiB{gpu}"


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


def synthetic_store(folder: Path, clips: int, seconds: float, specs: list[Representation], seed: int = 0) -> Store:
    """A store of noise whose spectrum and loudness depend on the genre, written directly in the store's format.

    It has FMA-small's shape, and nothing of music: for measuring speed. 80 % of the clips train, 10 % validate, 10 %
    test.

    Args:
        folder: where to put it; what is there is used again.
        clips: their number; FMA-small has 8,000.
        seconds: their length.
    """
    index = pd.Index([f"{number:06d}" for number in range(clips)], name="track")
    genres = [GENRES[number % len(GENRES)] for number in range(clips)]
    part = [
        ("train" if number % 10 < 8 else "validation" if number % 10 == 8 else "test")
        for number in np.arange(clips) // 8
    ]
    tracks = pd.DataFrame({"path": index + ".mp3", "label": genres, "group": None, "split": part}, index=index)
    corpus = Corpus(f"synthetic{clips}", folder, tracks, synthetic=True)
    arrays = {}
    for spec in specs:
        place = Path(folder) / f"{spec.slug}-{clips}x{seconds:g}s"
        frames = spec.frames(seconds)
        rows = pd.DataFrame(
            {
                "start": np.arange(clips) * frames,
                "frames": frames,
                "seconds": float(seconds),
                "silence": 0.0,
                "digest": index,
                "reason": pd.Series([None] * clips, dtype=object, index=index),
            },
            index=index,
        )
        if not (place / "data.bin").exists():
            place.mkdir(parents=True, exist_ok=True)
            _write(place / "data.bin", spec, clips, frames, seed)
        arrays[spec.kind] = StoredArray(spec, place, rows)
    return Store(corpus, arrays)


def _write(path: Path, spec: Representation, clips: int, frames: int, seed: int) -> None:
    """Noise: in a mel spectrogram the genre raises a range of bands by 6 dB, in a waveform it sets the smoothness."""
    rng = np.random.default_rng(seed)
    aside = path.with_suffix(".new")
    with open(aside, "wb") as file:
        for first in range(0, clips, CHUNK):
            count = min(CHUNK, clips - first)
            noise = rng.standard_normal((count, frames, spec.channels, spec.bands), dtype=np.float32)
            for offset, clip in enumerate(noise):
                genre = (first + offset) % len(GENRES)
                if spec.kind == "mel":
                    width = spec.bands // len(GENRES)
                    clip *= 10
                    clip -= 40
                    clip[..., genre * width : (genre + 1) * width] += 6
                else:
                    for _ in range(genre):
                        clip[1:] += clip[:-1].copy()
                    clip *= 3000 / clip.std()
            file.write(noise.astype(spec.dtype).tobytes())
    aside.rename(path)
