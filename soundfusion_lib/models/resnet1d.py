"""ResNet1D on waveforms, as in the slides' table and as behind the report's results.

After Allamy and Koerich, "1D CNN Architectures for Music Genre Classification", IEEE SSCI 2021.

Inside the network a waveform is (N, channels, 1, samples), see `convolution1d`.
"""

import pandas
from torch import Tensor, nn

from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.models.base import AudioClassifier
from soundfusion_lib.models.convolution1d import Conv1d
from soundfusion_lib.models.summary import trace

MULTIPLES = (1, 1, 2, 2, 2, 2, 2, 2, 4)  # filters of the nine blocks, as multiples of F


class ResidualBlock1D(nn.Module):
    """batch norm(conv3(LeakyReLU(batch norm(conv3(x))))) + shortcut(x), in the report's two variants.

    ``allamy``: convolutions with bias, a projection with batch norm only where the width changes, and LeakyReLU on the
    sum. ``soundfusion``: no biases, a projection without batch norm in every block, and the sum as it is.

    Shape: (N, in_channels, 1, L) -> (N, out_channels, 1, L).
    """

    def __init__(self, in_channels: int, out_channels: int, variant: str) -> None:
        super().__init__()
        allamy = variant == "allamy"
        self.residual = nn.Sequential(
            Conv1d(in_channels, out_channels, 3, bias=allamy, padding=1),
            nn.BatchNorm2d(out_channels),
            nn.LeakyReLU(inplace=True),
            Conv1d(out_channels, out_channels, 3, bias=allamy, padding=1),
            nn.BatchNorm2d(out_channels),
        )
        if not allamy:
            self.shortcut = Conv1d(in_channels, out_channels, 1, bias=False)
        elif in_channels != out_channels:
            self.shortcut = nn.Sequential(Conv1d(in_channels, out_channels, 1, bias=True), nn.BatchNorm2d(out_channels))
        else:
            self.shortcut = nn.Identity()
        self.activation = nn.LeakyReLU() if allamy else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.residual(x) + self.shortcut(x))


class ResNet1D(AudioClassifier):
    """Nine residual blocks of F, F, 2F (six times) and 4F filters, each followed by max pooling.

    Args:
        num_classes: number of genres.
        width: filters F of the first stage: 16 (small, 70k parameters), 32 (medium, 280k) or 64 (large, 1.1m) in the
            report; 128 in the slides' table.
        variant: ``soundfusion``, which stands behind the report's results, pools 9/9 after the first four blocks and
            3/3 after the others; ``allamy``, the slides' table, pools 3/3 after each, and normalises and activates
            more.
        dropout: dropout on the output layer.

    Shape: waveform (N, 1, L) in [-1, 1] -> logits (N, num_classes); ``features`` (N, 4F), the mean over what time is
    left.

    Raises:
        SoundFusionError: in the forward pass, the waveform is too short for the poolings.
    """

    inputs = ("waveform",)
    stage_ends = tuple(f"layers.{index}" for index in range(1, 18, 2))  # the poolings

    def __init__(self, num_classes: int, width: int = 16, variant: str = "soundfusion", dropout: float = 0.0) -> None:
        super().__init__({"waveform": 1}, num_features=4 * width, num_classes=num_classes, dropout=dropout)
        if variant == "allamy":
            self.stem = nn.Sequential(Conv1d(1, width, 3, bias=True, stride=3), nn.BatchNorm2d(width), nn.LeakyReLU())
            pools = [(3, 0)] * 9  # size and stride, padding
        else:
            self.stem = nn.Sequential(Conv1d(1, width, 3, bias=False, stride=3, padding=3))
            pools = [(9, 1)] * 4 + [(3, 1)] * 5
        layers, channels = [], width
        for multiple, (size, padding) in zip(MULTIPLES, pools, strict=True):
            layers.append(ResidualBlock1D(channels, multiple * width, variant))
            layers.append(nn.MaxPool2d((1, size), padding=(0, padding)))
            channels = multiple * width
        self.layers = nn.Sequential(*layers)
        last = [Conv1d(channels, 4 * width, 1, bias=True)]
        if variant == "allamy":
            last += [nn.BatchNorm2d(4 * width), nn.LeakyReLU()]
        self.last = nn.Sequential(*last)
        self.minimum_length = _minimum_length(pools, stem_padding=self.stem[0].padding[1])

    def embed(self, x: Tensor) -> Tensor:
        if x.shape[-1] < self.minimum_length:
            raise SoundFusionError(
                f"ResNet1D needs waveforms of {self.minimum_length:,} samples or more, got {x.shape[-1]:,}: "
                "take longer segments."
            )
        x = self.stem(x.unsqueeze(2))  # (N, F, 1, L / 3)
        x = self.layers(x)  # (N, 4F, 1, L / 3^10)
        x = self.last(x)  # (N, 4F, 1, L / 3^10)
        return x.mean(dim=(2, 3))  # (N, 4F)


def _minimum_length(pools: list[tuple[int, int]], stem_padding: int) -> int:
    """Samples that leave one output of every pooling and of the stem."""
    length = 1
    for size, padding in reversed(pools):
        length = max((length - 1) * size + size - 2 * padding, 1)
    return max((length - 1) * 3 + 3 - 2 * stem_padding, 1)


def architecture_table(model: ResNet1D, length: int = 110_250) -> pandas.DataFrame:
    """The slides' table of the 1D architecture, read from the model by hooks.

    Args:
        length: samples of the waveform.

    Returns:
        Columns Layer, # Filters, Kernel Size, Pool Size, Stride, Output Shape; a row a layer, all text.
    """
    columns = ["Layer", "# Filters", "Kernel Size", "Pool Size", "Stride", "Output Shape"]
    rows = [["Input", "-", "-", "-", "-", f"{length:,}"]]
    modules = [model.stem, *model.layers, model.last, model.head]
    for module, output in trace(model, modules, (1, length)):
        if module is model.head:
            rows.append(["Output", "-", "-", "-", "-", str(output.shape[-1])])
            continue
        shape = f"{output.shape[1]}×{output.shape[3]:,}"
        if isinstance(module, nn.MaxPool2d):
            rows.append(["MaxPool", "-", "-", str(module.kernel_size[1]), str(module.stride[1]), shape])
            continue
        name = "Res1D" if isinstance(module, ResidualBlock1D) else "Conv1D"
        first = next(m for m in module.modules() if isinstance(m, nn.Conv2d))
        rows.append([name, str(first.out_channels), str(first.kernel_size[1]), "-", str(first.stride[1]), shape])
    return pandas.DataFrame(rows, columns=columns)
