"""The tables of README.md and RELIABILITY.md, written between their markers: python tooling/readme.py

A table stands between <!-- table: NAME --> and <!-- end -->, where NAME is one of `TABLES`; its numbers come
from results/ and benchmarks/results/.
"""

import re
from functools import partial
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "RELIABILITY.md"]
EMOTIFY, SOUNDTRACKS = (ROOT / "results" / name / "tables" for name in ("emotify", "soundtracks"))
RECORDS = ROOT / "benchmarks" / "results"


def performance() -> list[list[str]]:
    """The table of performance on Emotify, the best first."""
    rows = [["input", "network", "core-minutes", "accuracy by vote [95 %]", "reported, FMA-small"]]
    table = pd.read_csv(EMOTIFY / "05_performance.csv")
    for row in table.sort_values("track_accuracy", ascending=False).itertuples():
        minutes = "" if pd.isna(row.core_minutes) else f"{row.core_minutes:.1f}"
        reported = "" if pd.isna(row.track_reported) else f"{row.track_reported:.3f}"
        rows.append([row.input, row.model, minutes, accuracy(row), reported])
    return rows


def starts(folder: Path) -> list[list[str]]:
    """Linear probes of frozen networks, from the tables of a profile."""
    rows = [["network", "weights", "core-minutes", "accuracy [95 %]"]]
    for row in pd.read_csv(folder / "03_probes.csv").dropna(subset="track_accuracy").itertuples():
        rows.append([row.model, row.weights, f"{row.core_minutes:.1f}", accuracy(row)])
    return rows


def gains() -> list[list[str]]:
    """What fusions and controls gain on Emotify, the largest gain first."""
    rows = [["", "first", "minus second", "accuracy by vote [95 % or wider]", "p (Holm)"]]
    table = pd.read_csv(EMOTIFY / "05_gains.csv")
    for row in table.sort_values("difference", ascending=False).itertuples():
        rows.append([row.kind, row.first, row.second, difference(row), f"{row.p:.3f}"])
    return rows


def widths() -> list[list[str]]:
    """Accuracy per segment on Emotify by the width of the ResNets."""
    rows = [["network", "F", "parameters", "s an epoch", "accuracy per segment [95 %]", "reported, FMA-small"]]
    for row in pd.read_csv(EMOTIFY / "06_width_scaling.csv").itertuples():
        name = f"ResNet{row.model[-2:].upper()}-{row.size}"
        size = str(row.width), f"{row.parameters:,}", f"{row.seconds_per_epoch:.0f}"
        rows.append([name, *size, accuracy(row, "segment"), f"{row.reported_accuracy:.3f}"])
    return rows


def conclusions() -> list[list[str]]:
    """The report's conclusions asked again on Emotify."""
    rows = [["", "first", "minus second", "reported", "accuracy per segment [95 % or wider]", "p (Holm)", "answer"]]
    for row in pd.read_csv(EMOTIFY / "08_conclusions.csv").itertuples():
        sides = row.question, row.first, row.second, f"{row.reported:+.3f}"
        rows.append([*sides, difference(row), f"{row.p:.3f}", row.answer])
    return rows


def speed() -> list[list[str]]:
    """What the newest record of each benchmark says."""
    methods = newest("prepare", source="synthetic").set_index("method")
    floor, times = methods["times the floor"]["this library"], methods["times this library"]
    inputs = newest("batches").set_index(["source", "input"])
    share = inputs["input, share of the step"]["this library"]
    slower = inputs["this library is faster by"]["DataLoader over files"]
    trained = newest("train")
    trained = trained[trained["how"] == trained["how"].iloc[-1]].set_index("model")  # with all levers
    gain, peak = trained["times the plain loop"], trained["share of matrix peak"]
    lost = {row.model: difference(row) for row in newest("accuracy").itertuples()}
    days = newest("study").set_index("network")["minutes in all"] / (24 * 60)
    without = days["all"] - days[days.index.str.startswith("VGG16")].sum()
    demo = newest("demo").set_index("notebook")
    one, two = newest("cluster").itertuples()
    return [
        ["", "", "printed by `.venv/bin/python`"],
        [
            "MP3s to both inputs",
            f"{floor:.1f} times the time of decoding alone; torchaudio takes {times['torchaudio']:.1f} times as long, "
            f"librosa {times['librosa']:.1f} times",
            "`benchmarks/prepare.py`",
        ],
        [
            "input to the network",
            f"{percent(share['mel'], 1)} (spectrogram) and {percent(share['waveform'], 1)} (waveform) of a training "
            f"step; a DataLoader over files is {slower['mel']:.0f} and {slower['waveform']:.0f} times slower",
            "`benchmarks/batches.py`",
        ],
        [
            "training, segments per second",
            f"{gain['resnet1d-small']:.1f} times (ResNet1D-small) and {gain['resnet2d-small']:.1f} times "
            f"(ResNet2D-small) those of a plain loop; all {len(gain)} networks {gain.min():.1f} to {gain.max():.1f} "
            f"times, at {percent(peak.min())} to {percent(peak.max())} of the speed of large matrix products",
            "`benchmarks/train.py --steps 2`",
        ],
        [
            "what that costs in accuracy, demo corpus",
            f"ResNet1D-small {lost['resnet1d-small']}, ResNet2D-small {lost['resnet2d-small']} (accuracy by vote with "
            "all levers minus without, three seeds, 95 % intervals)",
            "`benchmarks/train.py --accuracy`",
        ],
        [
            "the whole FMA-small study, planned from epochs on a hundredth of its clips",
            f"{days['all']:.0f} days, without VGG16 {without:.0f}: it wants a GPU",
            "`benchmarks/study.py --clips 80 --epochs 2`",
        ],
        [
            f"the demo, {len(demo) - 1} notebooks",
            f"{demo['wall']['all']:.0f} s, of which training takes {demo['training']['all']:.0f} core-seconds",
            "`benchmarks/demo.py`",
        ],
        [
            f"{one.runs:.0f} runs of the demo on a Dask cluster, two workers of one thread against one",
            f"{one.seconds / two.seconds:.2f} times as fast, simulated {one.simulated / two.simulated:.2f} times; "
            f"{1000 * two.overhead:.0f} ms more a run",
            "`benchmarks/cluster.py`",
        ],
    ]


def minutes() -> list[list[str]]:
    """What a fresh clone waits for."""
    rows = [["in a fresh clone, on two cores", "minutes", "gigabytes on disk"]]
    for row in newest("fresh").itertuples():
        step = f"`{row.step}`" if row.step.startswith("make") else row.step
        rows.append([step, f"{row.minutes:.0f}", f"{row.gigabytes:.1f}"])
    return rows


def kills() -> list[list[str]]:
    """What became of a study that was killed at random moments."""
    rows = [["command", "killed", "times", "clips decoded again", "epochs begun again"]]
    for row in newest("interruption").to_dict("records"):
        again = str(row["clips decoded again"]), str(row["epochs begun again"])
        rows.append([f"`soundfusion {row['command']}`", row["killed"], str(row["kills"]), *again])
    return rows


def threads() -> list[list[str]]:
    """How far one thread and two are apart."""
    rows = [["network", "largest difference", "mean", "segments", "of these, whose label changes"]]
    for row in newest("threads", against="two threads").to_dict("records"):
        apart = f"{row['largest']:.1g}", f"{row['mean']:.1g}"
        rows.append([row["network"], *apart, str(row["segments"]), str(row["labels that change"])])
    return rows


def memory() -> list[list[str]]:
    """What preparing, predicting and training take by the number of clips."""
    rows = [["what", "clips", "store, MiB", "its processes' own memory at the peak, MiB"]]
    for row in newest("memory").to_dict("records"):
        rows.append([f"preparing clips of {row['seconds']:.0f} s", row["clips"], row["store MiB"], row["peak MiB"]])
    for row in newest("store_memory").to_dict("records"):
        rows.append([row["work"], row["clips"], row["store MiB"], row["private MiB"]])
    return [rows[0]] + [[what, f"{clips:,}", f"{store:,.0f}", f"{peak:,.0f}"] for what, clips, store, peak in rows[1:]]


TABLES = {
    "minutes": minutes,
    "performance": performance,
    "starts": partial(starts, EMOTIFY),
    "starts_soundtracks": partial(starts, SOUNDTRACKS),
    "gains": gains,
    "widths": widths,
    "conclusions": conclusions,
    "speed": speed,
    "kills": kills,
    "threads": threads,
    "memory": memory,
}


def newest(name: str, **where: str) -> pd.DataFrame:
    """The rows of the newest record of a benchmark, of those with these values."""
    table = pd.read_csv(RECORDS / f"{name}.csv")
    for column, value in where.items():
        table = table[table[column] == value]
    return table[table["date"] == table["date"].max()]


def difference(row) -> str:
    return f"{row.difference:+.3f} [{row.low:+.3f}, {row.high:+.3f}]"


def accuracy(row, by: str = "track") -> str:
    found, low, high = (getattr(row, f"{by}_{what}") for what in ("accuracy", "low", "high"))
    return f"{found:.3f} [{low:.3f}, {high:.3f}]"


def percent(share: float, digits: int = 0) -> str:
    return f"{100 * share:.{digits}f} %"


def filled(text: str) -> str:
    """The text with what belongs between its markers."""

    def table(marker: re.Match) -> str:
        head, *rows = TABLES[marker[1]]()
        lines = [f"| {' | '.join(cells)} |" for cells in rows]
        return "\n".join(
            [
                f"<!-- table: {marker[1]} -->",
                f"| {' | '.join(head)} |",
                "|---" * len(head) + "|",
                *lines,
                "<!-- end -->",
            ]
        )

    return re.sub(r"<!-- table: (\w+) -->\n.*?<!-- end -->", table, text, flags=re.DOTALL)


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8", newline="\n")
