import dataclasses
import itertools

import numpy as np
import pytest
import torch
from conftest import SMALL_MEL, run_of, take_tracks
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from soundfusion_lib.analysis import controls, paired_tests, probes
from soundfusion_lib.analysis.baselines import SVM
from soundfusion_lib.analysis.statistics import accuracy
from soundfusion_lib.audio.representations import Waveform
from soundfusion_lib.audio.segments import Segmenting, Segments
from soundfusion_lib.audio.store import Store
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.study.starts import MILLION_SONGS, RANDOM, Start, musicnn
from soundfusion_lib.training.experiment import Experiment
from soundfusion_lib.training.fuse import average, stack
from soundfusion_lib.training.inference import classes_of, probability_columns
from soundfusion_lib.training.loop import Training
from soundfusion_lib.training.result import of_runs
from soundfusion_lib.training.train import train_or_find

TRAINING = Training(epochs=2, batch_size=16, learning_rate=3e-3)
CNN = Experiment("SimpleCNN", "simple_cnn", (SMALL_MEL,), segmenting=Segmenting(1.0, 0.25), training=TRAINING)


@pytest.fixture
def target(store):
    """The label's number of each track, (36,)."""
    return np.searchsorted(store.labels, store.tracks["label"].to_numpy(str))


def test_a_probe_learns_what_features_know_and_no_more(study, target):
    store, known = study.store, np.eye(3)[target] + 0.01 * np.random.default_rng(0).normal(size=(36, 3))
    informed, noise = (
        probes.probe(study, [name], lambda seed, fold, x=x: x, seeds=(0, 1), core_seconds=lambda: 60.0, name=name)
        for name, x in {"known": known, "noise": np.random.default_rng(1).normal(size=(36, 3))}.items()
    )
    assert accuracy(informed.predictions()) > 0.999 and accuracy(noise.predictions()) < 0.7
    assert informed.repeats == "2 seeds" and informed.core_minutes > 1
    tested = informed.predictions()[0]
    parts = [study.split(fold).assign(store.tracks) for fold in (0, 1)]
    assert tested["track"].tolist() == [track for part in parts for track in part.index[part == "test"]]
    assert classes_of(tested) == store.labels and tested["group"].str.contains("artist").all()


def test_strength_is_chosen_on_the_validation_part_never_on_the_test_part(study, target, monkeypatch):
    """Features that agree with the label in training and test, and contradict it in validation: the probe that does
    least is chosen, which a choice on the test part would not."""
    part = study.split(0).assign(study.store.tracks).to_numpy()
    x = np.eye(3)[np.where(part == "validation", (target + 1) % 3, target)] * 3.0
    monkeypatch.setattr(probes, "STRENGTHS", (1e-4, 100.0))
    result = probes.probe(study, ["x"], lambda seed, fold: x, (0,), name="x")
    predicted = result.by_run()[0, 0]
    assert predicted[probability_columns(predicted)].to_numpy().max() < 0.4  # the one that learned least


def test_a_probe_fitted_anew_to_the_validation_part_too_knows_what_only_that_part_tells(study, target):
    """The label stands in the validation part alone: in the training part the features are noise."""
    study.profile = dataclasses.replace(study.profile, test_folds=(0,))
    part = study.split(0).assign(study.store.tracks).to_numpy()
    noise = np.random.default_rng(0).normal(size=(36, 3))
    x = np.where((part == "train")[:, None], 0.1 * noise, 3.0 * np.eye(3)[target])
    before, after = (
        accuracy(probes.probe(study, ["x"], lambda seed, fold: x, (0,), refit=refit, name="x").predictions())
        for refit in (False, True)
    )
    assert before < 0.9 and after > 0.999


@pytest.mark.parametrize("labels", [2, 3])
def test_the_probe_of_all_clips_is_the_regression_with_the_strength_that_validates_best(study, labels, monkeypatch):
    keep = study.store.tracks.index[study.store.tracks["label"] != ("noise" if labels == 2 else "")]
    corpus = dataclasses.replace(study.corpus, tracks=study.corpus.tracks.loc[keep])
    arrays = {kind: dataclasses.replace(one, tracks=one.tracks.loc[keep]) for kind, one in study.store.arrays.items()}
    study.__dict__ |= {"corpus": corpus, "store": Store(corpus, arrays)}
    monkeypatch.setattr(probes, "STRENGTHS", (1e-9, 1e-2))  # the first tells nothing apart
    start = Start("SimpleCNN", RANDOM, CNN)
    x, label = probes.matrix(start.features(study)), study.store.tracks["label"]
    weight, bias = probes.on_all_clips(study, start)
    expected = make_pipeline(StandardScaler(), LogisticRegression(C=1e-2, max_iter=1000)).fit(x, label)
    np.testing.assert_allclose(softmax(x @ weight.T + bias, axis=1), expected.predict_proba(x), atol=1e-4)


def test_a_label_of_one_artist_is_never_predicted_when_that_artist_tests(study, target):
    tracks = study.corpus.tracks
    take_tracks(study, tracks.assign(group=tracks["group"].where(tracks["label"] != "noise", "one")))
    study.profile = dataclasses.replace(study.profile, test_folds=(0, 1, 2, 3))
    tested = probes.probe(study, ["x"], lambda *_: np.eye(3)[target], name="x").predictions()[0]
    noise = tested[tested["target"] == 2]
    assert len(noise) == 12 and (noise["p_noise"] == 0).all()
    assert accuracy(tested[tested["target"] != 2]) > 0.99


@pytest.mark.parametrize("noisy, said", [(1, "4 folds need 4 artists, and there are 3"), (2, "has no clip to valid")])
def test_too_few_artists_are_one_sentence(study, target, noisy, said):
    tracks = study.corpus.tracks
    artist = np.where(tracks["label"] == "noise", np.arange(len(tracks)) % noisy, tracks["label"])
    take_tracks(study, tracks.assign(group=artist.astype(str)))
    with pytest.raises(SoundFusionError, match=f"{said}.*: add .*, or use fewer folds"):
        probes.probe(study, ["x"], lambda *_: np.eye(3)[target], name="x")


def test_starts_are_probed_stage_by_stage_and_compared(study):
    start, music = Start("SimpleCNN", RANDOM, CNN), Start("SimpleCNN", "tones", CNN)
    probed = probes.probes(study, [start])
    table = probes.table(probed, {("VGG16", "ImageNet"): "not run: no weights"})
    assert table["model"].tolist() == ["SimpleCNN", "VGG16"] and table["note"].tolist() == ["", "not run: no weights"]
    assert table["track_accuracy"].iloc[0] > 0.6  # tones differ even to a random network
    assert probed[start.name].repeats == "2 splits" and table["repeats"].iloc[0] == "2 splits"
    assert table["lowest"].iloc[0] <= table["track_accuracy"].iloc[0] <= table["highest"].iloc[0]
    blocks = probes.by_block(study, [start])
    assert blocks["block"].tolist() == [1, 2, 3, 4] and blocks["track_accuracy"].between(0, 1).all()
    assert probes.pairs([start, music]) == [("SimpleCNN, tones", "SimpleCNN, random weights")]
    more = {f"probe of {start.name}, validation set too": "probe", f"{SVM}, validation set too": "baseline"}
    assert {name: result.role for name, result in probes.with_validation(study, start).items()} == more


def test_musicnn_hears_3_s_at_16_khz_and_its_probe_takes_the_penultimate_layer(study, cpu):
    study.profile = dataclasses.replace(study.profile, segmenting=Segmenting(1.0, 0.25), seeds=(0,))
    start, trained = musicnn(RANDOM), musicnn()
    assert trained.name == f"musicnn, {MILLION_SONGS}"
    blocks = start.features(study).blocks
    assert list(blocks) == ["block 1", "block 2", "block 3", "block 4"]
    widths = [4 * 561, 4 * 753, 2 * 200, 2 * 50]
    assert [values.shape for values in blocks.values()] == [(36, width) for width in widths]
    store = study.build_store(study.corpus, [Waveform(16_000)])
    ((x,), _), *_ = Segments(store, store.tracks.index[5:6], ("waveform",), Segmenting(3.0, 0.0), cpu).batches(1)
    with torch.inference_mode():
        expected = start.build(study, 0).eval().features(x)[0]
    assert x.shape == (1, 1, 48_000)
    np.testing.assert_allclose(blocks["block 3"][5], np.append(expected[:200], np.zeros(200)), rtol=0.05, atol=0.05)
    np.testing.assert_allclose(blocks["block 4"][5, :50], expected[200:], rtol=0.05, atol=0.05)
    probed = probes.probes(study, [start])[start.name]
    assert (probed.network, probed.start) == ("musicnn", RANDOM)
    assert probes.pairs([trained, Start("VGG16", "ImageNet", CNN)]) == [(trained.name, "VGG16, ImageNet")]


@pytest.fixture
def runs(study, store, tmp_path):
    """Two networks of two seeds and folds under the names of the fusions' parts."""
    results = {}
    for name, dropout in zip(controls.PARTS, (0.0, 0.1), strict=True):
        trained = []
        for seed, fold in itertools.product((0, 1), (0, 1)):
            changes = {"options": {"dropout": dropout}, "split": study.split(fold), "seed": seed, "role": "part"}
            run = dataclasses.replace(CNN, name=name, **changes)
            trained.append(train_or_find(run, store, tmp_path / "runs", study.device, progress=False))
        results[name] = of_runs(trained, store.tracks["group"])
    return results


def test_fusions_stand_beside_controls_that_see_one_input(study, runs, monkeypatch):
    monkeypatch.setattr("soundfusion_lib.training.parallel.cores", lambda: 1)
    first, second = runs.values()
    ensembles = controls.ensembles(study, runs)
    better = controls.better_part(runs)
    stacking, twins, every = "stacking of trained parts", f"two {better}, averaged", f"{better}, all seeds"
    roles = [(stacking, "fusion"), (twins, "control"), (every, "network")]
    assert [(name, result.role) for name, result in ensembles.items()] == roles and len(ensembles[every].seeds) == 4
    trained = {(run.experiment.seed, run.experiment.split.fold): run for run in study._runs.values()}
    assert sorted(trained) == [(2, 0), (2, 1), (3, 0), (3, 1)]
    for seed in (0, 1):  # seed 0 with seed 2, 1 with 3
        pair = runs[better].run(seed, 0).predictions(), trained[seed + 2, 0].predictions()
        mean = (pair[0]["p_low"] + pair[1]["p_low"]) / 2
        assert ensembles[twins].predictions()[seed]["p_low"][: len(mean)].tolist() == pytest.approx(mean.tolist())
    probed = controls.fused_probes(study, Start("SimpleCNN", RANDOM, CNN), runs)
    alone, waveform, spectrogram = probed
    assert alone == "probe of SimpleCNN, random weights, the profile's split"
    assert waveform == f"{alone} and ResNet1D-small"
    assert [result.repeats for result in probed.values()] == ["1 split", "2 seeds", "2 seeds"]
    assert probed[waveform].core_minutes > runs["ResNet1D-small"].core_minutes > 0  # it costs that network's training
    averaged = "SoundFusion-2 of trained parts, equal weights"
    entries = runs | ensembles | probed | {averaged: average(first, second, averaged)}
    table = controls.gains(entries)
    expected = [(stacking, every, "fusion"), (twins, every, "control"), (waveform, alone, "fusion")]
    expected += [(spectrogram, alone, "control"), (averaged, every, "fusion")]
    assert list(table[["first", "second", "kind"]].itertuples(index=False, name=None)) == expected
    gain = paired_tests.tested([(entries[twins], ensembles[every])])["difference"].iloc[0]
    assert table.set_index("first")["difference"][twins] == pytest.approx(gain) and table["p"].between(0, 1).all()
    beyond = controls.against_controls({"SoundFusion-1": first} | entries)
    pairs = [("SoundFusion-1", twins), (averaged, twins), (waveform, spectrogram)]
    assert list(zip(beyond["first"], beyond["second"], strict=True)) == pairs
    right = [accuracy(entries[name].predictions(), "vote") for name in (waveform, spectrogram)]
    assert beyond["difference"].iloc[2] == pytest.approx(right[0] - right[1])
    needed = beyond["tracks"] * (beyond["smallest_difference"] / paired_tests.NOTABLE) ** 2
    np.testing.assert_allclose(beyond["tracks_needed"], needed, atol=0.5)


def test_each_run_of_a_part_is_regularized_as_its_own_validation_part_says(study, runs, monkeypatch):
    """Without regularization all is right in fold 0, with dropout in fold 1; the rest is wrong, all tests too."""

    def knowing(result, right_in):
        changed = []
        for run in result.runs:
            frame = run.read_predictions().copy()
            right = (frame["part"] == "validation") & (run.experiment.split.fold == right_in)
            frame[["p_high", "p_low", "p_noise"]] = np.eye(3)[(frame["target"] + ~right) % 3]
            changed.append(run_of(run.experiment, predictions=frame))
        return of_runs(changed, study.store.tracks["group"])

    tried = {
        (model, kind): knowing(runs[part], right_in)
        for model, part in zip(("resnet1d", "resnet2d"), controls.PARTS, strict=True)
        for kind, right_in in (("none", 0), ("dropout", 1), ("dropout+augmentation", None))
    }
    monkeypatch.setattr(controls.protocol, "regularization", lambda _: {})
    monkeypatch.setattr(study, "train", lambda _: tried, raising=False)
    best, table = controls.at_their_best(study)
    first, second, both = best.values()
    named = [f"{part}, regularized by validation" for part in controls.PARTS]
    assert list(best) == [*named, controls.AVERAGED]
    assert [accuracy(result.predictions("validation")) for result in best.values()] == [1, 1, 1]
    assert accuracy(both.predictions()) == 0 and len(both.predictions()) == 2
    assert table["chosen"].tolist() == ["none", "dropout"] * 4 and table["seed"].tolist() == [0, 0, 1, 1] * 2
    assert table.loc[0, ["none", "dropout", "dropout+augmentation"]].tolist() == [1, 0, 0]
    assert first.run(1, 1) is tried["resnet1d", "dropout"].run(1, 1) and second.folds == [0, 1]


def test_stacking_learns_on_the_validation_part_which_model_to_believe(runs, study):
    first, second = runs.values()
    columns, renamed = ["p_high", "p_low", "p_noise"], []
    for run in second.runs:  # the second knows the answer, but calls it by another name
        frame = run.read_predictions().copy()
        frame[columns] = np.eye(3)[(frame["target"] + 1) % 3]
        renamed.append(run_of(run.experiment, predictions=frame))
    second = of_runs(renamed, study.store.tracks["group"])
    stacked = stack(first, second, "stacked").predictions()
    assert accuracy(second.predictions()) == 0 and accuracy(stacked) > 0.999
    assert stacked[0][columns].sum(axis=1).to_numpy() == pytest.approx(1)
