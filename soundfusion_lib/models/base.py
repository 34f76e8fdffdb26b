"""What every model shares: standardised inputs, their augmentation, features and a linear head."""

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor, nn

from soundfusion_lib.errors import SoundFusionError


class Standardize(nn.Module):
    """(x - mean) / std with statistics of the training part, kept as buffers so that a saved model carries them.

    Starts with mean 0 and std 1, which leaves the input as it is.

    Args:
        bands: number of mel bands, each with its own statistics, which the channels share; 1 for a waveform.

    Shape: ``(N, C, bands, T)`` in dB, or ``(N, 1, L)`` for ``bands=1``; the output has the input's shape.
    """

    def __init__(self, bands: int) -> None:
        super().__init__()
        self.bands = bands
        shape = (bands, 1) if bands > 1 else (1,)
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("std", torch.ones(shape))

    def set_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Set mean and standard deviation, each of shape (bands,). A band that never changes is only centred.

        Raises:
            SoundFusionError: the statistics have another shape, or a value in them is not finite or negative.
        """
        mean, std = (torch.as_tensor(value, dtype=torch.float32).flatten().cpu() for value in (mean, std))
        if mean.numel() != self.bands or std.numel() != self.bands:
            raise SoundFusionError(
                f"Statistics of {mean.numel()} and {std.numel()} bands for an input of {self.bands}: "
                "compute them on the representation that the model is built for."
            )
        if not (mean.isfinite().all() and std.isfinite().all() and (std >= 0).all()):
            raise SoundFusionError("The statistics of the training part hold a value that is not finite or negative.")
        self.mean.copy_(mean.view_as(self.mean))
        self.std.copy_(torch.where(std > 1e-6, std, 1.0).view_as(self.std))

    def forward(self, x: Tensor) -> Tensor:
        if self.bands > 1 and x.shape[-2] != self.bands:
            raise SoundFusionError(f"The model is built for {self.bands} mel bands, the input has {x.shape[-2]}.")
        return (x - self.mean) / self.std

    def extra_repr(self) -> str:
        return f"bands={self.bands}"


class AudioClassifier(nn.Module):
    """Base of all models: ``logits = dropout(head(features(*inputs)))``.

    A subclass names its ``inputs`` and implements ``embed``, which gets them augmented (in training only) and
    standardised. Raw inputs are, in the order of ``inputs``:

    - ``waveform``: float, (N, 1, L), in [-1, 1];
    - ``mel``: float, (N, C, M, T), mel spectrograms in dB.

    Args:
        bands: for each input, the number of bands that are standardised separately (1 for a waveform).
        num_features: width of ``features``.
        num_classes: number of genres.
        dropout: probability of dropping an output of the head, as in the report.

    Attributes:
        augment: one module per input name, applied in training mode, see `prepare`.
        standardize: one `Standardize` per input name.
    """

    inputs: tuple[str, ...] = ()
    stage_ends: tuple[str, ...] = ()  # submodules whose outputs end a stage

    def __init__(self, bands: Mapping[str, int], num_features: int, num_classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.num_features = num_features
        self.num_classes = num_classes
        self.augment = nn.ModuleDict()
        self.standardize = nn.ModuleDict({name: Standardize(count) for name, count in bands.items()})
        self.head = nn.Linear(num_features, num_classes)
        self.dropout = nn.Dropout(dropout)

    def embed(self, *inputs: Tensor) -> Tensor:
        """Features, (N, num_features), of augmented and standardised inputs."""
        raise NotImplementedError

    def features(self, *inputs: Tensor) -> Tensor:
        """Features, (N, num_features), of raw inputs."""
        return self.embed(*(self.prepare(name, x) for name, x in zip(self.inputs, inputs, strict=True)))

    def forward(self, *inputs: Tensor) -> Tensor:
        """Logits, (N, num_classes), of raw inputs."""
        return self.dropout(self.head(self.features(*inputs)))

    def stages(self) -> dict[str, nn.Module]:
        """Successive stages by name, "block 1" first, whose outputs are feature maps (N, C, ...). A fusion has none."""
        return {f"block {number}": self.get_submodule(name) for number, name in enumerate(self.stage_ends, 1)}

    def prepare(self, name: str, x: Tensor) -> Tensor:
        """Augment (in training mode) and standardise one raw input.

        A waveform is augmented first: its noise and gain are in units of full scale. A spectrogram's masks come last:
        filled with a mean in dB they would stand out once each band is standardised, far above the treble and far below
        the bass.
        """
        augment = self.augment[name] if name in self.augment else nn.Identity()
        standardize = self.standardize[name]
        return augment(standardize(x)) if name == "mel" else standardize(augment(x))

    def members(self) -> Iterator["AudioClassifier"]:
        """This model and, for a fusion, its parts."""
        return (module for module in self.modules() if isinstance(module, AudioClassifier))

    def frontends(self) -> Iterator[tuple[str, Standardize]]:
        """Name of the input and its `Standardize`, for every input of the model or of a fusion's parts."""
        for member in self.members():
            yield from member.standardize.items()

    def set_statistics(self, statistics: Mapping[str, tuple[Tensor, Tensor]]) -> None:
        """Set ``{input name: (mean, std)}``, each of shape (bands,), in the model and in a fusion's parts."""
        self._check_inputs(statistics)
        for name, standardize in self.frontends():
            if name in statistics:
                standardize.set_statistics(*statistics[name])

    def set_augmentation(self, augmentation: Mapping[str, nn.Module | None]) -> None:
        """Set ``{input name: module or None}`` in the model and in a fusion's parts; None removes it."""
        self._check_inputs(augmentation)
        for member in self.members():
            for name in augmentation.keys() & member.standardize.keys():
                if name in member.augment:
                    del member.augment[name]
                if augmentation[name] is not None:
                    member.augment[name] = augmentation[name].train(self.training)

    def _check_inputs(self, names: Iterable[str]) -> None:
        unknown = sorted(set(names) - set(self.inputs))
        if unknown:
            raise SoundFusionError(
                f"{type(self).__name__} has no input {', '.join(unknown)}; its inputs: {', '.join(self.inputs)}."
            )


def adaptive_average_pool(x: Tensor, size: int) -> Tensor:
    """Average (N, C, H, W) into (N, C, size, size), with the bins of ``torch.nn.AdaptiveAvgPool2d``.

    Written as two matrix products, because torch's own has no deterministic backward pass on CUDA, and takes only
    multiples of ``size`` on MPS.
    """
    rows, columns = (_average_matrix(length, size, x) for length in x.shape[-2:])  # (size, H), (size, W)
    x = x @ columns.T  # (N, C, H, size)
    return (x.transpose(-1, -2) @ rows.T).transpose(-1, -2)  # (N, C, size, size)


def _average_matrix(length: int, size: int, like: Tensor) -> Tensor:
    """The (size, length) matrix that averages a vector into ``size`` bins, which overlap where they must."""
    bin_index = torch.arange(size, device=like.device).unsqueeze(1)
    position = torch.arange(length, device=like.device)
    start = bin_index * length // size
    end = ((bin_index + 1) * length + size - 1) // size
    inside = ((position >= start) & (position < end)).to(like.dtype)
    return inside / inside.sum(dim=1, keepdim=True)
