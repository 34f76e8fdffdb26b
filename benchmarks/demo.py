"""Where the minutes of `soundfusion reproduce` go: a run of the demo from scratch, by notebook.

    python benchmarks/demo.py

Everything is made anew in a temporary folder: synthesis, decoding, all runs. `training` is what the notebook's own runs took,
added up over the processes that share the cores; `starting` is what the notebook took beside its study: kernel, imports, end.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import click
import pandas as pd
from common import record

from soundfusion_lib.profiles import PROJECT


def table(summary: dict, walls: list[float]) -> pd.DataFrame:
    """A row a notebook, and one of all, from a summary.json and each notebook's wall time in s."""
    rows, seen = [], set()
    for (name, entry), wall in zip(summary["notebooks"].items(), walls, strict=True):
        new = {key: run["seconds"] for key, run in entry["runs"].items() if key not in seen}
        seen |= new.keys()
        rows.append(
            {
                "notebook": name,
                "runs": len(new),
                "training": sum(new.values()),
                "study": entry["seconds"],
                "starting": wall - entry["seconds"],
                "wall": wall,
            }
        )
    frame = pd.DataFrame(rows)
    return pd.concat([frame, pd.DataFrame([{"notebook": "all", **frame.drop(columns="notebook").sum()}])], ignore_index=True)


@click.command(help=__doc__)
def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary) / "project"  # the demo writes into its notebooks
        kept = shutil.ignore_patterns(".git", ".venv", "data", "__pycache__")
        shutil.copytree(PROJECT, copy, ignore=kept)
        results = copy / "results"
        environment = {**os.environ, "PYTHONPATH": str(copy), "SOUNDFUSION_DATA": f"{temporary}/data", "SOUNDFUSION_RESULTS": str(results)}
        command = [sys.executable, "-c", "from soundfusion_lib.cli import main; main()", "reproduce"]
        done = subprocess.run(command, cwd=copy, env=environment, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            raise click.ClickException(done.stderr[-2000:])
        walls = [float(seconds) for seconds in re.findall(r"^ +([0-9]+) s$", done.stderr, re.MULTILINE)]
        record("demo", table(json.loads((results / "demo" / "summary.json").read_text()), walls))


if __name__ == "__main__":
    main()
