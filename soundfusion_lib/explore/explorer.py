"""The widgets that a study is explored with."""

import html
from collections.abc import Iterable
from typing import Any

import ipywidgets as widgets
import matplotlib.pyplot as plt
from IPython.display import Image

from soundfusion_lib.analysis.tables import confusion
from soundfusion_lib.audio.decode import UnusableAudio
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.explore import pictures
from soundfusion_lib.explore.grad_cam import looks_at_spectrograms
from soundfusion_lib.explore.judgements import Judgements
from soundfusion_lib.explore.looked_at import heat
from soundfusion_lib.explore.matrix import Matrix
from soundfusion_lib.explore.player import PLAYER, picture_element, sound_element
from soundfusion_lib.explore.sound import sound
from soundfusion_lib.study.study import Study

LABEL, CELL, MISSED = range(3)  # what clips are chosen by: the numbers of the tabs


class Explorer(widgets.VBox):
    """What is chosen leads to a list of clips, the clip chosen of these to its sound and its picture.

    Args:
        still: what is shown of it where there are no widgets, as on GitHub.
    """

    def __init__(self, study: Study, judgements: Judgements | None, still: Image) -> None:
        self._study, self._judgements, self._still = study, judgements, still
        self._unheard = ""  # why the clip has no sound
        self._label = _choice(study.store.labels, study.corpus.label_name, self._list)
        self._clip = widgets.Dropdown(layout={"width": "430px"})
        self._clip.observe(self._hear, "value")
        self._count = widgets.Label()
        self._looked = widgets.ToggleButton(description="what did it look at?", tooltip="Grad-CAM of the network above")
        self._looked.observe(self._draw, "value")
        self._sound, self._note, self._picture = widgets.HTML(), widgets.HTML(), widgets.HTML()
        steps = _button("arrow-left", "the clip before", -1, self._step), _button("arrow-right", "next", 1, self._step)
        line = widgets.HBox([self._clip, *steps, self._count], layout={"flex_flow": "row wrap"})
        choices: list[widgets.Widget] = [self._label]
        if judgements:
            line.children += (self._looked,)
            self._network = _choice(list(judgements.runs), "network", self._change_network, judgements.best)
            self._matrix = Matrix(self._choose_cell)
            self._ways = widgets.Tab([self._label, self._matrix, widgets.Label(self._said_of_missed())])
            self._ways.titles = f"by {study.corpus.label_name}", "by confusion", "missed by all"
            self._ways.selected_index = MISSED if judgements.missed else LABEL
            self._ways.observe(self._list, "selected_index")
            choices = [self._network, self._ways]
            self._fill()
        super().__init__([*choices, line, self._sound, self._note, self._picture])
        self.add_class(PLAYER)
        self._list()

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """The widgets, and the still picture for those that show none."""
        picture, about = self._still._repr_mimebundle_(**options)
        return super()._repr_mimebundle_(**options) | picture, about

    def _list(self, _: Any = None) -> None:
        """Offer the clips of what is chosen."""
        judgements, way = self._judgements, self._ways.selected_index if self._judgements else LABEL
        if way == CELL:
            tracks = judgements.cell(self._network.value, *self._cell)
        elif way == MISSED:
            tracks = judgements.missed
        else:
            own = self._study.tracks.index[self._study.tracks["label"] == self._label.value]
            tracks = [track for track in own if not judgements or track in judgements.labels.index]
        self._clip.options = [(self._named(track), track) for track in tracks]
        if tracks and self._clip.index is None:  # after an empty list nothing is chosen
            self._clip.index = 0
        self._number()

    def _number(self) -> None:
        """Say which of the clips it is."""
        count = len(self._clip.options)
        self._count.value = f"{self._clip.index + 1} of {count}" if count else "no clips"

    def _named(self, track: str) -> str:
        """A clip in the list."""
        label, artist, part = self._study.tracks.loc[track, ["label", "group", "split"]]
        if self._judgements:
            part = self._judgements.tally(track)
        return f"{track}: {label}, {f'artist {artist}, ' if isinstance(artist, str) else ''}{part}"

    def _said_of_missed(self) -> str:
        missed, tested = len(self._judgements.missed), len(self._judgements.right)
        return f"{missed} of {tested} test clips: every network is wrong on them"

    def _choose_cell(self, true: str, predicted: str) -> None:
        self._cell = true, predicted
        self._list()

    def _change_network(self, _: Any) -> None:
        self._fill()
        before = self._clip.value
        if self._ways.selected_index == CELL:
            self._list()
        if self._clip.value == before:  # another clip is drawn already
            self._draw()

    def _fill(self) -> None:
        """What depends on the network."""
        group = self._judgements.runs[self._network.value]
        self._cell = self._matrix.fill(confusion(group))
        self._looked.disabled = not looks_at_spectrograms(group.experiment)

    def _step(self, by: int) -> None:
        if self._clip.options:
            self._clip.index = (self._clip.index + by) % len(self._clip.options)

    def _hear(self, _: Any) -> None:
        """Sound and picture of the clip chosen."""
        self._number()
        track, self._sound.value, self._unheard = self._clip.value, "", ""
        try:
            if track:
                self._sound.value = sound_element(sound(self._study.corpus, track))
        except UnusableAudio as reason:
            self._unheard = f"{self._study.corpus.file(track)} cannot be heard: {reason}. "
        self._draw()

    def _draw(self, _: Any = None) -> None:
        track, network, over, unseen = self._clip.value, None, None, ""
        if track is None:
            self._picture.value = ""
            return
        if self._judgements:
            network = self._network.value
            label = self._judgements.labels.loc[track, network]  # NaN of a clip that it trained on
            if self._looked.value and not self._looked.disabled and isinstance(label, str):
                try:
                    over = heat(self._study, self._judgements, network, track, label)
                except SoundFusionError as error:
                    unseen = f"What {network} looked at cannot be seen: {error}"
        self._note.value = html.escape(self._unheard + unseen)
        figure = pictures.clip(self._study, track, self._judgements, network, over)
        described = pictures.described(self._study, track, self._judgements)
        self._picture.value = picture_element(figure, self._study.tracks.loc[track, "seconds"], described)
        plt.close(figure)


def _choice(options: Iterable[str], name: str, changed: Any, value: str | None = None) -> widgets.ToggleButtons:
    """One of a few, as buttons in rows."""
    buttons = widgets.ToggleButtons(options=options, value=value or options[0], style={"button_width": "auto"})
    buttons.tooltips = [f"{name} {option}" for option in options]
    buttons.observe(changed, "value")
    return buttons


def _button(icon: str, tip: str, by: int, clicked: Any) -> widgets.Button:
    button = widgets.Button(icon=icon, tooltip=tip, layout={"width": "36px"})
    button.on_click(lambda _: clicked(by))
    return button
