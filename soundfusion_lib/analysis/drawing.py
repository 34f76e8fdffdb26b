"""What figures share: the theme, titles and legends, values with intervals, a clip's spectrogram."""

from collections.abc import Callable, Iterable, Sequence
from functools import wraps

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import LogLocator, NullFormatter
from numpy.typing import ArrayLike

from soundfusion_lib.audio.representations import MelSpectrogram
from soundfusion_lib.study.study import Study

INPUTS = "1D", "2D", "mix", "features", "MFCC", "none"  # see `Result`: each has its colour and mark
LIGHT_BLUES = LinearSegmentedColormap.from_list("light blues", ["#ffffff", "#4292c6"])  # black text stays readable
THEME = {
    "figure.constrained_layout.use": True,
    "text.parse_math": False,  # a label or a file's name with dollar signs is no formula
}


def themed(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Give a function that draws a figure the common theme; outside it rcParams stay as they are."""

    @wraps(draw)
    def drawn(*args, **options) -> Figure:
        import seaborn as sns  # here, not above: it takes a second, and only figures need it

        with plt.rc_context():
            sns.set_theme("paper", "whitegrid", "colorblind", "DejaVu Sans", rc=THEME)  # matplotlib brings this font
            return draw(*args, **options)

    return drawn


def color_of(series: int) -> tuple[float, float, float]:
    """The theme's colour of a series, as RGB: the name "C0" would be looked up only when the theme is gone."""
    return to_rgb(f"C{series}")


def corpus_note(study: Study) -> str:
    """The corpus, for titles; it says where the music is synthetic, and what the label is where it is no genre."""
    synthetic = ", synthetic music" if study.corpus.synthetic else ""
    return f"{study.corpus.name} corpus{synthetic}{study.corpus.label_note}"


def titled(figure: Figure, title: str) -> Figure:
    """Give a figure its title and, below all axes, the legend of what they name."""
    named = {}
    for axis in figure.axes:
        named |= dict(zip(*reversed(axis.get_legend_handles_labels()), strict=True))
    if named:
        figure.legend(named.values(), named.keys(), loc="outside lower center", ncols=8)
    figure.suptitle(title)
    return figure


def whole_numbers(axis: Axes) -> None:
    """Label whole numbers only on a horizontal axis of counts, even if it holds a single one."""
    axis.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)


def chance_line(axis: Axes, study: Study) -> None:
    axis.axhline(1 / len(study.corpus.labels), color="tab:gray", linewidth=1, label="chance")


def points(
    axis: Axes,
    at: ArrayLike,
    table: pd.DataFrame,
    values: list[str],
    column: str,
    kinds: Iterable[str],
    upright: bool = False,
    line: str = "",
) -> None:
    """Draw values on their intervals (columns: value, low, high), where known, one below the other, or upright, one
    beside the other; a series with a colour and a mark of its own for each kind, which a column names."""
    for series, kind in enumerate(kinds):
        of_kind = (table[column] == kind).to_numpy()
        if of_kind.any():
            value, low, high = table.loc[of_kind, values].to_numpy(float).T
            place, errors = np.asarray(at)[of_kind], np.clip([value - low, high - value], 0, None)
            look = {"color": color_of(series), "marker": "osD^vp"[series % 6], "ms": 7, "mec": "white", "ls": line}
            axis.errorbar(*((place, value, errors) if upright else (value, place, None, errors)), label=kind, **look)


def reported(axis: Axes, values: pd.Series) -> None:
    """Draw what the report has, one below the other, as open marks."""
    axis.plot(values, range(len(values)), "D", mfc="none", color="black", label="reported on FMA-small", zorder=3)


def name_rows(axis: Axes, names: Sequence[str], line: float | None = None, meaning: str = "chance") -> None:
    """Name the rows of `points` from top to bottom, and draw a line to compare them with, if there is one."""
    if line is not None:
        axis.axvline(line, color="tab:gray", linewidth=1, label=meaning)
    axis.set(ylim=(len(names) - 0.5, -0.5), yticks=range(len(names)), yticklabels=names)
    axis.grid(axis="y", visible=False)


def logarithmic(axis: Axes, name: str) -> None:
    """Make the horizontal axis of what is drawn logarithmic, with plain numbers: over three decades one for each."""
    axis.set(xscale="log", xlabel=f"{name} (logarithmic)")
    low, high = axis.get_xlim()
    ticks = {"major_locator": LogLocator(subs=(1, 2, 5) if high < 1000 * low else (1,)), "major_formatter": "{x:,.9g}"}
    axis.xaxis.set(**ticks, minor_formatter=NullFormatter())


def spectrogram(axis: Axes, decibels: np.ndarray, spec: MelSpectrogram, **look) -> AxesImage:
    """Draw a mel spectrogram, (frames, bands) in dB, over time in s."""
    extent = (0, len(decibels) * spec.hop_length / spec.sample_rate, 0.5, spec.n_mels + 0.5)
    look = {"origin": "lower", "aspect": "auto", "cmap": "magma", "extent": extent, **look}
    image = axis.imshow(decibels.T, **look)
    axis.set(ylabel="mel band")
    axis.grid(visible=False)
    return image


def heat_map(axis: Axes, cells: pd.DataFrame, low: float, high: float, **look) -> ScalarMappable:
    """Draw a table as colours between low and high."""
    import seaborn as sns

    ticks = {"xticklabels": True, "yticklabels": True}
    sns.heatmap(cells, vmin=low, vmax=high, cmap=LIGHT_BLUES, cbar=False, ax=axis, **ticks, **look)
    axis.tick_params(axis="y", rotation=0)
    axis.grid(visible=False)
    axis.set_facecolor("0.92")  # where there is no cell
    return axis.collections[0]
