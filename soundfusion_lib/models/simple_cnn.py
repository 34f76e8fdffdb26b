"""SimpleCNN: the report's baseline on mel spectrograms, four convolutions and a linear layer (25,472 parameters)."""

from torch import Tensor, nn

from soundfusion_lib.checks import Bands, Count, Share
from soundfusion_lib.models.base import AudioClassifier


class SimpleCNN(AudioClassifier):
    """Four strided convolutions of 8, 16, 32 and 64 filters, each with ReLU and batch norm, and global average pooling.

    The report gives it the whole clip; any number of frames goes.

    Shape: mel (N, in_channels, n_mels, T) in dB -> logits (N, num_classes); ``features`` (N, 64).
    """

    inputs = ("mel",)
    stage_ends = ("layers.2", "layers.5", "layers.8", "layers.11")  # the batch norms

    def __init__(self, num_classes: int, in_channels: Count = 2, n_mels: Bands = 64, dropout: Share = 0.0) -> None:
        super().__init__({"mel": n_mels}, 64, num_classes, dropout)
        layers: list[nn.Module] = []
        for width, kernel_size in ((8, 5), (16, 3), (32, 3), (64, 3)):
            layers.append(nn.Conv2d(in_channels, width, kernel_size, stride=2, padding=kernel_size // 2))
            layers += [nn.ReLU(inplace=True), nn.BatchNorm2d(width)]
            in_channels = width
        self.layers = nn.Sequential(*layers)

    def embed(self, x: Tensor) -> Tensor:
        x = self.layers(x)  # (N, 64, M / 16, T / 16)
        return x.mean(dim=(2, 3))  # (N, 64)
