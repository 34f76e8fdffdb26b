import dataclasses

import pandas as pd
import pytest
import torch
from conftest import interrupted_after
from torch.optim.swa_utils import AveragedModel

from soundfusion_lib.analysis.statistics import accuracy
from soundfusion_lib.audio.augment import augmentation
from soundfusion_lib.audio.segments import Segmenting, Segments
from soundfusion_lib.datasets.splits import Split
from soundfusion_lib.models import MODELS, build_model
from soundfusion_lib.models.resnet2d import ResidualBlock
from soundfusion_lib.training import loop as training_module
from soundfusion_lib.training.inference import log_probabilities, predictions_of
from soundfusion_lib.training.loop import Training, fit

TIMES = ["seconds", "core_seconds"]
FAST = Training(epochs=6, patience=6, batch_size=16, learning_rate=3e-3)
NEWER = Training(
    epochs=6, patience=1, batch_size=16, learning_rate=1e-2, weight_decay=0.05, optimizer="adamw", schedule="one_cycle",
    averaging=0.9, mixup=0.3, label_smoothing=0.1, random_starts=True, keep="last",
)  # fmt: skip
RECIPES = pytest.mark.parametrize("recipe", [FAST, NEWER], ids=["the report's", "newer"])


@pytest.fixture(scope="module")
def parts(store):
    split = Split("artist", 4).assign(store.tracks)
    return {
        part: Segments(store, split.index[split == part], ("mel",), Segmenting(1.0, 0.25), torch.device("cpu"))
        for part in ("train", "validation", "test")
    }


def model_for(parts, seed=0):
    torch.manual_seed(seed)
    model = build_model("simple_cnn", 3, in_channels=2, n_mels=32, dropout=0.1)
    model.set_statistics(parts["train"].statistics())
    model.set_augmentation({"mel": augmentation("mel", max_fraction=0.2)})
    return model


def train(parts, training=FAST, seed=0, **options):
    model = model_for(parts)
    history, _, _ = fit(model, parts["train"], parts["validation"], training, seed=seed, progress=False, **options)
    return model, history


@RECIPES
def test_it_learns_by_its_seed_and_the_kept_epoch_s_validation_is_that_of_its_weights(parts, store, recipe):
    """Returned as it was computed in that epoch, in evaluation mode, also where later epochs were worse."""
    model = model_for(parts)
    history, kept, log_p = fit(model, parts["train"], parts["validation"], recipe, progress=False)
    assert recipe is NEWER or history["train_loss"].iloc[-1] < 0.7 * history["train_loss"].iloc[0]
    assert accuracy(predictions_of(log_probabilities(model, parts["test"]), parts["test"], store.labels)) > 0.8
    assert list(history["epoch"]) == list(range(1, 7))  # all, also where patience is 1
    assert torch.equal(log_p, log_probabilities(model, parts["validation"]))
    right = (log_p.argmax(1) == parts["validation"].targets).float().mean().item()
    accuracies = history["validation_accuracy"]
    assert right == accuracies[kept - 1] and (kept == 6 if recipe is NEWER else right == accuracies.max())
    other, _ = train(parts, recipe, seed=1)
    assert not all(map(torch.equal, model.state_dict().values(), other.state_dict().values()))


def test_best_weights_are_a_copy_of_the_best_epoch(parts, monkeypatch):
    """Validation is best in epoch 2 by decree: the weights kept must be that epoch's, not the last ones."""
    seen = []

    def decreed(model, segments, *arguments):
        seen.append({name: value.clone() for name, value in model.state_dict().items()})
        right = torch.nn.functional.one_hot(segments.targets, 3).float()
        return (right if len(seen) == 2 else 1 - right).mul(9).log_softmax(1)

    monkeypatch.setattr(training_module, "log_probabilities", decreed)
    model, history = train(parts, Training(epochs=9, patience=3, batch_size=16))
    assert len(history) == 5  # stopped after three epochs without improvement
    assert all(map(torch.equal, model.state_dict().values(), seen[1].values()))
    assert not all(map(torch.equal, seen[1].values(), seen[4].values()))
    assert not model.training


@pytest.mark.parametrize("after", [1, 3, 5])
@RECIPES
def test_interrupted_training_ends_with_the_same_numbers(parts, tmp_path, after, recipe):
    uninterrupted, history = train(parts, recipe)
    checkpoint = tmp_path / "checkpoint.pt"
    with interrupted_after(after):
        train(parts, recipe, checkpoint=checkpoint)
    resumed, again = train(parts, recipe, checkpoint=checkpoint)
    assert again.drop(columns=TIMES).equals(history.drop(columns=TIMES))
    assert all(map(torch.equal, uninterrupted.state_dict().values(), resumed.state_dict().values()))


def test_predictions_are_probabilities_of_every_segment_in_evaluation_mode(parts, store):
    model = model_for(parts).train()
    first, second = (log_probabilities(model, parts["test"], batch_size) for batch_size in (128, 7))
    assert torch.allclose(first, second, atol=1e-5)  # with dropout, augmentation or batch statistics they would differ
    frame = predictions_of(first, parts["test"], store.labels)
    assert list(frame.columns) == ["track", "segment", "target", "p_high", "p_low", "p_noise"]
    assert len(frame) == len(parts["test"])
    assert frame[["p_high", "p_low", "p_noise"]].sum(axis=1).sub(1).abs().max() < 1e-5
    targets = frame["track"].map(store.tracks["label"]).map(store.labels.index)
    assert frame["target"].tolist() == targets.tolist()


@pytest.mark.parametrize("name", MODELS)
def test_no_model_has_a_convolution_that_onednn_writes_out_of_bounds_in(name):
    """See ResNet2D's ResidualBlock: whether that kills the process depends on shapes and on what lies beside."""
    for convolution in (module for module in build_model(name, 3).modules() if isinstance(module, torch.nn.Conv2d)):
        assert convolution.kernel_size != (1, 1) or convolution.stride == (1, 1)


def test_the_projection_that_drops_pixels_first_is_the_strided_one():
    torch.manual_seed(0)
    block = ResidualBlock(6, 10, 2).double()
    strided = torch.nn.Conv2d(6, 10, 1, stride=2, bias=False).double()
    strided.load_state_dict(block.projection[0].state_dict())
    for size in ((9, 12), (8, 7)):
        x = torch.randn(3, 6, *size, dtype=torch.float64)
        torch.testing.assert_close(block.projection[0](block.subsample(x)), strided(x))


@pytest.mark.parametrize("damaged", [lambda content: content[: len(content) // 2], lambda _: b"", lambda _: b"noise"])
def test_a_checkpoint_that_cannot_be_read_is_named_and_training_begins_anew(parts, tmp_path, damaged):
    one, two = (Training(epochs=epochs, batch_size=16, learning_rate=3e-3) for epochs in (1, 2))
    fresh, history = train(parts, two)
    checkpoint = tmp_path / "checkpoint.pt"
    train(parts, one, checkpoint=checkpoint)
    checkpoint.write_bytes(damaged(checkpoint.read_bytes()))
    with pytest.warns(UserWarning, match=r"checkpoint\.pt cannot be read \(.+\): training starts anew"):
        begun_anew, again = train(parts, two, checkpoint=checkpoint)
    assert again.drop(columns=TIMES).equals(history.drop(columns=TIMES))
    assert all(map(torch.equal, begun_anew.state_dict().values(), fresh.state_dict().values()))


def test_a_last_batch_of_one_segment_does_not_end_the_training(store, cpu):
    """ResNet1D ends in one value a channel, of which batch norm makes nothing."""

    def of(count):
        return Segments(store, store.tracks.index[:count], ("waveform",), Segmenting(3.0, None), cpu)

    once = Training(epochs=1, batch_size=4)
    history, _, _ = fit(build_model("resnet1d", 3, width=2, variant="allamy"), of(5), of(2), once, progress=False)
    right = 5 * history["train_accuracy"].item()
    assert abs(right - round(right)) < 1e-4


def test_the_averaged_weights_are_the_ones_kept(parts, monkeypatch):
    seen = []
    update = AveragedModel.update_parameters

    def watched(averaged, model):
        seen.append(model.head.weight.detach().clone())
        update(averaged, model)

    monkeypatch.setattr(AveragedModel, "update_parameters", watched)
    model, _ = train(parts, dataclasses.replace(FAST, epochs=2, averaging=0.8, keep="last"))
    expected = seen[0]
    for weight in seen[1:]:
        expected = 0.8 * expected + 0.2 * weight
    torch.testing.assert_close(model.head.weight.detach(), expected)
    assert not torch.allclose(expected, seen[-1], atol=1e-4)


def test_the_learning_rate_rises_and_falls_in_one_cycle_over_all_steps(parts, monkeypatch):
    rates = []
    step = torch.optim.Adam.step

    def watched(optimizer, *arguments, **options):
        rates.append(optimizer.param_groups[0]["lr"])
        return step(optimizer, *arguments, **options)

    monkeypatch.setattr(torch.optim.Adam, "step", watched)
    train(parts, dataclasses.replace(FAST, schedule="one_cycle"))
    steps = 6 * len(parts["train"].batch_sizes(16))
    assert len(rates) == steps and max(rates) == pytest.approx(3e-3, rel=0.02)
    assert rates[0] == pytest.approx(3e-3 / 25) and rates[-1] < 1e-5
    top = rates.index(max(rates))
    assert 0.2 < top / steps < 0.4 and rates[:top] == sorted(rates[:top]) and rates[top:] == sorted(rates[top:])[::-1]


def test_mixup_mixes_inputs_and_names_both_targets():
    torch.manual_seed(0)
    x, targets = torch.arange(8.0).view(8, 1, 1).expand(8, 1, 3), torch.arange(8)
    shares = []
    for _ in range(200):
        (mixed,), others, share = training_module._mixup((x,), targets, 0.3)
        torch.testing.assert_close(mixed[:, 0, 0], share * targets + (1 - share) * others)
        assert sorted(others.tolist()) == list(range(8)) and 0.5 <= share <= 1
        shares.append(share)
    assert 0.7 < sum(shares) / 200 < 0.95 and min(shares) < 0.7
    inputs, others, share = training_module._mixup((x,), targets, 0.0)
    assert inputs[0] is x and share == 1


def test_label_smoothing_is_in_the_training_loss(parts):
    def plain():
        model = model_for(parts)
        model.set_augmentation({})
        model.dropout = torch.nn.Identity()
        return model

    still = dataclasses.replace(FAST, epochs=1, learning_rate=1e-12, batch_size=999)
    losses = []
    for smoothing in (0.0, 0.3):
        recipe = dataclasses.replace(still, label_smoothing=smoothing)
        history, _, _ = fit(plain(), parts["train"], parts["validation"], recipe, progress=False)
        losses.append(history["train_loss"][0])
    (inputs, _), *_ = parts["train"].batches(999)
    uniform = -plain().train()(*inputs).log_softmax(1).mean(1).mean().item()  # cross entropy against all classes alike
    assert losses[1] == pytest.approx(0.7 * losses[0] + 0.3 * uniform, rel=0.02)


def test_the_epoch_of_lowest_loss_is_kept_whatever_its_accuracy(parts, monkeypatch):
    """The second epoch is right everywhere and unsure, the fourth less so; the third is sure, and wrong once: its loss
    is lowest."""
    epochs = []

    def decreed(model, segments, *arguments):
        epochs.append(len(epochs) + 1)
        right = torch.nn.functional.one_hot(segments.targets, 3).float()
        if epochs[-1] == 3:
            right[0] = 1 - right[0]
        return right.mul({1: -1.0, 2: 0.1, 3: 9.0, 4: 0.2}[epochs[-1]]).log_softmax(1)

    monkeypatch.setattr(training_module, "log_probabilities", decreed)
    for keep, best in (("best", 4), ("lowest_loss", 3)):
        epochs.clear()
        recipe = dataclasses.replace(FAST, epochs=4, keep=keep)
        assert fit(model_for(parts), parts["train"], parts["validation"], recipe, progress=False).best_epoch == best


def test_class_weights_make_each_label_count_alike(parts, store, monkeypatch):
    """Of one label a third of the segments: a network that gives all segments the same probabilities has the loss of
    balanced labels, and the average weight is 1."""
    monkeypatch.setattr(torch.optim.Adam, "step", lambda *_: None)  # it does not learn
    table = parts["train"].table
    tracks = pd.Index(table["track"].unique())
    first = tracks[store.tracks.loc[tracks, "label"] == store.labels[0]]
    kept = tracks.difference(first[len(first) // 3 :])
    unequal = Segments(store, kept, ("mel",), Segmenting(1.0, 0.25), torch.device("cpu"))
    model = model_for(parts)
    model.dropout = torch.nn.Identity()
    torch.nn.init.zeros_(model.head.weight)
    model.head.bias.data = torch.tensor([0.0, 1.0, 2.0])
    losses = -torch.tensor([0.0, 1.0, 2.0]).log_softmax(0)
    recipe = dataclasses.replace(FAST, epochs=1, batch_size=len(unequal), class_weights=True)
    history, *_ = fit(model, unequal, parts["validation"], recipe, progress=False)
    counts = unequal.targets.bincount()
    assert counts[0] < 0.5 * counts[1]
    assert history["train_loss"][0] == pytest.approx(losses.mean().item())
    recipe = dataclasses.replace(recipe, class_weights=False)
    history, *_ = fit(model, unequal, parts["validation"], recipe, progress=False)
    assert history["train_loss"][0] == pytest.approx(((losses * counts).sum() / counts.sum()).item())
