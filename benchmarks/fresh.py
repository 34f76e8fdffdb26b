"""What a stranger waits for: a fresh clone, its set-up and `make reproduce`.

    python benchmarks/fresh.py

Clones the last commit into an empty folder, which is deleted in the end, and runs there what the README says. Minutes,
and gigabytes that the folder has grown by (packages that pip has downloaded before are not downloaded again).
"""

import os
import subprocess
import tempfile
import time
from pathlib import Path

import click
import pandas as pd
from common import record

from soundfusion_lib.paths import PROJECT

STEPS = {
    "set-up": "make .venv/ready",
    "make reproduce": "make reproduce",
}


@click.command(help=__doc__)
def main() -> None:
    with tempfile.TemporaryDirectory(dir=PROJECT.parent, prefix="fresh-") as folder:
        clone = Path(folder) / "soundfusion"
        subprocess.run(["git", "clone", "--quiet", PROJECT, clone], check=True)
        own = "SOUNDFUSION_", "PYTHON", "VIRTUAL_ENV"
        environment = {name: value for name, value in os.environ.items() if not name.startswith(own)}
        rows, before = [], _bytes(clone)
        for step, command in STEPS.items():
            began = time.perf_counter()
            subprocess.run(command.split(), cwd=clone, env=environment, check=True)
            minutes, now = (time.perf_counter() - began) / 60, _bytes(clone)
            rows.append({"step": step, "minutes": minutes, "gigabytes": (now - before) / 1e9})
            before = now
        changed = subprocess.run(["git", "-C", clone, "status", "--short"], capture_output=True, text=True, check=True)
        print(changed.stdout or "every file is as it was committed")
    record("fresh", pd.DataFrame(rows))


def _bytes(folder: Path) -> int:
    return sum(file.lstat().st_size for file in folder.rglob("*") if not file.is_dir())


if __name__ == "__main__":
    main()
