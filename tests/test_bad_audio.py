"""What a folder may hold that is no music, or is music that is hard to take: nothing of it stops a preparation."""

import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from click.testing import CliRunner
from conftest import build, run_python
from odd_audio import CUT, RATE, USED, by_ffmpeg, mp3, music, write_all

from soundfusion_lib.audio.clips import ClipFolder
from soundfusion_lib.audio.representations import MelSpectrogram, Waveform
from soundfusion_lib.cli import main
from soundfusion_lib.datasets import Corpus, folder
from soundfusion_lib.study.study import Study

SPECS = [Waveform(8_000), MelSpectrogram(8_000, 1, 16, 256, 256)]
PROFILE = """
corpus = { kind = "folder", path = "music" }
waveform = { sample_rate = 8000 }
mel = { sample_rate = 8000, channels = 1, n_mels = 16, n_fft = 256, hop_length = 256 }
segmenting = { seconds = 1 }
test_folds = [0]
"""


def corpus_of(root: Path, *names: str, **columns) -> Corpus:
    """A corpus of these files, its ids their names without the suffix."""
    table = {"path": names, "label": "l", "group": None, **columns}
    return Corpus("files", root, pd.DataFrame(table, index=[name.split(".")[0] for name in names]))


@pytest.fixture
def profile(tmp_path, monkeypatch) -> str:
    monkeypatch.setenv("SOUNDFUSION_DATA", str(tmp_path / "data"))
    (tmp_path / "mine.toml").write_text(PROFILE)
    (tmp_path / "music" / "good").mkdir(parents=True)
    soundfile.write(tmp_path / "music" / "good" / "good.wav", music(seed=99), RATE)
    return str(tmp_path / "mine.toml")


def test_each_of_many_bad_files_is_used_or_listed_with_its_reason_and_never_replaced(profile, tmp_path):
    outcomes = write_all(tmp_path / "music" / "bad")
    assert len(outcomes) > 120
    result = CliRunner().invoke(main, ["prepare", profile, "--strict"])
    assert result.exit_code == 1 and isinstance(result.exception, SystemExit), result.output
    listed = dict(re.findall(r"^  .+  bad/(.+?\.\w+): (.+)$", result.output, re.MULTILINE))
    named = {name: reason for name, reason in outcomes.items() if reason is not USED}
    lost = {name: reason for name, reason in named.items() if reason != CUT}
    assert listed.keys() == named.keys() and f"{len(lost)} clips left out:" in result.output
    assert f"{len(named) - len(lost)} clips cut short, and used:" in result.output
    assert {name: reason for name, reason in named.items() if not re.fullmatch(reason, listed[name])} == {}
    assert CliRunner().invoke(main, ["prepare", profile]).exit_code == 0
    store = build(folder(tmp_path / "music"), tmp_path / "data" / "store", SPECS, decode=False)
    assert set(store.tracks["path"]) == {"good/good.wav", *(f"bad/{name}" for name in outcomes.keys() - lost.keys())}
    for array in store.arrays.values():
        assert np.isfinite(array.data.astype(np.float32)).all()


def test_what_is_cut_short_or_not_tried_is_said(profile, tmp_path):
    good = tmp_path / "music" / "good"
    whole = mp3(8)
    (good / "half.mp3").write_bytes(whole[: len(whole) // 2])
    (good / "begun.mp3").write_bytes(whole[: len(whole) // 10])
    (good / "cover.jpg").touch()
    (good / "@eaDir" / "song.mp3").mkdir(parents=True)
    (good / "@eaDir" / "song.mp3" / "thumb.jpg").touch()
    (tmp_path / "music" / "list.m3u").touch()
    soundfile.write(tmp_path / "music" / "loose.wav", music(), RATE)
    (tmp_path / "music" / "other").mkdir()
    soundfile.write(tmp_path / "music" / "other" / "other.wav", music(seed=97), RATE)
    for _ in range(2):  # as it is decoded, and out of the store
        result = CliRunner().invoke(main, ["prepare", profile, "--strict"])
        assert result.exit_code == 1
        said = result.output.splitlines()
        assert re.search(r"  good/begun  good/begun.mp3: too short \(0\.\d of 8\.0 s of at least 1 s\)", result.output)
        assert said[said.index("1 clips cut short, and used:") + 1] == "  good/half  good/half.mp3: 4.0 of 8.0 s"
        assert "not tried: 2 .jpg, 1 .m3u, 1 .wav" in said
    (good / "half.mp3").unlink(), (good / "begun.mp3").unlink()
    assert CliRunner().invoke(main, ["prepare", profile, "--strict"]).exit_code == 0


def test_what_is_silence_to_a_network_is_left_out(tmp_path):
    """Out of phase, the mean of both channels is silence; of 5.1, the spectrogram has the first two."""
    sound, random = music(44_100, 1), np.random.default_rng(1)
    centre = np.zeros((len(sound), 6))
    centre[:, 2:3] = sound
    noise = 1e-5 * random.normal(size=(len(sound), 1))
    soundfile.write(tmp_path / "good.wav", sound, 44_100)
    soundfile.write(tmp_path / "phase.wav", np.hstack([sound, noise - sound]), 44_100)
    soundfile.write(tmp_path / "centre.wav", centre, 44_100)
    (tmp_path / "surround.m4a").write_bytes(by_ffmpeg("mp4", "aac", centre))
    files = corpus_of(tmp_path, "good.wav", "phase.wav", "centre.wav", "surround.m4a")
    specs = [Waveform(8_000), MelSpectrogram(44_100, 2, 16, 1024, 512)]
    mono = "silent as waveform: the mean of its channels is silence"
    first_two = "silent as mel spectrogram: its first two channels are silent"
    for kinds, reasons in (
        (specs, {"phase": mono, "centre": first_two, "surround": first_two}),
        (specs[:1], {"phase": mono}),
        (specs[1:], {"centre": first_two, "surround": first_two}),
        ([MelSpectrogram(8_000, 1, 16, 256, 256)], {"phase": mono.replace("waveform", "mel spectrogram")}),
    ):
        store = build(files, tmp_path / "cache", kinds)
        assert store.left_out["reason"].to_dict() == reasons
        assert all(len(array.clip(track)) for array in store.arrays.values() for track in store.tracks.index)


def write_long(file: Path, half_minutes: int) -> None:
    """A stereo file, 8 bits a sample, of half a minute of sound again and again."""
    sound = np.round(2_000 * music(8_000, seconds=30)).astype(np.int16)
    with soundfile.SoundFile(file, "w", 8_000, 2, "ULAW", format="AU") as opened:
        for _ in range(half_minutes):
            opened.write(sound)


PEAK = """
import resource, sys
from pathlib import Path
from conftest import build
from test_bad_audio import SPECS, corpus_of

root, cache = map(Path, sys.argv[1:])
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
build(corpus_of(root, "short.au"), cache, SPECS)
before = peak()
store = build(corpus_of(root, "long.au"), cache, SPECS)
sounds = [array.clip("long")[-10_000:].std() > 0 for array in store.arrays.values()]
print(peak() - before, store.tracks["seconds"].item(), *sounds)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such count")
def test_two_hours_are_prepared_whole_in_bounded_memory(tmp_path):
    """Their samples alone are 440 MiB."""
    write_long(tmp_path / "short.au", 1)
    write_long(tmp_path / "long.au", 240)
    done = run_python("-c", PEAK, tmp_path, tmp_path / "cache", check=True)
    grown, seconds, *sounds = done.stdout.split()
    assert float(grown) < 150 and float(seconds) == 7_200 and sounds == ["True", "True"]
    assert not list((tmp_path / "cache").rglob("parts-*"))


# A file that kills the process that decodes it.
KILLING = """
import os, signal
from pathlib import Path
from soundfusion_lib.datasets import folder
from soundfusion_lib.audio import representations
from soundfusion_lib.audio.representations import Waveform
from soundfusion_lib.audio.store import Store

stream, once = representations.stream, Path("killed")

def killing(file, seconds):
    if file.name == "killer.wav" or (file.name == "chance.wav" and not once.exists()):
        once.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return stream(file, seconds)

representations.stream = killing  # in the processes, too: each imports this script

if __name__ == "__main__":
    for _ in range(2):  # again, when it is the only one that is left
        store = Store.build(folder("music"), [Waveform(8_000)], "cache", shortest=1.0, workers=2, progress=False)
        print(store.left_out["reason"].to_dict())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such signal")
def test_a_file_that_kills_its_process_twice_is_left_out_and_the_rest_goes_on(tmp_path):
    names = ["a/chance.wav", *(f"{label}/{number}.wav" for label in "ab" for number in range(12)), "b/killer.wav"]
    for seed, name in enumerate(names):
        (tmp_path / "music" / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / "music" / name, music(seed=seed), RATE)
    (tmp_path / "script.py").write_text(KILLING)
    done = run_python("script.py", cwd=tmp_path)
    reason = {"b/killer": "the process that decodes it was killed, twice (out of memory?)"}
    assert done.stdout == f"{reason}\n{reason}\n", done.stderr
    (tmp_path / "music" / "b" / "killer.wav").unlink()
    whole = build(folder(tmp_path / "music"), tmp_path / "whole", SPECS[:1])
    kept = ClipFolder(tmp_path / "cache" / "music", SPECS[0])
    assert kept.data.read_bytes() == whole.arrays["waveform"].data.tobytes()


def test_copies_that_leak_are_said_before_training(profile, tmp_path):
    good = tmp_path / "music" / "good"
    (tmp_path / "music" / "other").mkdir()
    (tmp_path / "music" / "other" / "copy.wav").write_bytes((good / "good.wav").read_bytes())
    soundfile.write(tmp_path / "music" / "other" / "other.wav", music(seed=97), RATE)
    said = "good/good and other/copy hold the same bytes, and are not of one genre"
    result = CliRunner().invoke(main, ["prepare", profile, "--strict"])  # nothing is left out
    assert result.exit_code == 0 and f"leakage: {said}; keep one of them\n" in result.output
    study = Study("prepare", profile, "cpu", progress=False)
    message = f"corpus 'music' at .+ leaks from one set into another: {said}. Keep one of each"
    with pytest.warns(UserWarning, match=message):
        study.store  # noqa: B018


def test_copies_are_leakage_where_a_split_may_part_them(tmp_path):
    for name in ("x.wav", "y.WAV"):
        soundfile.write(tmp_path / name, music(), RATE)
    for columns, apart in (
        ({"group": ["a", "a"]}, None),
        ({"group": ["a", "b"]}, "group"),
        ({"group": [None, None]}, "group"),
        ({"group": [None, None], "split": ["test", "test"]}, None),
        ({"group": ["a", "a"], "split": ["train", "test"]}, "split"),
    ):
        copies = build(corpus_of(tmp_path, "x.wav", "y.WAV", **columns), tmp_path / "cache", SPECS).copies
        assert copies == ([f"x and y hold the same bytes, and are not of one {apart}"] if apart else [])
