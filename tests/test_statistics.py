import itertools

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom, binomtest

from soundfusion_lib.analysis.statistics import Comparison, accuracy, compare, interval, scores
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.training.inference import GROUP, decide, per_track


def predictions(choices: dict[str, list[str]], targets: dict[str, str], confidence=0.6) -> pd.DataFrame:
    """Segments of classes a, b, c, as `predictions_of` gives them."""
    rows = []
    for track, letters in choices.items():
        for number, letter in enumerate(letters):
            rest = (1 - confidence) / 2
            p = {f"p_{name}": confidence if name == letter else rest for name in "abc"}
            rows.append({"track": track, "segment": number, "target": "abc".index(targets[track]), **p})
    return pd.DataFrame(rows)


def test_votes_of_which_a_tie_goes_to_the_higher_mean_probability_means_and_shares():
    frame = predictions({"t1": list("aab"), "t2": list("bc"), "t3": list("ccc")}, {"t1": "a", "t2": "c", "t3": "a"})
    tracks = per_track(frame)
    assert tracks["vote"].to_dict() == {"t1": 0, "t2": 1, "t3": 2}  # t2 is a tie, also by mean: the lowest class index
    assert tracks["segment"].to_dict() == {"t1": 2 / 3, "t2": 0.5, "t3": 0}
    assert (accuracy(frame, "vote"), accuracy(frame, "segment")) == pytest.approx((1 / 3, 3 / 8))
    pd.testing.assert_frame_equal(per_track(frame.sample(frac=1, random_state=0)), tracks)  # in whichever order
    probabilities = np.array([[0.6, 0.3, 0.1], [0.0, 0.9, 0.1], [0.4, 0.3, 0.3], [0.3, 0.4, 0.3]])
    votes, mean = decide(probabilities, np.array([0, 0, 1, 1]))
    assert votes.tolist() == [1, 0]  # the surer one; the first where the mean is a tie too
    assert mean[0] == pytest.approx([0.3, 0.6, 0.1])
    assert decide(probabilities[[0, 0, 1]], np.zeros(3, int))[0].tolist() == [0]  # no tie: most votes, though less sure


def random_run(seed, tracks=200, right=0.6):
    rng = np.random.default_rng(seed)
    choices = {f"t{i}": ["a" if rng.random() < right else "b"] for i in range(tracks)}
    return predictions(choices, dict.fromkeys(choices, "a"))


def test_interval_is_the_binomial_one_for_one_segment_a_track_and_covers_the_truth_as_often_as_it_says():
    frame = random_run(0)
    low, high = interval(frame, "vote")
    k = round(accuracy(frame) * 200)
    assert low == pytest.approx(binom.ppf(0.025, 200, k / 200) / 200, abs=0.011)
    assert high == pytest.approx(binom.ppf(0.975, 200, k / 200) / 200, abs=0.011)
    covered = [low <= 0.6 <= high for low, high in (interval(random_run(seed)) for seed in range(60))]
    assert 0.87 <= np.mean(covered) <= 1


@pytest.mark.parametrize("right, bounds", [(1.0, (0.6915, 1)), (0.0, (0, 0.3085))])
def test_ten_artists_all_right_or_all_wrong_do_not_make_certain(right, bounds):
    """0.025 ** (1 / 10): that many artists of whom each is recognised with this chance are all recognised in 2.5 %."""
    assert interval(random_run(0, 10, right)) == pytest.approx(bounds, abs=1e-4)
    seven = pd.concat([random_run(0, 10, right).assign(segment=i) for i in range(7)])
    assert interval(seven, "segment") == pytest.approx(bounds, abs=1e-4)


def test_tracks_of_one_artist_that_are_all_alike_narrow_nothing():
    """Two runs on 40 artists, with a track each or with five; a run gets either all or none of an artist's right."""
    single = [random_run(seed, 40) for seed in (3, 4)]
    albums = []
    for run in single:
        album = pd.concat([run.assign(group=run["track"], track=run["track"] + str(n)) for n in range(5)])
        albums.append(album.sample(frac=1, random_state=0))
    assert interval(albums[0]) == pytest.approx(interval(single[0]))
    assert compare(*albums) == pytest.approx(compare(*single), abs=0.02)
    unaware = interval(albums[0].drop(columns="group"))
    assert np.subtract(*unaware[::-1]) < 0.6 * np.subtract(*interval(albums[0])[::-1])
    assert np.subtract(*interval(albums)[::-1]) > 0.1


def test_tracks_of_unknown_artists_are_each_drawn_by_themselves():
    run = random_run(0, 60, 0.6)
    nobody = interval(run)
    assert interval(run.assign(group=None)) == nobody and nobody[1] - nobody[0] > 0.1
    some = np.where(run["track"] < run["track"].sort_values().iloc[10], "artist", None)
    assert scores(run.assign(group=some)).artist.nunique() == 60 - 10 + 1


def test_artists_with_more_tracks_weigh_more():
    artist = np.arange(31) == 30  # one of 30 tracks that are all right, one of a single track
    frame = pd.concat([random_run(0, 30, 1.0), random_run(0, 31, 0.0)[30:]]).assign(group=artist)
    assert accuracy(frame) == pytest.approx(30 / 31)
    assert interval(frame) == pytest.approx((0, 1))  # of two artists drawn, both may be the one that is always wrong


def test_p_is_mcnemars_for_one_run_each():
    a, b = random_run(0, right=0.7), random_run(1, right=0.6)
    right_a, right_b = (per_track(run)["vote"] == 0 for run in (a, b))
    only_a, only_b = int((right_a & ~right_b).sum()), int((~right_a & right_b).sum())
    result = compare(a, b)
    assert result["difference"] == pytest.approx((only_a - only_b) / 200)
    assert result["p"] == pytest.approx(binomtest(only_a, only_a + only_b).pvalue, abs=0.015)
    assert result["low"] < result["difference"] < result["high"]


def test_several_runs_count_as_seeds_of_which_two_beside_one_are_too_few_to_tell_a_spread():
    runs = [random_run(seed) for seed in range(3)]
    assert accuracy(runs) == pytest.approx(np.mean([accuracy(run) for run in runs]))
    low, high = interval(runs)
    assert low < accuracy(runs) < high
    assert compare(runs, runs)["p"] == 1
    # of one degree of freedom, Student's t would allow every difference
    runs = [random_run(seed, right=right) for seed, right in enumerate((0.5, 0.6, 0.5))]
    low, high = Comparison(runs[:2], runs[2:]).interval()
    assert -0.2 < low < high < 0.3


def test_no_predictions_and_a_comparison_of_other_tracks_are_refused():
    a, b = random_run(0), random_run(0)
    for function, nothing in itertools.product((accuracy, interval), ([], a[:0])):
        with pytest.raises(SoundFusionError, match="no predictions"):
            function(nothing)
    with pytest.raises(SoundFusionError, match="same tracks"):
        compare(a, b.assign(track="x" + b["track"]))
    with pytest.raises(SoundFusionError, match="same tracks"):
        accuracy([a, b[:-1]])
    with pytest.raises(SoundFusionError, match="none of vote, segment"):
        accuracy(a, "median")


def test_sides_that_cut_clips_differently_are_each_weighed_by_their_own_segments():
    a = pd.concat([random_run(0, 60, 0.6).assign(segment=i) for i in range(7)])
    b = random_run(1, 60, 0.5)
    b = pd.concat([b, b[::2].assign(segment=1)])  # every other track is cut in two
    result = compare(a, b, "segment")
    assert result["difference"] == pytest.approx(accuracy(a, "segment") - accuracy(b, "segment"))
    assert -1 <= result["low"] <= result["difference"] <= result["high"] <= 1 and result["p"] > 0.05
    same = random_run(0, 60, 0.6)  # one side, once cut in one, once in seven
    unseen = 1 - 0.025 ** (1 / 60)
    expected = {"difference": 0, "low": -unseen, "high": unseen, "p": 1}
    assert compare(a, same, "segment") == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("first", [None, "track"])
def test_sides_that_name_different_artists_are_an_error_in_words(first):
    run, named = random_run(0), random_run(1).assign(group="only")
    run = run.assign(group=run[first]) if first else run
    for pair in ((run, named), (named, run)):
        with pytest.raises(SoundFusionError, match="to different artists: make their columns 'group' agree"):
            compare(*pair)


def test_one_artist_has_no_interval_and_below_six_nothing_is_certain():
    alone = random_run(0, 50).assign(group="only")
    assert np.isnan(interval(alone)).all()
    result = compare(alone, random_run(1, 50).assign(group="only"))
    assert (result["low"], result["high"], result["p"]) == (-1, 1, 1)
    for artists in (5, 6):
        right, wrong = (random_run(0, 60, share).assign(group=np.arange(60) % artists) for share in (1.0, 0.0))
        result = compare(right, wrong)
        assert result["difference"] == pytest.approx(1)
        assert (result["p"] < 0.05) == (artists == 6) == (result["low"] > 0)


@pytest.mark.parametrize("runs", [1, 3])
def test_the_interval_excludes_0_exactly_where_p_is_below_5_percent(runs):
    significant = []
    for seed in range(30):
        a = [random_run(100 * seed + n, 60, 0.65) for n in range(runs)]
        b = [random_run(100 * seed + 50 + n, 60, 0.5) for n in range(runs)]
        result = compare(a, b)
        assert result["low"] <= result["difference"] <= result["high"]
        significant.append(result["p"] < 0.05)
        assert significant[-1] == (not result["low"] <= 0 <= result["high"])
    assert 0 < np.mean(significant) < 1


def test_seeds_that_agree_to_the_last_bit_add_nothing():
    """Every run is as accurate as the next, on other tracks: the spread of the seeds is 0, up to rounding."""
    a, b = random_run(0, 90, 0.7), random_run(1, 90, 0.5)
    columns = ["p_a", "p_b", "p_c"]
    turned = [[side.assign(**{c: np.roll(side[c], 30 * n) for c in columns}) for n in range(3)] for side in (a, b)]
    result = compare(*turned)
    assert np.isfinite(list(result.values())).all() and result["low"] < result["difference"] < result["high"]


def seeded_runs(random, artists=40, seeds=3, spread=0.05):
    """Runs of one network; the accuracy of a run moves by its seed."""
    artist = np.arange(artists).repeat(np.random.default_rng(0).integers(1, 10, artists))
    ease = np.random.default_rng(0).uniform(0.2, 0.9, artists) + random.normal(0, 0.1, artists)
    runs = []
    for _ in range(seeds):
        right = (random.random(len(artist)) < ease[artist] + random.normal(0, spread)).astype(float)
        keys = {"track": np.arange(len(artist)).astype(str), "segment": 0, "target": 0, GROUP: artist}
        runs.append(pd.DataFrame({**keys, "p_a": right, "p_b": 1 - right}))
    return runs


@pytest.mark.parametrize("seeds, spread", [(1, 0.0), (3, 0.0), (3, 0.1)])
def test_equal_networks_are_told_apart_as_seldom_as_the_test_says(seeds, spread):
    """200 pairs of networks: the share of p below 0.05 is 0.05, or somewhat less where seeds have no spread."""
    values = []
    for repetition in range(200):
        random = np.random.default_rng(repetition)
        values.append(compare(*(seeded_runs(random, seeds=seeds, spread=spread) for _ in range(2)))["p"])
    assert 0.01 < np.mean(np.array(values) < 0.05) <= 0.08  # two deviations of 200 repetitions above


def test_tests_of_folds_count_the_artists_twice():
    """The interval of the same predictions, told that they are of two folds, is wider by the root of 2."""
    a, b = random_run(0, 200, 0.6), random_run(1, 200, 0.5)
    once = compare(a, b)
    twice = compare(*(run.assign(fold=np.arange(len(run)) % 2) for run in (a, b)))
    assert twice["difference"] == once["difference"] and twice["p"] > once["p"]
    assert twice["high"] - twice["low"] == pytest.approx(2**0.5 * (once["high"] - once["low"]), rel=0.1)
