"""The models of the report, and two fusions more: ``build_model("resnet2d", num_classes=8, width=16, dropout=0.3)``.

They share the arguments ``num_classes`` (labels), ``in_channels`` and ``n_mels`` (of the spectrogram) and ``dropout``
(on the output layer).
"""

from soundfusion_lib.checks import check, options_of
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.models.base import AudioClassifier, count_parameters, summarize
from soundfusion_lib.models.fusion import FusionAttention, FusionConcat, FusionDecision, FusionGated
from soundfusion_lib.models.nnet import NNet1, NNet2
from soundfusion_lib.models.resnet1d import ResNet1D, architecture_table
from soundfusion_lib.models.resnet2d import ResNet2D
from soundfusion_lib.models.simple_cnn import SimpleCNN
from soundfusion_lib.models.vgg16 import VGG16

__all__ = ["MODELS", "AudioClassifier", "architecture_table", "build_model", "count_parameters", "summarize"]

MODELS: dict[str, type[AudioClassifier]] = {
    "simple_cnn": SimpleCNN,
    "resnet2d": ResNet2D,
    "resnet1d": ResNet1D,
    "nnet1": NNet1,
    "nnet2": NNet2,
    "vgg16": VGG16,
    "fusion_concat": FusionConcat,
    "fusion_decision": FusionDecision,
    "fusion_gated": FusionGated,
    "fusion_attention": FusionAttention,
}


def build_model(name: str, num_classes: int, **options) -> AudioClassifier:
    """Build an untrained model: one of `MODELS`, with the other arguments of its class as options.

    Raises:
        SoundFusionError: there is no such model, or no such option for it, or a value is not allowed.
    """
    if name not in MODELS:
        raise SoundFusionError(f"There is no model {name!r}; there are: {', '.join(MODELS)}.")
    check(options_of(MODELS[name]), options, f"{name}:")
    return MODELS[name](num_classes, **options)
