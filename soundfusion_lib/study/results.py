"""What a notebook shows and keeps: tables and figures with their captions, findings, and its entry in summary.json."""

import platform
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import Image, Markdown
from matplotlib.figure import Figure

from soundfusion_lib.paths import lock, results_dir, whole, writing
from soundfusion_lib.pool import cores
from soundfusion_lib.study.profile import BUILT_IN
from soundfusion_lib.training.run import Run, provenance, read_json, write_json

DPI = 120
OF_RUN = "seconds", "best_epoch", "device", "commit", "finished"


class Results:
    """The tables and figures of one notebook on one profile, in results/<profile>."""

    def __init__(self, notebook: str, profile: str):
        self.notebook, self.name = notebook, profile
        self.captions: dict[str, str] = {}  # of each file, in the order of the notebook

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
        sections = dict(section.partition("\n")[::2] for section in f"\n{text}".split("\n## "))
        missing = f"*No findings are written down for {self.notebook} on the profile {self.name}.*"
        return Markdown(sections.get(self.notebook, missing).strip())

    def _file(self, kind: str, name: str, caption: str) -> Path:
        self.captions[f"{kind}/{name}"] = caption
        return self.folder / kind / name


def read_summary(path: Path) -> dict[str, Any]:
    """The content of a summary.json; empty where there is none."""
    return read_json(path) if path.exists() else {}


@contextmanager
def edit_summary(path: Path) -> Iterator[dict[str, Any]]:
    """The content of a summary.json, to be changed in place; it is written when the block ends without an error. A lock
    keeps the entries of notebooks that end at once."""
    with writing(path.parent), lock(path.with_name(f".{path.name}.lock")):
        content = read_summary(path)
        yield content
        with whole(path) as aside:
            write_json(aside, content)


def entry_of(
    runs: Mapping[str, Run], classifiers: Collection[str], results: Mapping[str, str], device: str, seconds: float
) -> dict[str, Any]:
    """A notebook in a summary: its runs, keys of classifiers, captions of tables and figures, when and where it ran."""
    trained = sum(run.trained for run in runs.values())
    return {
        "runs_trained": trained,
        "runs_found": len(runs) - trained,
        "cpu_count": cores(),
        "platform": platform.platform(),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 1),
        "device": device,
        "results": results,
        "classifiers": sorted(classifiers),
        **provenance(),
        "runs": {
            key: {"name": run.experiment.name, "seed": run.experiment.seed, **{name: run.info[name] for name in OF_RUN}}
            for key, run in runs.items()
        },
    }
