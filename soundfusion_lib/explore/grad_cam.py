"""Grad-CAM: where in the spectrogram a network found what speaks for a label.

Source: Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", ICCV 2017.
captum's LayerGradCam gives the very same map: it would spare six of these lines, too few for a dependency.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from soundfusion_lib.audio.segments import Segments
from soundfusion_lib.audio.store import Store
from soundfusion_lib.models import AudioClassifier
from soundfusion_lib.training.experiment import Experiment

BANDS = 8  # rows that a feature map needs: the deepest have two, and would tell nothing of high and low
BATCH = 16  # segments looked at at once


def looks_at_spectrograms(experiment: Experiment) -> bool:
    """Whether a network, or a part of a fusion, has feature maps of a spectrogram."""
    with torch.device("meta"):  # its structure only
        return any(_stages(member) for member in experiment.build(num_classes=2).members())


def grad_cam(model: AudioClassifier, inputs: tuple[Tensor, ...], target: int) -> Tensor:
    """Where the logit of a class would rise with what the network found there.

    The feature maps are those of the deepest stage of at least `BANDS` rows, of a fusion's part in 2D.

    Args:
        model: in evaluation mode; one that `looks_at_spectrograms`.
        inputs: of the model, one tensor each; the spectrogram is (N, channels, n_mels, T).
        target: index of the class.

    Returns:
        (N, n_mels, T), 0 or more, in no unit: interpolated from the rows and columns of the feature maps.
    """
    member = next(member for member in model.members() if _stages(member))
    maps: list[Tensor] = []
    handles = [stage.register_forward_hook(lambda _, __, output: maps.append(output)) for stage in _stages(member)]
    try:
        with torch.enable_grad():  # with respect to the inputs, so that it goes through frozen layers, too
            logits = model(*(x.detach().requires_grad_() for x in inputs))
            chosen = [one for one in maps if one.ndim == 4 and one.shape[2] >= BANDS] or maps[:1]
            (gradient,) = torch.autograd.grad(logits[:, target].sum(), chosen[-1])  # (N, C, H, W)
    finally:
        for handle in handles:
            handle.remove()
    weights = gradient.mean(dim=(2, 3), keepdim=True)  # (N, C, 1, 1)
    heat = (weights * chosen[-1]).sum(1, keepdim=True).relu().detach()  # (N, 1, H, W)
    spectrogram = next(x for x in inputs if x.ndim == 4)
    return interpolate(heat, spectrogram.shape[2:], mode="bilinear").squeeze(1)


def of_clip(model: AudioClassifier, experiment: Experiment, store: Store, track: str, target: int) -> np.ndarray:
    """`grad_cam` along a clip, (n_mels, frames): the mean where segments overlap, 0 where none lies."""
    tracks = store.tracks.loc[[track]]
    segments = Segments(store, tracks.index, model.inputs, experiment.segmenting, torch.device("cpu"))
    spec = store.arrays["mel"].representation
    frames = len(store.arrays["mel"].clip(track))
    heat, times = np.zeros((spec.n_mels, frames)), np.zeros(frames)
    starts = experiment.segmenting.starts(tracks["seconds"].iloc[0])
    maps = torch.cat([grad_cam(model, inputs, target) for inputs, _ in segments.batches(BATCH)]).numpy()
    for start, own in zip(starts, maps, strict=True):
        first = max(0, min(spec.position(start), frames - own.shape[1]))
        own = own[:, : frames - first]  # behind it a whole clip's input is padded
        heat[:, first : first + own.shape[1]] += own
        times[first : first + own.shape[1]] += 1
    return heat / times.clip(1)


def _stages(member: AudioClassifier) -> list[nn.Module]:
    return list(member.stages().values()) if member.inputs == ("mel",) else []
