from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import result_of, run_of, take_tracks
from scipy import stats
from scipy.fft import dct

from soundfusion_lib.analysis import baselines, figures, tables
from soundfusion_lib.analysis.conclusions import conclusions
from soundfusion_lib.analysis.statistics import accuracy
from soundfusion_lib.datasets.splits import Split
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.study import protocol
from soundfusion_lib.study.starts import MILLION_SONGS
from soundfusion_lib.training.experiment import RANDOM, Experiment, FromRun, ImageNet
from soundfusion_lib.training.inference import classes_of, probability_columns
from soundfusion_lib.training.loop import Training
from soundfusion_lib.training.result import Result


def test_statistics_are_those_of_the_dct_of_the_stored_spectrogram(store):
    vectors = baselines.mfcc_statistics(store)
    assert vectors.shape == (36, 140) and vectors.index.equals(store.tracks.index)
    track = vectors.index[7]
    mfcc = dct(store.arrays["mel"].clip(track).astype(float).mean(1), norm="ortho")[:, 4]
    expected = dict.fromkeys(("mean", "std", "min", "max")) | {"skew": stats.skew, "kurtosis": stats.kurtosis}
    expected = {name: (of or getattr(np, name))(mfcc) for name, of in expected.items()} | {"median": np.median(mfcc)}
    found = {name: vectors.loc[track, f"mfcc 05 {name}"] for name in expected}
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-4)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [3.0, 0.1])  # the mean of many 0.1 is another number
def test_a_coefficient_that_never_changes_has_no_skewness(value):
    values = baselines._statistics(np.full((2_500, 1), value))
    assert values[2:4].tolist() == [0, 0]
    assert values.tolist() == pytest.approx([value, 0, 0, 0, value, value, value])


def test_majority_class_and_svm_predict_every_track_once_in_each_of_ten_splits(study, monkeypatch):
    monkeypatch.setattr(baselines, "SPLITS", 10)
    made = baselines.baselines(study)
    assert list(made) == [baselines.MAJORITY, baselines.SVM]
    for baseline in made.values():
        assert baseline.repeats == "10 splits" and baseline.core_minutes > 0
        for test in baseline.predictions():
            assert sorted(test["track"]) == sorted(study.store.tracks.index)
        assert test[probability_columns(test)].sum(axis=1).eq(1).all() and classes_of(test) == study.corpus.labels
        targets = [study.corpus.labels[target] for target in test["target"]]
        assert targets == study.store.tracks.loc[test["track"], "label"].tolist()
    assert accuracy(made[baselines.MAJORITY].predictions()) == pytest.approx(1 / 3, abs=0.1)
    assert accuracy(made[baselines.SVM].predictions()) > 0.9  # a low tone, a high one, and noise
    table = tables.performance(made)
    assert table["model"].tolist() == list(made) and tables.readable(table).loc[0, "parameters"] == "-"
    assert table["parameters"].dtype == "Int64"  # a network's stay whole in the CSV beside these


def test_a_random_split_shares_artists_and_the_study_s_does_not(study):
    table = baselines.leak(study).set_index("split")
    assert table.loc["by artist", "shared_artists"] == 0 < table.loc["random", "shared_artists"]
    assert table["track_accuracy"].between(table["track_low"], table["track_high"]).all()
    assert [baselines.parts_of(study, 0, 0, random).eq("test").sum() for random in (False, True)] == [9, 9]


def test_the_random_split_has_folds_like_the_profile_s_that_do_not_overlap(study, corpus):
    # the two "low" tracks that are left are fewer than the folds
    rare = corpus.tracks.assign(label=np.where(corpus.tracks.index < "low02", corpus.tracks["label"], "noise"))
    take_tracks(study, rare)
    study.profile = replace(study.profile, split=Split("stratified", 4))
    tested = [baselines.parts_of(study, fold, 0, True).eq("test") for fold in range(4)]
    assert (sum(tested) == 1).all() and [part.sum() for part in tested] == [9, 9, 9, 9]
    test = baselines.baselines(study, random=True)[baselines.SVM].predictions()[0]
    assert sorted(test["track"]) == sorted(rare.index)
    assert baselines.leak(study)["track_accuracy"].notna().all()


def test_an_official_split_is_the_only_one(study, corpus):
    official = np.resize(["train"] * 4 + ["validation", "test"], len(corpus.tracks))
    take_tracks(study, corpus.tracks.assign(split=official))
    assert baselines.leak(study)["split"].tolist() == ["by artist", "random"]
    assert baselines.baselines(study)[baselines.SVM].repeats == "1 split"


def right_on(name: str, right: int, epochs: int = 8, start=RANDOM) -> Result:
    """A network's made-up predictions, right on the first so many of 100 tracks."""
    experiment = Experiment(name, "simple_cnn", (), training=Training(epochs=epochs), start=start)
    runs = tuple(run_of(replace(experiment, seed=seed)) for seed in range(3))
    return result_of([choosing(right)] * 3, name=name, runs=runs)


def choosing(right: int) -> pd.DataFrame:
    chosen = np.where(np.arange(100) < right, 0.0, 1.0)
    names = [f"{number:03d}" for number in range(100)]
    return pd.DataFrame({"track": names, "segment": 0, "target": 0, "p_a": 1 - chosen, "p_b": chosen})


def test_conclusions_are_answered_only_where_the_test_is_clear(study):
    performance = {"resnet1d_medium": 40, "resnet2d_small": 70, "soundfusion1": 71, "soundfusion2": 45}
    performance = {name: right_on(name, right) for name, right in performance.items()}
    sizes = {"small": 8, "medium": 8, "large": 1}  # epochs
    widths = {
        (model, size): right_on(f"{label}-{size}", 50, epochs)
        for model, label in protocol.LABELS.items()
        for size, epochs in sizes.items()
    }
    ways = {"none": 30, "dropout": 30, "dropout+augmentation": 60}
    regularized = {(model, way): right_on(way, right) for model in protocol.LABELS for way, right in ways.items()}
    starts = {start: right_on("x", 40, start=start) for start in (FromRun("1", True), ImageNet("2", True))}
    table = conclusions(performance, widths, regularized, starts, {})
    assert len(table) == 8
    answers = table.set_index(["question", "second"])["answer"]
    assert answers["does 2D beat 1D?", "resnet1d_medium"] == "yes"
    assert answers["does fusing features help?", "resnet2d_small"] == "undecided"  # by one track
    assert answers["does fusing decisions help?", "resnet2d_small"] == "no"
    assert answers["does the smaller win?"].eq("undecided").all()
    assert answers["does regularization help?"].eq("yes").all()
    reported = table.set_index(["question", "first"])
    assert reported.loc[("does 2D beat 1D?", "resnet2d_small"), "reported"] == pytest.approx(0.567 - 0.426)
    smaller = reported.loc["does the smaller win?"]
    expected = {"ResNet1D-small": 0.344 - 0.441, "ResNet2D-small": 0.528 - 0.5}
    assert smaller["reported"].to_dict() == pytest.approx(expected)
    assert smaller["reported_answer"].to_dict() == {"ResNet1D-small": "no", "ResNet2D-small": "yes"}
    assert len(conclusions(performance, widths, regularized, {}, {})) == 7
    probed = {"VGG16, random weights": 90, "VGG16, ImageNet": 70, "SimpleCNN, games": 20, "ResNet2D-small, games": 30}
    probed = {
        name: result_of([choosing(right)], name=name, start=name.split(", ")[1], unit="split")
        for name, right in probed.items()
    }
    (last,) = conclusions(performance, widths, regularized, {}, probed).tail(1).to_dict("records")
    assert (last["first"], last["second"]) == ("probe of SimpleCNN, games", "probe of VGG16, ImageNet")
    assert (last["answer"], last["difference"]) == ("no", pytest.approx(-0.5)) and pd.isna(last["first_epochs"])
    music = result_of([choosing(95)], name="musicnn", start=MILLION_SONGS, unit="split")
    (last,) = conclusions(performance, widths, regularized, {}, probed | {"m": music}).tail(1).to_dict("records")
    assert (last["first"], last["answer"]) == ("probe of musicnn", "yes")
    assert smaller[["first_epochs", "second_epochs"]].to_numpy().tolist() == [[8, 1], [8, 1]]
    runs = performance["resnet2d_small"].runs[:1]
    once = replace(performance["resnet2d_small"], runs=runs, load=lambda _: {(0, 0): choosing(70)})
    single = conclusions(performance | {"resnet2d_small": once}, widths, regularized, starts, {})
    assert single["answer"].tolist()[:4] == ["one seed"] * 3 + ["undecided"]
    (axis,) = figures.conclusions(study, table).axes
    labels = [tick.get_text() for tick in axis.get_yticklabels()]
    assert labels[0] == "does 2D beat 1D? yes (report: yes)\nresnet2d_small - resnet1d_medium"
    said = "does the smaller win? undecided (report: no)"
    assert labels[3] == f"{said}\nResNet1D-small - ResNet1D-large (8 and 1 epochs)"


def test_a_classifier_is_fitted_once_and_found_here_or_among_the_kept(study, tmp_path, monkeypatch):
    first = baselines.baselines(study)[baselines.SVM]
    monkeypatch.setattr(baselines, "mfcc_statistics", None)  # nothing is fitted any more
    again = baselines.baselines(study)[baselines.SVM]
    kept = tmp_path / "kept" / baselines.KEPT
    kept.parent.mkdir()
    files = [file for file in (tmp_path / "classifiers").glob("*.parquet") if file.stem in study.classifiers]
    pd.concat([pd.read_parquet(file).assign(run=file.stem) for file in files]).to_parquet(kept)
    for file in files:
        file.unlink()
    study.kept = kept.parent
    found = baselines.baselines(study)[baselines.SVM]
    for result in (again, found):
        for one, two in zip(first.predictions(), result.predictions(), strict=True):
            pd.testing.assert_frame_equal(one, two)
    assert first.core_minutes == again.core_minutes == found.core_minutes
    with pytest.raises(SoundFusionError, match="predictions of validation sets are not kept"):
        first.predictions("validation")
