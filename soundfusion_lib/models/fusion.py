"""SoundFusion: a model of the waveform and one of the mel spectrogram, fused by features or by decisions.

Any two models of ours can be the parts, trained jointly from scratch, or trained before and loaded (``load_parts``).
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax, logsigmoid

from soundfusion_lib.models.base import AudioClassifier

Parts = Sequence[tuple[str, dict[str, Any]]]
REPORTED: Parts = (("resnet1d", {"width": 16}), ("resnet2d", {"width": 16, "pool": 1}))  # 64 features each


class Fusion(AudioClassifier):
    """Two parts side by side, each given by name and options, as for ``build_model``; by default the report's.

    ``inputs`` are those of the parts, each once, in the parts' order.
    """

    inputs = ("waveform", "mel")

    def __init__(self, num_classes: int, parts: Parts, in_channels: int, n_mels: int, dropout: float = 0.0) -> None:
        from soundfusion_lib.models import MODELS, build_model  # fusions are models too

        built = []
        for name, options in parts:
            if name in MODELS and "mel" in MODELS[name].inputs:
                options = {"in_channels": in_channels, "n_mels": n_mels, **options}
            built.append(build_model(name, num_classes, **options))
        super().__init__({}, sum(part.num_features for part in built), num_classes, dropout)
        self.parts = nn.ModuleList(built)
        self.inputs = tuple(dict.fromkeys(name for part in built for name in part.inputs))

    def part_inputs(self, inputs: Sequence[Tensor]) -> list[tuple[AudioClassifier, list[Tensor]]]:
        """Each part with its own of the fusion's inputs."""
        by_name = dict(zip(self.inputs, inputs, strict=True))
        return [(part, [by_name[name] for name in part.inputs]) for part in self.parts]

    def features(self, *inputs: Tensor) -> Tensor:
        """The parts' features, concatenated: (N, num_features)."""
        return torch.cat([part.features(*own) for part, own in self.part_inputs(inputs)], dim=1)

    def load_parts(self, state_dicts: Sequence[dict[str, Tensor]]) -> None:
        """Start from trained models, given by their states, in the order of the parts."""
        for part, state in zip(self.parts, state_dicts, strict=True):
            if isinstance(part.head, nn.Identity):
                state = {name: value for name, value in state.items() if not name.startswith("head.")}
            part.load_weights(state, "a trained model")


class FusionConcat(Fusion):
    """SoundFusion-1: the parts' features, concatenated, and one linear layer.

    Shape: waveform (N, 1, L), mel (N, in_channels, n_mels, T) -> logits (N, num_classes); ``features`` (N, 128).
    """

    def __init__(
        self, num_classes: int, parts: Parts = REPORTED, in_channels: int = 2, n_mels: int = 64, dropout: float = 0.3
    ) -> None:
        super().__init__(num_classes, parts, in_channels, n_mels, dropout)
        for part in self.parts:
            part.head = nn.Identity()  # the parts end in their features


class FusionDecision(Fusion):
    """SoundFusion-2: each part decides, and the softmaxes are added with weights w and 1 - w.

    The forward pass returns the logarithm of that sum, whose softmax is the sum itself, so that everything that takes
    logits is right.

    Args:
        dropout: on each part's output layer, unless its own options set it.
        weighting: ``equal``, as in the report, w = 0.5; or ``learned``, w the sigmoid of a parameter that starts at 0.

    Shape: waveform (N, 1, L), mel (N, in_channels, n_mels, T) -> log-probabilities (N, num_classes).
    """

    def __init__(
        self,
        num_classes: int,
        parts: Parts = REPORTED,
        in_channels: int = 2,
        n_mels: int = 64,
        dropout: float = 0.3,
        weighting: str = "equal",
    ) -> None:
        super().__init__(num_classes, parts, in_channels, n_mels)
        self.head = nn.Identity()  # the parts' heads decide
        for part, (_, options) in zip(self.parts, parts, strict=True):
            if "dropout" not in options:
                part.dropout = nn.Dropout(dropout)
        if weighting == "learned":
            self.weight_logit = nn.Parameter(torch.zeros(()))
        else:
            self.register_buffer("weight_logit", torch.zeros(()))

    @property
    def weight(self) -> float:
        """Weight w of the first part; the second has 1 - w."""
        return self.weight_logit.sigmoid().item()

    def forward(self, *inputs: Tensor) -> Tensor:
        first, second = (log_softmax(part(*own).float(), dim=1) for part, own in self.part_inputs(inputs))
        weight = self.weight_logit
        return torch.logaddexp(first + logsigmoid(weight), second + logsigmoid(-weight))
