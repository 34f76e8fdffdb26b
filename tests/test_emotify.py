"""Emotify, on files in its layout: the reader, artists from tags, and the first seconds of each file."""

import numpy as np
import pytest
from conftest import build
from mutagen.id3 import ID3, TPE1

from soundfusion_lib.audio.decode import encode_mp3
from soundfusion_lib.audio.representations import Waveform
from soundfusion_lib.datasets import emotify
from soundfusion_lib.datasets.emotify import GENRES
from soundfusion_lib.errors import SoundFusionError

RATE = 44_100


def tones(*seconds: float) -> np.ndarray:
    """(time, 2): a low tone for so long, then a high one."""
    tone = [np.sin(2 * np.pi * f * np.arange(int(s * RATE)) / RATE) for s, f in zip(seconds, (440, 3000), strict=False)]
    return 0.3 * np.stack([np.concatenate(tone)] * 2, 1)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Two files of 4 s per genre, of which the last two are another tone; the second one of classical has 1.5 s."""
    root = tmp_path_factory.mktemp("emotify")
    artists = iter(["Anon Viols", "Magnatune Compilation", "Zilla", "Zilla", "  Brad  Sucks ", None, "Zilla", ""])
    for genre in GENRES:
        (root / "emotifymusic" / genre).mkdir(parents=True)
        for number in (1, 10):
            file = root / "emotifymusic" / genre / f"{number}.mp3"
            file.write_bytes(encode_mp3(tones(1.5) if (genre, number) == ("classical", 10) else tones(2, 2), RATE))
            if (artist := next(artists)) is not None:
                tags = ID3()
                tags.add(TPE1(encoding=3, text=artist))
                tags.save(file)
    return root


def test_tracks_genres_and_artists(root):
    corpus = emotify(root)
    assert corpus.seconds == 30 and corpus.labels == list(GENRES)
    assert corpus.tracks["group"].to_dict() == {
        "classical/001": "Anon Viols",
        "classical/010": None,  # a compilation is nobody
        "electronic/001": "Zilla",
        "electronic/010": "Zilla",
        "pop/001": "Brad Sucks",
        "pop/010": None,  # no tags at all
        "rock/001": "Zilla",  # an artist of two genres
        "rock/010": None,
    }
    assert corpus.file("pop/010").name == "10.mp3"


def test_only_the_first_seconds_are_used_and_another_length_is_another_clip(root, tmp_path):
    short, long = (build(emotify(root, seconds), tmp_path) for seconds in (2.0, None))
    assert short.tracks["seconds"].drop("classical/010").eq(2).all()
    assert short.tracks.loc["classical/010", "seconds"] == pytest.approx(1.5, abs=0.1)
    assert long.tracks["seconds"].drop("classical/010").between(4, 4.1).all()
    assert short.content_id != long.content_id
    both = [store.arrays["waveform"].clip("rock/001")[:, 0, 0] for store in (short, long)]
    np.testing.assert_array_equal(both[0][:40_000], both[1][:40_000])
    assert len(both[0]) == 2 * Waveform().sample_rate < len(both[1])
    assert build(emotify(root, 2.0), tmp_path).content_id == short.content_id


def test_a_genre_without_files_is_refused(tmp_path):
    with pytest.raises(SoundFusionError, match="classical holds no clip.*soundfusion download emotify"):
        emotify(tmp_path)
