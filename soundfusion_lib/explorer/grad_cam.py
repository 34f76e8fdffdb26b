"""Grad-CAM: where in the spectrogram a network finds what speaks for a label.

Source: Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", ICCV 2017.
"""

import numpy as np
import torch
from IPython.display import Image, Markdown
from torch import Tensor
from torch.nn.functional import interpolate

from soundfusion_lib.audio.segments import Segments
from soundfusion_lib.audio.store import Store
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.explorer.judgements import Judgements
from soundfusion_lib.explorer.pictures import Heat, clip
from soundfusion_lib.models import AudioClassifier
from soundfusion_lib.study.study import Study
from soundfusion_lib.training.experiment import Experiment
from soundfusion_lib.training.result import Result

BANDS = 8  # rows that a feature map needs: the deepest have two, which cannot tell high from low
BATCH = 16  # segments


def grad_cam(model: AudioClassifier, inputs: tuple[Tensor, ...], target: int) -> Tensor:
    """Where stronger features would raise the logit of a class, in the deepest feature map of at least `BANDS` rows.

    Args:
        model: in evaluation mode.
        inputs: of the model, one tensor each; the spectrogram is (N, channels, n_mels, T).
        target: index of the class.

    Returns:
        (N, n_mels, T), 0 or more, without unit: interpolated from the rows and columns of the feature map.

    Raises:
        SoundFusionError: neither the model nor a part of it has feature maps of a spectrogram.
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


def heat(study: Study, judgements: Judgements, network: str, track: str) -> Heat:
    """What speaks for the predicted label to the run that was tested on a clip; raises SoundFusionError if its weights
    are not kept, or it gets no spectrogram."""
    run = judgements.run(network, track)
    label = judgements.probabilities[network].loc[track].mean().idxmax()
    return label, of_clip(run.model(), run.experiment, study.store, track, run.info["genres"].index(label))


def looked_at(study: Study, result: Result) -> Image | Markdown:
    """Grad-CAM of the clip that a network gets wrong and is surest of (or of the surest, if it gets all right): a saved
    figure, or a sentence why there is none."""
    name, judgements = result.name, Judgements({result.name: result})
    means = judgements.probabilities[name].groupby("track").mean()  # (tracks, labels)
    wrong = means[means.idxmax(axis=1) != study.tracks.loc[means.index, "label"]]
    track = (means if wrong.empty else wrong).max(axis=1).idxmax()
    try:
        figure = clip(study, track, judgements, name, heat(study, judgements, name, track))
    except SoundFusionError as error:
        return Markdown(f"*No picture of where {name} looked: {error}*")
    caption = f"Where {name} looked (Grad-CAM). {figure.get_suptitle()}"
    return study.save_figure(figure, f"{study.notebook[:2]}_grad_cam", caption)
