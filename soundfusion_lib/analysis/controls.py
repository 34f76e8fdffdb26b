"""Is it the second input that helps? Fusions of a 1D and a 2D network, beside controls that see only one input."""

from collections.abc import Callable, Collection
from dataclasses import replace
from functools import cache, partial
from itertools import product

import numpy as np
import pandas as pd

from soundfusion_lib.analysis.paired_tests import comparisons, power
from soundfusion_lib.analysis.probes import matrix, probe
from soundfusion_lib.analysis.statistics import accuracy
from soundfusion_lib.datasets.splits import groups_of
from soundfusion_lib.study import protocol
from soundfusion_lib.study.starts import IMAGENET, MILLION_SONGS, RANDOM, Start, features_of
from soundfusion_lib.study.study import Study
from soundfusion_lib.training.features import Features
from soundfusion_lib.training.fuse import average, search_weights, stack
from soundfusion_lib.training.result import CONTROL, FUSION, NETWORK, PART, PROBE, Result, of_runs

PARTS = "ResNet1D-small", "ResNet2D-small"
BEST, AVERAGED, EVERY = "regularized by validation", "both of these, averaged", ", all seeds"


def better_part(runs: dict[str, Result]) -> str:
    """The part with the higher accuracy on the validation set: by vote, then per segment."""

    parts = {name: result.predictions("validation") for name, result in runs.items() if result.role == PART}
    return max(parts, key=lambda name: (accuracy(parts[name]), accuracy(parts[name], "segment")))


def as_large(study: Study, runs: dict[str, Result]) -> dict[str, Result]:
    """A control with as many parameters as SoundFusion-1: the better part alone, wider."""
    wider = protocol.as_large(study, runs[better_part(runs)].experiment.model)
    return {wider.name: study.train(wider)}


def ensembles(study: Study, runs: dict[str, Result]) -> dict[str, Result]:
    """Stacking of the trained parts; a control that costs as much, the average of two runs of the better part; and the
    better part with all its seeds, those of the second runs among them."""
    better, artists = better_part(runs), groups_of(study.store.tracks)
    twins = study.train(protocol.twin(study, runs[better].experiment))
    stacking, averaged, every = "stacking of trained parts", f"two {better}, averaged", f"{better}{EVERY}"
    return {
        stacking: stack(*(runs[part] for part in PARTS), stacking),
        averaged: average(runs[better], twins, averaged, CONTROL),
        every: replace(of_runs([*runs[better].runs, *twins.runs], artists, every), role=NETWORK),
    }


def at_their_best(study: Study) -> tuple[dict[str, Result], pd.DataFrame]:
    """Both parts with the regularization that suits each run best, and their average, by name; nothing new is trained.
    Each run takes the one of `protocol.REGULARIZATIONS` with the highest accuracy per segment on its validation set;
    seeds are those that all of them have. And a table, one row per part, seed and fold: that accuracy of each
    regularization, in 0..1, and the chosen one."""
    tried = study.train(protocol.regularization(study))
    best, rows = {}, []
    for model, part in zip(protocol.LABELS, PARTS, strict=True):
        by_kind = {kind: result for (of_model, kind), result in tried.items() if of_model == model}
        chosen = []
        seeds = set.intersection(*(set(result.seeds) for result in by_kind.values()))
        for seed, fold in product(sorted(seeds), by_kind["none"].folds):
            runs = {kind: result.run(seed, fold) for kind, result in by_kind.items()}
            validated = {kind: accuracy(run.predictions("validation"), "segment") for kind, run in runs.items()}
            kind = max(validated, key=validated.__getitem__)
            chosen.append(runs[kind])
            rows.append({"part": part, "seed": seed, "fold": fold, **validated, "chosen": kind})
        name = f"{part}, {BEST}"
        best[name] = of_runs(chosen, groups_of(study.store.tracks), name)
    return best | {AVERAGED: average(*best.values(), AVERAGED)}, pd.DataFrame(rows)


def fused_probes(
    study: Study, start: Start, runs: dict[str, Result], others: Collection[Start] = ()
) -> dict[str, Result]:
    """Probes of a frozen network (`start`) under the profile's split, which the small networks learned from: alone;
    beside features of ResNet1D-small, the fusion; and, as controls, beside those of ResNet2D-small and of other frozen
    networks. `runs` holds both small networks. The cost of what stands beside it counts, too."""
    alone, about = f"probe of {start.name}, the profile's split", start.about(study)
    frozen = cache(lambda *_: (start.features(study), start.blocks))

    def of_part(part: str, seed: int, fold: int) -> tuple[Features, Collection[str]]:
        run = runs[part].run(seed, fold)
        features = features_of(study, run.model(), run.experiment, part)
        return replace(features, core_seconds=features.core_seconds + run.info.get("core_seconds", np.nan)), ()

    def probed(name: str, role: str, about: list, seeds: Collection[int], *beside: Callable) -> Result:
        spent = []

        def columns(seed: int, fold: int) -> np.ndarray:
            given = [each(seed, fold) for each in (frozen, *beside)]
            spent.append(sum(features.core_seconds for features, _ in given))
            return np.concatenate([matrix(*each) for each in given], axis=1)

        fields = {"name": name, "role": role, "network": start.network, "start": start.source}
        return probe(study, about, columns, seeds, core_seconds=lambda: float(np.mean(spent)), **fields)

    probes = [probed(alone, PROBE, about, (0,))]
    for other in others:
        given = partial(lambda other, *_: (other.features(study), other.blocks), other)
        probes.append(probed(f"{alone} and {other.name}", CONTROL, [about, other.about(study)], (0,), given))
    probes = [replace(result, unit="split") for result in probes]
    for part, role in zip(PARTS, (FUSION, CONTROL), strict=True):
        keys = [runs[part].run(*run).key for run in product(study.profile.seeds, runs[part].folds)]
        given = partial(of_part, part)
        probes.append(probed(f"{alone} and {part}", role, [about, keys], study.profile.seeds, given))
    return {result.name: result for result in probes}


def weights(runs: dict[str, Result]) -> pd.DataFrame:
    """The waveform's weight in a fusion of decisions: fusion; weight, the mean over runs; lowest, highest."""
    learned, searched = "SoundFusion-2, learned weight", "SoundFusion-2 of trained parts, weight searched"
    by_fusion = {
        learned: [run.info["weight"] for run in runs[learned].runs],
        searched: list(search_weights(*(runs[part] for part in PARTS)).values()),
    }
    rows = [[name, np.mean(weights), min(weights), max(weights)] for name, weights in by_fusion.items()]
    return pd.DataFrame(rows, columns=["fusion", "weight", "lowest", "highest"])


def gains(runs: dict[str, Result]) -> pd.DataFrame:
    """What each fusion and each control gains over the better part with all its seeds, or over the probe alone, by
    vote: first, second, kind ("fusion" or "control") and what `paired_tests.tested` says."""
    better = f"{better_part(runs)}{EVERY}"
    alone = next((name for name, result in runs.items() if result.role == PROBE), None)
    fused = {name: result for name, result in runs.items() if result.role in (FUSION, CONTROL)}
    table = comparisons(runs, [(name, alone if result.start else better) for name, result in fused.items()])
    table.insert(2, "kind", [result.role for result in fused.values()])
    return table


def against_controls(runs: dict[str, Result]) -> pd.DataFrame:
    """Whether the other input adds more than more of the same input does, by vote: first, second, what
    `paired_tests.tested` says, and smallest_difference and tracks_needed of `paired_tests.power`.

    SoundFusion-1 stands against both controls of the better part, the average of trained parts against the average of
    two seeds, and the probe with ResNet1D's features against the probe with ResNet2D's.
    """
    fused_probe = next((name for name, result in runs.items() if result.role == FUSION and result.start), None)
    pairs = []
    for name, result in runs.items():
        if result.role == CONTROL:
            pairs.append((fused_probe if result.start else "SoundFusion-1", name))
            if not (result.start or result.runs):  # an average
                pairs.append(("SoundFusion-2 of trained parts, equal weights", name))
    table = comparisons(runs, pairs)
    return table.join(power(runs, table)[["smallest_difference", "tracks_needed"]])


def best_starts(starts: list[Start]) -> list[Start]:
    """Published networks that can be had, the one of music first: musicnn, VGG16 of ImageNet. Where there is none,
    VGG16 of other music, or with random weights."""
    published = [start for source in (MILLION_SONGS, IMAGENET) for start in starts if start.source == source]
    vgg16 = [start for start in starts if start.network == "VGG16"]
    return published or sorted(vgg16, key=lambda start: start.source == RANDOM)[:1]
