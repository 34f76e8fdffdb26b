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

from soundfusion_lib.audio.representations import MelSpectrogram
from soundfusion_lib.audio.store import Store
from soundfusion_lib.study.study import Study

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


def titled(figure: Figure, title: str, axis: Axes | None = None, columns: int = 3) -> Figure:
    """Give a figure its title and, below all axes, the legend of this one."""
    if axis:
        figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=columns)
    figure.suptitle(title)
    return figure


def whole_numbers(axis: Axes) -> None:
    """Label whole numbers only on a horizontal axis of counts, even if it holds a single one."""
    axis.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)


def chance_line(axis: Axes, study: Study) -> None:
    axis.axhline(1 / len(study.corpus.labels), color="tab:gray", linewidth=1, label="chance")


def points(axis: Axes, position: np.ndarray, rows: pd.DataFrame, label: str, series: int = 0) -> None:
    """Draw values (the first column) one below the other, each on its interval (the next two: low, high) if known."""
    color = color_of(series)
    if rows.shape[1] > 2:
        low, high = rows.iloc[:, 1:3].to_numpy(float).T
        axis.hlines(position[~np.isnan(low)], low[~np.isnan(low)], high[~np.isnan(low)], color=color)
    look = {"s": 40, "edgecolor": "white", "marker": "osD^"[series % 4]}
    axis.scatter(rows.iloc[:, 0].to_numpy(float), position, color=color, label=label, zorder=3, **look)


def points_by(axis: Axes, rows: pd.DataFrame, column: str, kinds: Iterable[str], values: list[str]) -> None:
    """Draw `points` of rows one below the other, one series for each kind, which a column names."""
    for series, kind in enumerate(kinds):
        same = (rows[column] == kind).to_numpy()
        points(axis, np.flatnonzero(same), rows.loc[same, values], kind, series)


def with_reported(axis: Axes, study: Study, rows: pd.DataFrame, interval: str = "95 % interval") -> None:
    """Draw `points` of a table, and its fourth column, if there is one, as open marks: what the report has."""
    position = np.arange(len(rows))
    points(axis, position, rows, f"{study.corpus.name}, {interval}")
    for column in rows.columns[3:]:
        axis.plot(rows[column], position, "D", mfc="none", color=color_of(3), label="reported on FMA-small")


def name_rows(axis: Axes, names: list[str], line: float, meaning: str = "chance") -> None:
    """Name the rows of `points` from top to bottom, and draw a line to compare them with."""
    axis.axvline(line, color="tab:gray", linewidth=1, label=meaning)
    axis.set(ylim=(len(names) - 0.5, -0.5), yticks=range(len(names)), yticklabels=names)
    axis.grid(axis="y", visible=False)


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
