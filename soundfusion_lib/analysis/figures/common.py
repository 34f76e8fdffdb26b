"""What figures share: the theme, titles and legends, values with intervals, a clip's waveform and spectrogram."""

from collections.abc import Callable, Iterable
from functools import wraps

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import LogLocator, NullFormatter
from numpy.typing import ArrayLike

from soundfusion_lib.audio.representations import MelSpectrogram
from soundfusion_lib.audio.store import Store
from soundfusion_lib.study.study import Study

INPUTS = "1D", "2D", "mix", "features", "MFCC", "none"  # see `Result`: each has its colour and mark
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


def titled(figure: Figure, title: str, axis: Axes | None = None) -> Figure:
    """Give a figure its title and, below all axes, the legend of this one."""
    if axis:
        figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=8)
    figure.suptitle(title)
    return figure


def whole_numbers(axis: Axes) -> None:
    """Label whole numbers only on a horizontal axis of counts, even if it holds a single one."""
    axis.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)


def chance_line(axis: Axes, study: Study) -> None:
    axis.axhline(1 / len(study.corpus.labels), color="tab:gray", linewidth=1, label="chance")


def points(
    axis: Axes, at: ArrayLike, rows: pd.DataFrame, label: str, series: int, upright: bool = False, line: str = ""
) -> None:
    """Draw values (the first column) on their intervals (the next two: low, high), where known, one below the other, or
    upright, one beside the other."""
    value, low, high = rows.to_numpy(float).T
    errors = np.clip([value - low, high - value], 0, None)
    look = {"color": color_of(series), "marker": "osD^vp"[series % 6], "ms": 7, "mec": "white", "ls": line}
    axis.errorbar(*((at, value, errors) if upright else (value, at, None, errors)), label=label, **look)


def points_by(
    axis: Axes, at: ArrayLike, rows: pd.DataFrame, column: str, kinds: Iterable[str], values: list[str], **options
) -> None:
    """Draw `points` of rows, one series for each kind, which a column names."""
    for series, kind in enumerate(kinds):
        if (same := (rows[column] == kind).to_numpy()).any():
            points(axis, np.asarray(at)[same], rows.loc[same, values], kind, series, **options)


def reported(axis: Axes, values: pd.Series) -> None:
    """Draw what the report has, one below the other, as open marks."""
    axis.plot(values, range(len(values)), "D", mfc="none", color="black", label="reported on FMA-small", zorder=3)


def name_rows(axis: Axes, names: Iterable[str], line: float, meaning: str = "chance") -> None:
    """Name the rows of `points` from top to bottom, and draw a line to compare them with."""
    axis.axvline(line, color="tab:gray", linewidth=1, label=meaning)
    axis.set(ylim=(len(names) - 0.5, -0.5), yticks=range(len(names)), yticklabels=names)
    axis.grid(axis="y", visible=False)


def logarithmic(axis: Axes, name: str) -> None:
    """Make the horizontal axis logarithmic, with plain numbers."""
    axis.set(xscale="log", xlabel=f"{name} (logarithmic)")
    ticks = {"major_locator": LogLocator(subs=(1, 2, 5)), "major_formatter": "{x:,.9g}"}
    axis.xaxis.set(**ticks, minor_formatter=NullFormatter())


def waveform(axis: Axes, store: Store, track: str, **look) -> np.ndarray:
    """Draw a clip's waveform over time in s; returns its samples, full scale at +-1."""
    array = store.arrays["waveform"]
    samples = array.clip(track)[:, 0, 0] * array.representation.scale
    time = np.arange(len(samples)) / array.representation.sample_rate
    axis.plot(time, samples, **{"linewidth": 0.3, **look})
    axis.set(ylabel="amplitude", xlim=(0, len(samples) / array.representation.sample_rate))
    return samples


def spectrogram(axis: Axes, decibels: np.ndarray, spec: MelSpectrogram, **look) -> AxesImage:
    """Draw a mel spectrogram, (frames, bands) in dB, over time in s."""
    extent = (0, len(decibels) * spec.hop_length / spec.sample_rate, 0.5, spec.n_mels + 0.5)
    look = {"origin": "lower", "aspect": "auto", "cmap": "magma", "extent": extent, **look}
    image = axis.imshow(decibels.T, **look)
    axis.set(ylabel="mel band")
    axis.grid(visible=False)
    return image
