"""The demo corpora: the archive is what the composer's plan says, unpacked whole or not at all."""

import hashlib
import io
import shutil
import zipfile
from concurrent.futures import ThreadPoolExecutor

import compose_demo
import pandas as pd
import pytest
import soundfile
from composer.genres import FMA_STYLES, GTZAN_STYLES

from soundfusion_lib.datasets.demo import ARCHIVE, SHA256, demo, demo_gtzan

# sample rate in Hz, channels, seconds
LENGTHS = {"stereo": (44_100, 2, 3.5), "mono": (44_100, 1, 3.5), "48 kHz": (48_000, 2, 3.5)}
LENGTHS |= {"short": (44_100, 2, 1.0), "gtzan": (22_050, 1, 3.5)}


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("SOUNDFUSION_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def test_the_archive_is_the_recorded_one_and_what_the_plan_says():
    content = ARCHIVE.read_bytes()
    assert hashlib.sha256(content).hexdigest() == SHA256 and len(content) < 12_000_000
    plan = pd.concat([compose_demo.plan_fma(), compose_demo.plan_gtzan()])
    with zipfile.ZipFile(ARCHIVE) as archive:
        assert sorted(archive.namelist()) == sorted([*plan["path"], "README.txt", "fma/fma_metadata/tracks.csv"])
        assert archive.read("fma/fma_metadata/tracks.csv").decode() == compose_demo.metadata(compose_demo.plan_fma())
        assert archive.read("README.txt").decode().startswith("Synthetic music")
        for path, form in zip(plan["path"], plan["form"], strict=True):
            content = io.BytesIO(archive.read(path))
            if form == "broken":
                with pytest.raises(soundfile.LibsndfileError):
                    soundfile.info(content)
                continue
            info, (rate, channels, seconds) = soundfile.info(content), LENGTHS[form]
            assert (info.format, info.samplerate, info.channels) == ("MP3", rate, channels)
            assert 0 <= info.duration - seconds < 0.08  # an MP3 is padded to whole frames


def test_the_plan_is_balanced_and_no_artist_is_in_two_sets():
    plan = compose_demo.plan_fma()
    assert plan["form"].value_counts().drop("stereo").to_dict() == {"mono": 1, "48 kHz": 1, "short": 1, "broken": 1}
    assert set(plan.loc[plan["form"] != "stereo", "split"]) == {"training"}
    odd = plan[plan["form"].isin(["short", "broken"])]
    counts = pd.crosstab(plan["genre"].drop(odd.index), plan["split"])
    assert list(counts.index) == sorted(FMA_STYLES)
    assert counts.eq({"training": 24, "validation": 8, "test": 8}).all(axis=None)
    assert (plan.groupby("artist")[["genre", "split"]].nunique() == 1).all(axis=None)
    assert plan.index.is_unique and plan.index.is_monotonic_increasing


def test_both_corpora_say_that_they_are_synthetic(data):
    corpus = demo()
    assert (corpus.name, corpus.synthetic, len(corpus.tracks)) == ("demo", True, 322)
    assert corpus.tracks["split"].value_counts().to_dict() == {"train": 194, "validation": 64, "test": 64}
    assert corpus.tracks.groupby("group")["split"].nunique().max() == 1
    other = demo_gtzan()
    assert (other.name, other.synthetic, len(other.tracks)) == ("demo_gtzan", True, 100)
    assert other.labels == sorted(GTZAN_STYLES) and "split" not in other.tracks
    assert all(each.file(track).is_file() for each in (corpus, other) for track in each.tracks.index)


def test_killed_while_unpacking_and_two_at_once(data, monkeypatch):
    unpack, calls, root = shutil.unpack_archive, [], data / "demo" / SHA256[:8]
    killed = root.with_name(f"{root.name}.partial") / "fma"
    killed.mkdir(parents=True)
    (killed / "stale").touch()
    count = "soundfusion_lib.datasets.download.shutil.unpack_archive"
    monkeypatch.setattr(count, lambda *args, **options: calls.append(1) or unpack(*args, **options))
    with ThreadPoolExecutor(2) as pool:
        assert [corpus.root for corpus in pool.map(lambda _: demo(), range(2))] == [root / "fma"] * 2
    assert len(calls) == 1 and not (root / "fma" / "stale").exists()
    assert not root.with_name(f"{root.name}.partial").exists()
