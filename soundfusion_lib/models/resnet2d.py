"""ResNet2D: the report's own ResNet34 on mel spectrograms.

After He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", CVPR 2016. The report's blocks differ from
the paper's: one batch norm instead of two, a projection in every block, and stages of F, 2F, 2F and 4F filters.
"""

from itertools import accumulate
from typing import Literal

from torch import Tensor, nn

from soundfusion_lib.checks import Bands, Count, Share, Width
from soundfusion_lib.models.base import AudioClassifier, adaptive_average_pool

BLOCKS = {34: (3, 4, 6, 3), 18: (2, 2, 2, 2)}  # of each stage, by the paper's number of layers
STAGES = ((1, 1), (2, 2), (2, 2), (4, 2))  # filters as a multiple of F, stride of the first block


class ResidualBlock(nn.Module):
    """ReLU(batch norm(conv3x3(ReLU(conv3x3(x)))) + batch norm(conv1x1(x))).

    Pooling drops pixels before a projection with a stride: oneDNN's backward pass of a strided 1x1 convolution of fewer
    than 16 channels in channels_last writes beyond its memory (its issue 6035). A slice would be slower.

    Shape: (N, in_channels, H, W) -> (N, out_channels, H / stride, W / stride), rounded up.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False),
            nn.ReLU(inplace=True),
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
        )
        self.subsample = nn.AvgPool2d(1, stride) if stride > 1 else nn.Identity()
        projection = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.projection = nn.Sequential(projection, nn.BatchNorm2d(out_channels))
        self.activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.residual(x) + self.projection(self.subsample(x)))


class ResNet2D(AudioClassifier):
    """ResNet2D of width F: 16 (small, 445k parameters), 32 (medium, 1.7m) or 64 (large, 6.8m) in the report.

    Args:
        width: filters F of the first stage.
        pool: the last feature maps are averaged to pool x pool: 7 x 7 in the report, 1 within SoundFusion.
        depth: 34 layers, as the report's, or 18, which it leaves to further work.

    Shape: mel (N, in_channels, n_mels, T) in dB -> logits (N, num_classes); ``features`` (N, 4F pool^2).
    """

    inputs = ("mel",)

    def __init__(
        self,
        num_classes: int,
        width: Width = 16,
        in_channels: Count = 2,
        n_mels: Bands = 64,
        pool: Count = 7,
        dropout: Share = 0.0,
        depth: Literal[18, 34] = 34,
    ) -> None:
        super().__init__({"mel": n_mels}, 4 * width * pool**2, num_classes, dropout)
        self.pool = pool
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, width, 7, stride=2, padding=3, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        blocks, channels = [], width
        for count, (multiple, stride) in zip(BLOCKS[depth], STAGES, strict=True):
            for index in range(count):
                blocks.append(ResidualBlock(channels, multiple * width, stride if index == 0 else 1))
                channels = multiple * width
        self.blocks = nn.Sequential(*blocks)
        self.stage_ends = tuple(f"blocks.{number - 1}" for number in accumulate(BLOCKS[depth]))

    def embed(self, x: Tensor) -> Tensor:
        x = self.stem(x)  # (N, F, M / 4, T / 4)
        x = self.blocks(x)  # (N, 4F, M / 32, T / 32)
        return adaptive_average_pool(x, self.pool).flatten(1)  # (N, 4F pool^2)
