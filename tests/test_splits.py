"""Splits: what is tested once, what stays together, and what a split cannot be."""

import numpy as np
import pandas as pd
import pytest

from soundfusion_lib.datasets.splits import Split, groups_of
from soundfusion_lib.errors import SoundFusionError


def tracks(genres=4, artists=20, per_artist=(1, 6), seed=0):
    rng = np.random.default_rng(seed)
    rows = [
        {"label": f"g{genre}", "group": f"a{genre}-{artist}"}
        for genre in range(genres)
        for artist in range(artists)
        for _ in range(rng.integers(*per_artist))
    ]
    return pd.DataFrame(rows, index=[f"t{i:04d}" for i in range(len(rows))])


def test_artist_split_keeps_artists_on_one_side_and_shares_and_tests_every_track_once():
    table, tested = tracks(), []
    table.loc[table["group"].isin(["a0-1", "a1-1", "a2-2"]), "group"] = "of three genres"
    for fold in range(10):
        parts = Split("artist", 10, fold).assign(table)
        assert parts.groupby(table["group"]).nunique().max() == 1
        shares = parts.value_counts(normalize=True)
        assert abs(shares["test"] - 0.1) < 0.03 and abs(shares["validation"] - 0.1) < 0.03
        by_genre = pd.crosstab(table["label"], parts, normalize="index")
        assert (by_genre["train"] > 0.65).all() and (by_genre[["test", "validation"]] > 0.03).all(axis=None)
        tested += parts.index[parts == "test"].tolist()
    assert sorted(tested) == sorted(table.index)


def test_plain_stratified_split_has_exact_shares_and_ignores_artists():
    table = tracks(per_artist=(5, 6))
    parts = Split("stratified").assign(table)
    assert pd.crosstab(table["label"], parts)[["test", "train", "validation"]].to_numpy().tolist() == [[10, 80, 10]] * 4
    assert parts.groupby(table["group"]).nunique().max() > 1


def test_unknown_artists_are_artists_of_their_own_and_the_seed_decides():
    table = tracks().assign(group=None)
    first = Split("artist", seed=1).assign(table)
    assert groups_of(table).nunique() == len(table) and set(first) == {"train", "validation", "test"}
    assert first.equals(Split("artist", seed=1).assign(table)) and not first.equals(Split("artist").assign(table))


def test_a_class_of_two_artists_always_trains_and_a_warning_says_where_it_is_missing():
    rare = {"label": "rare", "group": ["x"] * 7 + ["y"] * 7}
    table = pd.concat([tracks(), pd.DataFrame(rare, index=[f"r{i}" for i in range(14)])])
    for fold in range(10):
        with pytest.warns(UserWarning, match="no track of 'rare' is in") as said:
            parts = Split("artist", 10, fold).assign(table)
        assert "splits.py" not in said[0].filename
        assert str(said[0].message).endswith(": add tracks by more artists, or use fewer folds")  # what to do
        assert "train" in set(parts[table["label"] == "rare"])
        assert parts.groupby(table["group"]).nunique().max() == 1


def test_splits_that_cannot_be_say_why():
    with pytest.raises(SoundFusionError, match="need 10 artists, and there are 8: add artists, or use fewer folds"):
        Split("artist").assign(tracks(genres=2, artists=4, per_artist=(1, 2)))
    with pytest.raises(SoundFusionError, match="'g0' has 2: .* of which 3 is the least"):
        Split("artist", 3).assign(tracks(genres=2, artists=2, per_artist=(1, 2)))
    few = tracks(genres=2, artists=2, per_artist=(5, 6))  # one artist of each trains, the other tests
    with pytest.raises(SoundFusionError, match="the artist split has no validation part"):
        Split("artist", 4).assign(few)
    alone = pd.concat([tracks(), pd.DataFrame({"label": "one", "group": "x"}, index=[f"r{i}" for i in range(14)])])
    with pytest.raises(SoundFusionError, match="no track of 'one' is in train"):
        _ = [Split("artist", 10, fold).assign(alone) for fold in range(10)]


def test_an_official_split_is_used_as_it_is_and_says_which_part_or_label_it_lacks():
    table = tracks().assign(split=np.resize(["train", "validation", "test"], len(tracks())))
    for scheme in ("official", "auto"):
        assert (Split(scheme).assign(table) == table["split"]).all()
    with pytest.raises(SoundFusionError, match="no official split"):
        Split("official").assign(table.drop(columns="split"))
    for lacking, scheme in (("train", "auto"), ("validation", "official"), ("test", "auto")):
        there = table.assign(split=table["split"].replace(lacking, "train" if lacking == "test" else "test"))
        with pytest.raises(SoundFusionError, match=f"the official split has no {lacking} part .*column split"):
            Split(scheme).assign(there)
    tested = table.assign(split=table["split"].where(table["label"] != "g1", "test"))
    with pytest.raises(SoundFusionError, match="official split no track of 'g1' is in train: mend the column"):
        Split().assign(tested)
    trained = table.assign(split=table["split"].where(table["label"] != "g1", "train"))
    with pytest.warns(UserWarning, match="no track of 'g1' is in validation; no track of 'g1' is in test"):
        Split().assign(trained)


@pytest.mark.parametrize("sizes", [(40, 3, 2), (11, 11, 11), (5, 1, 1)])
def test_a_random_split_deals_every_track_to_one_fold_also_where_a_label_has_fewer_tracks_than_folds(sizes):
    table = pd.DataFrame({"label": np.repeat(list("abc"), sizes), "group": None}).rename("t{}".format)
    tested = []
    for fold in range(7):
        parts = Split("stratified", 7, fold).parts(table)
        own = table[parts == "test"]
        tested += own.index.tolist()
        assert len(own) in (len(table) // 7, len(table) // 7 + 1)
        counts, whole = own["label"].value_counts(), table["label"].value_counts()
        assert all(counts.get(genre, 0) in (whole[genre] // 7, whole[genre] // 7 + 1) for genre in "abc")
        untrained = set(table["label"]) - set(table["label"][parts == "train"])
        assert untrained <= set(own["label"]) and all(whole[genre] == 1 for genre in untrained)
    assert sorted(tested) == sorted(table.index)


def test_what_has_no_effect_is_not_part_of_a_resolved_split():
    with_split, without = tracks().assign(split="train"), tracks()
    for split in (Split("auto", 5, 2, 1), Split("official", 4, 1)):
        assert split.resolved(with_split) == Split("official")
    assert Split("auto", 5, 2, 1).resolved(without) == Split("artist", 5, 2, 1)
    for scheme in ("artist", "stratified"):
        assert Split(scheme, 5, 2, 1).resolved(with_split) == Split(scheme, 5, 2, 1)
