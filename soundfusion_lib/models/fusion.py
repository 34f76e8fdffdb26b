"""SoundFusion: a model of the waveform and one of the mel spectrogram, fused by features or by decisions; and two other
ways to fuse features, which the report leaves to further work. Any two models can be the parts.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import log_softmax, logsigmoid

from soundfusion_lib.checks import Bands, Count, Share
from soundfusion_lib.models.base import AudioClassifier

Part = Annotated[tuple[str, dict[str, Any]], Field(description="the name of a model and its options")]
Parts = Annotated[Sequence[Part], Field(min_length=2, max_length=2, description="a list of two parts")]
PARTS: Parts = (("resnet1d", {"width": 16}), ("resnet2d", {"width": 16, "pool": 1}))  # the report's: 64 features each
UNITS = 64  # values that the gate and the attention map each part's features to
HEADS = 4  # of the attention


class Fusion(AudioClassifier):
    """Two parts side by side, each given by name and options, as for ``build_model``. ``inputs`` are the parts', each
    once."""

    inputs = ("waveform", "mel")

    def __init__(
        self, num_classes: int, parts: Parts = PARTS, in_channels: Count = 2, n_mels: Bands = 64, dropout: Share = 0.3
    ) -> None:
        from soundfusion_lib.models import MODELS, build_model  # fusions are models too

        built = []
        for name, options in parts:
            if name in MODELS and "mel" in MODELS[name].inputs:
                options = {"in_channels": in_channels, "n_mels": n_mels, **options}
            built.append(build_model(name, num_classes, **options))
        super().__init__({}, sum(part.num_features for part in built), num_classes, dropout)
        self.parts = nn.ModuleList(built)
        self.inputs = tuple(dict.fromkeys(name for part in built for name in part.inputs))
        self.build_fusion(num_classes)

    def build_fusion(self, num_classes: int) -> None:
        """Layers beyond the parts, whose heads go here where they end in their features."""

    def part_inputs(self, inputs: Sequence[Tensor]) -> list[tuple[AudioClassifier, list[Tensor]]]:
        """Each part with its inputs."""
        by_name = dict(zip(self.inputs, inputs, strict=True))
        return [(part, [by_name[name] for name in part.inputs]) for part in self.parts]

    def part_features(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """The features of each part, (N, part.num_features)."""
        return [part.features(*tensors) for part, tensors in self.part_inputs(inputs)]

    def features(self, *inputs: Tensor) -> Tensor:
        """The parts' features, concatenated: (N, num_features)."""
        return torch.cat(self.part_features(inputs), dim=1)

    def load_parts(self, state_dicts: Sequence[dict[str, Tensor]]) -> None:
        """Start from the states of trained models, in the order of the parts."""
        for part, state in zip(self.parts, state_dicts, strict=True):
            if isinstance(part.head, nn.Identity):
                state = {name: value for name, value in state.items() if not name.startswith("head.")}
            part.load_weights(state, "a trained model")


class FusionConcat(Fusion):
    """SoundFusion-1: the parts' features, concatenated, and one linear layer.

    Shape: waveform (N, 1, L), mel (N, in_channels, n_mels, T) -> logits (N, num_classes); ``features`` (N, 128).
    """

    def build_fusion(self, num_classes: int) -> None:
        for part in self.parts:
            part.head = nn.Identity()


class FusionGated(FusionConcat):
    """The parts' features f and g, mapped to `UNITS` values each and mixed: z tanh(W f) + (1 - z) tanh(U g) with the
    gate z = sigmoid(V [f, g]), and a linear layer.

    The gated multimodal unit of Arevalo, Solorio, Montes-y-Gómez and González, "Gated multimodal units for information
    fusion", ICLR workshop 2017.

    Shape: as `FusionConcat`; ``features`` (N, 64).
    """

    def build_fusion(self, num_classes: int) -> None:
        super().build_fusion(num_classes)
        self.values = nn.ModuleList(nn.Linear(part.num_features, UNITS, bias=False) for part in self.parts)
        self.gate = nn.Linear(self.num_features, UNITS, bias=False)
        self.num_features, self.head = UNITS, nn.Linear(UNITS, num_classes)

    def features(self, *inputs: Tensor) -> Tensor:
        features = self.part_features(inputs)
        first, second = (torch.tanh(layer(x)) for layer, x in zip(self.values, features, strict=True))  # (N, 64) each
        share = torch.sigmoid(self.gate(torch.cat(features, dim=1)))
        return share * first + (1 - share) * second


class FusionAttention(FusionConcat):
    """The parts' features as two tokens of `UNITS` values that attend to themselves and each other, by `HEADS` heads; a
    shortcut around the attention, layer norm, both tokens side by side, a linear layer.

    Attention as in Vaswani et al., "Attention is all you need", NeurIPS 2017; as a fusion of modalities Tsai et al.,
    "Multimodal transformer for unaligned multimodal language sequences", ACL 2019.

    Shape: as `FusionConcat`; ``features`` (N, 128).
    """

    def build_fusion(self, num_classes: int) -> None:
        super().build_fusion(num_classes)
        self.tokens = nn.ModuleList(nn.Linear(part.num_features, UNITS) for part in self.parts)
        self.attention = nn.MultiheadAttention(UNITS, HEADS, batch_first=True)
        self.norm = nn.LayerNorm(UNITS)
        self.num_features, self.head = 2 * UNITS, nn.Linear(2 * UNITS, num_classes)

    def features(self, *inputs: Tensor) -> Tensor:
        features = zip(self.tokens, self.part_features(inputs), strict=True)
        tokens = torch.stack([layer(x) for layer, x in features], dim=1)  # (N, 2, 64)
        attended, _ = self.attention(tokens, tokens, tokens, need_weights=False)
        return self.norm(tokens + attended).flatten(1)


class FusionDecision(Fusion):
    """SoundFusion-2: each part decides, and the softmaxes are added with weights w and 1 - w.

    The forward pass returns the logarithm of that sum, whose softmax is the sum itself: it serves as logits.

    Args:
        dropout: on each part's output layer, unless the part's options set it.
        weighting: ``equal``, as in the report, w = 0.5; or ``learned``, w the sigmoid of a parameter that starts at 0.

    Shape: waveform (N, 1, L), mel (N, in_channels, n_mels, T) -> log-probabilities (N, num_classes).
    """

    def __init__(
        self,
        num_classes: int,
        parts: Parts = PARTS,
        in_channels: Count = 2,
        n_mels: Bands = 64,
        dropout: Share = 0.3,
        weighting: Literal["equal", "learned"] = "equal",
    ) -> None:
        super().__init__(num_classes, parts, in_channels, n_mels, dropout=0.0)
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
        logits = (part(*tensors) for part, tensors in self.part_inputs(inputs))
        first, second = (log_softmax(x.float(), dim=1) for x in logits)
        return torch.logaddexp(first + logsigmoid(self.weight_logit), second + logsigmoid(-self.weight_logit))
