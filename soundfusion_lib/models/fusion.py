"""SoundFusion: a model of the waveform and one of the mel spectrogram, fused by features or by decisions.

The report's SoundFusion-1 (`FusionConcat`) and SoundFusion-2 (`FusionDecision`). Any two models of ours can be the
parts, trained jointly from scratch, or trained before and loaded with ``load_parts``.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax, logsigmoid

from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.models.base import AudioClassifier

Parts = Sequence[tuple[str, dict[str, Any]]]
REPORTED_PARTS: Parts = (("resnet1d", {"width": 16}), ("resnet2d", {"width": 16, "pool": 1}))  # 64 features each


class Fusion(AudioClassifier):
    """Two or more parts side by side. ``inputs`` are those of the parts, each once, in the parts' order.

    Standardisation and augmentation are the parts' own; ``set_statistics`` and ``set_augmentation`` reach all of them.
    """

    inputs = ("waveform", "mel")

    def __init__(self, num_classes: int, parts: Parts, in_channels: int, n_mels: int, dropout: float = 0.0) -> None:
        built = [_build_part(name, num_classes, options, in_channels, n_mels) for name, options in parts]
        if len(built) < 2:
            raise SoundFusionError(f"A fusion takes two parts, got {len(built)}.")
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
        """Start from trained parts, given by their models' state, in the order of the parts.

        Raises:
            SoundFusionError: there are more or fewer states than parts, or one does not fit its part.
        """
        if len(state_dicts) != len(self.parts):
            raise SoundFusionError(f"{len(state_dicts)} trained models given for a fusion of {len(self.parts)} parts.")
        for part, state in zip(self.parts, state_dicts, strict=True):
            if isinstance(part.head, nn.Identity):
                state = {name: value for name, value in state.items() if not name.startswith("head.")}
            try:
                part.load_state_dict(state)
            except RuntimeError as error:
                message = f"A trained model does not fit its part {type(part).__name__}: {error}"
                raise SoundFusionError(message) from error


class FusionConcat(Fusion):
    """SoundFusion-1: the parts' features, concatenated, and one linear layer.

    Args:
        num_classes: number of genres.
        parts: name and options of each part, as for ``build_model``; by default the report's ResNet1D and ResNet2D of
            width 16, with 64 features each.
        in_channels, n_mels: channels and mel bands of the spectrogram, for all parts that take one.
        dropout: dropout on the output layer.

    Shape: waveform (N, 1, L), mel (N, in_channels, n_mels, T) -> logits (N, num_classes); ``features`` (N, 128).

    Raises:
        SoundFusionError: fewer than two parts, or a part that ``build_model`` does not know.
    """

    def __init__(
        self,
        num_classes: int,
        parts: Parts = REPORTED_PARTS,
        in_channels: int = 2,
        n_mels: int = 64,
        dropout: float = 0.3,
    ) -> None:
        super().__init__(num_classes, parts, in_channels, n_mels, dropout)
        for part in self.parts:
            part.head = nn.Identity()  # the parts end in their features


class FusionDecision(Fusion):
    """SoundFusion-2: each part decides, and the softmaxes are added with weights w and 1 - w.

    The forward pass returns log-probabilities, the logarithm of the weighted sum: their softmax is the weighted sum
    itself, so cross entropy and everything else that takes logits is right.

    Args:
        num_classes: number of genres.
        parts: name and options of each of the two parts, as for ``build_model``.
        in_channels, n_mels: channels and mel bands of the spectrogram, for all parts that take one.
        dropout: dropout on each part's output layer, unless its own options set it.
        weighting: ``equal``, as in the report, w = 0.5 until ``set_weight``; or ``learned``, w being the sigmoid of a
            parameter that starts at 0.

    Shape: waveform (N, 1, L), mel (N, in_channels, n_mels, T) -> log-probabilities (N, num_classes).

    Raises:
        SoundFusionError: not two parts, or a part that ``build_model`` does not know.
    """

    def __init__(
        self,
        num_classes: int,
        parts: Parts = REPORTED_PARTS,
        in_channels: int = 2,
        n_mels: int = 64,
        dropout: float = 0.3,
        weighting: str = "equal",
    ) -> None:
        super().__init__(num_classes, parts, in_channels, n_mels)
        if len(self.parts) != 2:
            raise SoundFusionError(f"A fusion of decisions takes two parts, got {len(self.parts)}.")
        self.head = nn.Identity()  # the parts' heads decide
        for part, (_, options) in zip(self.parts, parts, strict=True):
            if "dropout" not in options:
                part.dropout = nn.Dropout(dropout)
        logit = torch.zeros(())
        if weighting == "learned":
            self.weight_logit = nn.Parameter(logit)
        else:
            self.register_buffer("weight_logit", logit)

    @property
    def weight(self) -> float:
        """Weight w of the first part; the second has 1 - w."""
        return self.weight_logit.sigmoid().item()

    @torch.no_grad()
    def set_weight(self, weight: float) -> None:
        """Set the first part's weight, in 0..1, as found on the validation part.

        Raises:
            SoundFusionError: the weight is outside 0..1.
        """
        if not 0 <= weight <= 1:
            raise SoundFusionError(f"The weight of a fusion lies in 0..1, got {weight}.")
        self.weight_logit.copy_(torch.tensor(weight, dtype=torch.float64).logit())

    def forward(self, *inputs: Tensor) -> Tensor:
        first, second = (log_softmax(part(*own).float(), dim=1) for part, own in self.part_inputs(inputs))
        weight = self.weight_logit
        return torch.logaddexp(first + logsigmoid(weight), second + logsigmoid(-weight))


def _build_part(name: str, num_classes: int, options: dict[str, Any], in_channels: int, n_mels: int) -> AudioClassifier:
    from soundfusion_lib.models import MODELS, build_model  # fusions are models too

    takes_mel = name in MODELS and "mel" in MODELS[name].inputs
    shape = {"in_channels": in_channels, "n_mels": n_mels} if takes_mel else {}
    return build_model(name, num_classes, **{**shape, **options})
