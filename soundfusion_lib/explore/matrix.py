"""A confusion matrix of buttons."""

import html
from collections.abc import Callable

import ipywidgets as widgets
import numpy as np
import pandas as pd
from matplotlib.colors import to_hex

from soundfusion_lib.analysis.figures.results import LIGHT_BLUES

MOST = 16  # labels with room: those of the most mistakes
CELL = {"width": "46px", "height": "28px", "margin": "1px", "padding": "0"}
ROW = "text-align: right; white-space: nowrap; padding-right: 6px; line-height: 30px"
COLUMN = "writing-mode: vertical-rl; transform: rotate(180deg); line-height: 46px; padding-top: 4px"


class Matrix(widgets.GridBox):
    """Tracks by true label (rows) and predicted label (columns), coloured by the row's share; a click on a cell calls
    `chosen` with both labels.
    """

    def __init__(self, chosen: Callable[[str, str], None]) -> None:
        self._chosen = chosen
        self._plain, self._marked = (widgets.Layout(**CELL, border=border) for border in (None, "2px solid #d55e00"))
        super().__init__(layout=widgets.Layout(justify_content="flex-start", align_items="flex-end", margin="4px 0"))

    def fill(self, counts: pd.DataFrame) -> tuple[str, str]:
        """Show a matrix, see `tables.confusion`; returns the labels of the cell that is chosen first, the largest
        mistake."""
        mistakes = counts * (1 - np.eye(len(counts)))
        labels = sorted((mistakes.sum(axis=1) + mistakes.sum(axis=0)).nlargest(MOST).index)
        largest = mistakes.stack().idxmax()
        shares = counts.div(counts.sum(axis=1).clip(lower=1), axis=0)
        cells = [
            widgets.HTML(f'<div style="{ROW}">true ↓ &nbsp; heard as →</div>'),
            *(widgets.HTML(f'<div style="{COLUMN}">{html.escape(one)}</div>') for one in labels),
        ]
        for true in labels:
            cells.append(widgets.HTML(f'<div style="{ROW}">{html.escape(true)}</div>'))
            cells += [self._cell(true, predicted, counts, shares, largest) for predicted in labels]
        self.layout.grid_template_columns = f"max-content repeat({len(labels)}, 48px)"
        self.children = cells
        return largest

    def _cell(
        self, true: str, predicted: str, counts: pd.DataFrame, shares: pd.DataFrame, marked: tuple[str, str]
    ) -> widgets.Button:
        count = f"{counts.loc[true, predicted]:.1f}".removesuffix(".0")
        color = to_hex(LIGHT_BLUES(shares.loc[true, predicted]))
        cell = widgets.Button(
            description=count if count != "0" else "",
            disabled=count == "0",
            tooltip=f"{true}, heard as {predicted}: {count}",
            layout=self._marked if (true, predicted) == marked else self._plain,
            style={"button_color": color, "text_color": "black"},
        )
        cell.on_click(lambda _: self._click(cell, true, predicted))
        return cell

    def _click(self, clicked: widgets.Button, true: str, predicted: str) -> None:
        for cell in self.children:
            if isinstance(cell, widgets.Button):
                cell.layout = self._marked if cell is clicked else self._plain
        self._chosen(true, predicted)
