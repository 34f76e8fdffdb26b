"""Files of what a network hears, written as it goes along, and there when all of it is."""

import csv
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pandas as pd

from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.training.inference import PROBABILITY, probability_columns
from soundfusion_lib.use.recognizer import Heard, Recognizer

DIGITS = 6  # of probabilities; of seconds, half as many
Add = Callable[[Heard], None]


@contextmanager
def csv_output(path: Path) -> Iterator[Add]:
    """A tidy table, a row a segment and label: file, start and end in s, label, probability. A file that cannot be used
    has no row."""

    def add(heard: Heard) -> None:
        table = _rounded(heard).melt(["start", "end"], var_name="label", ignore_index=False)
        table = table.sort_index(kind="stable")  # segment by segment
        table["label"] = table["label"].str.removeprefix(PROBABILITY)
        rows.writerows([heard.file, *row] for row in table.itertuples(index=False, name=None))

    with _written(path) as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["file", "start", "end", "label", "probability"])
        yield add


@contextmanager
def json_output(path: Path, recognizer: Recognizer, top: int) -> Iterator[Add]:
    """The model, and a list of files: file, prediction, top (the most probable labels), segments (start and end in s,
    probabilities), error."""
    about = {name: recognizer.about.get(name) for name in ("corpus", "synthetic")}
    before = "\n"

    def add(heard: Heard) -> None:
        nonlocal before
        file.write(before + json.dumps(_content(heard, top)))
        before = ",\n"

    with _written(path) as file:
        file.write('{"model": ' + json.dumps({"name": recognizer.name, **about, "labels": recognizer.labels}))
        file.write(', "files": [')
        yield add
        file.write("\n]}\n")


def _content(heard: Heard, top: int) -> dict[str, Any]:
    content = {"file": str(heard.file), "prediction": None, "top": [], "segments": [], "error": heard.error}
    if heard.error:
        return content
    best = heard.mean.head(top).round(DIGITS).items()
    segments = _rounded(heard)
    labels = [column.removeprefix(PROBABILITY) for column in probability_columns(segments)]
    rows = segments.itertuples(index=False, name=None)
    return content | {
        "prediction": heard.label,
        "top": [{"label": label, "probability": value} for label, value in best],
        "segments": [
            {"start": start, "end": end, "probabilities": dict(zip(labels, values, strict=True))}
            for start, end, *values in rows
        ],
    }


def _rounded(heard: Heard) -> pd.DataFrame:
    """The segments, in as many digits as are written."""
    return heard.segments.astype(float).round({"start": DIGITS // 2, "end": DIGITS // 2}).round(DIGITS)


@contextmanager
def _written(path: Path) -> Iterator[IO[str]]:
    """A text file that is at this path when the block ends, and not before; raises SoundFusionError if it cannot be."""
    aside = path.with_name(f".{path.name}.new")
    try:
        # a file's name that is no text holds surrogates: they become its bytes again
        with open(aside, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            yield file
        os.replace(aside, path)
    except OSError as error:
        raise SoundFusionError(f"{path} cannot be written ({error.strerror})") from error
    finally:
        aside.unlink(missing_ok=True)
