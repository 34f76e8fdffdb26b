"""How far predictions move when the number of threads, or the machine, is another.

    python benchmarks/threads.py                          # one thread against two, on this machine
    python benchmarks/threads.py --keep here.npz          # and keep one thread's predictions
    python benchmarks/threads.py --against other.npz      # one thread here against what was kept on another machine

Every network, narrow, is trained for a few epochs on the same synthetic spectrograms and waveforms from the same seed.
On one machine with one number of threads all bits are the same (tests/test_numbers.py). `largest` and `mean` are
differences of a segment's probability.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import click
import numpy as np
import pandas as pd
import torch
from common import record, synthetic_store

from soundfusion_lib.audio.representations import MelSpectrogram, Waveform
from soundfusion_lib.audio.segments import Segmenting, Segments
from soundfusion_lib.models import MODELS, build_model
from soundfusion_lib.training.inference import log_probabilities
from soundfusion_lib.training.loop import Training, fit

SPECS = [Waveform(16_000), MelSpectrogram(22_050, 2, 64, 1024, 512)]
PARTS = (("resnet1d", {"width": 4}), ("resnet2d", {"width": 4, "pool": 1}))
OPTIONS = {
    "simple_cnn": {}, "resnet2d": {"width": 4}, "resnet1d": {"width": 4}, "nnet1": {"width": 16},
    "nnet2": {"width": 16}, "vgg16": {"width": 4}, "fusion_concat": {"parts": PARTS},
    "fusion_decision": {"parts": PARTS}, "fusion_gated": {"parts": PARTS}, "fusion_attention": {"parts": PARTS},
}  # fmt: skip


def predicted(folder: Path, threads: int) -> dict[str, np.ndarray]:
    """By network: probabilities of the segments that it was not trained on, (segments, classes)."""
    torch.set_num_threads(threads)
    store = synthetic_store(folder, 80, 2.0, SPECS)
    found = {}
    for name, options in OPTIONS.items():
        test = store.tracks["split"] == "test"
        train, other = (
            Segments(store, store.tracks.index[rows], MODELS[name].inputs, Segmenting(1.0, 0.0), torch.device("cpu"))
            for rows in (~test, test)
        )
        torch.manual_seed(0)
        model = build_model(name, len(store.labels), **options)
        model.set_statistics(train.statistics())
        fit(model, train, None, Training(epochs=2, learning_rate=1e-3, keep="last"), progress=False)
        found[name] = log_probabilities(model, other).exp().numpy()
    return found


def differences(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> pd.DataFrame:
    """A row a network."""
    rows = []
    for name, first in one.items():
        apart, moved = np.abs(first - other[name]), (first.argmax(1) != other[name].argmax(1)).sum()
        rows.append({"network": name, "largest": apart.max(), "mean": apart.mean(), "segments": len(first),
                     "labels that change": moved})  # fmt: skip
    return pd.DataFrame(rows)


@click.command(help=__doc__)
@click.option("--threads", hidden=True, type=int)
@click.option("--keep", type=click.Path(path_type=Path), help="Keep the predictions of one thread in this file.")
@click.option("--against", type=click.Path(exists=True, path_type=Path), help="Compare with a file that was kept.")
def main(threads: int | None, keep: Path | None, against: Path | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        if threads:
            np.savez(keep, **predicted(Path(folder), threads))
            return
        files = {number: Path(folder) / f"{number}.npz" for number in ((1,) if against else (1, 2))}
        for number, file in files.items():  # in processes: libraries set themselves up for the first number they see
            command = [sys.executable, __file__, "--threads", str(number), "--keep", str(file)]
            subprocess.run(command, check=True)
        one, other = (dict(np.load(file)) for file in (files[1], against or files[2]))
        if keep:
            np.savez(keep, **one)
    record("threads", differences(one, other), against=against.name if against else "two threads")


if __name__ == "__main__":
    main()
