"""ResNet1D on waveforms, as in the slides' table and as behind the report's results.

After Allamy and Koerich, "1D CNN Architectures for Music Genre Classification", IEEE SSCI 2021.
Inside the network a waveform is (N, channels, 1, samples): channels_last, which is faster, has no one-dimensional form.
"""

from typing import Literal

import pandas
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import conv2d

from soundfusion_lib.checks import Share, Width
from soundfusion_lib.models.base import AudioClassifier, summarize

Variant = Literal["soundfusion", "allamy"]
MULTIPLES = (1, 1, 2, 2, 2, 2, 2, 2, 4)  # filters of the nine blocks, as multiples of F
POOLS = {"soundfusion": [(9, 1)] * 4 + [(3, 1)] * 5, "allamy": [(3, 0)] * 9}  # size and stride, padding
SHORTEST = {"soundfusion": 14_757, "allamy": 3**10}  # samples that leave one output of every pooling
LONG = 2**17  # channels x samples from which oneDNN's gradient of the weights is slow on a processor with AVX2 alone
PRODUCTS = torch.backends.cpu.get_cpu_capability() == "AVX2"  # with AVX-512, oneDNN's is faster


class Conv1d(nn.Conv2d):
    """A one-dimensional convolution: (N, in_channels, 1, L) -> (N, out_channels, 1, about L / stride)."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, bias: bool, stride: int = 1, padding: int = 0
    ) -> None:
        super().__init__(in_channels, out_channels, (1, kernel_size), (1, stride), (0, padding), bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        taps = self.kernel_size[1]
        same = taps > 1 and self.stride == (1, 1) and self.padding == (0, taps // 2) and self.bias is None
        long = x.device.type == "cpu" and x.shape[1] * x.shape[3] >= LONG
        if PRODUCTS and same and long and torch.is_grad_enabled():
            return _LongConvolution.apply(x, self.weight)
        return super().forward(x)


class _LongConvolution(torch.autograd.Function):
    """conv2d of (N, C, 1, L) that keeps L; the gradient of the weights is a matrix product per tap, see
    benchmarks/train.py."""

    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu")
    def forward(ctx, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return conv2d(x, weight, padding="same")

    @staticmethod
    @once_differentiable
    @torch.amp.custom_bwd(device_type="cpu")
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        to_x = conv2d(gradient, weight.transpose(0, 1).flip(3), padding="same")
        length, taps = x.shape[3], weight.shape[3]
        samples, outputs = (y[:, :, 0].transpose(1, 2) for y in (x, gradient))  # (N, L, in), (N, L, out)
        products = []
        for shift in range(-(taps // 2), taps // 2 + 1):
            begin, end = max(0, -shift), length - max(0, shift)
            at = outputs[:, begin:end].transpose(1, 2)  # (N, out, L - |shift|)
            products.append(torch.bmm(at, samples[:, begin + shift : end + shift]).sum(0))  # (out, in)
        return to_x, torch.stack(products, -1).unsqueeze(2)  # (out, in, 1, taps)


class ResidualBlock1D(nn.Module):
    """batch norm(conv3(LeakyReLU(batch norm(conv3(x))))) + shortcut(x), in the report's two variants.

    ``allamy``: convolutions with bias, a projection with batch norm only where the width changes, and LeakyReLU on the
    sum. ``soundfusion``: no biases, a projection without batch norm in every block, and the sum as it is.

    Shape: (N, in_channels, 1, L) -> (N, out_channels, 1, L).
    """

    def __init__(self, in_channels: int, out_channels: int, variant: Variant) -> None:
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
        width: filters F of the first stage: 16 (small, 70k parameters), 32 (medium, 280k) or 64 (large, 1.1m) in the
            report; 128 in the slides' table.
        variant: ``soundfusion``, behind the report's results, pools 9/9 after the first four blocks and 3/3 after the
            others; ``allamy``, the slides' table, 3/3 after each, and normalises and activates more.

    Shape: waveform (N, 1, L) in [-1, 1] -> logits (N, num_classes); ``features`` (N, 4F).
    """

    inputs = ("waveform",)
    stage_ends = tuple(f"layers.{index}" for index in range(1, 18, 2))  # the poolings

    def __init__(
        self, num_classes: int, width: Width = 16, variant: Variant = "soundfusion", dropout: Share = 0.0
    ) -> None:
        super().__init__({"waveform": 1}, 4 * width, num_classes, dropout)
        self.shortest = SHORTEST[variant]
        if variant == "allamy":
            self.stem = nn.Sequential(Conv1d(1, width, 3, bias=True, stride=3), nn.BatchNorm2d(width), nn.LeakyReLU())
        else:
            self.stem = nn.Sequential(Conv1d(1, width, 3, bias=False, stride=3, padding=3))
        layers, channels = [], width
        for multiple, (size, padding) in zip(MULTIPLES, POOLS[variant], strict=True):
            layers.append(ResidualBlock1D(channels, multiple * width, variant))
            layers.append(nn.MaxPool2d((1, size), padding=(0, padding)))
            channels = multiple * width
        self.layers = nn.Sequential(*layers)
        self.last = nn.Sequential(Conv1d(channels, channels, 1, bias=True))
        if variant == "allamy":
            self.last.extend([nn.BatchNorm2d(channels), nn.LeakyReLU()])

    def embed(self, x: Tensor) -> Tensor:
        x = self.stem(x.unsqueeze(2))  # (N, F, 1, L / 3)
        x = self.layers(x)  # (N, 4F, 1, L / 3^10)
        x = self.last(x)  # (N, 4F, 1, L / 3^10)
        return x.mean(dim=(2, 3))  # (N, 4F)


def architecture_table(model: ResNet1D, length: int = 110_250) -> pandas.DataFrame:
    """The slides' table of the 1D architecture, for waveforms of so many samples: one row per layer, all text."""
    names = {"Conv1d": "Conv1D", "ResidualBlock1D": "Res1D", "MaxPool2d": "MaxPool", "Linear": "Output"}
    table = summarize(model, (1, length)).drop(columns="parameters")
    table.columns = ["Layer", "# Filters", "Kernel Size", "Stride", "Output Shape"]
    table = table.replace(r"\b1×", "", regex=True)  # the axis before time
    table["Layer"] = table["Layer"].map(names)  # none for normalisation and activation
    pools = table["Layer"] == "MaxPool"
    table.insert(3, "Pool Size", table["Kernel Size"].where(pools, "-"))
    table["Kernel Size"] = table["Kernel Size"].mask(pools, "-")
    table.loc[-1] = ["Input", "-", "-", "-", "-", f"{length:,}"]
    return table.dropna().sort_index(ignore_index=True)
