"""What corpora of other sizes would cost on two cores, reckoned from the newest records: nothing is measured here.

    python benchmarks/scale.py

For clips of 30 s. `preparation`: by prepare.csv. `store`: both inputs. `table`: the table of performance without VGG16,
as many epochs as the report allows, on four fifths of the clips, by train.csv; validation comes on top. `VGG16`: the
same of its one row. `report`: its networks of three widths by its own seconds per epoch, on a GPU it does not name.
"""

import numpy as np
import pandas as pd
from common import RESULTS
from train import LEVERS, SPECS

from soundfusion_lib.audio.segments import Segmenting
from soundfusion_lib.study.profile import load_profile
from soundfusion_lib.study.protocol import reported

CORPORA = {"FMA-small": 8_000, "FMA-medium": 25_000, "FMA-large": 106_574, "a million songs": 1_000_000}
SECONDS, SHARE = 30.0, 0.8
TABLE = "simple_cnn", "nnet1", "nnet2", "resnet1d-medium", "resnet2d-small", "soundfusion1", "soundfusion2"
HOUR, DAY = 3600, 86_400


def newest(benchmark: str, row: str, name: str) -> pd.DataFrame:
    """The rows of the newest record whose column `row` says `name`."""
    table = pd.read_csv(RESULTS / f"{benchmark}.csv")
    table = table[table[row] == name]
    return table[table["date"] == table["date"].max()]


def table() -> pd.DataFrame:
    """A row a corpus."""
    epochs, bytes_a_clip = load_profile("fma_small").settings("resnet2d")["epochs"], 0
    for spec in SPECS:
        bytes_a_clip += spec.frames(SECONDS) * spec.channels * spec.bands * np.dtype(spec.dtype).itemsize
    segments = {"simple_cnn": 1}  # of a clip, which it takes whole
    speed = newest("train", "how", LEVERS[-1]).set_index("model")["segments per second"]
    cost = epochs * SHARE / speed * [segments.get(name, len(Segmenting().starts(SECONDS))) for name in speed.index]
    prepared = 1 / newest("prepare", "method", "this library")["clips per second"].item()
    widths = reported("figure1_width_scaling")["seconds_per_epoch"].sum() * epochs / CORPORA["FMA-small"]
    rows = [
        {
            "corpus": corpus,
            "clips": clips,
            "preparation, hours": clips * prepared / HOUR,
            "store, GB": clips * bytes_a_clip / 1e9,
            "table, days": clips * cost[list(TABLE)].sum() / DAY,
            "VGG16, days": clips * cost["vgg16"] / DAY,
            "report, GPU-days": clips * widths / DAY,
        }
        for corpus, clips in CORPORA.items()
    ]
    return pd.DataFrame(rows)


if __name__ == "__main__":
    print(table().to_string(index=False, float_format=lambda value: f"{value:.2g}"))
