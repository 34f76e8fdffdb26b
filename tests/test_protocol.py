"""The report's tables and plots, row by row, on a study whose runs are made up (nothing is trained here)."""

import hashlib
import io
import itertools
from dataclasses import replace
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
from conftest import games, result_of, run_of
from matplotlib import pyplot as plt
from torchvision.models import VGG16_Weights

from soundfusion_lib import SoundFusionError, Study, load_profile
from soundfusion_lib.analysis import figures, paired_tests, tables
from soundfusion_lib.audio.store import Store, StoredArray
from soundfusion_lib.datasets import Corpus
from soundfusion_lib.datasets.splits import Split
from soundfusion_lib.study import further, protocol
from soundfusion_lib.study.protocol import reported
from soundfusion_lib.training.experiment import FromRun, ImageNet
from soundfusion_lib.training.fuse import average, mix, search_weights
from soundfusion_lib.training.loop import Training
from soundfusion_lib.training.result import Result, of_runs

GENRES = ["Electronic", "Experimental", "Folk", "Hip-Hop", "Instrumental", "International", "Pop", "Rock"]


def made_up(experiment, right=0.5, seed=0, classes=GENRES, epochs=4, core_seconds=float("nan"), edit=None) -> Result:
    """A run as its folder would say, with predictions that are right with this probability."""
    random = np.random.default_rng(seed)
    columns = ("train_loss", "validation_loss", "train_accuracy", "validation_accuracy")
    history = pd.DataFrame({"epoch": np.arange(1, 5), **{name: random.random(4) for name in columns}, "seconds": 1.0})
    info = {"trained_parameters": 900, "best_epoch": 3, "epoch_seconds": 1.5, "core_seconds": core_seconds}
    axes = np.meshgrid(["validation", "test"], range(40), range(3), indexing="ij")
    part, track, segment = (axis.ravel() for axis in axes)
    target = track % len(classes)
    choice = np.where(random.random(240) < right, target, random.integers(len(classes), size=240))
    keys = {"track": np.char.add(part, track.astype(str)), "segment": segment, "target": target, "part": part}
    p = 0.5 / len(classes) + 0.5 * np.eye(len(classes))[choice]
    frame = pd.DataFrame(keys).join(pd.DataFrame(p, columns=["p_" + name for name in classes]))
    frame = edit(frame) if edit else frame
    return of_runs([run_of(experiment, info=info, predictions=frame, history=history[:epochs])], alone(frame))


def alone(*frames) -> pd.Series:
    """Each track by an artist of its own."""
    tracks = pd.concat(frames)["track"].unique()
    return pd.Series(tracks, tracks)


@pytest.fixture(scope="module")
def study():
    study = Study("test", "fma_small", "cpu", progress=False)
    study.profile = replace(study.profile, test_folds=(0,))
    tracks = pd.DataFrame({"path": "x", "label": GENRES, "group": None}, index=list("abcdefgh"))
    study.__dict__["corpus"] = corpus = Corpus("fma_small", ".", tracks)
    usable = pd.DataFrame({"reason": None, "seconds": 30.0}, index=tracks.index)
    study.__dict__["store"] = Store(corpus, {"mel": StoredArray(study.profile.mel, None, usable)})
    return study


def test_the_study_s_settings_are_the_report_s(study):
    small, cnn = protocol.resnet(study, "resnet2d"), protocol.simple_cnn(study)
    training = small.training
    assert (training.learning_rate, training.batch_size, training.optimizer) == (1e-4, 32, "adam")
    assert small.options == {"width": 16, "dropout": 0.3} and small.augment == {"mel": {}}
    sizes = [protocol.resnet(study, "resnet1d", size) for size in ("small", "medium", "large")]
    assert [experiment.options["width"] for experiment in sizes] == [16, 32, 64] and sizes[2].training.batch_size == 16
    assert (cnn.training.learning_rate, cnn.training.weight_decay, cnn.training.batch_size) == (1e-3, 1e-3, 256)
    assert cnn.segmenting.overlap is None and cnn.segmenting.seconds == 30.0


def test_every_reported_row_has_its_experiment_and_tables_share_their_runs(study, monkeypatch):
    starts = {"VGG16, random start": protocol.simple_cnn(study)}
    monkeypatch.setattr(protocol, "transfer", lambda study: (starts, {}))
    table = reported("table2_performance").set_index("model")
    rows = [row for row in table.index if row != "vgg16_pretrained"]
    assert list(protocol.performance(study)) == rows  # random weights never stand for pre-trained ones
    starts["frozen"] = replace(starts["VGG16, random start"], start=ImageNet("weights", frozen=True))
    assert list(protocol.performance(study)) == table.index.tolist()
    assert table.loc["resnet2d_small", "aggregated_accuracy"] == 0.567
    rows = reported("table1_regularization")[["model", "regularization"]].itertuples(index=False, name=None)
    assert [(f"{model}_small", kind) for model, kind in protocol.regularization(study)] == list(rows)
    rows = reported("figure1_width_scaling")[["model", "size"]].itertuples(index=False, name=None)
    assert list(protocol.widths(study)) == list(rows) and len(protocol.grid(study)) == 36
    shared = [*protocol.regularization(study).values(), *protocol.widths(study).values()]
    assert len({experiment.key("corpus") for experiment in shared}) == 10  # of 12
    # the report's masks, spelt out
    assert protocol.simple_cnn(study).key("corpus") == protocol.grid(study)[1.0, 2, 0.3].key("corpus")


def test_a_profile_may_leave_out_vgg16_whose_rows_say_so_or_the_ablation_of_the_newer_recipe(study, monkeypatch):
    monkeypatch.setattr(study, "profile", replace(study.profile, leave_out=("vgg16",)))
    possible, impossible = protocol.transfer(study)
    table = tables.readable(tables.transfer(possible, impossible))
    assert not possible and len(table) == 3 and table["note"].str.contains("takes too long").all()
    assert "vgg16_pretrained" not in protocol.performance(study)
    assert not further.ablation(study)  # by the report's recipe there is nothing to take out
    newer = load_profile("emotify")
    monkeypatch.setattr(study, "profile", newer)
    assert len({experiment.key("corpus") for experiment in further.ablation(study).values()}) == 8
    monkeypatch.setattr(study, "profile", replace(newer, leave_out=("ablation",)))
    assert not further.ablation(study)


def test_starts_of_vgg16(study, tmp_path, monkeypatch):
    trained = made_up(protocol.simple_cnn(study))
    monkeypatch.setattr(study, "check_pretraining", lambda: None)
    monkeypatch.setenv("SOUNDFUSION_DATA", str(tmp_path))
    weights = tmp_path / "vgg16_imagenet.pth"
    weights.write_bytes(b"weights")
    possible, impossible = protocol.transfer(study)
    ways = [f"{weights} start, {way}" for weights in ("ImageNet", "GTZAN") for way in ("frozen", "fine-tuned")]
    assert not impossible and list(possible) == [f"VGG16, {start}" for start in ("random start", *ways)]
    first = possible["VGG16, GTZAN start, frozen"].start
    assert first == FromRun(protocol.vgg16(study, "VGG16 on the pretraining corpus"), frozen=True)
    imagenet = possible["VGG16, ImageNet start, frozen"].start
    assert imagenet == ImageNet(hashlib.sha256(b"weights").hexdigest()[:12], frozen=True)
    weights.unlink()
    monkeypatch.setattr(VGG16_Weights, "get_state_dict", Mock(side_effect=OSError("no network")))
    possible, impossible = protocol.transfer(study)
    assert "vgg16_imagenet.pth" in impossible["VGG16, ImageNet start"] and len(possible) == 3
    table = tables.transfer({"VGG16, random start": trained}, impossible)
    assert table["note"].tolist() == ["", impossible["VGG16, ImageNet start"]]
    assert tables.readable(table)["ended"].tolist() == ["yes", "-"]
    with pytest.raises(SoundFusionError, match="this profile's VGG16 has width"):
        protocol.imagenet_fingerprint(Study("test", "demo", "cpu"))


def test_a_fusion_s_parts_have_the_profile_s_options_and_not_its_recipe_of_them():
    parts = dict(protocol.parts_of(Study("test", "demo", "cpu")))
    assert parts == {"resnet1d": {"width": 8}, "resnet2d": {"width": 8, "depth": 18, "pool": 1}}


def test_reported_columns_equal_the_report_s_files_and_names_of_alike_widths_do_not_touch(study):
    regularization = tables.regularization({key: made_up(e) for key, e in protocol.regularization(study).items()})
    widths = tables.width_scaling({key: made_up(e) for key, e in protocol.widths(study).items()})
    grid = tables.grid_search({key: made_up(e) for key, e in protocol.grid(study).items()})
    for table, column, file, published in (
        (regularization, "test_reported", "table1_regularization", "test_accuracy"),
        (regularization, "validation_reported", "table1_regularization", "validation_accuracy"),
        (widths, "reported_accuracy", "figure1_width_scaling", "test_accuracy"),
        (widths, "reported_seconds_per_epoch", "figure1_width_scaling", "seconds_per_epoch"),
        (grid, "reported", "grid_search_specaugment", "best_validation_accuracy"),
    ):
        assert table[column].tolist() == reported(file)[published].tolist()
    assert (grid["best_validation_accuracy"] > 0).all()
    assert regularization["repeats"].eq("1 seed").all() and widths["repeats"].eq("1 seed").all()
    alike = {"parameters": 2 * [1e5, 3e5, 1e6], "segment_accuracy": 0.5, "segment_low": 0.45, "segment_high": 0.55}
    drawn = figures.width_scaling(study, widths.assign(**alike))
    drawn.canvas.draw()
    boxes = [text.get_window_extent() for text in drawn.axes[0].texts]
    assert len(boxes) == 6 and not any(box.overlaps(next_box) for box, next_box in itertools.combinations(boxes, 2))
    plt.close("all")


def test_confusion_matrix_counts_votes_with_labels_in_the_order_of_the_rows(study):
    experiment, swapped = protocol.simple_cnn(study), {"p_Folk": "p_Rock", "p_Rock": "p_Folk"}
    matrix = tables.confusion(made_up(experiment, right=1.0))
    assert matrix.index.tolist() == matrix.columns.tolist() == GENRES
    assert np.array_equal(matrix, 5 * np.eye(8, dtype=int))
    result = made_up(experiment, right=1.0, edit=lambda frame: frame.rename(columns=swapped)[frame.columns])
    matrix = tables.confusion(result)
    assert matrix.loc["Folk", "Rock"] == 5 and matrix.loc["Rock", "Folk"] == 5 and matrix.loc["Folk", "Folk"] == 0
    recalls = tables.recalls({"x": result, "y": result})
    of_first = recalls[:8].set_index("label")
    assert of_first.loc["Folk", "recall"] == 0 and of_first.loc["Pop", ["recall", "tracks"]].tolist() == [1, 5]
    drawn = figures.confusion(study, "x", matrix, tables.reported_confusion("soundfusion1"))
    assert all(axis.get_xlabel() for axis in drawn.axes[:2])
    plt.close("all")


def test_a_reported_confusion_matrix_is_of_100_tracks_a_genre_and_stands_beside_one_of_the_same_labels_only():
    for name, recall in {"ResNet1D-medium": 0.83, "ResNet2D-medium": 0.53, "SoundFusion-1": 0.67}.items():
        matrix = tables.reported_confusion(name)
        assert matrix.index.tolist() == GENRES == matrix.columns.tolist()
        assert matrix.sum(axis=1).between(98, 102).all()
        assert matrix.loc["Hip-Hop", "Hip-Hop"] / 100 == recall
    matrix = pd.DataFrame([[3, 1], [0, 0]], index=["doom", "quake"], columns=["doom", "quake"])
    study = type("Games", (), {"corpus": games()})
    reported = tables.reported_confusion("SoundFusion-1")
    ours, _ = figures.confusion(study, "x", matrix, reported).axes  # and the colours' bar
    assert (ours.get_ylabel(), ours.get_xlabel()) == ("true soundtrack (recall)", "predicted soundtrack")
    assert [text.get_text() for text in ours.get_yticklabels()] == ["doom (75%)", "quake (no tracks)"]
    ours, beside, _ = figures.confusion(study, "x", reported, reported).axes
    assert (ours.get_ylabel(), beside.get_ylabel()) == ("true soundtrack (recall)", "true genre (recall)")
    plt.close("all")


def test_decisions_of_two_trained_models(study):
    first, second = made_up(protocol.simple_cnn(study), 0.9, 1), made_up(protocol.simple_cnn(study), 0.2, 2)
    equal, searched = average(first, second, "equal"), average(first, second, "searched", searched=True)
    pair, columns = [result.predictions()[0] for result in (first, second)], ["p_" + name for name in GENRES]
    pd.testing.assert_frame_equal(equal.predictions()[0][columns], (pair[0][columns] + pair[1][columns]) / 2)
    assert mix(*pair, 1.0).equals(pair[0])
    assert search_weights(first, second)[0, 0] > 0.5  # the better one counts more
    pair = [result.predictions("validation")[0] for result in (first, second)]
    validation = [tables.accuracy(mix(*pair, weight), "segment") for weight in np.linspace(0, 1, 21)]
    assert tables.accuracy(searched.predictions("validation"), "segment") == max(validation)
    assert equal.parameters == 2000 and equal.epochs == 4 and equal.role == "fusion"
    other = made_up(protocol.simple_cnn(study), edit=lambda frame: frame.assign(track=frame["track"].to_numpy()[::-1]))
    with pytest.raises(SoundFusionError, match="same segments"):
        average(first, other, "both").predictions()


def test_averaged_classifiers_are_paired_by_seed_in_the_folds_that_both_have(study):
    experiment = protocol.simple_cnn(study)
    both_folds, twin = of_folds(experiment, {(0, 0): 0.9, (0, 1): 0.9}), of_folds(experiment, {(5, 1): 0.9})
    assert list(average(both_folds, twin, "both").by_run()) == [(0, 1)]
    with pytest.raises(ValueError, match="shorter"):
        average(of_folds(experiment, {(0, 1): 0.9, (1, 1): 0.9}), twin, "both").predictions()


def of_folds(experiment, rights: dict[tuple[int, int], float], groups=None) -> Result:
    """Runs by seed and fold that are right so often; the tracks that a fold tests validate in the one before."""
    runs = []
    for (seed, fold), right in rights.items():

        def named(frame, fold=fold):
            number = np.where(frame["part"] == "test", fold, (fold + 1) % 4).astype(str)
            return frame.assign(track=number + "-" + frame["track"].str.extract(r"(\d+)", expand=False))

        split = Split("artist", 4, fold)
        runs += made_up(replace(experiment, seed=seed, split=split), right, 100 * seed + fold, edit=named).runs
    return of_runs(runs, alone(*(run.read_predictions() for run in runs)) if groups is None else groups)


def test_a_weight_is_searched_for_each_run_on_its_own_validation_part(study):
    """Pooled over folds, a fold's weight would be chosen on tracks that it is then tested on."""
    experiment = protocol.simple_cnn(study)
    first = of_folds(experiment, {(0, 0): 0.9, (0, 1): 0.1, (1, 0): 0.5, (1, 1): 0.9})
    second = of_folds(experiment, {(0, 0): 0.1, (0, 1): 0.9, (1, 0): 0.5, (1, 1): 0.1})
    weights = search_weights(first, second)
    assert list(weights) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert weights[0, 0] > 0.5 > weights[0, 1] and weights[1, 1] > 0.5
    groups = alone(*(run.read_predictions() for run in first.runs))
    pairs = [[of_runs([run], groups) for run in pair] for pair in zip(first.runs, second.runs, strict=True)]
    for key, pair in zip(weights, pairs, strict=True):
        assert search_weights(*pair) == {key: weights[key]}
    both = average(first, second, "both", searched=True).predictions()
    assert [len(frame) for frame in both] == [2 * 120, 2 * 120]
    assert both[0][:120].equals(average(*pairs[0], "single", searched=True).predictions()[0])


def test_recalls_and_confusion_are_means_over_seeds_of_the_same_tracks(study):
    experiment = protocol.simple_cnn(study)
    group = of_folds(experiment, {(0, 0): 1.0, (0, 1): 1.0, (1, 0): 0.0, (1, 1): 0.0})
    groups = alone(*(run.read_predictions() for run in group.runs))
    by_seed = [[run for run in group.runs if run.experiment.seed == seed] for seed in (0, 1)]
    first, second = (of_runs(runs, groups) for runs in by_seed)
    matrix = tables.confusion(group)
    assert (matrix.sum(axis=1) == 10).all()  # five tracks of each label in either fold, however many seeds
    pd.testing.assert_frame_equal(matrix, (tables.confusion(first) + tables.confusion(second)) / 2)
    table, single = tables.recalls({"x": group}), tables.recalls({"x": first})
    assert table["tracks"].tolist() == single["tracks"].tolist() == [10] * 8
    assert table["recall"].tolist() == pytest.approx(np.diag(matrix) / 10)
    assert single["precision"].eq(1).all() and single["f1"].eq(1).all()
    matrices = np.stack([tables.confusion(one) for one in (first, second)])  # (seeds, labels, predicted as)
    right, called = matrices.diagonal(axis1=1, axis2=2), matrices.sum(1)
    assert table["precision"].tolist() == pytest.approx((right / called.clip(1)).mean(0))
    assert table["f1"].tolist() == pytest.approx((2 * right / (called + 10)).mean(0))
    assert (single["high"] == 1).all() and (single["low"] > 0.69).all()
    assert (table["high"] - table["low"] > 0.5).all()  # the seeds disagree
    by_two = of_runs(by_seed[0], pd.Series(np.where(groups.index < "1", "x", "y"), groups.index))
    assert tables.recalls({"x": by_two})["low"].notna().all()
    table = tables.recalls({"x": of_runs(by_seed[0], pd.Series("x", groups.index))})
    assert table["recall"].eq(1).all() and table[["low", "high"]].isna().all(axis=None)
    shown = tables.readable(table)["recall [95 % interval]"]
    assert shown.tolist() == ["1.000\N{NO-BREAK SPACE}[one\N{NO-BREAK SPACE}artist]"] * 8
    rest = [frame[frame["target"] != 2] for frame in first.predictions()]
    table = tables.recalls({"x": result_of(rest)}).set_index("label")
    assert table.loc["Folk", "tracks"] == 0 and table.loc["Folk", ["recall", "low", "high"]].isna().all()


def test_the_performance_table_says_how_long_each_was_trained_and_what_was_reported(study):
    ended = made_up(protocol.simple_cnn(study), 0.9, 1, core_seconds=60)
    cut_off = replace(protocol.simple_cnn(study), training=Training(epochs=2))  # at a constant rate
    short = made_up(cut_off, 0.2, 2, epochs=2, core_seconds=120)
    untrained, both = result_of(ended.predictions()), average(short, ended, "both")
    results = {"untrained": untrained, "ended": ended, "short": short, "both": both}
    table = tables.performance(results, {"short": "simple_cnn"})
    about = ["input", "model", "parameters", "epochs", "ended", "core_minutes", "tracks", "repeats"]
    assert table.columns[:8].tolist() == about and (table["repeats"] == "1 seed").all()
    assert table["input"].tolist() == ["none", "2D", "2D", "2D"] and table["core_minutes"].tolist()[1:] == [1, 2, 3]
    assert pd.isna(table["epochs"][0]) and table["epochs"].tolist()[1:] == [4, 2, 4]
    shown, written = tables.readable(table), pd.read_csv(io.StringIO(table.to_csv(index=False)))
    assert shown["epochs"].tolist() == ["-", "4", "2", "4"] and shown["ended"].tolist() == ["-", "yes", "no", "no"]
    assert table["segment_reported"][2] == 0.484 and shown["segment reported"].tolist() == ["-", "-", "0.484", "-"]
    assert shown["track [95 % interval]"].str.contains("[", regex=False).all()
    for by in ("segment", "track"):
        low, accuracy, high = (table[f"{by}_{column}"] for column in ("low", "accuracy", "high"))
        assert ((low <= accuracy) & (accuracy <= high)).all()
    pairs = paired_tests.comparisons(results, [("ended", "short")])
    assert pairs["difference"].tolist() == pytest.approx([table["track_accuracy"][1] - table["track_accuracy"][2]])
    assert "[" in tables.readable(pairs).loc[0, "difference [interval at its test's level]"]
    assert tables.readable(written).equals(shown.astype(tables.readable(written).dtypes))


def test_tables_of_labels_named_like_columns_and_like_the_total(study):
    labels = ["all", "artist", "index", "p", "p_x", "part", "segment", "target", "track", "very_low"]
    group = made_up(protocol.simple_cnn(study), 1.0, classes=labels)
    matrix = tables.confusion(group)
    assert matrix.index.tolist() == labels and np.array_equal(matrix, 4 * np.eye(10))
    assert tables.recalls({"x": group})["label"].tolist() == labels
    shown = tables.readable(pd.read_csv(io.StringIO(matrix.to_csv(float_format="%.6g"))))
    assert shown.columns.tolist() == ["true", *(label.replace("_", " ") for label in labels)]
    assert shown["p"].tolist() == [0, 0, 0, 4, 0, 0, 0, 0, 0, 0]
    tracks = pd.DataFrame({"label": ["all", "all", "part"], "group": list("abb"), "seconds": 30.0}, index=list("xyz"))
    made = type("Made", (), {"tracks": tracks, "profile": study.profile, "corpus": study.corpus})
    table = tables.corpus_table(made)
    assert table.index.tolist() == ["all", "part", "all"] and table.index.name == "genre"
    assert table["tracks"].tolist() == [2, 1, 3] and table["artists"].tolist() == [2, 1, 2]
    assert table["minutes"].tolist() == [1.0, 0.5, 1.5]
