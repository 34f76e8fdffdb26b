"""A trained model on files that no corpus lists."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from soundfusion_lib.audio import UnusableAudio, decode
from soundfusion_lib.device import choose_device
from soundfusion_lib.experiments import load_run


@torch.inference_mode()
def predict_files(folder: Path, files: list[Path], device: str = "auto") -> pd.DataFrame:
    """What a run's model hears in audio files.

    Args:
        folder: of the run.
        files: audio files.
        device: see `choose_device`.

    Returns:
        One row a file: file, prediction (majority vote of its segments, ties to the first label), probability (mean
        over its segments of that label's), segments, error (why a file has no prediction).

    Raises:
        SoundFusionError: the folder is no run.
    """
    run = load_run(folder)
    where = choose_device(device)
    model, experiment, genres = run.model().to(where), run.experiment, run.info["genres"]
    specs = {spec.kind: spec for spec in experiment.representations}
    rows = []
    for file in files:
        row = {"file": str(file), "prediction": None, "probability": np.nan, "segments": 0, "error": None}
        rows.append(row)
        try:
            samples, sample_rate = decode(file)
            starts = experiment.segmenting.starts(len(samples) / sample_rate)
            if len(starts) == 0:
                raise UnusableAudio(f"shorter than one segment ({experiment.segmenting.seconds:g} s)")
        except UnusableAudio as reason:
            row["error"] = str(reason)
            continue
        inputs = [_cut(specs[kind], samples, sample_rate, starts, experiment.segmenting.seconds) for kind in model.inputs]
        probabilities = model(*(x.to(where) for x in inputs)).float().softmax(1).cpu()
        votes = torch.bincount(probabilities.argmax(1), minlength=len(genres))
        winner = int(votes.argmax())
        row |= {
            "prediction": genres[winner],
            "probability": float(probabilities[:, winner].mean()),
            "segments": len(starts),
        }
    return pd.DataFrame(rows)


def _cut(spec, samples, sample_rate, starts, seconds) -> torch.Tensor:
    """Segments of one file: waveform (N, 1, length), mel (N, channels, bands, length)."""
    array = spec.transform(samples, sample_rate)  # (time, channels, bands)
    length = spec.frames(seconds)
    if len(array) < length:
        silence = np.full((length - len(array), *array.shape[1:]), spec.silence(array), array.dtype)
        array = np.concatenate([array, silence])
    offsets = [min(spec.position(start), len(array) - length) for start in starts]
    x = torch.from_numpy(np.stack([array[offset : offset + length] for offset in offsets]))
    x = x.permute(0, 2, 3, 1).float() * spec.scale  # (N, channels, bands, length)
    return x.squeeze(2) if spec.kind == "waveform" else x
