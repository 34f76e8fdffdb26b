"""Grad-CAM: where in the spectrogram a network finds what speaks for a label.

Source: Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", ICCV 2017.
captum's LayerGradCam gives the very same map; it would spare six lines, too few for a dependency.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import Image, Markdown
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn.functional import interpolate

from soundfusion_lib.analysis.figures.common import corpus_note, themed, titled
from soundfusion_lib.audio.segments import Segments
from soundfusion_lib.audio.store import Store
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.explorer.judgements import Judgements
from soundfusion_lib.explorer.pictures import Heat, spectrogram
from soundfusion_lib.models import AudioClassifier
from soundfusion_lib.study.study import Study
from soundfusion_lib.training.experiment import Experiment
from soundfusion_lib.training.result import Result

BANDS = 8  # rows that a feature map needs: the deepest have two, which cannot tell high from low
BATCH = 16  # segments
CLIPS = 2  # that a network is right on in a figure, and as many that it is wrong on


def looks_at_spectrograms(experiment: Experiment) -> bool:
    """Whether a network, or a network of a fusion, has feature maps of a spectrogram."""
    with torch.device("meta"):  # its structure only
        return any(_stages(member) for member in experiment.build(num_classes=2).members())


def grad_cam(model: AudioClassifier, inputs: tuple[Tensor, ...], target: int) -> Tensor:
    """Where stronger features would raise the logit of a class, in the deepest feature map of at least `BANDS` rows.

    Args:
        model: in evaluation mode; one that `looks_at_spectrograms`.
        inputs: of the model, one tensor each; the spectrogram is (N, channels, n_mels, T).
        target: index of the class.

    Returns:
        (N, n_mels, T), 0 or more, without unit: interpolated from the rows and columns of the feature map.
    """
    member = next(member for member in model.members() if _stages(member))
    maps: list[Tensor] = []
    handles = [stage.register_forward_hook(lambda _, __, output: maps.append(output)) for stage in _stages(member)]
    try:
        with torch.enable_grad():  # with respect to the inputs, which goes through frozen layers, too
            logits = model(*(x.detach().requires_grad_() for x in inputs))
    finally:
        for handle in handles:
            handle.remove()
    features = ([x for x in maps if x.ndim == 4 and x.shape[2] >= BANDS] or maps[:1])[-1]  # (N, C, H, W)
    (gradient,) = torch.autograd.grad(logits[:, target].sum(), features)
    weights = gradient.mean(dim=(2, 3), keepdim=True)  # (N, C, 1, 1)
    heat = (weights * features).sum(1, keepdim=True).relu().detach()  # (N, 1, H, W)
    spectrogram = next(x for x in inputs if x.ndim == 4)
    return interpolate(heat, spectrogram.shape[2:], mode="bilinear").squeeze(1)


def of_clip(model: AudioClassifier, experiment: Experiment, store: Store, track: str, target: int) -> np.ndarray:
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


def heat(study: Study, judgements: Judgements, network: str, track: str, label: str) -> Heat:
    """What speaks for a label to the run that predicted a clip; raises SoundFusionError if its weights are not kept."""
    run = judgements.run(network, track)
    target = run.info["genres"].index(label)
    return Heat(label, of_clip(run.model(), run.experiment, study.store, track, target))


def looked_at(study: Study, group: Result) -> Image | Markdown:
    """Grad-CAM of the clips that a network is surest of, two right and two wrong: for the label that it gives, and for
    the true one or, where these are the same, the next one. A saved figure; a sentence if it cannot be drawn.
    """
    name = group.experiment.name
    judgements = Judgements({name: group})
    votes = judgements.votes.drop_duplicates("track").set_index("track")
    sure = {track: judgements.of_clip(name, track)[label].mean() for track, label in votes["predicted"].items()}
    votes = votes.assign(sure=sure).sort_values("sure", ascending=False, kind="stable")
    right = votes["true"] == votes["predicted"]
    try:
        if not looks_at_spectrograms(group.experiment):
            raise SoundFusionError("it gets no spectrogram")
        chosen = [*votes.index[right][:CLIPS], *votes.index[~right][:CLIPS]]
        heats = {track: _heats(study, judgements, name, track) for track in chosen}
    except SoundFusionError as error:
        return Markdown(f"*No picture of where {name} looked: {error}*")
    caption = f"Where {name} looked (Grad-CAM), in clips that it gets right and in clips that it gets wrong"
    return study.save_figure(_figure(study, name, heats), f"{study.notebook[:2]}_grad_cam", caption)


def _stages(member: AudioClassifier) -> list[nn.Module]:
    return list(member.stages().values()) if member.inputs == ("mel",) else []


def _heats(study: Study, judgements: Judgements, network: str, track: str) -> list[Heat]:
    given, true = judgements.labels.loc[track, network], study.tracks.loc[track, "label"]
    second = judgements.of_clip(network, track).mean().drop(given).idxmax()
    return [heat(study, judgements, network, track, label) for label in (given, true if true != given else second)]


@themed
def _figure(study: Study, network: str, heats: dict[str, list[Heat]]) -> Figure:
    figure, axes = plt.subplots(len(heats), 3, figsize=(9, 1.05 * len(heats) + 0.8), sharey=True, squeeze=False)
    for row, (track, (given, other)) in zip(axes, heats.items(), strict=True):
        true = study.tracks.loc[track, "label"]
        verdict = "right" if given.label == true else "wrong"
        titles = f"{track}: {true}", f"{verdict}: for {given.label}", f"for {other.label}"
        for axis, shown, title in zip(row, (None, given, other), titles, strict=True):
            spectrogram(axis, study, track, shown)
            axis.set_title(title, loc="left")
            axis.set(xlabel="time in s", xlim=(0, study.tracks.loc[list(heats), "seconds"].max()))
            axis.label_outer()
    return titled(figure, f"{network}: what speaks for a label ({corpus_note(study)})")
