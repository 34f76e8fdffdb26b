"""What a trained network hears in audio files and in folders of them."""

from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from soundfusion_lib.datasets.folder import SUFFIXES
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.training.inference import PROBABILITY
from soundfusion_lib.use.output import csv_output, json_output
from soundfusion_lib.use.recognizer import Heard, Recognizer, load_recognizer
from soundfusion_lib.use.timeline import write_timeline


def predict(
    *paths: str | Path, model: str | Path | None = None, profile: str | None = None, device: str = "auto"
) -> pd.DataFrame:
    """What a trained network hears in audio files of any length and in folders of them.

    Args:
        paths: files, and folders, see `audio_files`.
        model, profile, device: see `load_recognizer`; without a model the one that comes with the project.

    Returns:
        One row a file: file; prediction (majority vote of its segments, see `inference.decide`); probability (mean
        over its segments of that label's); segments; error (why a file has no prediction); and for each label its
        mean probability (`p_rock`). `load_recognizer` gives the same along time.

    Raises:
        SoundFusionError: no such model; a folder without audio files.
    """
    files = audio_files(paths)
    recognizer = load_recognizer(model, profile, device)
    rows = [row_of(heard, recognizer.labels) for heard in recognizer.hear(files)]
    # pandas makes NaN, which is true, of a None among texts, and takes no file's name that is no text
    kinds = {"file": object, "prediction": object, "error": object}
    return pd.DataFrame({name: pd.Series([row[name] for row in rows], dtype=kinds.get(name)) for name in rows[0]})


def row_of(heard: Heard, labels: list[str]) -> dict:
    """A file as a row of the table of `predict`."""
    mean = heard.mean if not heard.error else pd.Series(np.nan, labels)
    return {
        "file": str(heard.file),
        "prediction": None if heard.error else heard.label,
        "probability": np.nan if heard.error else mean[heard.label],
        "segments": len(heard.segments),
        "error": heard.error,
        **{PROBABILITY + label: mean[label] for label in labels},
    }


def audio_files(paths: tuple[str | Path, ...]) -> list[Path]:
    """The files among these paths, there or not, and in place of each folder the audio files in it, however deep, by
    name; hidden ones are ignored.

    Raises:
        SoundFusionError: a folder holds no audio file; no paths.
    """
    if not paths:
        raise SoundFusionError("no files given: name audio files, or folders that hold some")
    return [file for path in map(Path, paths) for file in (_in_folder(path) if path.is_dir() else [path])]


def _in_folder(folder: Path) -> list[Path]:
    files = sorted(
        file
        for file in folder.rglob("*")
        if file.suffix.lower() in SUFFIXES
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
        and file.is_file()
    )
    if not files:
        raise SoundFusionError(f"{folder}: no audio files in it. Suffixes looked for: {' '.join(sorted(SUFFIXES))}")
    return files


def report(
    paths: tuple[Path, ...],
    recognizer: Recognizer,
    top: int,
    csv: Path | None = None,
    json: Path | None = None,
    plot: Path | None = None,
) -> pd.DataFrame:
    """What `soundfusion predict` says: the table of `predict`, with the most probable labels in words; a bar shows how
    far it is, where there are several files and a terminal.

    Args:
        paths: files, and folders, see `audio_files`.
        top: how many labels.
        csv, json: files to write, see `output`.
        plot: picture to draw, see `timeline`; of one file.

    Returns:
        One row a file: file, prediction, top ("rock 0.62, pop 0.30"), segments, error.

    Raises:
        SoundFusionError: a folder without audio files; a plot of several files; a file cannot be written, or would
            overwrite a recording or another.
    """
    files = audio_files(paths)
    _check_outputs([one for one in (csv, json, plot) if one], files)
    if plot and len(files) > 1:
        raise SoundFusionError(f"--plot draws one file, and there are {len(files)}: call it for each")
    rows = []
    with ExitStack() as outputs:
        takers = [outputs.enter_context(csv_output(csv))] if csv else []
        takers += [outputs.enter_context(json_output(json, recognizer, top))] if json else []
        bar = tqdm(files, "listening", unit="file", disable=None if len(files) > 1 else True)
        for heard in recognizer.hear(bar):
            for take in takers:
                take(heard)
            if plot and not heard.error:
                write_timeline(heard, recognizer, plot)
            rows.append(_in_words(heard, recognizer.labels, top))
    return pd.DataFrame(rows)


def _check_outputs(outputs: list[Path], files: list[Path]) -> None:
    """Raise SoundFusionError where a file to be written is a recording, or to be written twice."""
    heard = {file.resolve() for file in files}
    for number, output in enumerate(outputs):
        if output.resolve() in heard or output.suffix.lower() in SUFFIXES:
            raise SoundFusionError(f"{output} is a recording, and would be overwritten: name the file to write")
        if output.resolve() in {other.resolve() for other in outputs[:number]}:
            raise SoundFusionError(f"{output} is to be written twice: give each output a file of its own")


def _in_words(heard: Heard, labels: list[str], top: int) -> dict:
    row = row_of(heard, labels)
    best = [] if heard.error else [f"{label} {value:.2f}" for label, value in heard.mean.head(top).items()]
    name = row["file"].encode("utf-8", "replace").decode()  # which need be no text
    return {"file": name, "prediction": row["prediction"] or "", "top": ", ".join(best)} | {
        name: row[name] for name in ("segments", "error")
    }
