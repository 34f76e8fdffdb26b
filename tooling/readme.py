"""Fills the README's table of performance from results/emotify: python tooling/readme.py"""

import re
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).parents[1]
HEAD = ["input", "network", "core-minutes", "mean of", "by vote [95 %]", "lowest, highest", "reported, FMA-small"]


def table() -> str:
    """The table of performance on Emotify in Markdown, the best row first."""
    rows = [HEAD, ["---"] * len(HEAD)]
    performance = pd.read_csv(ROOT / "results" / "emotify" / "tables" / "05_performance.csv")
    for row in performance.sort_values("track_accuracy", ascending=False).itertuples():
        minutes = "" if pd.isna(row.core_minutes) else f"{row.core_minutes:.1f}"
        reported = "" if pd.isna(row.track_reported) else f"{row.track_reported:.3f}"
        accuracy = f"{row.track_accuracy:.3f} [{row.track_low:.3f}, {row.track_high:.3f}]"
        extremes = f"{row.lowest:.3f}, {row.highest:.3f}"
        rows.append([row.input, row.model, minutes, row.repeats, accuracy, extremes, reported])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def filled(text: str) -> str:
    """The README's text, with the table between its markers."""
    return re.sub(r"(<!-- table: performance -->\n).*?(<!-- end -->)", rf"\g<1>{table()}\n\g<2>", text, flags=re.DOTALL)


if __name__ == "__main__":
    readme = ROOT / "README.md"
    readme.write_text(filled(readme.read_text(encoding="utf-8")), encoding="utf-8", newline="\n")
