"""What the report lacks: what a split that ignores artists promises, and its conclusions asked again."""

import numpy as np
import pandas as pd

from soundfusion_lib.analysis.baselines import SVM, baselines, parts_of
from soundfusion_lib.analysis.paired_tests import tested
from soundfusion_lib.analysis.statistics import LEVEL
from soundfusion_lib.analysis.tables import with_interval
from soundfusion_lib.corpora.splits import groups_of
from soundfusion_lib.study.reported import reported
from soundfusion_lib.study.study import Study
from soundfusion_lib.training.run_groups import RunGroup


def leak(study: Study, folds: tuple[int, ...] = ()) -> pd.DataFrame:
    """The same machine under the profile's split and under one by label alone, which ignores artists.

    Returns:
        A row a split: split; shared_artists, the share of test tracks whose artist is in the training part too;
        track_accuracy with track_low and track_high, in 0..1.
    """
    rows = []
    artists = groups_of(study.store.tracks)
    for name, random in (("the profile's", False), ("random", True)):
        tested, shared = 0, 0
        for fold in folds or study.profile.test_folds:
            parts = parts_of(study, fold, random)
            tested += int((parts == "test").sum())
            shared += int(artists[parts == "test"].isin(artists[parts == "train"]).sum())
        machine = baselines(study, folds, random)[SVM]
        rows.append({"split": name, "shared_artists": shared / tested, **with_interval("track", machine, "vote")})
    return pd.DataFrame(rows)


def conclusions(
    performance: dict[str, RunGroup],
    widths: dict[tuple[str, str], RunGroup],
    regularized: dict[tuple[str, str], RunGroup],
    transferred: dict[str, RunGroup],
) -> pd.DataFrame:
    """The report's conclusions as questions, each answered by a difference of accuracy per segment on the same tracks.

    Args:
        performance, widths, regularized, transferred: runs by the keys of `protocol.performance`, `widths`,
            `regularization` and `transfer`. Where a start of VGG16 could not be run, its question is left out.

    Returns:
        A row for each: question (is the first better than the second?), first, second, the epochs that each might take,
        tracks; reported (the report's difference; for VGG16's starts, of the highest validation accuracies, as it has
        no others) and its reported_answer; difference with low and high, and p, see `paired_tests.tested`; answer:
        "undecided" where p is 0.05 or more.
    """
    table2 = reported("table2_performance").set_index("model")["test_accuracy"]
    figure1 = reported("figure1_width_scaling").set_index(["model", "size"])["test_accuracy"]
    table1 = reported("table1_regularization").set_index(["model", "regularization"])["test_accuracy"]
    starts = reported("transfer_learning").set_index("weights")["validation_accuracy_high"]
    names = {"resnet1d": "ResNet1D-small", "resnet2d": "ResNet2D-small"}
    rows, pairs = [], []

    def ask(question: str, first: str, second: str, difference: float, groups: tuple[RunGroup, RunGroup]) -> None:
        one, two = (group.experiment.training.epochs for group in groups)
        row = {"question": question, "first": first, "second": second, "first_epochs": one, "second_epochs": two}
        rows.append(row | {"reported": difference})
        pairs.append(groups)

    for question, a, b in (
        ("does 2D beat 1D?", "resnet2d_small", "resnet1d_medium"),
        ("does fusing features help?", "soundfusion1", "resnet2d_small"),
        ("does fusing decisions help?", "soundfusion2", "resnet2d_small"),
    ):
        groups = performance[a], performance[b]
        ask(question, *(group.experiment.name for group in groups), table2[a] - table2[b], groups)
    for model, name in names.items():
        small, large = (model, "small"), (model, "large")
        difference = figure1[small] - figure1[large]
        ask("does the smaller win?", name, name.replace("small", "large"), difference, (widths[small], widths[large]))
    for model, name in names.items():
        both, none = "dropout+augmentation", "none"
        difference = table1[f"{model}_small", both] - table1[f"{model}_small", none]
        groups = regularized[model, both], regularized[model, none]
        ask("does regularization help?", name, f"{name}, no regularization", difference, groups)
    frozen = [name for name in transferred if name.endswith("start, frozen")]
    frozen.sort(key=lambda name: "ImageNet" in name)
    if len(frozen) == 2:
        groups = transferred[frozen[0]], transferred[frozen[1]]
        ask("does music first beat pictures first?", *frozen, starts["gtzan"] - starts["imagenet"], groups)
    table = pd.DataFrame(rows)
    table["reported_answer"] = np.where(table["reported"] > 0, "yes", "no")
    table = table.join(tested(pairs, "segment"))
    table.insert(table.columns.get_loc("reported"), "tracks", table.pop("tracks"))
    answers = np.where(table["difference"] > 0, "yes", "no")
    table["answer"] = np.where(table["p"] < LEVEL, answers, "undecided")
    return table
