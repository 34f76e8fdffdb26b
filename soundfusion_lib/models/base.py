"""What every model shares: standardised inputs, their augmentation, features and a linear head; sizes of models."""

import copy
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from soundfusion_lib.errors import SoundFusionError


class Standardize(nn.Module):
    """(x - mean) / std of the training set, at first 0 and 1: of each mel band, or of a waveform, which has one band.

    Shape: (N, C, bands, T) in dB, or (N, 1, L) for one band -> the same.
    """

    def __init__(self, bands: int) -> None:
        super().__init__()
        shape = (bands, 1) if bands > 1 else (1,)
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("std", torch.ones(shape))

    def set_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Set mean and deviation, each (bands,). A band that never changes is only centred."""
        self.mean.copy_(mean.view_as(self.mean))
        self.std.copy_(torch.where(std > 1e-6, std, 1.0).view_as(self.std))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std


class AudioClassifier(nn.Module):
    """Base of all models: ``logits = dropout(head(features(*inputs)))``.

    A subclass names its ``inputs`` and implements ``embed``. Raw inputs are ``waveform``, (N, 1, L) in [-1, 1], and
    ``mel``, (N, in_channels, n_mels, T) in dB; SoundFusionError where one is too short.

    Args:
        bands: of each input; a waveform has 1.
        dropout: probability of dropping an output of the head, as in the report.
    """

    inputs: tuple[str, ...] = ()
    shortest = 1  # samples or frames that the layers need
    stage_ends: tuple[str, ...] = ()  # submodules whose outputs end a stage

    def __init__(self, bands: Mapping[str, int], num_features: int, num_classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.num_features = num_features
        self.augment = nn.ModuleDict({name: nn.Identity() for name in bands})
        self.standardize = nn.ModuleDict({name: Standardize(count) for name, count in bands.items()})
        self.head = nn.Linear(num_features, num_classes)
        self.dropout = nn.Dropout(dropout)

    def embed(self, *inputs: Tensor) -> Tensor:
        """Features, (N, num_features), of inputs that are augmented (in training only) and standardised."""
        raise NotImplementedError

    def features(self, *inputs: Tensor) -> Tensor:
        """Features, (N, num_features), of raw inputs."""
        if (length := inputs[0].shape[-1]) < self.shortest:
            needed = f"{self.inputs[0]}s of length {self.shortest:,} or more, got {length:,}: take longer segments."
            raise SoundFusionError(f"{type(self).__name__} needs {needed}")
        return self.embed(*(self.prepare(name, x) for name, x in zip(self.inputs, inputs, strict=True)))

    def forward(self, *inputs: Tensor) -> Tensor:
        """Logits, (N, num_classes), of raw inputs."""
        return self.dropout(self.head(self.features(*inputs)))

    def stages(self) -> dict[str, nn.Module]:
        """Successive stages by name, "block 1" first, whose outputs are feature maps (N, C, ...). A fusion has none."""
        return {f"block {number}": self.get_submodule(name) for number, name in enumerate(self.stage_ends, 1)}

    def prepare(self, name: str, x: Tensor) -> Tensor:
        """Augment (in training) and standardise one raw input: a waveform's noise and gain come first, in units of full
        scale; a spectrogram's masks last, or a mask in dB would stand out of bands whose levels differ."""
        augment, standardize = self.augment[name], self.standardize[name]
        return augment(standardize(x)) if name == "mel" else standardize(augment(x))

    def members(self) -> Iterator["AudioClassifier"]:
        """This model and, for a fusion, its parts."""
        return (module for module in self.modules() if isinstance(module, AudioClassifier))

    def set_statistics(self, statistics: Mapping[str, tuple[Tensor, Tensor]]) -> None:
        """Set ``{input name: (mean, std)}``, each (bands,), of all inputs, in the model and in a fusion's parts."""
        for member in self.members():
            for name, standardize in member.standardize.items():
                standardize.set_statistics(*statistics[name])

    def load_weights(self, state_dict: Mapping[str, Tensor], source: str, kept: Collection[str] = ()) -> None:
        """``load_state_dict``, where values that the state lacks stay if their names contain one of `kept`; raises
        SoundFusionError if what the source gave does not fit."""
        own = {name: value for name, value in self.state_dict().items() if any(part in name for part in kept)}
        try:
            self.load_state_dict({**own, **state_dict})
        except RuntimeError as error:
            raise SoundFusionError(f"{source} does not fit {type(self).__name__}: {error}") from error

    def load_backbone(self, state_dict: Mapping[str, Tensor]) -> list[str]:
        """Start from the same network trained on another corpus: all but the last layer and the statistics of that
        corpus. Returns the names of the parameters that were loaded."""
        kept = "head.", "standardize."
        loaded = {name: value for name, value in state_dict.items() if not any(part in name for part in kept)}
        self.load_weights(loaded, f"the other {type(self).__name__}", kept)
        return [name for name, _ in self.named_parameters() if name in loaded]

    def set_augmentation(self, augmentation: Mapping[str, nn.Module]) -> None:
        """Augment by ``{input name: module}``, in the model and in a fusion's parts, and other inputs not at all."""
        if unknown := augmentation.keys() - set(self.inputs):
            raise SoundFusionError(f"{type(self).__name__} has no input {min(unknown)}, only {', '.join(self.inputs)}.")
        for member in self.members():
            modules = {name: augmentation.get(name, nn.Identity()) for name in member.standardize}
            member.augment = nn.ModuleDict(modules).train(self.training)


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Tensors by name out of a .safetensors file, or one that torch has saved; SoundFusionError if it cannot."""
    try:
        return load_file(path) if Path(path).suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except Exception as error:  # torch, pickle and safetensors each raise their own
        raise SoundFusionError(f"The weights file {path} cannot be read: {error}") from error


def adaptive_average_pool(x: Tensor, size: int) -> Tensor:
    """``torch.nn.AdaptiveAvgPool2d``, (N, C, H, W) -> (N, C, size, size), as two matrix products: torch's has no
    deterministic backward pass on CUDA, and takes only multiples of ``size`` on MPS."""
    rows, columns = (_averages(length, size, x.dtype, x.device) for length in x.shape[-2:])
    x = x @ columns.T  # (N, C, H, size)
    return (x.transpose(-1, -2) @ rows.T).transpose(-1, -2)  # (N, C, size, size)


@lru_cache(maxsize=64)
@torch.inference_mode(False)  # or what is first computed in evaluation could not be trained with
def _averages(length: int, size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """As the CPU pools unit vectors, (size, length). Kept, as copying to a GPU in each step would hold it up, and a
    CUDA graph could not have it."""
    unit = torch.eye(length, dtype=dtype, device="cpu").unsqueeze(0)
    return adaptive_avg_pool2d(unit, (size, length))[0].to(device)


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

    def note(layer: nn.Module, inputs: tuple, output: Tensor | tuple) -> None:
        output = output[0] if isinstance(output, tuple) else output  # attention gives its weights, too
        first = next((m for m in layer.modules() if hasattr(m, "kernel_size")), None)
        sizes = [np.atleast_1d(getattr(first, name, "-")) for name in ("out_channels", "kernel_size", "stride")]
        shape = [f"{size:,}" for size in output.shape[1:]]
        texts = ["×".join(map(str, values)) for values in (*sizes, shape)]
        rows.append([type(layer).__name__, *texts, count_parameters(layer, trainable_only=False)])

    model = copy.deepcopy(model).to("meta")  # which computes shapes only
    for layer in _layers(model):
        layer.register_forward_hook(note)
    model(*(torch.zeros(2, *shape, device="meta") for shape in input_shapes))
    return pandas.DataFrame(rows, columns=["layer", "filters", "kernel", "stride", "output shape", "parameters"])


def _layers(module: nn.Module) -> Iterator[nn.Module]:
    """The layers of a model: containers and classifiers are opened, all else is a layer."""
    for child in module.children():
        if isinstance(child, nn.Sequential | nn.ModuleList) or hasattr(child, "embed"):
            yield from _layers(child)
        elif not isinstance(child, nn.ModuleDict | nn.Dropout | nn.Identity):
            yield child
