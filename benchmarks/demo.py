"""Where the minutes of `make reproduce` go, notebook by notebook.

    rm -r data results/demo/summary.json; make reproduce     # from scratch
    python benchmarks/demo.py                                # --busy 1 where a process ran beside it

Reads results/demo/summary.json. `training` is what the runs took that the notebook trained, added up over the processes
that share the cores; `beside` is what the notebook took beside its study: start and end of the kernel, imports.
Seconds.
"""

import json
from pathlib import Path

import click
import pandas as pd
from common import record

from soundfusion_lib.paths import results_dir


def table(summary: dict) -> pd.DataFrame:
    """A row a notebook, and one of all."""
    rows, seen = [], set()
    # as they ran, since a run counts where it was trained
    for name, entry in sorted(summary["notebooks"].items(), key=lambda notebook: notebook[1]["finished"]):
        new = {key: run["seconds"] for key, run in entry["runs"].items() if key not in seen}
        if len(new) != entry["runs_trained"]:
            raise click.ClickException(
                f"{name} found runs that were there before: remove data/ and `make reproduce` again"
            )
        seen |= new.keys()
        wall = entry.get("wall_seconds", float("nan"))
        rows.append(
            {
                "notebook": name,
                "runs": len(new),
                "training": sum(new.values()),
                "study": entry["seconds"],
                "beside": wall - entry["seconds"],
                "wall": wall,
            }
        )
    frame = pd.DataFrame(rows)
    total = frame.drop(columns="notebook").sum(min_count=1).to_dict() | {
        "notebook": "all",
        "wall": summary["wall_seconds"],
    }
    return pd.concat([frame, pd.DataFrame([total])], ignore_index=True)


@click.command(help=__doc__)
@click.option("--summary", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Another summary.json.")
@click.option("--busy", default=0, show_default=True, help="How many busy processes ran beside it.")
def main(summary: Path | None, busy: int) -> None:
    content = json.loads((summary or results_dir() / "demo" / "summary.json").read_text(encoding="utf-8"))
    measured = {entry["commit"] for entry in content["notebooks"].values()}
    record("demo", table(content), measured=max(entry["finished"] for entry in content["notebooks"].values()),
           measured_commit=", ".join(sorted(map(str, measured))), busy=busy)  # fmt: skip


if __name__ == "__main__":
    main()
