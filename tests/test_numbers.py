"""The numbers that a seed gives, for every model: the same again on this machine, also after an interruption; and those
written down for the revision of the code, whose number is part of every run's key."""

import contextlib
from dataclasses import replace

import pytest
from conftest import NARROW, SMALL_MEL, interrupted_after

from soundfusion_lib.audio.augment import AUGMENTATIONS
from soundfusion_lib.audio.representations import Waveform
from soundfusion_lib.audio.segments import Segmenting
from soundfusion_lib.datasets.splits import Split
from soundfusion_lib.models import MODELS
from soundfusion_lib.training import inference, loop
from soundfusion_lib.training.experiment import REVISION, Experiment
from soundfusion_lib.training.loop import Training
from soundfusion_lib.training.train import train_or_find

TRAINING = Training(
    epochs=2, batch_size=16, learning_rate=3e-3, weight_decay=0.05, optimizer="adamw", schedule="one_cycle",
    averaging=0.9, mixup=0.3, label_smoothing=0.1, random_starts=True, keep="last",
)  # fmt: skip


def experiment(name: str) -> Experiment:
    inputs = MODELS[name].inputs
    specs = tuple(spec for spec in (Waveform(), SMALL_MEL) if spec.kind in inputs)
    augment = {kind: {} for kind in inputs if kind in AUGMENTATIONS}
    training = replace(TRAINING, learning_rate=1e-5) if name in SLOWLY else TRAINING
    named = {"split": Split("artist", 4), "training": training, "seed": 5}
    return Experiment(name, name, specs, NARROW[name], Segmenting(1.0, 0.0), augment, **named)


# With a ResNet2D of two filters, at the rate above, rounding errors grow to a tenth of the loss in a few steps, and a
# processor that sums in another order would not find the numbers again. The others hold the optimizer to them.
SLOWLY = {"resnet2d", "fusion_concat", "fusion_decision", "fusion_gated", "fusion_attention"}
LOSSES = {4: {  # by revision, and model: the training loss of both epochs
    "simple_cnn": [0.94455, 0.53217], "resnet2d": [1.146, 1.21776], "resnet1d": [1.15149, 1.15436],
    "nnet1": [1.09732, 0.99592], "nnet2": [1.02908, 0.84139], "vgg16": [1.07471, 1.0135],
    "fusion_concat": [1.10885, 1.13338], "fusion_decision": [1.12154, 1.13086],
    "fusion_gated": [1.10999, 1.12143], "fusion_attention": [1.21236, 1.15707],
}}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_a_seed_gives_the_numbers_of_the_revision_and_the_same_bits_after_an_interruption(
    name, store, tmp_path, cpu, monkeypatch
):
    """Code that trains to other numbers finds old runs under the same key: raise REVISION, and write both down here."""
    for module in (loop, inference):  # in float32, whatever the machine would take
        monkeypatch.setattr(module, "autocast", lambda device: contextlib.nullcontext())
    first = train_or_find(experiment(name), store, tmp_path / "first", cpu, progress=False)
    assert first.history["train_loss"].tolist() == pytest.approx(LOSSES[REVISION][name], rel=3e-3)
    with interrupted_after(1):
        train_or_find(experiment(name), store, tmp_path / "second", cpu, progress=False)
    second = train_or_find(experiment(name), store, tmp_path / "second", cpu, progress=False)
    for file in ("predictions.parquet", "model.safetensors"):
        one, two = (run.weights_file.with_name(file).read_bytes() for run in (first, second))
        assert one == two
