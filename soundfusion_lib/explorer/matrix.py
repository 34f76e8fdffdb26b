"""A confusion matrix of buttons."""

import html
from collections.abc import Callable

import ipywidgets as widgets
import numpy as np
import pandas as pd
from matplotlib.colors import to_hex

from soundfusion_lib.analysis.figures.results import LIGHT_BLUES

MOST = 16  # labels with room: those with the most mistakes
SIZE = {"width": "29px", "height": "24px", "margin": "1px", "padding": "0"}
ROW = "text-align: right; white-space: nowrap; padding-right: 6px; line-height: 26px"
COLUMN = "writing-mode: vertical-rl; transform: rotate(180deg); line-height: 31px; padding-top: 4px"


class Matrix(widgets.GridBox):
    """Tracks by true label (rows) and predicted label (columns), coloured by the row's share.

    Args:
        chosen: called after a click on a cell, whose true and predicted labels are `cell`.
    """

    def __init__(self, chosen: Callable[[], None]) -> None:
        self._chosen = chosen
        self._plain, self._marked = (widgets.Layout(**SIZE, border=border) for border in (None, "2px solid #d55e00"))
        super().__init__(layout=widgets.Layout(align_items="flex-end"))

    def fill(self, counts: pd.DataFrame) -> None:
        """Show a matrix, see `tables.confusion`, and mark its largest mistake."""
        mistakes = counts * (1 - np.eye(len(counts)))
        labels = sorted((mistakes.sum(axis=1) + mistakes.sum(axis=0)).nlargest(MOST).index)
        self._buttons = {
            (true, predicted): self._button(counts, true, predicted) for true in labels for predicted in labels
        }
        cells = [_text("true ↓ predicted →", ROW), *(_text(label, COLUMN) for label in labels)]
        for true in labels:
            cells += [_text(true, ROW), *(self._buttons[true, predicted] for predicted in labels)]
        self.layout.grid_template_columns = f"max-content repeat({len(labels)}, 31px)"
        self.children = cells
        self._mark(*mistakes.stack().idxmax())

    def _button(self, counts: pd.DataFrame, true: str, predicted: str) -> widgets.Button:
        count = f"{counts.loc[true, predicted]:.1f}".removesuffix(".0")
        color = to_hex(LIGHT_BLUES(counts.loc[true, predicted] / max(1, counts.loc[true].sum())))
        button = widgets.Button(
            description=count if count != "0" else "",
            disabled=count == "0",
            tooltip=f"{true}, predicted as {predicted}: {count}",
            layout=self._plain,
            style={"button_color": color, "text_color": "black"},
        )
        button.on_click(lambda _: (self._mark(true, predicted), self._chosen()))
        return button

    def _mark(self, *cell: str) -> None:
        self.cell = cell
        for labels, button in self._buttons.items():
            button.layout = self._marked if labels == cell else self._plain


def _text(text: str, style: str) -> widgets.HTML:
    return widgets.HTML(f'<div style="{style}">{html.escape(text)}</div>')
