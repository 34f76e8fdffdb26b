"""The report's conclusions as questions, tested again."""

from dataclasses import replace

import numpy as np
import pandas as pd

from soundfusion_lib.analysis.paired_tests import tested
from soundfusion_lib.study.protocol import reported
from soundfusion_lib.study.starts import IMAGENET, MILLION_SONGS, RANDOM
from soundfusion_lib.training.experiment import FromRun, ImageNet
from soundfusion_lib.training.result import Result

REGULARIZED = "dropout+augmentation"


def conclusions(
    performance: dict[str, Result],
    widths: dict[tuple[str, str], Result],
    regularized: dict[tuple[str, str], Result],
    transferred: dict[str, Result],
    probed: dict[str, Result],
) -> pd.DataFrame:
    """The report's conclusions as questions, each answered by a difference of accuracy by vote on the same tracks.

    Args:
        performance, widths, regularized, transferred: runs by the keys of `protocol.performance`, `widths`,
            `regularization` and `transfer`.
        probed: from `probes.probes`; they answer VGG16's question where it was not trained from both starts.

    Returns:
        One row per question: question (is the first better than the second?), first, second, first_epochs and
        second_epochs (none of a probe), tracks, repeats; reported (the report's difference, by vote where it has that,
        else per segment; for VGG16's starts of the highest validation accuracies) and reported_answer; difference with
        low, high and p, see `paired_tests.tested`; answer: "yes" or "no", "undecided" where p is 0.05 or more, "one
        seed" where a side was trained once.
    """
    table2 = reported("table2_performance").set_index("model")["aggregated_accuracy"]
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
    asked = [[ask, runs[a], runs[b], table[a] - table[b]] for ask, runs, a, b, table in pairs if b in runs]
    if starts := _frozen(transferred) or _probed(probed):
        best = reported("transfer_learning").set_index("weights")["validation_accuracy_high"]
        asked.append(["does pre-training on music beat ImageNet?", *starts, best["gtzan"] - best["imagenet"]])
    table = pd.DataFrame(asked, columns=["question", "first", "second", "reported"])
    tests = tested(list(table[["first", "second"]].itertuples(index=False, name=None)))
    for side in ("first", "second"):
        epochs = [result.experiment.training.epochs if result.runs else None for result in table[side]]
        table[f"{side}_epochs"] = pd.array(epochs, "Int64")
        table[side] = [result.name for result in table[side]]
    table["reported_answer"] = np.where(table["reported"] > 0, "yes", "no")
    answer = tests["significant"].replace("no", "undecided")
    table["answer"] = answer.mask(answer == "yes", np.where(tests["difference"] > 0, "yes", "no"))
    about = ["question", "first", "second", "first_epochs", "second_epochs"]
    numbers = ["reported", "reported_answer", "difference", "low", "high", "p", "answer"]
    return table.join(tests)[[*about, "tracks", "repeats", *numbers]]


def _frozen(transferred: dict[str, Result]) -> list[Result]:
    """VGG16 frozen after music, and after ImageNet; empty unless both were run."""
    frozen = [result for result in transferred.values() if getattr(result.experiment.start, "frozen", False)]
    by_start = {type(result.experiment.start): result for result in frozen}
    return [by_start[FromRun], by_start[ImageNet]] if {FromRun, ImageNet} <= by_start.keys() else []


def _probed(probes: dict[str, Result]) -> list[Result]:
    """Probes of a network pre-trained on music (musicnn, if it is there) and on ImageNet; empty unless both exist."""
    imagenet = [result for result in probes.values() if result.start == IMAGENET]
    music = [result for result in probes.values() if result.start not in (IMAGENET, RANDOM)]
    if not imagenet or not music:
        return []
    first = min(music, key=lambda result: result.start != MILLION_SONGS)
    return [replace(result, name=f"probe of {result.name}") for result in (first, imagenet[0])]
