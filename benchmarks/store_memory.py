"""What training and predicting take of the memory while the store grows.

    python benchmarks/store_memory.py

Each row is a process of its own over a store of synthetic spectrograms. `private` is the memory that only ending the
process gives back (RssAnon of Linux's /proc/self/status): at most while the work ran, less what was there before it.
The store's own pages, which the system takes back when it needs room, are not in it.
"""

import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import click
import pandas as pd
import torch
from common import record, synthetic_store

from soundfusion_lib.audio.representations import MelSpectrogram
from soundfusion_lib.audio.segments import Segmenting, Segments
from soundfusion_lib.models import build_model
from soundfusion_lib.training.inference import log_probabilities
from soundfusion_lib.training.loop import Training, fit

SECONDS = 30.0  # of a clip
WORK = ("predictions", "training, one epoch")


def private() -> float:
    """This process's own memory, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


def worked(work: str, folder: Path, clips: int) -> float:
    """Peak of private memory, in MiB, over what was there before the segments."""
    store = synthetic_store(folder, clips, SECONDS, [MelSpectrogram()])
    before, seen, done = private(), [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            seen.append(private())

    watching = threading.Thread(target=watch)
    watching.start()
    segments = Segments(store, store.tracks.index, ("mel",), Segmenting(), torch.device("cpu"))
    model = build_model("nnet1", len(store.labels), width=16)
    if work == WORK[0]:
        log_probabilities(model, segments)
    else:
        fit(model, segments, None, Training(epochs=1, keep="last"), progress=False)
    done.set()
    watching.join()
    return max(seen) - before


@click.command(help=__doc__)
@click.option("--clips", default="250,2000", show_default=True, help="Sizes of the store, of clips of 30 s.")
@click.option("--one", nargs=2, type=str, hidden=True)
@click.option("--folder", type=click.Path(path_type=Path), help="Where to put the stores; a temporary one by default.")
def main(clips: str, one: tuple[str, str] | None, folder: Path | None) -> None:
    if one:
        print(worked(one[0], folder, int(one[1])))
        return
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        for count in map(int, clips.split(",")):
            store = synthetic_store(folder or Path(temporary), count, SECONDS, [MelSpectrogram()])
            size = store.arrays["mel"].data.nbytes / 2**20
            for work in WORK:
                command = [sys.executable, __file__, "--one", work, str(count), "--folder", str(folder or temporary)]
                began = time.perf_counter()
                peak = float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
                seconds = time.perf_counter() - began
                rows.append({"work": work, "clips": count, "store MiB": size, "private MiB": peak, "seconds": seconds})
    record("store_memory", pd.DataFrame(rows))


if __name__ == "__main__":
    main()
