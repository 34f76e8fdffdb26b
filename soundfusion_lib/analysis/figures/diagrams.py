"""What the fusions are, as pictures."""

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from soundfusion_lib.analysis.figures.data import themed
from soundfusion_lib.study.study import Study

WAVEFORM, MEL, FUSED = 0, 1, 2  # numbers of their colours
TOP, MIDDLE, BOTTOM = 0.8, 0.5, 0.2  # heights of a panel


@themed
def fusions(study: Study) -> Figure:
    """SoundFusion-1 and SoundFusion-2 from the inputs to the probabilities, with the sizes of the profile."""
    sizes = {}
    for spec in study.profile.representations:
        frames = spec.frames(study.profile.segmenting.seconds)
        shape = f"{frames:,} samples" if spec.kind == "waveform" else f"{spec.channels} x {spec.n_mels} x {frames:,}"
        sizes[spec.kind] = shape
    figure, axes = plt.subplots(1, 2, figsize=(11, 3.2))
    for axis in axes:
        axis.set(xlim=(-0.1, 4.6), ylim=(0, 1))
        axis.axis("off")
        for kind, network, height, number in (
            ("waveform", "ResNet1D", TOP, WAVEFORM),
            ("mel", "ResNet2D", BOTTOM, MEL),
        ):
            name = "mel spectrogram" if kind == "mel" else kind
            _box(axis, 0.4, height, f"{name}\n{sizes[kind]}", number)
            _box(axis, 1.6, height, f"{network}\nfeatures", number)
            _arrow(axis, (0.4, height), (1.6, height))
    concatenated, distributed = axes
    concatenated.set_title("SoundFusion-1: one decision on both features")
    _box(concatenated, 2.8, MIDDLE, "concatenation,\nlinear layer", FUSED)
    _box(concatenated, 4.0, MIDDLE, "softmax:\nprobabilities", FUSED)
    for height in (TOP, BOTTOM):
        _arrow(concatenated, (1.6, height), (2.8, MIDDLE))
        _arrow(distributed, (1.6, height), (2.8, height))
        _arrow(distributed, (2.8, height), (4.0, MIDDLE), "w" if height == TOP else "1 - w")
    _arrow(concatenated, (2.8, MIDDLE), (4.0, MIDDLE))
    distributed.set_title("SoundFusion-2: two decisions, weighted")
    _box(distributed, 2.8, TOP, "linear layer,\nsoftmax", WAVEFORM)
    _box(distributed, 2.8, BOTTOM, "linear layer,\nsoftmax", MEL)
    _box(distributed, 4.0, MIDDLE, "weighted sum:\nprobabilities", FUSED)
    return figure


def _box(axis: Axes, x: float, y: float, text: str, number: int) -> None:
    color = to_rgb(f"C{number}")
    look = {"boxstyle": "round,pad=0.5", "facecolor": (*color, 0.15), "edgecolor": color}
    axis.text(x, y, text, ha="center", va="center", bbox={**look, "facecolor": "white"}, zorder=2)
    axis.text(x, y, text, ha="center", va="center", bbox=look, zorder=3)


def _arrow(axis: Axes, start: tuple[float, float], end: tuple[float, float], text: str = "") -> None:
    """From the middle of a box to that of the next, drawn behind both."""
    axis.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": "0.3", "shrinkB": 38}, zorder=1)
    outside = 0.07 if start[1] > end[1] else -0.07
    axis.text((start[0] + end[0]) / 2 + 0.1, (start[1] + end[1]) / 2 + outside, text, ha="center", va="center")
