import pandas as pd
import pytest
import torch

from soundfusion_lib import training as training_module
from soundfusion_lib.augment import augmentation
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.evaluation import accuracy, log_probabilities, predictions_of
from soundfusion_lib.models import build_model
from soundfusion_lib.segments import Segmenting, Segments
from soundfusion_lib.splits import Split
from soundfusion_lib.training import Training, fit

FAST = Training(epochs=6, patience=6, batch_size=16, learning_rate=3e-3)


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


def test_it_learns(parts, store):
    model, history = train(parts)
    assert history["train_loss"].iloc[-1] < 0.7 * history["train_loss"].iloc[0]
    assert accuracy(predictions_of(log_probabilities(model, parts["test"]), parts["test"], store.corpus.genres)) > 0.8
    assert list(history["epoch"]) == list(range(1, 7))


def test_the_same_seed_gives_the_same_weights(parts):
    (first, history), (second, again), (third, _) = train(parts), train(parts), train(parts, seed=1)
    assert history.drop(columns="seconds").equals(again.drop(columns="seconds"))
    assert all(map(torch.equal, first.state_dict().values(), second.state_dict().values()))
    assert not all(map(torch.equal, first.state_dict().values(), third.state_dict().values()))


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


def test_equal_accuracy_goes_to_the_lower_loss(parts, monkeypatch):
    sharpness = iter([1.0, 3.0, 2.0])

    def decreed(model, segments, *arguments):
        return torch.nn.functional.one_hot(segments.targets, 3).float().mul(next(sharpness)).log_softmax(1)

    monkeypatch.setattr(training_module, "log_probabilities", decreed)
    _, history = train(parts, Training(epochs=3, patience=3, batch_size=16))
    assert history["validation_accuracy"].tolist() == [1, 1, 1]
    assert history["validation_loss"].idxmin() == 1


class Stopped(Exception):
    pass


@pytest.mark.parametrize("after", [1, 3, 5])
def test_interrupted_training_ends_with_the_same_numbers(parts, tmp_path, monkeypatch, after):
    uninterrupted, history = train(parts)
    checkpoint = tmp_path / "checkpoint.pt"
    save, saved = training_module._save, []

    def save_and_stop(*arguments):
        save(*arguments)
        saved.append(1)
        if len(saved) == after:
            raise Stopped

    monkeypatch.setattr(training_module, "_save", save_and_stop)
    with pytest.raises(Stopped):
        train(parts, checkpoint=checkpoint)
    monkeypatch.undo()
    resumed, again = train(parts, checkpoint=checkpoint)
    assert again.drop(columns="seconds").equals(history.drop(columns="seconds"))
    assert all(map(torch.equal, uninterrupted.state_dict().values(), resumed.state_dict().values()))


def test_the_best_epoch_s_validation_is_that_of_its_weights(parts):
    """Returned as it was computed in that epoch, in evaluation mode, also where later epochs were worse."""
    model = model_for(parts)
    history, best_epoch, log_p = fit(model, parts["train"], parts["validation"], FAST, progress=False)
    assert torch.equal(log_p, log_probabilities(model, parts["validation"]))
    right = (log_p.argmax(1) == parts["validation"].targets).float().mean().item()
    assert right == history["validation_accuracy"].max() == history["validation_accuracy"][best_epoch - 1]


def test_a_loss_that_is_not_finite_is_an_error(parts):
    with pytest.raises(SoundFusionError, match="not finite in epoch 1.*lower learning rate"):
        train(parts, Training(epochs=2, batch_size=16, learning_rate=1e30))


def test_prediction_is_in_evaluation_mode_and_leaves_the_mode(parts):
    model = model_for(parts)
    model.train()
    first, second = (log_probabilities(model, parts["test"], batch_size) for batch_size in (128, 7))
    assert torch.allclose(first, second, atol=1e-5)  # with dropout, augmentation or batch statistics they would differ
    assert model.training


def test_predictions_are_probabilities_of_every_segment(parts, store):
    frame = predictions_of(log_probabilities(model_for(parts), parts["test"]), parts["test"], store.corpus.genres)
    assert list(frame.columns) == ["track", "segment", "target", "high", "low", "noise"]
    assert len(frame) == len(parts["test"])
    assert frame[["high", "low", "noise"]].sum(axis=1).sub(1).abs().max() < 1e-5
    pd.testing.assert_series_equal(
        frame["target"], frame["track"].map(store.tracks["genre"]).map(store.corpus.genres.index).rename("target"), check_dtype=False
    )


@pytest.mark.parametrize("values", [{"optimizer": "sgdx"}, {"epochs": 0}, {"learning_rate": 0}, {"weight_decay": -1}])
def test_impossible_settings_are_refused(values):
    with pytest.raises(SoundFusionError):
        Training(**values)


def test_narrow_convolutions_are_not_run_in_channels_last_on_a_cpu(cpu):
    """torch's gradient of them corrupts memory there; 8 filters and more are safe, and faster."""
    narrow, wide = (build_model("resnet2d", 3, width=width, n_mels=32) for width in (4, 8))
    assert training_module._memory_format(narrow, cpu) == torch.contiguous_format
    assert training_module._memory_format(wide, cpu) == torch.channels_last
    assert training_module._memory_format(narrow, torch.device("cuda")) == torch.channels_last


def test_an_epoch_of_few_steps_draws_other_segments_each_time(parts, monkeypatch):
    seen = []
    gather = Segments._gather

    def watched(segments, rows):
        if segments is parts["train"]:
            seen.append(rows.tolist())
        return gather(segments, rows)

    model = model_for(parts)
    monkeypatch.setattr(Segments, "_gather", watched)
    history, _, _ = fit(model, parts["train"], parts["validation"], Training(epochs=2, batch_size=4, steps=3), progress=False)
    assert [len(rows) for rows in seen] == [4] * 6 and sorted(sum(seen[:3], [])) != sorted(sum(seen[3:], []))
    right = 12 * history["train_accuracy"]  # of the 12 segments seen
    assert (right - right.round()).abs().max() < 1e-4
