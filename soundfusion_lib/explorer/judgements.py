"""What networks predict of clips, from the predictions that they keep, and where they look: Grad-CAM.

Source: Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", ICCV 2017.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from IPython.display import Image, Markdown
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn.functional import interpolate

from soundfusion_lib.analysis import drawing
from soundfusion_lib.analysis.drawing import LIGHT_BLUES
from soundfusion_lib.audio.segments import Segmenting, Segments
from soundfusion_lib.audio.store import Store
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.models import AudioClassifier
from soundfusion_lib.study.study import Study
from soundfusion_lib.training.experiment import Experiment
from soundfusion_lib.training.inference import classes_of, per_track, probability_columns
from soundfusion_lib.training.result import Result
from soundfusion_lib.training.run import Run

MOST_NAMED = 8  # segments with room for text
BANDS = 8  # rows that a feature map needs: the deepest have two, which cannot tell high from low
BATCH = 16  # segments


@dataclass(frozen=True)
class Judgements:
    """What networks, by name, predict of the clips that they were tested on."""

    runs: Mapping[str, Result]

    @cached_property
    def votes(self) -> pd.DataFrame:
        """One row per network, seed and test clip: network, track, true, predicted (labels), right."""
        votes = []
        for network, result in self.runs.items():
            for frame in result.predictions("test"):
                labels, decided = np.array(classes_of(frame)), per_track(frame)
                true, predicted = labels[decided["target"]], labels[decided["vote"]]
                columns = {"network": network, "track": decided.index, "true": true, "predicted": predicted}
                votes.append(pd.DataFrame(columns | {"right": true == predicted}))
        return pd.concat(votes, ignore_index=True)

    @cached_property
    def right(self) -> pd.DataFrame:
        """Share of a network's runs that are right: one row per clip that all networks tested, one column each."""
        return self.votes.pivot_table(index="track", columns="network", values="right")[list(self.runs)].dropna()

    @property
    def missed(self) -> list[str]:
        """The clips that all networks tested and every run is wrong on."""
        return list(self.right.index[self.right.eq(0).all(axis=1)])

    def cell(self, network: str, true: str, predicted: str) -> list[str]:
        """The clips that any run of a network puts in a cell of its confusion matrix; first those that the fewest runs
        of all networks are right on."""
        cell = self.votes.query("network == @network and true == @true and predicted == @predicted")
        votes = self.votes[self.votes["track"].isin(cell["track"])]
        return list(votes.groupby("track")["right"].mean().sort_values(kind="stable").index)

    def tally(self, track: str) -> str:
        """How many of the runs tested on a clip are right on it, in words."""
        right = self.votes.loc[self.votes["track"] == track, "right"]
        return f"{right.sum()} of {len(right)} runs right"

    @cached_property
    def probabilities(self) -> dict[str, pd.DataFrame]:
        """By network, the mean over seeds of its probabilities: indexed by track and segment, one column per label."""
        means = {}
        for network, result in self.runs.items():
            frame = pd.concat(result.predictions("test")).astype({"track": str})
            by_segment = frame.groupby(["track", "segment"])[probability_columns(frame)]
            means[network] = by_segment.mean().set_axis(classes_of(frame), axis=1)
        return means

    def run(self, network: str, track: str) -> Run:
        """The run of the first seed that was tested on a clip."""
        runs = self.runs[network].runs
        return next(run for run in runs if run.predictions("test")["track"].astype(str).eq(track).any())


@drawing.themed
def clip_picture(
    study: Study, track: str, judgements: Judgements | None = None, network: str = "", looked: bool = False
) -> Figure:
    """A clip's waveform with its segments; its mel spectrogram; and, given judgements, the probability of each label to
    a network that was tested on the clip, and of the true label to each network. If `looked`, the spectrogram is under
    `grad_cam` of the label that this network predicts.

    Raises:
        SoundFusionError: the network's weights are not kept, or it gets no spectrogram.
    """
    true, seconds = study.tracks.loc[track, ["label", "seconds"]]
    title, panels = f"Track {track}: {true}", {}
    if judgements:
        title += f", {judgements.tally(track)}"
        tables = {name: table.loc[track] for name, table in judgements.probabilities.items() if track in table.index}
        cut = {name: judgements.runs[name].experiment.segmenting for name in tables}
        panels = {
            f"{network}: probability of each label": {
                label: (cut[network], p, p.map("{:.2f}".format)) for label, p in tables[network].items()
            },
            "each network: probability of the true label, and its prediction": {
                name: (cut[name], table[true], table.idxmax(axis=1)) for name, table in tables.items()
            },
        }
    heights = [0.8, 1.3, *(0.19 * len(rows) + 0.1 for rows in panels.values())]  # inches
    size = (8, sum(heights) + 1.5)
    figure, axes = plt.subplots(len(heights), 1, figsize=size, height_ratios=heights, sharex=True)
    _waveform(axes[0], study, track)
    mel = study.store.arrays["mel"]
    decibels = mel.clip(track).astype(np.float32).mean(1)  # (frames, bands): the mean over channels
    image = drawing.spectrogram(axes[1], decibels, mel.representation, cmap="gray" if looked else "magma")
    figure.colorbar(image, ax=axes[1], label="power in dB", pad=0.01)
    about = "mel spectrogram"
    if looked:
        run, label = judgements.run(network, track), tables[network].mean().idxmax()
        heat = along_clip(run.model(), run.experiment, study.store, track, run.info["genres"].index(label))
        look = {"cmap": "inferno", "alpha": 0.75 * heat / max(heat.max(), 1e-12), "aspect": "auto", "origin": "lower"}
        axes[1].imshow(heat, extent=image.get_extent(), **look)
        about += f", in colour what speaks for {label} to {network}"
    axes[1].set_title(about, loc="left")
    for axis, (name, rows) in zip(axes[2:], panels.items(), strict=True):
        for number, row in enumerate(rows.values()):
            _along_time(axis, number, *row, seconds, true)
        axis.set(yticks=range(len(rows)), ylim=(len(rows) - 0.5, -0.5), yticklabels=list(rows))
        axis.set_title(name, loc="left")
        axis.grid(visible=False)
    if judgements:
        figure.colorbar(ScalarMappable(cmap=LIGHT_BLUES), ax=axes[2:], label="probability", pad=0.01)
    axes[-1].set(xlabel="time in s", xlim=(0, seconds))
    return drawing.titled(figure, f"{title} ({drawing.corpus_note(study)})")


def _waveform(axis: Axes, study: Study, track: str) -> None:
    array, segmenting = study.store.arrays["waveform"], study.profile.segmenting
    samples = array.clip(track)[:, 0, 0] * array.representation.scale
    time = np.arange(len(samples)) / array.representation.sample_rate  # s
    axis.plot(time, samples, linewidth=0.3, color="0.35", zorder=3)
    top = max(0.1, 1.1 * float(np.abs(samples).max()))
    for number, start in enumerate(segmenting.starts(study.tracks.loc[track, "seconds"])):
        end, color = start + segmenting.seconds, drawing.color_of(number % 2)
        axis.axvspan(start, end, color=color, alpha=0.18, linewidth=0)
        axis.text((start + end) / 2, top, str(number + 1), color=color, ha="center", va="bottom", weight="bold")
    axis.set(ylabel="amplitude", ylim=(-top, top))
    axis.set_title("waveform and segments", loc="left", pad=12)
    axis.grid(visible=False)


def _along_time(
    axis: Axes, number: int, segmenting: Segmenting, values: pd.Series, texts: pd.Series, seconds: float, true: str
) -> None:
    """Draw each segment's probability as a shade of blue, up to the middle of where it overlaps the next, with its
    text if there is room; the true label is bold."""
    starts = segmenting.starts(seconds)
    ends = np.minimum(starts + segmenting.seconds, seconds)
    edges = np.concatenate([starts[:1], (ends[:-1] + starts[1:]) / 2, ends[-1:]])
    bars = axis.barh(np.full(len(starts), number), np.diff(edges), 1, edges[:-1], color=LIGHT_BLUES(values), ec="white")
    if len(starts) <= MOST_NAMED:
        for text in axis.bar_label(bars, texts, label_type="center", size=7):
            text.set_weight("bold" if text.get_text() == true else "normal")


def grad_cam(model: AudioClassifier, inputs: tuple[Tensor, ...], target: int) -> Tensor:
    """Where stronger features would raise the logit of a class, in the deepest feature map of at least `BANDS` rows:
    (N, n_mels, T), 0 or more, interpolated from the map's rows and columns.

    The model is in evaluation mode; of its inputs, one tensor each, the spectrogram is (N, channels, n_mels, T).
    `target` is the class's index. Raises SoundFusionError where no part of the model has feature maps of a spectrogram.
    """
    stages = next((part.stages() for part in model.members() if part.inputs == ("mel",) and part.stages()), None)
    if stages is None:
        raise SoundFusionError("it gets no spectrogram")
    maps: list[Tensor] = []
    handles = [stage.register_forward_hook(lambda _, __, output: maps.append(output)) for stage in stages.values()]
    with torch.enable_grad():  # with respect to the inputs, which goes through frozen layers, too
        logits = model(*(x.detach().requires_grad_() for x in inputs))
    for handle in handles:
        handle.remove()
    features = ([x for x in maps if x.ndim == 4 and x.shape[2] >= BANDS] or maps[:1])[-1]  # (N, C, H, W)
    (gradient,) = torch.autograd.grad(logits[:, target].sum(), features)
    weights = gradient.mean(dim=(2, 3), keepdim=True)  # (N, C, 1, 1)
    heat = (weights * features).sum(1, keepdim=True).relu().detach()  # (N, 1, H, W)
    shape = next(x.shape[2:] for x in inputs if x.ndim == 4)  # (n_mels, T)
    return interpolate(heat, shape, mode="bilinear").squeeze(1)


def along_clip(model: AudioClassifier, experiment: Experiment, store: Store, track: str, target: int) -> np.ndarray:
    """`grad_cam` along a clip, (n_mels, frames): the mean where segments overlap, 0 where there is none."""
    array, tracks = store.arrays["mel"], store.tracks.loc[[track]]
    segments = Segments(store, tracks.index, model.inputs, experiment.segmenting, torch.device("cpu"))
    maps = torch.cat([grad_cam(model, inputs, target) for inputs, _ in segments.batches(BATCH)]).numpy()
    heat, count = np.zeros((2, array.representation.n_mels, len(array.clip(track))))
    frames = heat.shape[1]
    for start, values in zip(experiment.segmenting.starts(tracks["seconds"].iloc[0]), maps, strict=True):
        first = max(0, min(array.representation.position(start), frames - values.shape[1]))
        heat[:, first : first + values.shape[1]] += values[:, : frames - first]  # a whole clip's input is padded behind
        count[:, first : first + values.shape[1]] += 1
    return heat / count.clip(1)


def looked_at(study: Study, result: Result) -> Image | Markdown:
    """Grad-CAM of the clip that a network gets wrong and is surest of (or of the surest, if it gets all right): a saved
    figure, or a sentence why there is none."""
    name, judgements = result.name, Judgements({result.name: result})
    means = judgements.probabilities[name].groupby("track").mean()  # (tracks, labels)
    wrong = means[means.idxmax(axis=1) != study.tracks.loc[means.index, "label"]]
    track = (means if wrong.empty else wrong).max(axis=1).idxmax()
    try:
        figure = clip_picture(study, track, judgements, name, looked=True)
    except SoundFusionError as error:
        return Markdown(f"*No picture of where {name} looked: {error}*")
    caption = f"Where {name} looked (Grad-CAM). {figure.get_suptitle()}"
    return study.save_figure(figure, f"{study.notebook[:2]}_grad_cam", caption, of_corpus=False)
