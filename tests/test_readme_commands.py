"""The commands of README.md and docs/: each exists, and those that need no download are run as written."""

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from click.testing import CliRunner
from conftest import RATE, at_home_in, tone

from soundfusion_lib import load_profile, open_corpus
from soundfusion_lib.cli import main
from soundfusion_lib.paths import PROJECT

PAGES = {page.stem: page.read_text(encoding="utf-8") for page in (PROJECT / "README.md", *PROJECT.glob("docs/*.md"))}
BLOCKS = {name: re.findall(r"```(\w*)\n(.*?)```", text, re.DOTALL) for name, text in PAGES.items()}
PLAIN = [block for blocks in BLOCKS.values() for language, block in blocks if not language]
LINES = "\n".join(PLAIN).splitlines()
CALLS = [words for line in LINES if (words := shlex.split(line, comments=True))]
SOUNDFUSION = [words for words in CALLS if words[0] == "soundfusion"]


@pytest.mark.parametrize("words", SOUNDFUSION, ids=" ".join)
def test_every_command_is_one_that_there_is(words):
    _, name, *arguments = words
    main.commands[name].make_context(name, arguments)  # complains of what the command does not take


def test_every_target_is_one_of_the_makefile():
    targets = re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    named = set(re.findall(r"(?:`|^)make ([a-z-]+)", "\n".join(PAGES.values()), re.MULTILINE))
    assert named <= set(targets) and len(named) > 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the files that the pages speak of: a song, a concert, a folder, music and its profile."""
    folder, random = tmp_path_factory.mktemp("user"), np.random.default_rng(0)
    for name, sound, seconds in (("song.mp3", "low", 12), ("concert.flac", "noise", 20), ("folder/one.wav", "high", 6)):
        (folder / name).parent.mkdir(exist_ok=True)
        soundfile.write(folder / name, tone(sound, seconds, RATE, random), RATE)
    rows = []
    for label in ("low", "high", "noise"):
        (folder / "music" / label).mkdir(parents=True)
        for number in range(10):
            name = f"{label}/{number}.wav"
            soundfile.write(folder / "music" / name, tone(label, 6, RATE, random), RATE)
            rows.append({"file_name": name, "genre": label, "artist": f"{label}{number % 5}"})
    pd.DataFrame(rows).to_csv(folder / "music" / "metadata.csv", index=False)
    [profile] = [block for language, block in BLOCKS["own_music"] if language == "toml"]
    (folder / "mine.toml").write_text(profile)
    with at_home_in(folder):
        yield folder


def call(line: str) -> str:
    done = CliRunner().invoke(main, shlex.split(line)[1:], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def written(start: str) -> str:
    """The only command of the pages that begins so."""
    [line] = {line.partition("#")[0].strip() for line in LINES if line.startswith(start)}
    return line


def test_a_song_a_folder_and_a_concert_are_predicted_and_own_music_is_trained_on_and_predicted(folder):
    output = call(written("soundfusion predict song.mp3 folder/"))
    assert "song.mp3" in output and "one.wav" in output
    call(written("soundfusion predict concert.flac"))
    assert Path("concert.csv").stat().st_size and Path("concert.png").stat().st_size
    output = call(written("soundfusion prepare mine.toml"))
    assert "30 clips" in output and "0 clips left out" in output
    assert "test accuracy" in call("soundfusion train mine.toml SoundFusion-1")
    assert call(written("soundfusion status mine.toml"))
    call(written("soundfusion export mine.toml/SoundFusion-1"))
    assert "song.mp3" in call(written("soundfusion predict --model exported"))


def test_three_commands_lead_from_a_folder_to_a_classifier(folder, tmp_path):
    (tmp_path / "music").symlink_to(folder / "music")
    with at_home_in(tmp_path):
        output = call(written("soundfusion init"))
        assert "30 files." in output and re.search(r"noise +10 +5", output)
        output = call("soundfusion train mine.toml svm")
        assert output.count("recall of") == 3 and "musicnn is what to predict with" in output
        profile = load_profile("mine.toml")
        assert profile.test_folds == (0, 1, 2, 3, 4) and profile.split.folds == 5 and profile.corpus["label"] == "genre"
        again = CliRunner().invoke(main, ["init", "music"])
        assert again.exit_code == 1 and "mine.toml is there already" in again.output


def test_init_keeps_an_official_split_and_says_where_artists_are_unknown(folder, tmp_path):
    music = tmp_path / 'a "b"'
    shutil.copytree(folder / "music", music)
    table = pd.read_csv(music / "metadata.csv").drop(columns="artist")
    table.assign(split=["train", "validation", "test"] * 10).to_csv(music / "metadata.csv", index=False)
    output = call(shlex.join(["soundfusion", "init", str(music)]))
    assert output.count("unknown") == 3
    profile = load_profile(tmp_path / "mine.toml")
    assert profile.test_folds == () and profile.corpus["path"] == str(music)


def test_init_names_what_cannot_be_used_and_leaves_out_labels_of_one_or_two_files(folder, tmp_path):
    shutil.copytree(folder / "music", tmp_path / "music")
    table = pd.read_csv(tmp_path / "music" / "metadata.csv")
    table.loc[:1, "genre"] = "jazz"
    table.loc[2:4, "genre"] = "noise music"
    table.loc[table["genre"] == "low", "artist"] = "one"
    table.to_csv(tmp_path / "music" / "metadata.csv", index=False)
    (tmp_path / "music" / table.loc[2, "file_name"]).write_bytes(b"no music")
    (tmp_path / "music" / "cover.jpg").write_bytes(b"")
    output = call(shlex.join(["soundfusion", "init", str(tmp_path / "music")]))
    assert "left out, as they have fewer than three files: jazz, noise music" in output
    assert f"{table.loc[2, 'file_name']}: cannot be decoded" in output and "not tried: 1 .jpg" in output
    assert "25 files." in output and "not in training when tested: low (add" in output
    profile = load_profile(tmp_path / "mine.toml")
    assert profile.corpus["without"] == ["jazz", "noise music"] and profile.split.folds == 5
    assert len(open_corpus(profile.corpus).tracks) == 25


def test_the_lines_of_python_run(folder):
    [study] = [block for language, block in BLOCKS["README"] if language == "python"]
    [files] = [block for language, block in BLOCKS["own_music"] if language == "python"]
    names: dict = {}
    exec(study.replace('"demo")', '"mine.toml")'), names)
    assert 0 <= names["accuracy"](names["runs"].predictions("test")) <= 1
    exec(files, names)
    assert set(names["labels"].values()) <= set(names["recognizer"].labels)
