"""Grad-CAM: where in the spectrogram a network finds what speaks for a label.

Source: Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", ICCV 2017.
captum's LayerGradCam gives the very same map; it would spare six lines, too few for a dependency.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from soundfusion_lib.audio.segments import Segments
from soundfusion_lib.audio.store import Store
from soundfusion_lib.models import AudioClassifier
from soundfusion_lib.training.experiment import Experiment

BANDS = 8  # rows that a feature map needs: the deepest have two, which cannot tell high from low
BATCH = 16  # segments


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


def _stages(member: AudioClassifier) -> list[nn.Module]:
    return list(member.stages().values()) if member.inputs == ("mel",) else []
