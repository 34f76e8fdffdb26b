"""A trained model on files that no corpus lists."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from soundfusion_lib.audio import UnusableAudio, decode
from soundfusion_lib.device import choose_device
from soundfusion_lib.signals.representations import Representation
from soundfusion_lib.signals.segments import Segmenting
from soundfusion_lib.training.inference import BATCH, decide
from soundfusion_lib.training.runs import load_run


@torch.inference_mode()
def predict_files(folder: Path, files: list[Path], device: str = "auto") -> pd.DataFrame:
    """What a run's model hears in all of each audio file: a model of whole clips, window by window.

    Args:
        folder: of the run.
        files: audio files.
        device: see `choose_device`.

    Returns:
        One row a file: file, prediction (majority vote of its segments, see `inference.decide`), probability (mean
        over its segments of that label's), segments, error (why a file has no prediction).

    Raises:
        SoundFusionError: the folder is no run.
    """
    run = load_run(folder)
    where = choose_device(device)
    model, labels, segmenting = run.model().to(where), run.info["genres"], run.experiment.segmenting
    specs = {spec.kind: spec for spec in run.experiment.representations}
    rows = []
    for file in files:
        row = {"file": str(file), "prediction": None, "probability": np.nan, "segments": 0, "error": None}
        rows.append(row)
        try:
            samples, sample_rate = decode(file)
            starts = _starts(segmenting, len(samples) / sample_rate)
            if len(starts) == 0:
                raise UnusableAudio(f"shorter than one segment ({segmenting.seconds:g} s)")
        except UnusableAudio as reason:
            row["error"] = str(reason)
            continue
        arrays = [_padded(specs[kind], samples, sample_rate, segmenting.seconds) for kind in model.inputs]
        outputs = []
        for first in range(0, len(starts), BATCH):
            times = starts[first : first + BATCH]
            cuts = zip(model.inputs, arrays, strict=True)
            inputs = [_cut(specs[kind], array, times, segmenting.seconds).to(where) for kind, array in cuts]
            outputs.append(model(*inputs).softmax(1).cpu())
        votes, mean = decide(torch.cat(outputs).numpy(), np.zeros(len(starts), dtype=int))
        winner = votes[0]
        row |= {"prediction": labels[winner], "probability": mean[0, winner], "segments": len(starts)}
    return pd.DataFrame(rows)


def _starts(segmenting: Segmenting, seconds: float) -> np.ndarray:
    """Start times, in s, of what a model hears of a file of so many seconds: segments cut as in its training.

    A model of whole clips hears one window after the other, and, where half a window or more is left, one that ends
    with the file.
    """
    if segmenting.overlap is not None:
        return segmenting.starts(seconds)
    starts = segmenting.seconds * np.arange(max(1, int(seconds / segmenting.seconds)))
    rest = seconds - starts[-1] - segmenting.seconds
    return np.append(starts, seconds - segmenting.seconds) if rest >= segmenting.seconds / 2 else starts


def _padded(spec: Representation, samples: np.ndarray, sample_rate: int, seconds: float) -> np.ndarray:
    """A file as one array, (time, channels, bands), with silence behind it where it is shorter than a segment."""
    array = spec.transform(samples, sample_rate)
    lacking = max(0, spec.frames(seconds) - len(array))
    return np.concatenate([array, np.full((lacking, *array.shape[1:]), spec.silence(array), array.dtype)])


def _cut(spec: Representation, array: np.ndarray, starts: np.ndarray, seconds: float) -> torch.Tensor:
    """Segments of a file that start at these times: waveform (N, 1, length), mel (N, channels, bands, length)."""
    length = spec.frames(seconds)
    offsets = [min(spec.position(start), len(array) - length) for start in starts]
    x = torch.from_numpy(np.stack([array[offset : offset + length] for offset in offsets]))
    x = x.permute(0, 2, 3, 1).float() * spec.scale  # (N, channels, bands, length)
    return x.squeeze(2) if spec.kind == "waveform" else x
