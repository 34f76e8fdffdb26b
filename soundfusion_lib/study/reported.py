"""What the report found: its own numbers, as they are kept in results/reported."""

import pandas as pd

from soundfusion_lib.paths import PROJECT


def reported(name: str) -> pd.DataFrame:
    """A table of the report's own numbers: results/reported/<name>.csv of the project, wherever results go."""
    return pd.read_csv(PROJECT / "results" / "reported" / f"{name}.csv")
