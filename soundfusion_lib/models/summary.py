"""Sizes and shapes of a model, read from the model itself."""

from collections.abc import Iterator

import pandas
import torch
from torch import Tensor, nn
from torch.func import functional_call


def count_parameters(model: nn.Module, trainable_only: bool = True) -> int:
    """Number of parameters, without those that are frozen if ``trainable_only``."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad or not trainable_only)


def trace(model: nn.Module, modules: list[nn.Module], *input_shapes: tuple[int, ...]) -> list[tuple[nn.Module, Tensor]]:
    """Those of ``modules`` that a forward pass calls, in order, each with its output for a batch of 2.

    Run on torch's meta device: shapes only, no arithmetic, and the model stays as it is.

    Args:
        input_shapes: shape of each input, without the batch.
    """
    calls: list[tuple[nn.Module, Tensor]] = []
    hooks = [module.register_forward_hook(lambda m, _, output: calls.append((m, output))) for module in modules]
    state = {name: value.to("meta") for name, value in model.state_dict(keep_vars=True).items()}
    inputs = tuple(torch.zeros(2, *shape, device="meta") for shape in input_shapes)
    try:
        with torch.no_grad():
            functional_call(model, state, inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return calls


def summarize(model: nn.Module, *input_shapes: tuple[int, ...]) -> pandas.DataFrame:
    """The model's layers in the order in which they run.

    A residual block is one layer. ``filters``, ``kernel`` and ``stride`` are those of a layer's first convolution or
    pooling.

    Args:
        input_shapes: shape of each input, without the batch: ``(1, 110250)``, ``(2, 64, 431)``.

    Returns:
        A row a layer: layer, filters, kernel, stride, output shape, parameters. Inputs that differ from what the
        model takes raise as its forward pass does.
    """
    rows = []
    for module, output in trace(model, list(_layers(model)), *input_shapes):
        first = next((m for m in module.modules() if hasattr(m, "kernel_size")), None)
        rows.append(
            {
                "layer": type(module).__name__,
                "filters": str(getattr(first, "out_channels", "-")),
                "kernel": _size(getattr(first, "kernel_size", None)),
                "stride": _size(getattr(first, "stride", None)),
                "output shape": "×".join(f"{size:,}" for size in output.shape[1:]),
                "parameters": count_parameters(module, trainable_only=False),
            }
        )
    return pandas.DataFrame(rows)


def _layers(module: nn.Module) -> Iterator[nn.Module]:
    """The layers of a model: containers and classifiers are opened, all else is a layer."""
    for child in module.children():
        if isinstance(child, (nn.ModuleDict, nn.Dropout, nn.Identity)):
            continue
        if isinstance(child, (nn.Sequential, nn.ModuleList)) or hasattr(child, "embed"):
            yield from _layers(child)
        else:
            yield child


def _size(size: int | tuple[int, ...] | None) -> str:
    if size is None:
        return "-"
    return str(size) if isinstance(size, int) else "×".join(str(value) for value in size)
