"""The explorer: clips to choose, to hear and to see, or a picture of one where nobody is there to click."""

import html
import io
from base64 import b64encode
from collections.abc import Mapping
from functools import partial
from typing import Any

import ipywidgets as widgets
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython import get_ipython
from IPython.display import Image
from matplotlib.colors import to_hex

from soundfusion_lib.analysis.drawing import LIGHT_BLUES
from soundfusion_lib.analysis.tables import confusion
from soundfusion_lib.audio.decode import decode, encode_mp3, resample, to_channels
from soundfusion_lib.datasets.corpus import Corpus
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.explorer.judgements import Judgements, clip_picture
from soundfusion_lib.study.results import DPI
from soundfusion_lib.study.study import Study
from soundfusion_lib.training.result import Result

MOST_LABELS = 16  # of the matrix: those with the most mistakes
RATE, BYTES, LONGEST = 44_100, 500_000, 300  # Hz; Jupyter drops messages beyond 3 MB within 3 s; s


def explore(study: Study, runs: Mapping[str, Result] | None = None) -> "Explorer | Image":
    """The study's clips, to choose by label, to hear and to see; with runs, by the network's name, the clips that these
    were tested on, to choose by a cell of a confusion matrix, with what they predict and where they looked.

    Where nobody can click (papermill, nbval) it is a picture of one clip, also saved as a figure of the study: the
    first that every network is wrong on, or else the first.
    """
    kernel = getattr(get_ipython(), "kernel", None)
    judgements, network, tracks = None, "", study.tracks.index
    if runs:
        judgements, network = Judgements(runs), next(iter(runs))
        tracks = [*judgements.missed, *judgements.probabilities[network].index.unique("track")]
    if kernel is not None and "cellId" in kernel.get_parent().get("metadata", {}):  # as JupyterLab says it
        return Explorer(study, judgements)
    figure = clip_picture(study, tracks[0], judgements, network)
    return study.save_figure(figure, f"{study.notebook[:2]}_explore", figure.get_suptitle(), of_corpus=False)


def sound(corpus: Corpus, track: str) -> bytes:
    """What the study uses of a track's file, at most five minutes, as MP3; raises UnusableAudio if it is unreadable."""
    samples, rate = decode(corpus.file(track), min(corpus.seconds or LONGEST, LONGEST))
    samples = resample(to_channels(samples, min(2, samples.shape[1])), rate, RATE)
    kilobits = min(128, int(8 * BYTES / 1000 / (len(samples) / RATE)))
    return encode_mp3(samples, RATE, kilobits)


class Explorer(widgets.HBox):
    """Choices, the clips chosen and a player on the left; the picture of a clip on the right, or below if narrow."""

    def __init__(self, study: Study, judgements: Judgements | None) -> None:
        self._study, self._judgements = study, judgements
        self._clip = widgets.Select(rows=4, layout={"width": "auto"})
        self._looked = widgets.ToggleButton(description="what did it look at?", tooltip="Grad-CAM of the network above")
        self._sound, self._note, self._picture = widgets.HTML(), widgets.HTML(), widgets.HTML()
        self._matrix = widgets.GridBox(layout={"align_items": "flex-end"})
        options = list(judgements.runs) if judgements else study.store.labels
        self._choice = widgets.Dropdown(options=options, layout={"width": "auto"})  # a network, or else a label
        choose = self._choose_network if judgements else self._choose_label
        for widget, react in ((self._clip, self._show), (self._looked, self._show), (self._choice, choose)):
            widget.observe(react, "value")
        choose()
        choices = [self._choice, self._matrix, self._clip, self._sound, self._looked, self._note]
        left = widgets.VBox(choices if judgements else choices[:4], layout={"flex": "0 1 400px"})
        right = widgets.Box([self._picture], layout={"flex": "1 1 440px"})
        super().__init__([left, right], layout={"flex_flow": "row wrap"})
        self.add_class("soundfusion-explorer")

    def _choose_label(self, _: Any = None) -> None:
        tracks = self._study.tracks
        self._list(list(tracks.index[tracks["label"] == self._choice.value]))

    def _choose_network(self, _: Any = None) -> None:
        """Show a network's confusion matrix, and the clips of its largest mistake."""
        counts = confusion(self._judgements.runs[self._choice.value])
        mistakes = counts * (1 - np.eye(len(counts)))
        labels = sorted((mistakes.sum(axis=1) + mistakes.sum(axis=0)).nlargest(MOST_LABELS).index)
        self._buttons = {(row, column): self._button(counts, row, column) for row in labels for column in labels}
        vertical = "writing-mode: vertical-rl; transform: rotate(180deg); line-height: 31px; padding-top: 4px"
        cells = [_text("true ↓ predicted →"), *(_text(label, vertical) for label in labels)]
        for row in labels:
            cells += [_text(row), *(self._buttons[row, column] for column in labels)]
        self._matrix.layout.grid_template_columns = f"max-content repeat({len(labels)}, 31px)"
        self._matrix.children = cells
        self._choose_cell(mistakes.stack().idxmax())

    def _button(self, counts: pd.DataFrame, true: str, predicted: str) -> widgets.Button:
        """A cell of the matrix, coloured by the row's share."""
        count = f"{counts.loc[true, predicted]:.1f}".removesuffix(".0")
        color = to_hex(LIGHT_BLUES(counts.loc[true, predicted] / max(1, counts.loc[true].sum())))
        button = widgets.Button(
            description=count if count != "0" else "",
            disabled=count == "0",
            tooltip=f"{true}, predicted as {predicted}: {count}",
            layout={"width": "29px", "height": "24px", "margin": "1px", "padding": "0"},
            style={"button_color": color, "text_color": "black"},
        )
        button.on_click(partial(self._choose_cell, (true, predicted)))
        return button

    def _choose_cell(self, cell: tuple[str, str], _: Any = None) -> None:
        for labels, button in self._buttons.items():
            button.layout.border = "2px solid #d55e00" if labels == cell else None
        self._list(self._judgements.cell(self._choice.value, *cell))

    def _list(self, tracks: list[str]) -> None:
        """List clips, and show the first."""
        options = []
        for track, label, artist, part in self._study.tracks.loc[tracks, ["label", "group", "split"]].itertuples():
            artist = f"artist {artist}, " if isinstance(artist, str) else ""
            said = self._judgements.tally(track) if self._judgements else part
            options.append((f"{track}: {label}, {artist}{said}", track))
        self._clip.index = None  # so that the first is shown even if it was before, by another network
        self._clip.options = options
        self._clip.index = 0 if options else None

    def _show(self, _: Any = None) -> None:
        """Show the sound and the picture of the clip chosen."""
        study, judgements, track, network = self._study, self._judgements, self._clip.value, self._choice.value
        heard = note = picture = ""
        if track:
            source = _data_uri("audio/mpeg", sound(study.corpus, track))
            heard = f'<audio controls src="{source}" style="width: 100%"></audio>'
            try:
                figure = clip_picture(study, track, judgements, network, self._looked.value)
            except SoundFusionError as error:
                note = html.escape(f"Where {network} looked cannot be shown: {error}")
                figure = clip_picture(study, track, judgements, network)
            content = io.BytesIO()
            figure.savefig(content, dpi=DPI)
            plt.close(figure)
            source, text = _data_uri("image/png", content.getvalue()), html.escape(figure.get_suptitle())
            picture = f'<img src="{source}" alt="{text}" style="width: 100%; display: block">'
        self._sound.value, self._note.value, self._picture.value = heard, note, picture


def _text(text: str, style: str = "text-align: right; padding-right: 6px; line-height: 26px") -> widgets.HTML:
    return widgets.HTML(f'<div style="white-space: nowrap; {style}">{html.escape(text)}</div>')


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{b64encode(content).decode()}"
