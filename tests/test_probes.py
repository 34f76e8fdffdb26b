import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import SMALL_MEL, run_of

from soundfusion_lib.analysis import controls, paired_tests, probes
from soundfusion_lib.analysis.statistics import accuracy
from soundfusion_lib.audio.segments import Segmenting
from soundfusion_lib.datasets.splits import Split
from soundfusion_lib.study.profile import Profile
from soundfusion_lib.study.starts import RANDOM, Start
from soundfusion_lib.study.study import Study
from soundfusion_lib.training.experiment import Experiment
from soundfusion_lib.training.fuse import average, stack
from soundfusion_lib.training.inference import classes_of
from soundfusion_lib.training.loop import Training
from soundfusion_lib.training.result import of_runs
from soundfusion_lib.training.train import train_or_find

CNN = Experiment(
    "SimpleCNN",
    "simple_cnn",
    (SMALL_MEL,),
    segmenting=Segmenting(1.0, 0.25),
    training=Training(epochs=2, batch_size=16, learning_rate=3e-3),
)


@pytest.fixture
def study(corpus, store, tmp_path, monkeypatch):
    monkeypatch.setenv("SOUNDFUSION_DATA", str(tmp_path))
    study = object.__new__(Study)
    study.profile = Profile("test", {"kind": "demo"}, split=Split(folds=4), test_folds=(0, 1), seeds=(0, 1))
    study.device, study.progress, study.scheduler, study._runs = torch.device("cpu"), False, "", {}
    study.dry, study.kept = False, None
    study.__dict__ |= {"corpus": corpus, "store": store}
    return study


def test_a_probe_learns_what_features_know_and_no_more(study):
    store = study.store
    target = np.searchsorted(store.labels, store.tracks["label"].to_numpy(str))
    known = np.eye(3)[target] + 0.01 * np.random.default_rng(0).normal(size=(36, 3))
    told, noise = (
        probes.probe(study, "x", lambda seed, fold, x=x: x, seeds=(0, 1), core_seconds=60.0)
        for x in (known, np.random.default_rng(1).normal(size=(36, 3)))
    )
    assert accuracy(told.predictions()) > 0.999 and accuracy(noise.predictions()) < 0.7
    assert len(told.predictions()) == 2 and told.parameters == 12 and told.core_minutes > 1
    tested = told.predictions()[0]
    parts = [study.split(fold).assign(store.tracks) for fold in (0, 1)]
    assert tested["track"].tolist() == [track for part in parts for track in part.index[part == "test"]]
    assert classes_of(tested) == store.labels and tested["group"].str.contains("artist").all()


def test_strength_is_chosen_on_the_validation_part_never_on_the_test_part(study, monkeypatch):
    """Features that agree with the label in training and test, and contradict it in validation: the probe that does
    least is chosen, which a choice on the test part would not."""
    store = study.store
    target = np.searchsorted(store.labels, store.tracks["label"].to_numpy(str))
    part = study.split(0).assign(store.tracks).to_numpy()
    x = np.eye(3)[np.where(part == "validation", (target + 1) % 3, target)] * 3.0
    chosen = []
    monkeypatch.setattr(probes, "track_predictions", lambda p, *_: chosen.append(p.max()) or pd.DataFrame())
    monkeypatch.setattr(probes, "STRENGTHS", (1e-4, 100.0))
    probes.probe(study, "x", lambda seed, fold: x)
    assert max(chosen[:2]) < 0.4  # hardly more than chance: the one that learned least


def test_a_probe_fitted_anew_to_the_validation_part_too_knows_what_only_that_part_tells(study):
    """The label stands in the validation part alone: in the training part the features are noise."""
    store = study.store
    target = np.searchsorted(store.labels, store.tracks["label"].to_numpy(str))
    part = study.split(0).assign(store.tracks).to_numpy()
    noise = np.random.default_rng(0).normal(size=(36, 3))
    x = np.where((part == "train")[:, None], 0.1 * noise, 3.0 * np.eye(3)[target])
    before, after = (
        probes.probe(under_one_fold(study), "x", lambda seed, fold: x, refit=refit).predictions()
        for refit in (False, True)
    )
    assert accuracy(before) < 0.9 and accuracy(after) > 0.999


def test_svm_and_probe_of_more_tracks_stand_under_names_of_their_own(study):
    start = Start("SimpleCNN", RANDOM, CNN)
    probed, svm = probes.with_validation(study, start)
    assert svm.startswith("SVM") and probed == f"probe of {start.name}, validation part too"


def under_one_fold(study):
    study.profile = dataclasses.replace(study.profile, test_folds=(0,))
    return study


def test_starts_are_probed_stage_by_stage_and_compared(study):
    start = Start("SimpleCNN", RANDOM, CNN)
    found = probes.probes(study, [start])
    table = probes.table(found, {("VGG16", "ImageNet"): "not run: no weights"})
    assert table["model"].tolist() == ["SimpleCNN", "VGG16"] and table["note"].tolist() == ["", "not run: no weights"]
    assert table["track_accuracy"].iloc[0] > 0.6  # tones differ even to a random network
    assert len(found[start.name].predictions()) == 2  # a random network for each seed
    blocks = probes.by_block(study, [start])
    assert blocks["block"].tolist() == [1, 2, 3, 4] and blocks["track_accuracy"].between(0, 1).all()
    music = Start("SimpleCNN", "tones", CNN)
    assert probes.pairs([start, music]) == [("SimpleCNN, tones", "SimpleCNN, random weights")]


@pytest.fixture
def runs(study, store, tmp_path):
    """Two networks of two seeds and folds under the names of the fusions' parts."""
    groups = {}
    for name, width in zip(controls.PARTS, (0.0, 0.1), strict=True):
        made = []
        for seed in (0, 1):
            for fold in (0, 1):
                changes = {"options": {"dropout": width}, "split": study.split(fold), "seed": seed, "role": "part"}
                run = dataclasses.replace(CNN, name=name, **changes)
                made.append(train_or_find(run, store, tmp_path / "runs", study.device, progress=False))
        groups[name] = of_runs(made, store.tracks["group"])
    return groups


def test_fusions_stand_beside_controls_that_see_one_input(study, runs, monkeypatch):
    monkeypatch.setattr("soundfusion_lib.training.parallel.cores", lambda: 1)
    one, two = runs.values()
    made = controls.ensembles(study, runs)
    better = controls.better_part(runs)
    assert list(made) == ["stacking of trained parts", f"two {better}, averaged"]
    twin = made[f"two {better}, averaged"]
    assert [run.experiment.seed for run in study._runs.values()] == [2, 2, 3, 3]  # the twins that were trained
    for nth in (0, 1):  # seed 0 with seed 2, 1 with 3
        alone = runs[better].run(nth, 0).predictions()["p_low"]
        [other] = [r for r in study._runs.values() if (r.experiment.seed, r.experiment.split.fold) == (nth + 2, 0)]
        mean = (alone + other.predictions()["p_low"]) / 2
        assert twin.predictions()[nth]["p_low"][: len(mean)].tolist() == pytest.approx(mean.tolist())
    assert [result.role for result in made.values()] == ["fusion", "control"]
    start = Start("SimpleCNN", RANDOM, CNN)
    probed = controls.fused_probes(study, start, runs)
    alone, heard, seen = probed
    assert (alone, heard) == ("probe of SimpleCNN, random weights", f"{alone} and ResNet1D-small")
    assert probed[heard].parameters > probed[alone].parameters
    table = controls.gains(runs | made | probed | {"SoundFusion-2 of trained parts": average(one, two, "both")})
    kinds = dict(zip(table["first"], table["kind"], strict=True))
    assert kinds == {
        "stacking of trained parts": "fusion",
        f"two {better}, averaged": "control",
        heard: "fusion",
        seen: "control",
        "SoundFusion-2 of trained parts": "fusion",
    }
    assert table.set_index("first")["second"].to_dict()[heard] == alone
    assert table["second"].isin([better, alone]).all() and table["p"].between(0, 1).all()
    fusions = {"SoundFusion-1": one, "SoundFusion-2 of trained parts, equal weights": average(one, two, "equal")}
    entries = runs | made | probed | fusions
    beyond = controls.against_controls(entries)
    twins = f"two {better}, averaged"
    pairs = [*((name, twins) for name in fusions), (heard, seen)]
    assert list(zip(beyond["first"], beyond["second"], strict=True)) == pairs
    right = [accuracy(entries[name].predictions(), "vote") for name in (heard, seen)]
    assert beyond["difference"].iloc[2] == pytest.approx(right[0] - right[1])
    needed = beyond["tracks"] * (beyond["smallest_difference"] / beyond["difference"]) ** 2
    np.testing.assert_allclose(beyond["tracks_needed"], needed, atol=0.5)  # infinite of a difference of 0
    expected = paired_tests.tested([(made[f"two {better}, averaged"], runs[better])], "vote")["difference"].iloc[0]
    assert table.set_index("first")["difference"][f"two {better}, averaged"] == pytest.approx(expected)


def test_each_run_of_a_part_is_regularized_as_its_own_validation_part_says(study, runs, monkeypatch):
    """Without regularization all is right in fold 0, with dropout in fold 1; the rest is wrong, all tests too."""

    def knowing(group, right_in):
        made = []
        for run in group.runs:
            frame = run.read_predictions().copy()
            right = (frame["part"] == "validation") & (run.experiment.split.fold == right_in)
            frame[["p_high", "p_low", "p_noise"]] = np.eye(3)[(frame["target"] + ~right) % 3]
            made.append(run_of(run.experiment, predictions=frame))
        return of_runs(made, study.store.tracks["group"])

    tried = {
        (model, kind): knowing(runs[part], right_in)
        for model, part in zip(("resnet1d", "resnet2d"), controls.PARTS, strict=True)
        for kind, right_in in (("none", 0), ("dropout", 1), ("dropout+augmentation", None))
    }
    monkeypatch.setattr(controls.protocol, "regularization", lambda _: {})
    monkeypatch.setattr(study, "train", lambda _: tried, raising=False)
    best, table = controls.at_their_best(study)
    one, two, both = best.values()
    named = [f"{part}, regularized by validation" for part in controls.PARTS]
    assert list(best) == [*named, controls.AVERAGED]
    assert [accuracy(group.predictions("validation")) for group in best.values()] == [1, 1, 1]
    assert accuracy(both.predictions()) == 0 and len(both.predictions()) == 2
    assert table["chosen"].tolist() == ["none", "dropout"] * 4 and table["seed"].tolist() == [0, 0, 1, 1] * 2
    assert table.loc[0, ["none", "dropout", "dropout+augmentation"]].tolist() == [1, 0, 0]
    assert one.run(1, 1) is tried["resnet1d", "dropout"].run(1, 1) and two.folds == [0, 1]


def test_stacking_learns_on_the_validation_part_which_model_to_believe(runs, study):
    one, two = runs.values()
    columns, renamed = ["p_high", "p_low", "p_noise"], []
    for run in two.runs:  # the second knows the answer, but calls it by another name
        frame = run.read_predictions().copy()
        frame[columns] = np.eye(3)[(frame["target"] + 1) % 3]
        renamed.append(run_of(run.experiment, predictions=frame))
    two = of_runs(renamed, study.store.tracks["group"])
    stacked = stack(one, two, "stacked").predictions()
    assert accuracy(two.predictions()) == 0 and accuracy(stacked) > 0.999
    assert stacked[0][columns].sum(axis=1).to_numpy() == pytest.approx(1)
