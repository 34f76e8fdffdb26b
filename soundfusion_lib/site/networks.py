"""What the page of a network shows: what it is, its layers, and its rows and figures on each corpus."""

import inspect
import re
from dataclasses import dataclass

import pandas as pd
import torch

from soundfusion_lib.analysis.tables import readable
from soundfusion_lib.models import MODELS, build_model, count_parameters, summarize
from soundfusion_lib.site.content import Results
from soundfusion_lib.study.profile import load_profile
from soundfusion_lib.study.study import WHOLE_CLIP_MODELS

GENRES = 8  # of FMA-small
BEFORE = "", "probe of ", "pre-trained "  # what a row may call the network, before its name
PERFORMANCE = "tables/05_performance.csv"  # which has the report's numbers beside ours
SHOWN = (  # of its columns, in this order
    *("model", "track_accuracy", "track_low", "track_high", "track_reported"),
    *("segment_accuracy", "segment_low", "segment_high", "segment_reported", "parameters", "core_minutes"),
)


@dataclass(frozen=True)
class Network:
    """A network of the study: its name in `MODELS`, how tables call it, and the figures that show it."""

    model: str
    names: tuple[str, ...]
    figures: tuple[str, ...] = ()  # without .png

    @property
    def title(self) -> str:
        return self.names[0]

    @property
    def about(self) -> str:
        """The paper and the idea, Markdown: the docstring of its module."""
        return inspect.getdoc(inspect.getmodule(MODELS[self.model])) or ""

    @property
    def documentation(self) -> str:
        """The docstring of its class: arguments, shapes."""
        return inspect.getdoc(MODELS[self.model]) or ""

    @property
    def summary(self) -> str:
        """The first paragraph of that docstring."""
        return " ".join(self.documentation.split("\n\n")[0].split())

    @property
    def inputs(self) -> tuple[str, ...]:
        return MODELS[self.model].inputs

    def layers(self) -> tuple[pd.DataFrame, int, float]:
        """Its layers, of the default width, on the report's inputs and FMA-small's eight genres; its number of
        parameters; and the seconds that it hears at once."""
        profile = load_profile("fma_small")
        seconds = profile.clip_seconds if self.model in WHOLE_CLIP_MODELS else profile.segmenting.seconds
        shapes = {
            "waveform": (1, profile.waveform.frames(seconds)),
            "mel": (profile.mel.channels, profile.mel.n_mels, profile.mel.frames(seconds)),
        }
        with torch.device("meta"):  # shapes only: VGG16 has 134 million parameters
            model = build_model(self.model, GENRES)
        table = summarize(model, *(shapes[name] for name in self.inputs))
        return table, count_parameters(model), seconds

    def is_in(self, row: str) -> bool:
        """Whether a row of a table with this name is of this network, of whatever size and start."""
        beginnings = [before + name for before in BEFORE for name in self.names]
        return any(re.match(rf"{re.escape(beginning)}(?!\w)", row, re.IGNORECASE) for beginning in beginnings)

    def tables(self, results: Results) -> dict[str, pd.DataFrame]:
        """The rows of this network in the tables of a profile, by file."""
        rows = {}
        for file, table in results.tables.items():
            column = next((name for name in ("model", "network") if name in table), None)
            if column and (own := table[column].astype(str).map(self.is_in)).any():
                rows[file] = table[own]
        return rows

    def performance(self, every: list[Results]) -> pd.DataFrame:
        """Its rows in the table of performance on each corpus, with what the report has on FMA-small; for reading."""
        rows = []
        for results in every:
            if (table := self.tables(results).get(PERFORMANCE)) is not None:
                music = results.name + (", synthetic" if results.synthetic else "")
                rows.append(table[[name for name in SHOWN if name in table]].pipe(readable).assign(corpus=music))
        return pd.concat(rows).set_index("corpus").reset_index() if rows else pd.DataFrame()


NETWORKS = [
    Network("fusion_concat", ("SoundFusion-1",), ("05_training_curves", "07_soundfusion1")),
    Network("fusion_decision", ("SoundFusion-2",), ("05_training_curves",)),
    Network("fusion_gated", ("Gated fusion",), ("10_fronts",)),
    Network("fusion_attention", ("Attention fusion",), ("10_fronts",)),
    Network("resnet1d", ("ResNet1D",), ("04_training_curves", "05_training_curves", "07_resnet1d", "06_width_scaling")),
    Network("resnet2d", ("ResNet2D",), ("02_training_curves", "05_training_curves", "07_resnet2d", "06_width_scaling")),
    Network("simple_cnn", ("SimpleCNN", "Simple CNN"), ("02_training_curves", "02_grid_search", "03_blocks")),
    Network("nnet1", ("nnet1",), ("02_training_curves",)),
    Network("nnet2", ("nnet2",), ("02_nnet2_loss",)),
    Network("vgg16", ("VGG16",), ("03_curves", "03_blocks")),
]
