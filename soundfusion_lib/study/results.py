"""What a notebook shows and keeps: tables and figures with their captions, and the findings written down for it."""

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import Image, Markdown
from matplotlib.figure import Figure

from soundfusion_lib.paths import results_dir, whole
from soundfusion_lib.study.profile import BUILT_IN

DPI = 120


class Results:
    """The tables and figures of one notebook on one profile, in results/<profile>.

    Attributes:
        captions: of each file, in the order of the notebook.
    """

    def __init__(self, notebook: str, profile: str):
        self.notebook, self.name = notebook, profile
        self.captions: dict[str, str] = {}

    @property
    def folder(self) -> Path:
        """Where results go: results/<profile>."""
        return results_dir() / self.name

    def save_table(self, table: pd.DataFrame, name: str, caption: str) -> pd.DataFrame:
        """Write a table to tables/<name>.csv, with its index where that has a name; returns it."""
        with whole(self._file("tables", f"{name}.csv", caption)) as path:
            table.to_csv(path, index=table.index.name is not None, float_format="%.6g", lineterminator="\n")
        return table

    def save_figure(self, figure: Figure, name: str, caption: str) -> Image:
        """Write a figure to figures/<name>.png; returns the picture, for the notebook to show."""
        path = self._file("figures", f"{name}.png", caption)
        with whole(path) as aside:
            figure.savefig(aside, dpi=DPI, bbox_inches="tight", metadata={"Software": None})
        plt.close(figure)  # shown once, as the cell's value
        return Image(path, width=round(figure.get_figwidth() * 96), alt=caption)  # a screen's points per inch

    def findings(self) -> Markdown:
        """What was found on the profile's corpus: this notebook's section of study/built_in/findings/<profile>.md."""
        file = BUILT_IN / "findings" / f"{self.name}.md"
        text = file.read_text(encoding="utf-8") if file.is_file() else ""
        for section in f"\n{text}".split("\n## "):
            title, _, prose = section.partition("\n")
            if title.strip() == self.notebook:
                return Markdown(prose.strip())
        return Markdown(f"*No findings are written down for {self.notebook} on the profile {self.name}.*")

    def _file(self, kind: str, name: str, caption: str) -> Path:
        self.captions[f"{kind}/{name}"] = caption
        return self.folder / kind / name
