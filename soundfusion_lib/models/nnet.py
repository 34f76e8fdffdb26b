"""nnet1 and nnet2: convolutions that span the whole frequency axis and slide along time, four frames at once.

After Zhang, Lei, Xu and Xing, "Improved Music Genre Classification with Convolutional Neural Networks",
Interspeech 2016. The paper's poolings over a fixed number of frames are global here, so that any length goes.
"""

import torch
from torch import Tensor, nn

from soundfusion_lib.checks import Bands, Count, Share, Width
from soundfusion_lib.models.base import AudioClassifier


class _NNet(AudioClassifier):
    """What both have: maximum and average over time, and dense layers of 300 and 150 with dropout between them."""

    inputs = ("mel",)

    def __init__(self, num_classes: int, n_mels: int, width: int, dropout: float) -> None:
        super().__init__({"mel": n_mels}, 150, num_classes)
        first = nn.Linear(2 * width, 300)
        self.dense = nn.Sequential(first, nn.ReLU(), nn.Dropout(dropout), nn.Linear(300, 150), nn.ReLU())

    def embed(self, x: Tensor) -> Tensor:
        x = self.convolve(x).flatten(2)  # (N, C, M, T) -> (N, width, frames left)
        x = torch.cat([x.amax(dim=2), x.mean(dim=2)], dim=1)  # (N, 2 width)
        return self.dense(x)  # (N, 150)


class NNet1(_NNet):
    """nnet1: three convolutions of 128, 128 and 256 (``width``) filters, max pooling of 2 frames after the first two.

    Shape: mel (N, in_channels, n_mels, T) in dB, T of 25 or more -> logits (N, num_classes); ``features`` (N, 150).
    """

    stage_ends = ("layers.2", "layers.5", "layers.7")
    shortest = 25  # ((1 + 3) x 2 + 3) x 2 + 3

    def __init__(
        self, num_classes: int, width: Width = 256, in_channels: Count = 2, n_mels: Bands = 64, dropout: Share = 0.5
    ) -> None:
        super().__init__(num_classes, n_mels, width, dropout)
        layers, channels = [], in_channels
        for filters, kernel_size in ((width // 2, (n_mels, 4)), (width // 2, (1, 4)), (width, (1, 4))):
            layers += [nn.Conv2d(channels, filters, kernel_size), nn.ReLU(inplace=True), nn.MaxPool2d((1, 2))]
            channels = filters
        self.layers = nn.Sequential(*layers[:-1])

    def convolve(self, x: Tensor) -> Tensor:
        return self.layers(x)  # (N, 256, 1, T / 4 - 6)


class NNet2(_NNet):
    """nnet2: three convolutions of 256 (``width``) filters with batch norm; a shortcut from the first to the third.

    Shape: mel (N, in_channels, n_mels, T) in dB, T of 4 or more -> logits (N, num_classes); ``features`` (N, 150).
    """

    stage_ends = ("first", "second", "activation")
    shortest = 4

    def __init__(
        self, num_classes: int, width: Width = 256, in_channels: Count = 2, n_mels: Bands = 64, dropout: Share = 0.3
    ) -> None:
        super().__init__(num_classes, n_mels, width, dropout)
        self.first = nn.Sequential(nn.Conv2d(in_channels, width, (n_mels, 4)), nn.BatchNorm2d(width), nn.ReLU())
        second = nn.Conv2d(width, width, (1, 4), padding=(0, 2))
        self.second = nn.Sequential(second, nn.BatchNorm2d(width), nn.ReLU(inplace=True))
        self.third = nn.Sequential(nn.Conv2d(width, width, (1, 4), padding=(0, 1)), nn.BatchNorm2d(width))
        self.activation = nn.ReLU(inplace=True)

    def convolve(self, x: Tensor) -> Tensor:
        first = self.first(x)  # (N, 256, 1, T - 3)
        second = self.second(first)  # (N, 256, 1, T - 2): padded by 2 frames, and the third by 1
        return self.activation(first + self.third(second))  # (N, 256, 1, T - 3)
