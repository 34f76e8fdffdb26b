"""One page of all tables and figures of a profile: results/<profile>/README.md, read where the project is hosted."""

import os
from pathlib import Path

import pandas as pd

from soundfusion_lib.analysis.tables import readable
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.paths import results_dir
from soundfusion_lib.study.summary import read_summary


def write_page(name: str) -> Path:
    """Gather the results of the profile with this name; returns the page.

    Raises:
        SoundFusionError: there are no results of such a profile.
    """
    folder = results_dir() / name
    summary = read_summary(folder / "summary.json")
    if not summary.get("notebooks"):
        raise SoundFusionError(f"no results in {folder}: `soundfusion reproduce` makes them")
    lines = [f"# Results on the profile {name}", "", *_introduction(summary)]
    for notebook, entry in summary["notebooks"].items():
        lines += ["", f"## {notebook.replace('_', ' ')}"]
        for file, caption in entry["results"].items():
            lines += ["", *(_table(folder / file, caption) if file.endswith(".csv") else [f"![{caption}]({file})"])]
    page = folder / "README.md"
    aside = page.with_suffix(".new")
    aside.write_text("\n".join(lines) + "\n", encoding="utf-8")
    os.replace(aside, page)
    return page


def _introduction(summary: dict) -> list[str]:
    entries = summary["notebooks"].values()
    runs = {key: run for entry in entries for key, run in entry["runs"].items()}
    seeds = ", ".join(map(str, summary["seeds"]))
    lines = [
        f"Corpus `{summary['corpus']}`: {summary['tracks']:,} tracks, {summary['left_out']} clips left out. "
        f"{len(runs)} runs, seed {seeds}. Reproduced numbers stand beside those that the SoundFusion report gives for "
        "FMA-small. In brackets: 95 % intervals; accuracies are shares of 1."
    ]
    if summary["label"] != "genre":
        label = f"**The label is the {summary['label']}, not a genre**"
        lines += ["", f"{label}: what is easy or hard to tell apart here need not be so for genres."]
    if summary["synthetic"]:
        warning = "**The music is synthetic: these numbers show that the study runs, and say nothing about music.**"
        lines = [warning, "", *lines]
    devices = sorted({run["device"] for run in runs.values()} | {entry["device"] for entry in entries})
    commits = sorted({str(entry["commit"]) for entry in entries})
    hours = sum(run["seconds"] for run in runs.values()) / 3600
    lines += ["", f"Training took {hours:.2f} hours in all, on {'; '.join(devices)}. Commit: {', '.join(commits)}."]
    return lines


def _table(path: Path, caption: str) -> list[str]:
    table = readable(pd.read_csv(path, dtype={"track": str}))
    rows = [table.columns, ["---"] * table.shape[1], *table.itertuples(index=False)]
    cells = [["" if pd.isna(cell) else _in_markdown(str(cell)) for cell in row] for row in rows]
    title = f"**{caption}** ([CSV]({path.parent.name}/{path.name}))"
    return [title, "", *("| " + " | ".join(row) + " |" for row in cells)]


def _in_markdown(cell: str) -> str:
    return cell.replace("|", "\\|").replace("\n", " ")
