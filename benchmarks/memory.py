"""Peak memory by the number of clips: what does not fit into memory need not.

Each row is measured in processes of its own; the peaks are of memory that no other process shares, of the process that
was called, of the largest of its workers, and of all at once.
"""

import multiprocessing
import sys
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import click
import numpy as np
import pandas as pd
import psutil

sys.path.insert(0, str(Path(__file__).parent))

from common import record

from soundfusion_lib.audio.decode import encode_mp3
from soundfusion_lib.audio.representations import MelSpectrogram, Waveform
from soundfusion_lib.audio.store import Store
from soundfusion_lib.datasets.corpus import Corpus

SOUNDS = 8  # different ones; the clips differ in a tag behind them


class Peaks:
    """Peaks, in MiB, of this process's memory, its children's and all together while the block runs."""

    def __enter__(self):
        self.own = self.largest_worker = self.all = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self):
        this = psutil.Process()
        while not self._stop.wait(0.1):
            own = _mib(this)
            workers = [_mib(process) for process in this.children(recursive=True)]
            self.own = max(self.own, own)
            self.largest_worker = max(self.largest_worker, *workers, 0.0)
            self.all = max(self.all, own + sum(workers))

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()

    def row(self) -> dict[str, float]:
        return {"peak MiB": self.all, "of the first process": self.own, "of a worker": self.largest_worker}


def _mib(process: psutil.Process) -> float:
    try:
        return process.memory_full_info().uss / 2**20
    except psutil.Error:  # it has ended
        return 0.0


def in_a_process(function: Callable, *arguments) -> dict[str, float]:
    """What a function returns in a fresh process, so that no peak is another's."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def prepare(folder: Path, clips: int, seconds: float, workers: int) -> dict[str, float]:
    """Peaks while so many clips of so many seconds are decoded into both representations."""
    random, time = np.random.default_rng(0), np.arange(int(44_100 * seconds)) / 44_100
    tones = [0.2 * np.sin(2 * np.pi * 110 * (1 + number) * time) for number in range(SOUNDS)]
    sounds = [encode_mp3(tone[:, None] + random.normal(0, 0.05, (len(time), 2)), 44_100) for tone in tones]
    folder.mkdir()
    for number in range(clips):
        (folder / f"{number}.mp3").write_bytes(sounds[number % SOUNDS] + b"TAG" + f"{number:0125d}".encode())
    index = [str(number) for number in range(clips)]
    labels = [f"sound {number % SOUNDS}" for number in range(clips)]
    table = pd.DataFrame({"path": [f"{track}.mp3" for track in index], "label": labels, "group": None}, index)
    corpus = Corpus("memory", folder, table, synthetic=True)
    with Peaks() as peaks:
        store = Store.build(
            corpus, [Waveform(), MelSpectrogram()], folder / "store", shortest=1.0, workers=workers, progress=False
        )
    return {"store MiB": store.bytes / 2**20, **peaks.row()}


@click.command(help=__doc__)
@click.option("--clips", multiple=True, default=[200, 2_000], show_default=True, help="How many (repeatable).")
@click.option("--seconds", default=10.0, show_default=True, help="Length of a clip.")
@click.option("--processes", "workers", default=2, show_default=True)
def main(clips: tuple[int, ...], seconds: float, workers: int) -> None:
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for count in clips:
            peaks = in_a_process(prepare, Path(scratch) / f"{len(rows)}", count, seconds, workers)
            rows.append({"part": "prepare", "clips": count, **peaks})
    record("memory", pd.DataFrame(rows), seconds=seconds, processes=workers)


if __name__ == "__main__":
    main()
