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

REGULARIZED = "dropout+augmentation"


def leak(study: Study) -> pd.DataFrame:
    """The same machine under the profile's split and under one by label alone, which ignores artists.

    Returns:
        A row a split: split; shared_artists, the share of test tracks whose artist is in the training part too;
        track_accuracy with track_low and track_high, in 0..1.
    """
    rows, artists = [], groups_of(study.store.tracks)
    for name, random in (("the profile's", False), ("random", True)):
        shared = []
        for fold in study.profile.test_folds:
            parts = parts_of(study, fold, random)
            shared.extend(artists[parts == "test"].isin(artists[parts == "train"]))
        machine = baselines(study, random)[SVM]
        rows.append({"split": name, "shared_artists": np.mean(shared), **with_interval("track", machine, "vote")})
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
    table1 = table1.rename(lambda name: name.removesuffix("_small"), level="model")
    starts = reported("transfer_learning").set_index("weights")["validation_accuracy_high"]
    asked = [
        ("does 2D beat 1D?", performance, "resnet2d_small", "resnet1d_medium", table2),
        ("does fusing features help?", performance, "soundfusion1", "resnet2d_small", table2),
        ("does fusing decisions help?", performance, "soundfusion2", "resnet2d_small", table2),
        ("does the smaller win?", widths, ("resnet1d", "small"), ("resnet1d", "large"), figure1),
        ("does the smaller win?", widths, ("resnet2d", "small"), ("resnet2d", "large"), figure1),
        ("does regularization help?", regularized, ("resnet1d", REGULARIZED), ("resnet1d", "none"), table1),
        ("does regularization help?", regularized, ("resnet2d", REGULARIZED), ("resnet2d", "none"), table1),
    ]
    frozen = {name: group for name, group in transferred.items() if name.endswith("start, frozen")}
    if len(frozen) == 2:
        runs = {"imagenet" if "ImageNet" in name else "gtzan": group for name, group in frozen.items()}
        asked.append(("does music first beat pictures first?", runs, "gtzan", "imagenet", starts))
    rows = [
        {
            "question": question,
            "first": runs[a].experiment.name,
            "second": runs[b].experiment.name,
            "first_epochs": runs[a].experiment.training.epochs,
            "second_epochs": runs[b].experiment.training.epochs,
            "reported": published[a] - published[b],
            "reported_answer": "yes" if published[a] > published[b] else "no",
        }
        for question, runs, a, b, published in asked
    ]
    table = pd.DataFrame(rows).join(tested([(runs[a], runs[b]) for _, runs, a, b, _ in asked], "segment"))
    table.insert(table.columns.get_loc("reported"), "tracks", table.pop("tracks"))
    answers = np.where(table["difference"] > 0, "yes", "no")
    return table.assign(answer=np.where(table["p"] < LEVEL, answers, "undecided"))
