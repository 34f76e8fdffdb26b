"""One page of all tables and figures of a profile: results/<profile>/README.md, read where the project is hosted."""

import html
import re
from collections import Counter
from pathlib import Path

import pandas as pd

from soundfusion_lib.analysis.tables import readable
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.paths import results_dir, whole
from soundfusion_lib.study.results import read_summary


def write_page(name: str) -> Path:
    """Gather the results of the profile with this name; returns the page.

    Raises:
        SoundFusionError: there are no results of such a profile.
    """
    folder = results_dir() / name
    summary = read_summary(folder / "summary.json")
    if not summary.get("notebooks"):
        raise SoundFusionError(f"no results in {folder}: reproduce that profile, and they are there")
    paragraphs = [f"# Results on the profile {name}", *_introduction(summary)]
    for notebook, entry in summary["notebooks"].items():
        paragraphs.append(f"## {notebook.replace('_', ' ')}")
        for file, caption in entry["results"].items():
            caption = _text(caption)
            paragraphs += _table(folder / file, caption) if file.endswith(".csv") else [f"![{caption}]({file})"]
    page = folder / "README.md"
    with whole(page) as aside:
        aside.write_text("\n\n".join(paragraphs) + "\n", encoding="utf-8")
    return page


def _introduction(summary: dict) -> list[str]:
    """What a summary says of the corpus and the trainings: paragraphs of Markdown."""
    entries, label = summary["notebooks"].values(), summary["label"]
    runs = {key: run for entry in entries for key, run in entry["runs"].items()}.values()
    seeds = sorted(Counter(run["seed"] for run in runs).items())
    hours = sum(run["seconds"] for run in runs) / 3600
    devices = sorted({about["device"] for about in (*runs, *entries)})
    commits = sorted({str(entry["commit"]) for entry in entries})
    paragraphs = [
        f"Corpus `{summary['corpus']}`: {summary['tracks']:,} tracks, {summary['left_out']} clips left out. "
        f"{len(runs)} runs, of these {', '.join(f'{number} with seed {seed}' for seed, number in seeds)}. Reproduced "
        "numbers stand beside those that the SoundFusion report gives for FMA-small. In brackets: 95 % intervals; "
        "accuracies are shares of 1.",
        f"Training took {hours:.2f} hours in all, on {'; '.join(devices)}. Commit: {', '.join(commits)}.",
    ]
    if label != "genre":
        warning = f"**The label is the {_text(label)}, not a genre**"
        paragraphs.insert(1, f"{warning}: what is easy or hard to tell apart here need not be so for genres.")
    if summary["synthetic"]:
        synthetic = "**The music is synthetic: these numbers show that the study runs, and say nothing about music.**"
        paragraphs.insert(0, synthetic)
    return paragraphs


def _table(path: Path, caption: str) -> list[str]:
    table = readable(pd.read_csv(path, dtype={"track": str}))
    rows = [table.columns, ["---"] * table.shape[1], *table.astype(object).fillna("").itertuples(index=False)]
    lines = [f"| {' | '.join(map(_text, row))} |" for row in rows]
    return [f"**{caption}** ([CSV]({path.parent.name}/{path.name}))", "\n".join(lines)]


def _text(value: object) -> str:
    """A value as it is, in a table's cell too: no name of a track or label is taken for HTML."""
    text = re.sub(r"<(?=[A-Za-z/!?])|&(?=#?\w+;)", lambda match: html.escape(match[0]), str(value))
    return text.replace("|", "\\|").replace("\n", " ")
