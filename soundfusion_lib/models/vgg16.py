"""VGG16 on mel spectrograms, with three starts: random, ImageNet's weights, or those of our own VGG16 trained on GTZAN.

Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR 2015; the layers are
torchvision's.
"""

from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from soundfusion_lib.checks import Bands, Count, Share, Width
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.models.base import AudioClassifier, adaptive_average_pool, read_weights
from soundfusion_lib.paths import data_dir

FULL_WIDTH = 64  # filters of the first convolution in the paper
FIRST = "convolutions.0."
CAFFE_SCALE = 57.6  # standard deviation of an image in 0..255: 255 x 0.226, the mean of ImageNet's three channels


class VGG16(AudioClassifier):
    """VGG16 whose first convolution takes spectrograms, and whose last layer gives the labels.

    Args:
        width: filters of the first convolution: 64; with fewer all layers shrink alike, and no published weights fit.
        dropout: on the output layer, beside the paper's two of 0.5 within the dense layers.

    Shape: mel (N, in_channels, n_mels, T) in dB, n_mels and T of 32 or more -> logits (N, num_classes); ``features``
    (N, 4096).
    """

    inputs = ("mel",)
    shortest = 32
    stage_ends = tuple(f"convolutions.{index}" for index in (4, 9, 16, 23, 30))  # the poolings

    def __init__(
        self, num_classes: int, in_channels: Count = 2, n_mels: Bands = 64, width: Width = 64, dropout: Share = 0.0
    ) -> None:
        hidden = 4096 * width // FULL_WIDTH
        super().__init__({"mel": n_mels}, hidden, num_classes, dropout)
        self.register_buffer("input_scale", torch.ones(()))  # of the standardised input, as loaded weights expect it
        from torchvision.models.vgg import cfgs, make_layers  # here: torchvision takes seconds to import

        self.convolutions = make_layers([size if size == "M" else size * width // FULL_WIDTH for size in cfgs["D"]])
        self.convolutions[0] = nn.Conv2d(in_channels, width, 3, padding=1)
        layers = []
        for inputs in (8 * width * 7 * 7, hidden):
            layers += [nn.Linear(inputs, hidden), nn.ReLU(inplace=True), nn.Dropout(0.5)]
        self.dense = nn.Sequential(*layers)
        for module in self.modules():  # at full width as torchvision starts it
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.Linear):  # narrower, of fewer inputs, with outputs of the same size
                nn.init.normal_(module.weight, 0, 0.01 * (FULL_WIDTH / width) ** 0.5)
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.zeros_(module.bias)

    def embed(self, x: Tensor) -> Tensor:
        x = self.convolutions(x * self.input_scale)  # (N, 8 width, M / 32, T / 32)
        x = adaptive_average_pool(x, 7).flatten(1)  # (N, 8 width 49)
        return self.dense(x)  # (N, 64 width)


def load_imagenet(model: VGG16, weights: str | Path | None = None) -> list[str]:
    """Start from VGG16 trained on ImageNet: all layers that the weights hold but the last.

    Each of the spectrogram's channels gets the sum of the first filters for red, green and blue, divided by the number
    of channels: the same image in every channel gives the response to a grey image.

    torchvision's whole network expects inputs of unit deviation: ``input_scale`` is 1. The original release (the
    convolutions alone, or torchvision's ``IMAGENET1K_FEATURES``, whose classifier is all NaN) takes 0..255 minus the
    mean: ``input_scale`` becomes 57.6, the deviation of such an image.

    The weights are a .pth or .safetensors file under torchvision's names; by default `imagenet_file`, or where there is
    none `published_weights`. Returns the names of the parameters that were loaded.
    """
    weights = weights or imagenet_file()
    published = read_weights(weights) if weights else published_weights()
    in_channels = model.convolutions[0].in_channels
    state = {}
    for name, value in published.items():
        name = name.replace("features.", "convolutions.").replace("classifier.", "dense.")
        if name in model.state_dict() and value.isfinite().all():
            state[name] = value.float()
            if name == FIRST + "weight":  # (64, 3, 3, 3)
                state[name] = (state[name].sum(dim=1, keepdim=True) / in_channels).repeat(1, in_channels, 1, 1)
    kept = "dense.", "head.", "standardize.", "input_scale"  # all convolutions must be there
    model.load_weights(state, str(weights or "torchvision's VGG16"), kept)
    model.input_scale.fill_(1.0 if any(name.startswith("dense.") for name in state) else CAFFE_SCALE)
    return sorted(state)


def freeze(model: VGG16, loaded: Collection[str]) -> None:
    """Train only the first convolution and the last layer, as the authors did, and parameters that were not loaded."""
    for name, parameter in model.named_parameters():
        if name in loaded and not name.startswith(FIRST):
            parameter.requires_grad_(False)


def imagenet_file() -> Path | None:
    """The file of ImageNet's weights in the data folder: vgg16_imagenet.safetensors or .pth; None if there is none."""
    files = [data_dir() / f"vgg16_imagenet{suffix}" for suffix in (".safetensors", ".pth")]
    return next(filter(Path.is_file, files), None)


def published_weights() -> Mapping[str, Tensor]:
    """torchvision's ``IMAGENET1K_V1``, out of its cache or downloaded (528 MB); SoundFusionError if neither works."""
    from torchvision.models import VGG16_Weights

    weights = VGG16_Weights.IMAGENET1K_V1
    try:
        return weights.get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError) as error:
        raise SoundFusionError(
            f"ImageNet's weights for VGG16 are not at hand ({error}). Fetch {weights.url} on a machine with network "
            f"access and put it into {data_dir()} as vgg16_imagenet.pth (or a local file, under torchvision's names)."
        ) from error
