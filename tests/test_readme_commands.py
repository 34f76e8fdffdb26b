"""The README's commands: each is one that there is, and those that need no network are run as they stand there."""

import re
import shlex
from pathlib import Path

import lameenc
import numpy as np
import pandas as pd
import pytest
import soundfile
from click.testing import CliRunner
from conftest import RATE, tone

from soundfusion_lib.cli import main
from soundfusion_lib.paths import PROJECT

README = (PROJECT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, re.DOTALL)
LINES = [line for language, block in BLOCKS if not language for line in block.splitlines() if line]
CALLS = [shlex.split(line.removeprefix(".venv/bin/"), comments=True) for line in LINES]
SOUNDFUSION = [words for words in CALLS if words[0] == "soundfusion"]


def test_every_line_is_a_command_of_the_project_of_conda_or_of_dask():
    assert {words[0] for words in CALLS} == {"soundfusion", "make", "conda", "dask"} and len(SOUNDFUSION) > 20


@pytest.mark.parametrize("words", SOUNDFUSION, ids=" ".join)
def test_every_command_is_one_that_there_is(words):
    _, name, *arguments = words
    main.commands[name].make_context(name, arguments)  # complains of what the command does not take


def test_every_target_is_one_of_the_makefile():
    targets = re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    named = re.findall(r"make ([a-z-]+)", README)
    assert set(named) - {"it"} <= set(targets) and len(set(named)) > 4


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the files that the README speaks of: a song, a concert, a folder, music and its profile."""
    folder, random = tmp_path_factory.mktemp("user"), np.random.default_rng(0)
    encoder = lameenc.Encoder()
    encoder.set_channels(2)
    encoder.set_in_sample_rate(RATE)
    samples = (32767 * tone("low", 12, RATE, random)).astype(np.int16)
    (folder / "song.mp3").write_bytes(encoder.encode(samples.tobytes()) + encoder.flush())
    soundfile.write(folder / "concert.flac", tone("noise", 20, RATE, random), RATE)
    (folder / "folder").mkdir()
    soundfile.write(folder / "folder" / "one.wav", tone("high", 6, RATE, random), RATE)
    rows = []
    for label in ("low", "high", "noise"):
        (folder / "music" / label).mkdir(parents=True)
        for number in range(10):
            name = f"{label}/{number}.wav"
            soundfile.write(folder / "music" / name, tone(label, 6, RATE, random), RATE)
            rows.append({"file_name": name, "genre": label, "artist": f"{label}{number % 5}"})
    pd.DataFrame(rows).to_csv(folder / "music" / "metadata.csv", index=False)
    profile, search = (block for language, block in BLOCKS if language == "toml")
    (folder / "mine.toml").write_text(profile + search)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOUNDFUSION_DATA", str(folder / "data"))
        patch.setenv("SOUNDFUSION_RESULTS", str(folder / "results"))
        patch.chdir(folder)
        yield folder


def call(words: list[str]) -> str:
    done = CliRunner().invoke(main, words[1:], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_a_song_a_folder_and_a_concert_are_predicted(place):
    own, files = (words for words in SOUNDFUSION if words[1] == "predict" and "--model" not in words)
    output = call(own)
    assert "song.mp3" in output and "one.wav" in output
    call(files)
    assert all(Path(name).stat().st_size for name in ("concert.png", "concert.csv", "concert.json"))


def test_one_s_own_music_is_prepared_trained_on_exported_and_asked(place):
    mine = [words for words in SOUNDFUSION if "mine.toml" in words]
    by_name = {words[1]: words for words in mine}
    assert "30 clips" in call(by_name["prepare"])
    assert "test accuracy" in call(by_name["train"])
    call(["soundfusion", "train", "mine.toml", "ResNet2D-small"])  # what `reproduce` would train, too
    assert "ResNet2D-small" in call(by_name["status"])
    assert "song.mp3" in call(by_name["predict"])
    call(["soundfusion", "export", "SoundFusion-1", "exported", "--profile", "mine.toml", "--no-onnx"])
    assert "song.mp3" in call(["soundfusion", "predict", "--model", "exported", "song.mp3"])


def test_the_lines_of_python_run(place):
    study, files = (block for language, block in BLOCKS if language == "python")
    names: dict = {}
    exec(study.replace('"demo")', '"mine.toml")'), names)
    assert 0 <= names["accuracy"](names["runs"].predictions("test")) <= 1
    exec(files, names)
    assert names["predict"]("song.mp3")["error"].isna().all()
