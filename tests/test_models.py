"""Models: exact parameter counts, shapes, the slides' table, and what saving, freezing, fusing and training rely on."""

import json
import urllib.error
from unittest.mock import Mock

import pytest
import torch
from safetensors.torch import save_file
from torch.nn.functional import adaptive_avg_pool2d, conv1d, cross_entropy
from torchvision.models import VGG16_Weights
from torchvision.models.vgg import cfgs, make_layers

from soundfusion_lib.audio.augment import augmentation
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.models import MODELS, architecture_table, build_model, count_parameters, resnet1d, summarize
from soundfusion_lib.models.base import Standardize, adaptive_average_pool
from soundfusion_lib.models.resnet1d import Conv1d
from soundfusion_lib.models.vgg16 import freeze, load_imagenet

SMALL = {"vgg16": {"width": 8}, "resnet1d": {"width": 4}, "resnet2d": {"width": 4}}
SMALL_PARTS = [["resnet1d", {"width": 4}], ["resnet2d", {"width": 4, "pool": 1}]]
SMALL |= {name: {"parts": SMALL_PARTS} for name in MODELS if name.startswith("fusion_")}

LENGTHS = [36_750, 12_250, 4_083, 1_361, 453, 151, 50, 16, 5]
SLIDES = ["Input - - - - 110,250", "Conv1D 128 3 - 3 128×36,750"]
for filters, length in zip([128] * 2 + [256] * 6 + [512], LENGTHS, strict=True):  # the slides' blocks
    SLIDES += [f"Res1D {filters} 3 - 1 {filters}×{length:,}", f"MaxPool - - 3 3 {filters}×{length // 3:,}"]
SLIDES += ["Conv1D 512 1 - 1 512×1", "Output - - - - 10"]


def build(name, num_classes=8, **options):
    torch.manual_seed(0)
    return build_model(name, num_classes, **{**SMALL.get(name, {}), **options})


def batch(model, size=2, samples=15_000, frames=70, in_channels=2, n_mels=64):
    """Raw inputs for a model: waveforms in [-1, 1] and spectrograms in dB."""
    generator = torch.Generator().manual_seed(1)
    inputs = {
        "waveform": 2 * torch.rand(size, 1, samples, generator=generator) - 1,
        "mel": 80 * torch.rand(size, in_channels, n_mels, frames, generator=generator) - 60,
    }
    return [inputs[name] for name in model.inputs]


PARTS_OF_FUSION = (70_904 - 520) + (445_176 + 49 * 16 - 25_096)  # without their heads of 64 and 3136 features


@pytest.mark.parametrize(
    "name, num_classes, options, parameters, num_features",
    [
        ("simple_cnn", 8, {}, 25_472, 64),
        ("resnet2d", 8, {"width": 16, "in_channels": 1}, 445_176, 3136),
        ("resnet2d", 8, {"width": 32, "in_channels": 1}, 1_724_392, 6272),
        ("resnet2d", 8, {"width": 64, "in_channels": 1}, 6_784_968, 12_544),
        ("resnet2d", 8, {"width": 16}, 445_176 + 49 * 16, 3136),
        ("resnet2d", 8, {"width": 16, "depth": 18}, 245_448, 3136),
        ("resnet2d", 8, {"width": 16, "pool": 1}, 445_176 + 49 * 16 - 48 * 64 * 8, 64),
        ("resnet1d", 8, {"width": 16}, 70_904, 64),
        ("resnet1d", 8, {"width": 32}, 280_040, 128),
        ("resnet1d", 8, {"width": 64}, 1_113_032, 256),
        ("resnet1d", 10, {"width": 128, "variant": "allamy"}, 4_086_794, 512),
        ("vgg16", 1000, {"width": 64, "in_channels": 3}, 138_357_544, 4096),  # as published
        ("fusion_concat", 8, {}, PARTS_OF_FUSION + (128 * 8 + 8), 128),
        ("fusion_decision", 8, {}, PARTS_OF_FUSION + 2 * (64 * 8 + 8), 128),
        ("fusion_decision", 8, {"weighting": "learned"}, PARTS_OF_FUSION + 2 * (64 * 8 + 8) + 1, 128),
        ("fusion_gated", 8, {}, PARTS_OF_FUSION + 2 * 64 * 64 + 128 * 64 + (64 * 8 + 8), 64),
        ("fusion_attention", 8, {}, PARTS_OF_FUSION + (2 + 4) * (64 * 64 + 64) + 2 * 64 + (128 * 8 + 8), 128),
        ("nnet1", 8, {"in_channels": 1, "n_mels": 128},
         (512 * 128 + 128) + (512 * 128 + 128) + (512 * 256 + 256) + (512 * 300 + 300) + (300 * 150 + 150) + 1208, 150),
        ("nnet2", 8, {"in_channels": 1, "n_mels": 128},
         (512 * 256 + 256) + 2 * (1024 * 256 + 256) + 3 * 512 + (512 * 300 + 300) + (300 * 150 + 150) + 1208, 150),
    ],
)  # fmt: skip
def test_counts_of_parameters_and_features_are_exact(name, num_classes, options, parameters, num_features):
    with torch.device("meta"):
        model = build_model(name, num_classes, **options)
    assert (count_parameters(model), model.num_features) == (parameters, num_features)


def test_architecture_table_is_the_slides():
    with torch.device("meta"):
        model = build_model("resnet1d", 10, width=128, variant="allamy")
    table = architecture_table(model)
    assert list(table.columns) == ["Layer", "# Filters", "Kernel Size", "Pool Size", "Stride", "Output Shape"]
    assert [" ".join(row) for row in table.itertuples(index=False)] == SLIDES


@pytest.mark.parametrize("name", MODELS)
def test_summary_counts_every_parameter_and_leaves_the_model_alone(name):
    model = build(name)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    shapes = {"waveform": (1, 110_250), "mel": (2, 64, 431)}
    table = summarize(model, *(shapes[name] for name in model.inputs))
    assert list(table.columns) == ["layer", "filters", "kernel", "stride", "output shape", "parameters"]
    assert table["parameters"].sum() == count_parameters(model)
    assert model.training and all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


STAGES = {
    "simple_cnn": [8, 16, 32, 64],
    "resnet2d": [4, 8, 8, 16],
    "resnet1d": [4, 4, 8, 8, 8, 8, 8, 8, 16],
    "nnet1": [128, 128, 256],
    "nnet2": [256, 256, 256],
    "vgg16": [8, 16, 32, 64, 64],
}


@pytest.mark.parametrize("name", MODELS)
def test_stages_give_feature_maps_in_order_and_outputs_have_their_shapes_and_gradients(name):
    options = {"in_channels": 1, "n_mels": 128} if "mel" in MODELS[name].inputs else {}
    model, seen = build(name, num_classes=5, **options), []
    for stage in model.stages().values():
        stage.register_forward_hook(lambda module, _, output: seen.append((module, output.shape)))
    inputs = batch(model, 4, 60_000, 40, 1, 128)
    logits = model(*inputs)
    widths = STAGES.get(name, [])  # fusions have none
    assert list(model.stages()) == [f"block {number}" for number in range(1, len(widths) + 1)]
    assert [module for module, _ in seen] == list(model.stages().values())
    assert [(shape[:2], len(shape)) for _, shape in seen] == [((4, width), 4) for width in widths]
    assert logits.shape == (4, 5) and model.features(*inputs).shape == (4, model.num_features)
    cross_entropy(logits, torch.arange(4)).backward()
    assert [key for key, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def statistics(model):
    known = {
        "waveform": (torch.tensor([0.1]), torch.tensor([2.0])),
        "mel": (torch.linspace(-50, -20, 64), torch.linspace(10, 20, 64)),
    }
    return {name: known[name] for name in model.inputs}


@pytest.mark.parametrize("name", MODELS)
def test_dropout_and_augmentation_act_only_in_training(name):
    model = build(name, dropout=0.5)
    model.set_augmentation({name: augmentation(name) for name in model.inputs})
    inputs = batch(model, 8)
    assert not torch.equal(model(*inputs), model(*inputs))
    model.eval()
    assert torch.equal(model(*inputs), model(*inputs))
    model.set_augmentation({name: augmentation(name) for name in model.inputs})  # set late, still evaluating
    assert torch.equal(model(*inputs), model(*inputs))


@pytest.mark.parametrize("name", ["simple_cnn", "resnet1d"])
def test_waveforms_are_augmented_raw_and_spectrograms_standardised(name):
    model, seen = build(name), []
    spy = torch.nn.Identity()
    spy.register_forward_hook(lambda module, inputs, output: seen.append(output))
    (kind,) = model.inputs
    model.set_statistics(statistics(model))
    model.set_augmentation({kind: spy})
    (x,) = batch(model)
    model(x)
    assert torch.equal(seen[0], model.standardize[kind](x) if kind == "mel" else x)
    model.set_augmentation({})
    model(x)
    assert len(seen) == 1
    other = "mel" if kind == "waveform" else "waveform"
    with pytest.raises(SoundFusionError, match=f"no input {other}, only {kind}"):
        model.set_augmentation({other: spy})


def test_standardize_gives_zero_mean_and_unit_deviation_per_band():
    mel = 10 * torch.randn(16, 2, 5, 200) - 40 + torch.arange(5.0)[:, None]
    mel[:, :, 3] = -80.0  # a band that never changes
    standardize = Standardize(5)
    assert torch.equal(standardize(mel), mel)
    standardize.set_statistics(mel.mean(dim=(0, 1, 3)), mel.std(dim=(0, 1, 3)))
    result = standardize(mel)
    assert result.mean(dim=(0, 1, 3)).abs().max() < 1e-4
    torch.testing.assert_close(result.std(dim=(0, 1, 3)), torch.tensor([1.0, 1, 1, 0, 1]), rtol=0, atol=1e-4)


@pytest.mark.parametrize("shape", [(2, 14), (4, 7), (1, 1), (9, 30), (11, 13)])
def test_average_pool_and_its_gradient_are_torchs_also_for_a_size_first_pooled_in_evaluation(shape):
    x = torch.randn(2, 3, *shape, dtype=torch.float64, requires_grad=True)
    for size in (1, 3, 7):
        with torch.inference_mode():
            adaptive_average_pool(x, size)
        pooled = [pool(x, size) for pool in (adaptive_average_pool, adaptive_avg_pool2d)]
        torch.testing.assert_close(*pooled)
        torch.testing.assert_close(*(torch.autograd.grad(one.square().sum(), x) for one in pooled))


def test_one_dimensional_convolution_is_torchs():
    layer, x = Conv1d(4, 6, 3, bias=True, stride=3, padding=3), torch.randn(2, 4, 50)
    expected = conv1d(x, layer.weight.squeeze(2), layer.bias, stride=3, padding=3)
    torch.testing.assert_close(layer(x.unsqueeze(2)).squeeze(2), expected)


@pytest.mark.parametrize("autocast, tolerance", [(False, {}), (True, {"rtol": 0.02, "atol": 0.5})])
def test_gradients_of_long_one_dimensional_convolutions_are_torchs(autocast, tolerance, monkeypatch):
    dtype = torch.float32 if autocast else torch.float64
    layer = Conv1d(4, 6, 3, bias=False, padding=1).to(dtype, memory_format=torch.channels_last)
    x = torch.randn(2, 4, 1, 50, dtype=dtype).to(memory_format=torch.channels_last).requires_grad_()
    monkeypatch.setattr(resnet1d, "LONG", 200)
    gradients = []
    for products in (False, True):
        monkeypatch.setattr(resnet1d, "PRODUCTS", products)
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            output = layer(x)
        assert output.dtype == (torch.bfloat16 if autocast else dtype)
        assert ("_LongConvolution" in type(output.grad_fn).__name__) == products
        gradients.append(torch.autograd.grad(output.to(dtype).square().sum(), [x, layer.weight]))
    torch.testing.assert_close(*gradients, **tolerance)
    monkeypatch.setattr(resnet1d, "LONG", 201)
    assert "Long" not in type(layer(x).grad_fn).__name__


@pytest.mark.parametrize("name", MODELS)
def test_models_run_in_channels_last_and_under_autocast(name):
    model = build(name).eval()
    model.set_statistics(statistics(model))
    inputs = batch(model)
    expected = model(*inputs)
    torch.testing.assert_close(model.to(memory_format=torch.channels_last)(*inputs), expected)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(model(*inputs).float(), expected, rtol=0.05, atol=0.05)


@pytest.mark.parametrize(
    "name, options, shortest",
    [
        ("nnet1", {}, (1, 2, 64, 25)),
        ("nnet2", {}, (1, 2, 64, 4)),
        ("vgg16", {}, (1, 2, 64, 32)),
        ("resnet1d", {"variant": "soundfusion"}, (1, 1, 14_757)),
        ("resnet1d", {"variant": "allamy"}, (1, 1, 3**10)),
    ],
)
def test_inputs_that_are_too_short_are_refused(name, options, shortest):
    model = build(name, **options).eval()
    assert model(torch.zeros(shortest)).shape == (1, 8)
    with pytest.raises(SoundFusionError, match="or more, got"):
        model(torch.zeros(*shortest[:-1], shortest[-1] - 1))


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("resnet3d", {}, "no model 'resnet3d'; there are: simple_cnn, resnet2d"),
        ("resnet2d", {"layers": 3}, "resnet2d: has no key 'layers'; there are: depth, dropout"),
        ("resnet2d", {"depth": 50}, "resnet2d: depth = 50: must be 18 or 34"),
        ("fusion_concat", {"parts": [["resnet3d", {}], ["resnet1d", {}]]}, "no model 'resnet3d'"),
        ("fusion_concat", {"parts": [["resnet1d", {}]]}, "fusion_concat: parts = .* must have at least 2 items"),
        ("fusion_gated", {"parts": [["simple_cnn", {}]] * 3}, "fusion_gated: parts = .* must have at most 2 items"),
    ],
)
def test_unknown_names_and_options_are_refused(name, options, message):
    with pytest.raises(SoundFusionError, match=message):
        build_model(name, 8, **options)


# VGG16


@pytest.fixture(scope="module")
def convolutions():
    """Of a VGG16 under torchvision's names, at random."""
    torch.manual_seed(3)
    return {f"features.{name}": value for name, value in make_layers(cfgs["D"]).state_dict().items()}


@pytest.fixture(scope="module")
def full_vgg16():
    return build_model("vgg16", 8, width=64)


def test_imagenet_s_weights_are_loaded_but_for_the_last_layer_and_say_their_scale(full_vgg16, convolutions, tmp_path):
    """torchvision's whole network; its convolutions alone, of the original release; and the same with dense layers of
    NaN, as torchvision's IMAGENET1K_FEATURES."""
    published = convolutions | {"classifier.3.bias": torch.randn(4096), "classifier.6.bias": torch.randn(1000)}
    torch.save(published, tmp_path / "vgg16.pth")
    loaded = load_imagenet(full_vgg16, tmp_path / "vgg16.pth")
    assert len(loaded) == 27 and "dense.3.bias" in loaded and not any(name.startswith("head.") for name in loaded)
    assert torch.equal(full_vgg16.dense[3].bias, published["classifier.3.bias"]) and full_vgg16.input_scale == 1
    dense = full_vgg16.dense[0].weight.clone()
    save_file({name: value.half() for name, value in convolutions.items()}, tmp_path / "vgg16.safetensors")
    torch.save(published | {"classifier.3.bias": torch.full((4096,), torch.nan)}, tmp_path / "features.pth")
    for file in ("vgg16.safetensors", "features.pth"):
        full_vgg16.input_scale.fill_(1.0)
        assert len(load_imagenet(full_vgg16, tmp_path / file)) == 26
        assert full_vgg16.input_scale.item() == pytest.approx(57.6)
        assert torch.equal(full_vgg16.dense[0].weight, dense)
        assert full_vgg16.convolutions[2].weight.dtype == torch.float32


def test_faults_in_weights_are_told(full_vgg16, convolutions, tmp_path, monkeypatch):
    save_file({"features.0.bias": torch.zeros(64)}, tmp_path / "part.safetensors")
    save_file(convolutions | {"features.2.bias": torch.zeros(8)}, tmp_path / "other.safetensors")
    for model, file, message in (
        (full_vgg16, "none.pth", "cannot be read: .*No such file"),
        (full_vgg16, "part.safetensors", "(?s)part.safetensors does not fit VGG16: .*convolutions.28.bias"),
        (full_vgg16, "other.safetensors", "does not fit"),
        (build("vgg16"), "other.safetensors", "does not fit"),  # a narrower one
    ):
        with pytest.raises(SoundFusionError, match=message):
            load_imagenet(model, tmp_path / file)
    offline = Mock(side_effect=urllib.error.URLError("no network"))
    monkeypatch.setattr(VGG16_Weights, "get_state_dict", offline)
    with pytest.raises(SoundFusionError, match="not at hand.*no network.*local"):
        load_imagenet(full_vgg16)


@pytest.mark.parametrize("name", ["resnet1d", "resnet2d", "simple_cnn", "nnet1", "vgg16"])
def test_a_backbone_gives_the_features_that_it_gave_before(name):
    trained, model = build(name, num_classes=3).eval(), build(name, num_classes=5).eval()
    inputs, head = batch(model), model.head.weight.clone()
    assert not torch.equal(model.features(*inputs), trained.features(*inputs))
    loaded = model.load_backbone(trained.state_dict())
    assert torch.equal(model.features(*inputs), trained.features(*inputs)) and torch.equal(model.head.weight, head)
    names = [name for name, _ in model.named_parameters()]
    assert sorted(loaded) == sorted(set(names) - {"head.weight", "head.bias"})


def test_a_backbone_brings_its_scale_but_not_its_statistics_and_must_fit():
    trained, model = build("vgg16", num_classes=10), build("vgg16")
    trained.set_statistics({"mel": (torch.ones(64), torch.ones(64))})
    trained.input_scale.fill_(57.6)
    model.load_backbone(trained.state_dict())
    assert model.standardize["mel"].mean.sum() == 0 and model.input_scale == trained.input_scale
    with pytest.raises(SoundFusionError, match="the other VGG16 does not fit"):
        build("vgg16", in_channels=1).load_backbone(trained.state_dict())


def test_frozen_layers_get_no_gradient():
    model = build("vgg16")
    freeze(model, dict(model.named_parameters()).keys() - {"head.weight", "head.bias", "convolutions.2.bias"})
    trained = ["head.weight", "head.bias", "convolutions.0.weight", "convolutions.0.bias"]
    trained += ["convolutions.2.bias"]  # which was not loaded
    cross_entropy(model(*batch(model)), torch.tensor([0, 1])).backward()
    assert sorted(name for name, p in model.named_parameters() if p.grad is not None) == sorted(trained)
    assert count_parameters(model) == sum(model.get_parameter(name).numel() for name in trained)
    assert count_parameters(model, trainable_only=False) > 10 * count_parameters(model)


# Fusion


@pytest.mark.parametrize("name", ["fusion_concat", "fusion_decision"])
def test_fusion_of_trained_parts_has_their_features(name):
    trained = [build(part, **options) for part, options in SMALL_PARTS]
    for part in trained:
        part.set_statistics(statistics(part))
    fusion = build(name).eval()
    fusion.load_parts([part.state_dict() for part in trained])
    waveform, mel = batch(fusion)
    expected = torch.cat([trained[0].eval().features(waveform), trained[1].eval().features(mel)], dim=1)
    assert torch.equal(fusion.features(waveform, mel), expected)
    with pytest.raises(SoundFusionError, match="a trained model does not fit ResNet1D"):
        fusion.load_parts([part.state_dict() for part in reversed(trained)])


def test_a_gate_lets_one_part_through_or_the_other_value_by_value():
    fusion = build("fusion_gated").eval()
    inputs = batch(fusion)
    features = fusion.part_features(inputs)
    first, second = (torch.tanh(layer(x)) for layer, x in zip(fusion.values, features, strict=True))
    open_to_first = 1e6 * torch.sign(torch.cat(features, 1)[0])  # for the first clip
    for gate, expected in ((0 * open_to_first, (first + second) / 2), (open_to_first, first), (-open_to_first, second)):
        with torch.no_grad():
            fusion.gate.weight.copy_(gate.expand_as(fusion.gate.weight))
        torch.testing.assert_close(fusion.features(*inputs)[0], expected[0])
    assert (first[0] - second[0]).abs().min() > 0


def test_tokens_attend_to_each_other_by_four_heads():
    fusion = build("fusion_attention").eval()
    inputs = batch(fusion)
    features = zip(fusion.tokens, fusion.part_features(inputs), strict=True)
    tokens = torch.stack([layer(x) for layer, x in features], 1)  # (N, 2, 64)
    attended, weights = fusion.attention(tokens, tokens, tokens, average_attn_weights=False)
    torch.testing.assert_close(fusion.features(*inputs), fusion.norm(tokens + attended).flatten(1))
    assert weights.shape == (2, 4, 2, 2) and weights.std() > 0  # not even


@pytest.mark.parametrize("weighting, logit, weight", [("equal", 0.0, 0.5), ("learned", -1.0, 0.268941)])
def test_decisions_are_the_weighted_mean_of_the_softmaxes_finite_and_a_learned_weight_trains(weighting, logit, weight):
    fusion = build("fusion_decision", weighting=weighting).eval()
    assert fusion.weight == 0.5  # at first
    with torch.no_grad():
        fusion.weight_logit.fill_(logit)
    assert fusion.weight == pytest.approx(weight, abs=1e-5)
    waveform, mel = batch(fusion)
    first, second = fusion.parts[0](waveform).softmax(dim=1), fusion.parts[1](mel).softmax(dim=1)
    output, expected = fusion(waveform, mel), weight * first + (1 - weight) * second
    torch.testing.assert_close(output.exp(), expected)
    torch.testing.assert_close(output.softmax(dim=1), output.exp())
    labels = torch.tensor([3, 5])
    loss = cross_entropy(output, labels)
    torch.testing.assert_close(loss, -expected[torch.arange(2), labels].log().mean())
    loss.backward()
    assert weighting == "equal" or fusion.weight_logit.grad != 0
    with torch.no_grad():  # both softmaxes underflow
        fusion.parts[0].head.bias[0] = fusion.parts[1].head.bias[0] = 300.0
    assert 200 < cross_entropy(fusion(waveform, mel), labels) < float("inf")


def test_parts_with_the_same_input_and_other_models_can_be_fused_and_dropout_is_on_the_output_layers():
    parts = [["simple_cnn", {}], ["nnet1", {}]]
    fusion = build("fusion_concat", parts=json.loads(json.dumps(parts)), in_channels=1, n_mels=32)
    assert fusion.inputs == ("mel",) and fusion.num_features == 64 + 150
    fusion.set_statistics({"mel": (torch.ones(32), torch.ones(32))})
    assert [part.standardize["mel"].mean.sum() for part in fusion.parts] == [32, 32]
    assert fusion(torch.randn(2, 1, 32, 50)).shape == (2, 8)
    assert build("fusion_decision", parts=[["nnet2", {}], ["resnet1d", {}]]).inputs == ("mel", "waveform")
    concat = build("fusion_concat")
    assert concat.dropout.p == 0.3 and all(part.dropout.p == 0 for part in concat.parts)
    decision = build("fusion_decision", parts=[["simple_cnn", {}], ["resnet1d", {"dropout": 0.5}]])
    assert [part.dropout.p for part in decision.parts] == [0.3, 0.5] and decision.dropout.p == 0
