"""The demo corpora: layout and formats, the same samples every time, whole or absent, neither trivial nor hopeless."""

import json
import multiprocessing
import os

import numpy as np
import pandas as pd
import pytest
import soundfile
import soxr
from scipy import fft
from sklearn.model_selection import GroupShuffleSplit, StratifiedShuffleSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from soundfusion_lib.datasets.synthetic import demo
from soundfusion_lib.datasets.synthetic.composer import synthesise
from soundfusion_lib.datasets.synthetic.demo import plan_demo, plan_demo_gtzan, write_demo, write_demo_gtzan
from soundfusion_lib.datasets.synthetic.genres import FMA_STYLES, GTZAN_STYLES, STYLES
from soundfusion_lib.errors import SoundFusionError

SMALL = {"tracks": 24, "seconds": 2.0, "seed": 0, "progress": False}


@pytest.fixture(scope="module")
def fma(tmp_path_factory):
    return write_demo(tmp_path_factory.mktemp("demo") / "fma", workers=1, **SMALL)


@pytest.mark.parametrize("tracks", [24, 240, 8000])
def test_plan_is_balanced_and_no_artist_is_on_two_sides(tracks):
    plan = plan_demo(tracks, seed=3)
    assert plan["form"].value_counts().drop("stereo").to_dict() == {"mono": 1, "48 kHz": 1, "short": 1, "broken": 1}
    assert set(plan.loc[plan["form"] != "stereo", "split"]) == {"training"}
    good = plan[~plan["form"].isin(["short", "broken"])]
    assert len(good) == tracks
    per_genre = tracks // 8
    test = round(0.2 * per_genre)
    expected = {"training": per_genre - 2 * test, "validation": test, "test": test}
    counts = pd.crosstab(good["genre"], good["split"])
    assert list(counts.index) == sorted(FMA_STYLES)
    for split, count in expected.items():
        assert (counts[split] == count).all()
    assert (plan.groupby("artist")[["genre", "split"]].nunique() == 1).all(axis=None)
    assert (
        plan.index.is_unique and plan.index.is_monotonic_increasing and plan.index[0] > 1 and plan.index[-1] < 1_000_000
    )
    assert plan["path"].is_unique


def test_plan_depends_on_the_seed_alone():
    pd.testing.assert_frame_equal(plan_demo(240, 0), plan_demo(240, 0))
    assert not plan_demo(240, 0).index.equals(plan_demo(240, 1).index)


@pytest.mark.parametrize("genre", STYLES)
def test_clips_are_sound(genre):
    for track in range(3):
        samples = synthesise(genre, [7, track], np.random.default_rng(track), 4.0)
        assert samples.shape == (4 * 44_100, 2) and samples.dtype == np.float32
        assert np.abs(samples).max() < 1
        assert -27 < 10 * np.log10(np.mean(samples**2)) < -10
        per_second = samples.reshape(4, -1).std(axis=1)
        assert per_second.min() > 1e-3  # nothing falls silent


def test_a_clip_is_made_of_its_artist_and_its_own_seed():
    def clip(artist, track):
        return synthesise("Folk", artist, np.random.default_rng(track), 2.0)

    np.testing.assert_array_equal(clip(1, 1), clip(1, 1))
    assert not np.array_equal(clip(1, 1), clip(1, 2))
    assert not np.array_equal(clip(1, 1), clip(2, 1))


def test_metadata_has_the_format_of_fma(fma):
    tracks = pd.read_csv(fma / "fma_metadata/tracks.csv", index_col=0, header=[0, 1])
    plan = plan_demo(SMALL["tracks"], SMALL["seed"])
    lines = (fma / "fma_metadata/tracks.csv").read_text().splitlines()
    assert lines[0].startswith(",artist,artist,set,set,track") and lines[2].startswith("track_id,,")
    assert tracks.index.dtype == np.int64 and tracks.index.equals(plan.index)
    assert tracks["artist", "id"].tolist() == plan["artist"].tolist()
    assert tracks["set", "split"].tolist() == plan["split"].tolist()
    assert tracks["track", "genre_top"].tolist() == plan["genre"].tolist()
    assert set(tracks["set", "subset"]) == {"small"}
    assert json.loads((fma / "demo.json").read_text())["synthetic"] is True


def test_lines_end_alike_on_every_system(fma, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "linesep", "\r\n")  # pandas goes by it
    monkeypatch.setattr(demo, "write_track", lambda *_: None)
    other = write_demo(tmp_path / "fma", workers=1, **SMALL)
    for name in ("fma_metadata/tracks.csv", "demo.json"):
        assert b"\r" not in (other / name).read_bytes() and (other / name).read_bytes() == (fma / name).read_bytes()


def test_files_are_what_the_plan_says(fma):
    plan = plan_demo(SMALL["tracks"], SMALL["seed"])
    assert sorted(plan["path"]) == sorted(file.relative_to(fma).as_posix() for file in fma.rglob("*.mp3"))
    expected = {
        "stereo": (44_100, 2, 2.0),
        "mono": (44_100, 1, 2.0),
        "48 kHz": (48_000, 2, 2.0),
        "short": (44_100, 2, 1.0),
    }
    for path, form in zip(plan["path"], plan["form"], strict=True):
        if form == "broken":
            with pytest.raises(soundfile.LibsndfileError):
                soundfile.read(fma / path)
            continue
        samples, rate = soundfile.read(fma / path, always_2d=True)
        assert soundfile.info(fma / path).format == "MP3"
        assert (rate, samples.shape[1]) == expected[form][:2]
        assert 0 <= len(samples) / rate - expected[form][2] < 0.06  # an MP3 is padded to whole frames
        assert np.std(samples) > 0.01


def test_workers_do_not_change_a_sample(fma, tmp_path):
    other = write_demo(tmp_path / "fma", workers=2, **SMALL)
    for file in fma.rglob("*.mp3"):
        assert file.read_bytes() == (other / file.relative_to(fma)).read_bytes()


def test_a_second_call_returns_at_once_and_other_arguments_are_refused(fma, monkeypatch):
    monkeypatch.setattr(demo, "write_track", None)
    assert write_demo(fma, **SMALL) == fma
    with pytest.raises(SoundFusionError, match="made with"):
        write_demo(fma, **SMALL | {"seed": 1})
    with pytest.raises(SoundFusionError, match="made with"):
        write_demo_gtzan(fma, **SMALL | {"tracks": 30})


def test_a_folder_of_somebody_else_is_left_alone(tmp_path):
    (tmp_path / "music").mkdir()
    (tmp_path / "music/song.mp3").write_text("mine")
    with pytest.raises(SoundFusionError, match="no demo corpus"):
        write_demo(tmp_path / "music", **SMALL)
    assert [file.name for file in tmp_path.rglob("*")] == ["music", "song.mp3"]


@pytest.mark.parametrize("change", [{"tracks": 42}, {"tracks": 16}, {"tracks": 0}, {"seconds": 1.0}])
def test_arguments_out_of_range_are_refused(tmp_path, change):
    with pytest.raises(SoundFusionError):
        write_demo(tmp_path / "fma", **SMALL | change)
    assert not any(tmp_path.iterdir())


def _write_and_die(root):
    """A stand-in for write_track that writes quickly, and ends the process at the twelfth file as a kill would."""
    written = []

    def write(folder, seed, seconds, job):
        (folder / job[1]).touch()
        written.append(job)
        if len(written) == 12:
            os._exit(9)

    demo.write_track = write
    write_demo(root, workers=1, **SMALL)


def test_killed_half_way_leaves_nothing_under_the_name_and_a_new_start_works(tmp_path, monkeypatch):
    root = tmp_path / "fma"
    process = multiprocessing.get_context("spawn").Process(target=_write_and_die, args=(root,))
    process.start()
    process.join()
    assert process.exitcode == 9
    assert [folder.name for folder in tmp_path.iterdir()] == ["fma.partial"]
    assert len(list(tmp_path.rglob("*.mp3"))) == 12
    (tmp_path / "fma.partial/stale").touch()
    monkeypatch.setattr(demo, "write_track", lambda folder, seed, seconds, job: (folder / job[1]).touch())
    write_demo(root, workers=1, **SMALL)
    assert [folder.name for folder in tmp_path.iterdir()] == ["fma"] and not (root / "stale").exists()
    assert len(list(root.rglob("*.mp3"))) == SMALL["tracks"] + 2


def test_gtzan_layout(tmp_path):
    root = write_demo_gtzan(tmp_path / "gtzan", tracks=20, seconds=2.0, workers=1, progress=False)
    assert sorted(folder.name for folder in (root / "genres").iterdir()) == sorted(GTZAN_STYLES)
    for genre in GTZAN_STYLES:
        files = sorted((root / "genres" / genre).iterdir())
        assert [file.name for file in files] == [f"{genre}.00000.wav", f"{genre}.00001.wav"]
        info = soundfile.info(files[0])
        assert (info.samplerate, info.channels, info.frames, info.subtype) == (22_050, 1, 44_100, "PCM_16")
    with pytest.raises(SoundFusionError):
        plan_demo_gtzan(25)


def _mfcc_statistics(samples):
    """Mean, deviation, median, minimum and maximum over time of 20 MFCCs, as FMA's features have them."""
    mono = soxr.resample(samples.mean(axis=1), 44_100, 22_050)
    frames = np.lib.stride_tricks.sliding_window_view(mono, 2048)[::1024] * np.hanning(2048).astype(np.float32)
    power = np.abs(fft.rfft(frames, axis=1)) ** 2
    hertz = np.linspace(0, 11_025, power.shape[1])
    corners = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 11_025 / 700), 66) / 2595) - 1)
    rising = (hertz[:, None] - corners[:-2]) / np.diff(corners)[:-1]
    falling = (corners[2:] - hertz[:, None]) / np.diff(corners)[1:]
    decibels = 10 * np.log10(np.maximum(power @ np.maximum(0, np.minimum(rising, falling)), 1e-8))
    mfcc = fft.dct(decibels, norm="ortho", axis=1)[:, :20]
    return np.concatenate([statistic(mfcc, axis=0) for statistic in (np.mean, np.std, np.median, np.min, np.max)])


def test_the_default_corpus_is_neither_trivial_nor_hopeless_and_rewards_splits_that_ignore_artists():
    plan = plan_demo(240, 0)
    plan = plan[~plan["form"].isin(["short", "broken"])]
    clips = zip(plan.index, plan["genre"], plan["artist"], strict=True)
    features = [
        _mfcc_statistics(synthesise(g, [0, 1, artist], np.random.default_rng([0, t]), 5.0)) for t, g, artist in clips
    ]
    features, genre = np.array(features), plan["genre"].to_numpy()

    def accuracy(training, test):
        machine = make_pipeline(StandardScaler(), SVC()).fit(features[training], genre[training])
        return machine.score(features[test], genre[test])

    split = plan["split"].to_numpy()
    assert 0.45 < accuracy(split == "training", split == "test") < 0.75
    options = {"n_splits": 20, "test_size": 0.4, "random_state": 0}
    artists = GroupShuffleSplit(**options).split(features, genre, plan["artist"])
    tracks = StratifiedShuffleSplit(**options).split(features, genre)
    by_artist, ignoring_artists = (np.mean([accuracy(*parts) for parts in splits]) for splits in (artists, tracks))
    assert ignoring_artists > by_artist + 0.03
