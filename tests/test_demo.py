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


def test_both_corpora_say_that_they_are_synthetic_and_no_artist_of_the_first_is_in_two_sets(data):
    corpus = demo()
    assert (corpus.name, corpus.synthetic, corpus.labels) == ("demo", True, sorted(FMA_STYLES))
    odd = compose_demo.plan_fma()["form"].isin(["short", "broken"]).to_numpy()
    counts = pd.crosstab(corpus.tracks["label"][~odd], corpus.tracks["split"])
    assert odd.sum() == 2 and counts.eq({"train": 24, "validation": 8, "test": 8}).all(axis=None)
    assert (corpus.tracks.groupby("group")[["label", "split"]].nunique() == 1).all(axis=None)
    other = demo_gtzan()
    assert (other.name, other.synthetic, len(other.tracks)) == ("demo_gtzan", True, 100)
    assert other.labels == sorted(GTZAN_STYLES) and "split" not in other.tracks
    assert all(each.file(track).is_file() for each in (corpus, other) for track in each.tracks.index)


def test_two_that_unpack_at_once_unpack_it_once(data, monkeypatch):
    unpack, calls = shutil.unpack_archive, []
    monkeypatch.setattr(shutil, "unpack_archive", lambda *args, **options: calls.append(1) or unpack(*args, **options))
    with ThreadPoolExecutor(2) as pool:
        roots = [corpus.root for corpus in pool.map(lambda _: demo(), range(2))]
    assert roots == [data / "demo" / SHA256[:8] / "fma"] * 2 and len(calls) == 1
