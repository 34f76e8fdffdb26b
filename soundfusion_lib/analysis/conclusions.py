"""The report's conclusions as questions, tested again; and what a split that ignores artists would claim."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from soundfusion_lib.analysis.baselines import SVM, baselines, parts_of
from soundfusion_lib.analysis.paired_tests import tested
from soundfusion_lib.analysis.statistics import LEVEL, accuracy
from soundfusion_lib.analysis.tables import with_interval
from soundfusion_lib.datasets.splits import groups_of
from soundfusion_lib.study.protocol import reported
from soundfusion_lib.study.starts import IMAGENET, RANDOM
from soundfusion_lib.study.study import Study
from soundfusion_lib.training.experiment import FromRun, ImageNet
from soundfusion_lib.training.result import Result

REGULARIZED = "dropout+augmentation"


def leak(study: Study) -> pd.DataFrame:
    """The SVM under the profile's split and under a random one, which ignores artists.

    Returns:
        One row per split: split; shared_artists, the share of test tracks whose artist is in the training set too;
        track_accuracy with track_low and track_high, in 0..1.
    """
    rows, artists = [], groups_of(study.store.tracks)
    for name, random in (("the profile's", False), ("random", True)):
        shared = []
        for fold in study.profile.test_folds:
            parts = parts_of(study, fold, random)
            shared.extend(artists[parts == "test"].isin(artists[parts == "train"]))
        svm = baselines(study, random)[SVM]
        rows.append({"split": name, "shared_artists": np.mean(shared), **with_interval("track", svm, "vote")})
    return pd.DataFrame(rows)


class _Side(NamedTuple):
    """What a question compares."""

    name: str
    epochs: int | None
    result: Result


def conclusions(
    performance: dict[str, Result],
    widths: dict[tuple[str, str], Result],
    regularized: dict[tuple[str, str], Result],
    transferred: dict[str, Result],
    probed: dict[str, Result],
) -> pd.DataFrame:
    """The report's conclusions as questions, each answered by a difference of accuracy per segment on the same tracks.

    Args:
        performance, widths, regularized, transferred: runs by the keys of `protocol.performance`, `widths`,
            `regularization` and `transfer`.
        probed: from `probes.probes`. They answer VGG16's question where it was not trained from both starts: the best
            network of music on the validation set against VGG16 of ImageNet, per track. Without these there is no such
            row.

    Returns:
        One row per question: question (is the first better than the second?), first, second, first_epochs and
        second_epochs (none of a probe), tracks, seeds; reported (the report's difference; for VGG16's starts of the
        highest validation accuracies) and reported_answer; difference with low, high and p, see `paired_tests.tested`;
        answer, "undecided" where p is 0.05 or more.
    """
    table2 = reported("table2_performance").set_index("model")["test_accuracy"]
    figure1 = reported("figure1_width_scaling").set_index(["model", "size"])["test_accuracy"]
    table1 = reported("table1_regularization").set_index(["model", "regularization"])["test_accuracy"]
    table1 = table1.rename(lambda name: name.removesuffix("_small"), level="model")
    pairs = [
        ("does 2D beat 1D?", performance, "resnet2d_small", "resnet1d_medium", table2),
        ("does fusing features help?", performance, "soundfusion1", "resnet2d_small", table2),
        ("does fusing decisions help?", performance, "soundfusion2", "resnet2d_small", table2),
        ("does the smaller win?", widths, ("resnet1d", "small"), ("resnet1d", "large"), figure1),
        ("does the smaller win?", widths, ("resnet2d", "small"), ("resnet2d", "large"), figure1),
        ("does regularization help?", regularized, ("resnet1d", REGULARIZED), ("resnet1d", "none"), table1),
        ("does regularization help?", regularized, ("resnet2d", REGULARIZED), ("resnet2d", "none"), table1),
    ]
    asked = [
        (question, _trained(runs[a]), _trained(runs[b]), table[a] - table[b]) for question, runs, a, b, table in pairs
    ]
    if starts := _frozen(transferred) or _probed(probed):
        best = reported("transfer_learning").set_index("weights")["validation_accuracy_high"]
        asked.append(("does music first beat pictures first?", *starts, best["gtzan"] - best["imagenet"]))
    questions, firsts, seconds, differences = zip(*asked, strict=True)
    tests = tested([(first.result, second.result) for first, second in zip(firsts, seconds, strict=True)], "segment")
    return pd.DataFrame(
        {
            "question": questions,
            "first": [side.name for side in firsts],
            "second": [side.name for side in seconds],
            "first_epochs": pd.array([side.epochs for side in firsts], "Int64"),
            "second_epochs": pd.array([side.epochs for side in seconds], "Int64"),
            "tracks": tests.pop("tracks"),
            "seeds": tests.pop("seeds"),
            "reported": differences,
            "reported_answer": np.where(np.array(differences) > 0, "yes", "no"),
            **tests,
            "answer": np.where(tests["p"] >= LEVEL, "undecided", np.where(tests["difference"] > 0, "yes", "no")),
        }
    )


def _trained(result: Result) -> _Side:
    return _Side(result.name, result.experiment.training.epochs, result)


def _frozen(transferred: dict[str, Result]) -> list[_Side]:
    """VGG16 frozen after music, and after ImageNet; empty unless both were run."""
    frozen = [result for result in transferred.values() if getattr(result.experiment.start, "frozen", False)]
    by_start = {type(result.experiment.start): _trained(result) for result in frozen}
    return [by_start[FromRun], by_start[ImageNet]] if {FromRun, ImageNet} <= by_start.keys() else []


def _probed(probes: dict[str, Result]) -> list[_Side]:
    """Probes of the network of music with the highest validation accuracy, and of ImageNet; empty unless both exist."""
    imagenet = [result for result in probes.values() if result.start == IMAGENET]
    music = [result for result in probes.values() if result.start not in (IMAGENET, RANDOM)]
    if not imagenet or not music:
        return []
    best = max(music, key=lambda result: accuracy(result.predictions("validation")))
    return [_Side(f"probe of {result.name}", None, result) for result in (best, imagenet[0])]
