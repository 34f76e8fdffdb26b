"""Sizes and shapes of a model, read from the model itself."""

import copy
from collections.abc import Iterator

import numpy as np
import pandas
import torch
from torch import Tensor, nn


def count_parameters(model: nn.Module, trainable_only: bool = True) -> int:
    """Number of parameters, without those that are frozen if ``trainable_only``."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad or not trainable_only)


def summarize(model: nn.Module, *input_shapes: tuple[int, ...]) -> pandas.DataFrame:
    """The model's layers in the order in which they run; a residual block is one.

    Args:
        input_shapes: shape of each input, without the batch: ``(1, 110250)``, ``(2, 64, 431)``.

    Returns:
        One row per layer: layer; filters, kernel, stride of its first convolution or pooling; output shape; parameters.
    """
    rows = []

    def size(layer: nn.Module | None, name: str) -> str:
        return "×".join(str(value) for value in np.atleast_1d(getattr(layer, name, "-")))

    def note(layer: nn.Module, inputs: tuple, output: Tensor | tuple) -> None:
        output = output[0] if isinstance(output, tuple) else output  # attention gives its weights, too
        first = next((m for m in layer.modules() if hasattr(m, "kernel_size")), None)
        rows.append(
            {
                "layer": type(layer).__name__,
                "filters": size(first, "out_channels"),
                "kernel": size(first, "kernel_size"),
                "stride": size(first, "stride"),
                "output shape": "×".join(f"{size:,}" for size in output.shape[1:]),
                "parameters": count_parameters(layer, trainable_only=False),
            }
        )

    model = copy.deepcopy(model).to("meta")  # which computes shapes only
    for layer in _layers(model):
        layer.register_forward_hook(note)
    model(*(torch.zeros(2, *shape, device="meta") for shape in input_shapes))
    return pandas.DataFrame(rows)


def _layers(module: nn.Module) -> Iterator[nn.Module]:
    """The layers of a model: containers and classifiers are opened, all else is a layer."""
    for child in module.children():
        if isinstance(child, nn.Sequential | nn.ModuleList) or hasattr(child, "embed"):
            yield from _layers(child)
        elif not isinstance(child, nn.ModuleDict | nn.Dropout | nn.Identity):
            yield child
