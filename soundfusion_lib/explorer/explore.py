"""The explorer: clips to choose, to hear and to see, or a picture of one where nobody is there to click."""

import html
from collections.abc import Mapping
from typing import Any

import ipywidgets as widgets
from IPython import get_ipython
from IPython.display import Image

from soundfusion_lib.analysis.tables import confusion
from soundfusion_lib.audio.decode import UnusableAudio
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.explorer import pictures
from soundfusion_lib.explorer.grad_cam import heat, looks_at_spectrograms
from soundfusion_lib.explorer.judgements import Judgements
from soundfusion_lib.explorer.matrix import Matrix
from soundfusion_lib.explorer.player import PLAYER, picture_element, sound, sound_element
from soundfusion_lib.study.study import Study
from soundfusion_lib.training.result import Result

LABEL, CELL, MISSED = range(3)  # what clips are chosen by: the numbers of the tabs


def explore(study: Study, runs: Mapping[str, Result] | None = None) -> "Explorer | Image":
    """The study's clips, to choose, to hear and to see; with runs also what these predict of clips that they were
    tested on, chosen by label, by a cell of a confusion matrix, or because every network is wrong on them.

    Where no person's front end shows the notebook while it runs (papermill, nbval) it is a picture of one clip, also
    saved as a figure of the study: the first that every network is wrong on, or else the first.

    Args:
        runs: by the network's name; their predictions are read from their files.
    """
    judgements = Judgements(runs) if runs else None
    tracks = [*judgements.missed, *judgements.labels.index] if judgements else study.tracks.index
    figure = pictures.clip(study, tracks[0], judgements, judgements.best if judgements else "")
    caption = pictures.description(study, tracks[0], judgements)
    still = study.save_figure(figure, f"{study.notebook[:2]}_explore", caption)
    kernel = getattr(get_ipython(), "kernel", None)
    clickable = kernel is not None and "cellId" in kernel.get_parent().get("metadata", {})  # as JupyterLab says it
    return Explorer(study, judgements, still) if clickable else still


class Explorer(widgets.HBox):
    """Choices, the clips chosen and a player on the left; the picture of a clip on the right, or below if narrow.

    Args:
        still: shown where there are no widgets, as on GitHub.
    """

    def __init__(self, study: Study, judgements: Judgements | None, still: Image) -> None:
        self._study, self._judgements, self._still = study, judgements, still
        self._label = widgets.ToggleButtons(options=study.store.labels, style={"button_width": "auto"})
        self._clip = widgets.Select(rows=4, layout={"width": "auto"})
        self._looked = widgets.ToggleButton(description="what did it look at?", tooltip="Grad-CAM of the network above")
        self._sound, self._note, self._picture = widgets.HTML(), widgets.HTML(), widgets.HTML()
        left = [self._label, self._clip, self._sound]
        if judgements:
            options = {"options": list(judgements.runs), "value": judgements.best}
            self._network = widgets.Dropdown(**options, layout={"width": "auto"})
            self._matrix = Matrix(self._list)
            missed = f"{len(judgements.missed)} of {len(judgements.right)} test clips: every network is wrong on them"
            self._ways = widgets.Tab([self._label, self._matrix, widgets.Label(missed)])
            self._ways.titles = f"by {study.corpus.label_name}", "by confusion", "missed by all"
            self._ways.selected_index = MISSED if judgements.missed else LABEL
            self._ways.observe(self._list, "selected_index")
            self._network.observe(self._change_network, "value")
            left = [self._network, self._ways, self._clip, self._sound, self._looked, self._note]
        self._label.observe(self._list, "value")
        self._clip.observe(self._hear, "value")
        self._looked.observe(self._draw, "value")
        boxes = (
            widgets.VBox(left, layout={"flex": "0 1 440px"}),
            widgets.Box([self._picture], layout={"flex": "1 1 480px"}),
        )
        super().__init__(boxes, layout={"flex_flow": "row wrap"})
        self.add_class(PLAYER)
        self._change_network() if judgements else self._list()

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """The widgets, and the still picture for front ends without them."""
        picture, about = self._still._repr_mimebundle_(**options)
        return super()._repr_mimebundle_(**options) | picture, about

    def _list(self, _: Any = None) -> None:
        """List the clips of what is chosen."""
        judgements, tracks = self._judgements, self._study.tracks
        way = self._ways.selected_index if judgements else LABEL
        if way == CELL:
            chosen = judgements.cell(self._network.value, *self._matrix.cell)
        elif way == MISSED:
            chosen = judgements.missed
        else:
            chosen = tracks.index[tracks["label"] == self._label.value]
            chosen = [track for track in chosen if not judgements or track in judgements.labels.index]
        options = tuple((self._named(track), track) for track in chosen)
        if options != self._clip.options:
            self._clip.options = options
            if options:
                self._clip.value = chosen[0]

    def _named(self, track: str) -> str:
        """A clip in the list."""
        label, artist, part = self._study.tracks.loc[track, ["label", "group", "split"]]
        said = self._judgements.tally(track) if self._judgements else part
        return f"{track}: {label}, {f'artist {artist}, ' if isinstance(artist, str) else ''}{said}"

    def _change_network(self, _: Any = None) -> None:
        group, track = self._judgements.runs[self._network.value], self._clip.value
        self._looked.disabled = not looks_at_spectrograms(group.experiment)
        self._matrix.fill(confusion(group))
        self._list()
        if self._clip.value == track:  # another clip is drawn already
            self._draw()

    def _hear(self, _: Any) -> None:
        """Show the sound and the picture of the clip chosen."""
        corpus, track, self._sound.value = self._study.corpus, self._clip.value, ""
        try:
            if track:
                self._sound.value = sound_element(sound(corpus, track), self._study.tracks.loc[track, "seconds"])
        except UnusableAudio as reason:
            self._sound.value = html.escape(f"{corpus.file(track)} cannot be heard: {reason}")
        self._draw()

    def _draw(self, _: Any = None) -> None:
        """Show the picture of the clip chosen."""
        track, judgements, network, over = self._clip.value, self._judgements, "", None
        self._note.value = ""
        if track is None:
            self._picture.value = ""
            return
        if judgements:
            network = self._network.value
            label = judgements.labels.loc[track, network]  # NaN if the network was not tested on the clip
            try:
                if self._looked.value and not self._looked.disabled and isinstance(label, str):
                    over = heat(self._study, judgements, network, track, label)
            except SoundFusionError as error:
                self._note.value = html.escape(f"Where {network} looked cannot be shown: {error}")
        figure = pictures.clip(self._study, track, judgements, network, over)
        description = pictures.description(self._study, track, judgements)
        self._picture.value = picture_element(figure, self._study.tracks.loc[track, "seconds"], description)
