"""A one-dimensional convolution, and how a processor without AVX-512 computes its gradients faster.

It runs as a two-dimensional one over (N, C, 1, L), with weights of (out, in, 1, k): the same arithmetic and parameters,
but in channels_last, which has no one-dimensional counterpart and which is faster.
"""

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import conv2d

LONG = 2**17  # channels x samples from which oneDNN's gradient of the weights is slow on a processor with AVX2 alone
PRODUCTS = torch.backends.cpu.get_cpu_capability() == "AVX2"  # with AVX-512, oneDNN's own is the faster one


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
    """conv2d of (N, C, 1, L) that keeps L, whose gradient of the weights is a matrix product for each tap; see
    benchmarks/train.py."""

    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu")
    def forward(ctx, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return conv2d(x, weight, padding="same")

    @staticmethod
    @once_differentiable
    @torch.amp.custom_bwd(device_type="cpu")
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, Tensor]:
        x, weight = ctx.saved_tensors
        to_x = None
        if ctx.needs_input_grad[0]:
            to_x = conv2d(gradient, weight.transpose(0, 1).flip(3), padding="same")
        length, taps = x.shape[3], weight.shape[3]
        samples, outputs = (y[:, :, 0].transpose(1, 2) for y in (x, gradient))  # (N, L, in), (N, L, out)
        products = []
        for shift in range(-(taps // 2), taps // 2 + 1):
            begin, end = max(0, -shift), length - max(0, shift)
            at = outputs[:, begin:end].transpose(1, 2)  # (N, out, L - |shift|)
            products.append(torch.bmm(at, samples[:, begin + shift : end + shift]).sum(0))  # (out, in)
        return to_x, torch.stack(products, -1).unsqueeze(2)  # (out, in, 1, taps)
