"""What the site is made of: the results of each profile, its executed notebooks, and what the README says first."""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd

from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.notebooks import notebook_files
from soundfusion_lib.paths import PROJECT, results_dir
from soundfusion_lib.study.parameters import DEFAULTS
from soundfusion_lib.study.summary import read_summary

INTERVAL = re.compile(r"\s\[(\S+),\s(\S+)\]")  # which stays on the line of its number


@dataclass(frozen=True)
class Results:
    """The results of a profile, as they stand in results/<name>."""

    folder: Path
    summary: dict[str, Any]

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def synthetic(self) -> bool:
        return self.summary["synthetic"]

    @property
    def music(self) -> str:
        """What was heard, in words."""
        return f"{self.summary['tracks']:,} tracks" + (" of synthetic music" if self.synthetic else "")

    @property
    def captions(self) -> dict[str, str]:
        """What each table and figure shows, by its path in the folder, in the order of the notebooks."""
        entries = self.summary["notebooks"].values()
        return {file: text for entry in entries for file, text in entry["results"].items()}

    @cached_property
    def tables(self) -> dict[str, pd.DataFrame]:
        """All its tables, by their path in the folder."""
        files = [file for file in self.captions if file.endswith(".csv")]
        return {file: pd.read_csv(self.folder / file, dtype={"track": str}) for file in files}

    def notebook(self, name: str) -> Path | None:
        """The notebook as it was executed on this profile; None if it was not, or is not kept."""
        home = PROJECT if self.name == DEFAULTS["profile"] else self.folder
        file = home / "notebooks" / f"{name}.ipynb"
        return file if name in self.summary["notebooks"] and file.is_file() else None


def all_results() -> list[Results]:
    """The results of every profile that has some, real music first; raises SoundFusionError where there are none."""
    found = [Results(file.parent, read_summary(file)) for file in sorted(results_dir().glob("*/summary.json"))]
    found = [results for results in found if results.summary.get("notebooks")]
    if not found:
        raise SoundFusionError(f"no results in {results_dir()}: `soundfusion reproduce` makes them")
    return sorted(found, key=lambda results: results.synthetic)


@dataclass(frozen=True)
class Notebook:
    """One of the project's notebooks: its file's name, its heading and the question below it."""

    name: str
    title: str
    question: str


def all_notebooks() -> list[Notebook]:
    """The project's notebooks, in order."""
    return [Notebook(file.stem, *_heading(nbformat.read(file, as_version=4))) for file in notebook_files()]


def _heading(notebook: nbformat.NotebookNode) -> tuple[str, str]:
    cell = next((cell.source for cell in notebook.cells if cell.source.startswith("# ")), "# Notebook")
    title, *rest = cell.split("\n\n")
    question = rest[0].strip("*").replace("\n", " ") if rest and rest[0].startswith("*") else ""
    return title.removeprefix("# ").strip(), question


@dataclass(frozen=True)
class Opening:
    """What the README says first: the question, the answer (Markdown), and the picture of the main result."""

    question: str
    answer: str
    figure: str  # its path in the project
    caption: str


def opening() -> Opening:
    """The README's question (its first paragraph in bold), its answer (between the marks of the findings) and its first
    picture: one source, so that the site says the same. Raises SoundFusionError where one is missing."""
    text = (PROJECT / "README.md").read_text(encoding="utf-8")
    question = re.search(r"^\*\*(.+?)\*\*$", text, re.MULTILINE | re.DOTALL)
    figure = re.search(r"^!\[([^]]+)\]\(([^)]+)\)$", text, re.MULTILINE)
    answer = re.search(r"<!-- findings -->\n(.+?)\n<!-- end of findings -->", text, re.DOTALL)
    if not (question and answer and figure):
        raise SoundFusionError(
            f"{PROJECT / 'README.md'}: the site takes its question, in bold, its first picture, and what stands "
            "between <!-- findings --> and <!-- end of findings -->; one of them is not there"
        )
    whole = INTERVAL.sub("\N{NO-BREAK SPACE}[\\1,\N{NO-BREAK SPACE}\\2]", answer[1])
    return Opening(question[1].replace("\n", " "), whole, figure[2], figure[1])
