"""VGG16 on mel spectrograms, with three starts: random, ImageNet's weights, or those of our own VGG16 trained on GTZAN.

Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR 2015; the layers are
torchvision's.

    model = build_model("vgg16", num_classes=8)       # random
    loaded = load_imagenet(model)                     # torchvision's weights, or a local file
    loaded = load_backbone(model, gtzan_state_dict)   # all but the last layer of another VGG16
    freeze(model, loaded)                             # as the authors did
"""

from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.models.base import AudioClassifier, adaptive_average_pool

FULL_WIDTH = 64  # filters of the first convolution in the paper
FIRST = "convolutions.0."
TORCHVISION_NAMES = {"features.": "convolutions.", "classifier.": "dense."}
CAFFE_SCALE = 57.6  # standard deviation of an image in 0..255: 255 x 0.226, the mean of ImageNet's three channels


class VGG16(AudioClassifier):
    """VGG16 whose first convolution takes spectrograms, and whose last layer gives the genres.

    Args:
        num_classes: number of genres.
        in_channels: channels of the spectrogram.
        n_mels: mel bands of the spectrogram.
        width: filters of the first convolution. 64 is VGG16; with fewer, all convolutions and dense layers shrink
            alike, which the demo uses, and which no published weights fit.
        dropout: dropout on the output layer, beside the paper's two of 0.5 within the dense layers.

    Attributes:
        input_scale: factor on the standardised input, a buffer: 1, or what loaded weights expect.

    Shape: mel (N, in_channels, n_mels, T) in dB, n_mels and T of 32 or more -> logits (N, num_classes); ``features``
    (N, 4096), the activations before the last layer.

    Raises:
        SoundFusionError: in the forward pass, the spectrogram is too small for the five poolings.
    """

    inputs = ("mel",)
    stage_ends = tuple(f"convolutions.{index}" for index in (4, 9, 16, 23, 30))  # the poolings

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 2,
        n_mels: int = 64,
        width: int = FULL_WIDTH,
        dropout: float = 0.0,
    ) -> None:
        hidden = 4096 * width // FULL_WIDTH
        super().__init__({"mel": n_mels}, num_features=hidden, num_classes=num_classes, dropout=dropout)
        self.width = width
        self.register_buffer("input_scale", torch.ones(()))
        from torchvision.models.vgg import cfgs, make_layers  # here: torchvision takes seconds to import

        layers = [layer if layer == "M" else layer * width // FULL_WIDTH for layer in cfgs["D"]]
        self.convolutions = make_layers(layers)
        self.convolutions[0] = nn.Conv2d(in_channels, width, 3, padding=1)
        self.dense = nn.Sequential(
            nn.Linear(8 * width * 7 * 7, hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Linear(hidden, hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
        )
        deviation = 0.01 * (FULL_WIDTH / width) ** 0.5  # fewer inputs, the same size of output
        for module in self.modules():  # at full width as torchvision starts it
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0, deviation)
                nn.init.zeros_(module.bias)

    def embed(self, x: Tensor) -> Tensor:
        if min(x.shape[-2:]) < 32:
            raise SoundFusionError(f"VGG16 needs 32 mel bands and frames or more, got {x.shape[-2]} and {x.shape[-1]}.")
        x = self.convolutions(x * self.input_scale)  # (N, 8 width, M / 32, T / 32)
        x = adaptive_average_pool(x, 7).flatten(1)  # (N, 8 width 49)
        return self.dense(x)  # (N, 64 width)


def load_imagenet(model: VGG16, weights: str | Path | None = None, scale: float | None = None) -> list[str]:
    """Start from VGG16 trained on ImageNet: all layers that the weights hold but the last.

    The first convolution is adapted to the spectrogram's channels: each gets the sum of the filters for red, green and
    blue, divided by the number of channels. So the same image in every channel gives the response that it gives as a
    grey picture.

    Weights also expect inputs of a certain range, and the standardised spectrogram has unit deviation. torchvision's
    were trained on images of unit deviation: factor 1. The original release (which torchvision has as
    ``IMAGENET1K_FEATURES``) takes 0..255 minus the mean, without a division: there the model's ``input_scale`` becomes
    57.6, the deviation of such an image.

    Args:
        model: a VGG16 of full width.
        weights: None for torchvision's ``IMAGENET1K_V1``, out of its cache or downloaded (528 MB); or a local .pth or
            .safetensors file under torchvision's names, of the whole network or of the convolutions alone.
        scale: the model's ``input_scale``. By default 1 for a whole network; 57.6 for convolutions alone, or with a
            classifier that is not a number, which are the original release.

    Returns:
        Names of the parameters that were loaded.

    Raises:
        SoundFusionError: the weights cannot be had, read, or do not fit the model.
    """
    if model.width != FULL_WIDTH:
        raise SoundFusionError(f"ImageNet's weights fit VGG16 of width {FULL_WIDTH} only, this one has {model.width}.")
    source = "torchvision's IMAGENET1K_V1" if weights is None else str(weights)
    published = published_weights() if weights is None else _read_weights(Path(weights))
    state = {}
    for name, value in published.items():
        prefix = next((prefix for prefix in TORCHVISION_NAMES if name.startswith(prefix)), None)
        renamed = TORCHVISION_NAMES[prefix] + name.removeprefix(prefix) if prefix else ""
        if renamed in model.state_dict() and value.isfinite().all():
            state[renamed] = value.float()
    missing = [name for name, _ in model.named_parameters() if name.startswith("convolutions.") and name not in state]
    if missing:
        raise SoundFusionError(f"{source} lacks {len(missing)} of VGG16's convolutions, among them {missing[0]}.")
    first = state[FIRST + "weight"]  # (64, 3, 3, 3)
    in_channels = model.convolutions[0].in_channels
    state[FIRST + "weight"] = (first.sum(dim=1, keepdim=True) / in_channels).repeat(1, in_channels, 1, 1)
    _load(model, state, source)
    if scale is None:
        scale = 1.0 if any(name.startswith("dense.") for name in state) else CAFFE_SCALE
    model.input_scale.fill_(scale)
    return sorted(state)


def load_backbone(model: VGG16, state_dict: Mapping[str, Tensor]) -> list[str]:
    """Start from another VGG16 of ours, as trained on GTZAN: everything but the last layer.

    The statistics that standardise the input stay the model's own, as they belong to a corpus; ``input_scale``, which
    belongs to the weights, is taken over.

    Returns:
        Names of the parameters that were loaded.

    Raises:
        SoundFusionError: the state is not that of a VGG16 of the same channels and width.
    """
    wanted = ("convolutions.", "dense.", "input_scale")
    state = {name: value for name, value in state_dict.items() if name.startswith(wanted)}
    missing = [name for name in model.state_dict() if name.startswith(wanted) and name not in state]
    if missing:
        raise SoundFusionError(f"The weights lack {len(missing)} of VGG16's layers, among them {missing[0]}.")
    _load(model, state, "The other VGG16's state")
    return sorted(state.keys() - {"input_scale"})


def freeze(model: VGG16, loaded: Collection[str] | None = None) -> None:
    """Train the first convolution and the last layer only, as the authors did for ImageNet and GTZAN.

    Args:
        loaded: what `load_imagenet` or `load_backbone` returned: layers beyond these are at random, and stay trainable
            too. None freezes them all the same.
    """
    for name, parameter in model.named_parameters():
        if not name.startswith((FIRST, "head.")) and (loaded is None or name in loaded):
            parameter.requires_grad_(False)


def published_weights() -> Mapping[str, Tensor]:
    """torchvision's VGG16 trained on ImageNet, out of its cache or downloaded (528 MB).

    Raises:
        SoundFusionError: neither is possible.
    """
    from torchvision.models import VGG16_Weights

    try:
        return VGG16_Weights.IMAGENET1K_V1.get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError) as error:
        raise SoundFusionError(
            f"ImageNet's weights for VGG16 are not at hand ({error}). Fetch {VGG16_Weights.IMAGENET1K_V1.url} on a "
            f"machine with network access and put it into {Path(torch.hub.get_dir()) / 'checkpoints'}, or give a local "
            ".pth or .safetensors file."
        ) from error


def _read_weights(path: Path) -> Mapping[str, Tensor]:
    if not path.is_file():
        raise SoundFusionError(f"There is no weights file {path}.")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch, pickle and safetensors each raise their own
        raise SoundFusionError(f"The weights file {path} cannot be read: {error}") from error
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise SoundFusionError(f"The weights file {path} does not hold a dictionary of tensors.")
    return state


def _load(model: VGG16, state: Mapping[str, Tensor], source: str) -> None:
    try:
        model.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise SoundFusionError(f"{source} does not fit the model: {error}") from error
