"""What a user does wrong is one sentence, from a command and in a notebook."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from soundfusion_lib.cli import main

FOLDER = '[corpus]\nkind = "folder"\npath = "music"\n'
FMA = '[corpus]\nkind = "fma"\npath = "music"\n'
SECOND = FOLDER + "[segmenting]\nseconds = 1\n"


def write_music(root: Path, *files: str, metadata: str | None = None) -> None:
    random = np.random.default_rng(0)
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(root / file, random.normal(0, 0.1, 12_000), 8_000)
    if metadata is not None:
        root.mkdir(exist_ok=True)
        (root / "metadata.csv").write_text(metadata, encoding="utf-8")


def write_tracks(root: Path, text: str) -> None:
    (root / "fma_metadata").mkdir(parents=True)
    (root / "fma_metadata" / "tracks.csv").write_text(text, encoding="utf-8")


TWO = "a/1.wav", "b/1.wav"
MISTAKES = {  # the profile, what lies in its folder, and what is said
    "no folder": (FOLDER, lambda root: None, "music: no such folder"),
    "an empty folder": (FOLDER, Path.mkdir, "music: no audio files; expected one folder per label"),
    "one label": (FOLDER, lambda root: write_music(root, "a/1.wav"), "music: only one genre ('a'); there is"),
    "long segments": (
        FOLDER + "[segmenting]\nseconds = 500\n",
        lambda root: write_music(root, *TWO),
        "none of its 2 clips is usable; most often: too short (1.5 s of at least 500 s); give it clips that are",
    ),
    "no column": (
        FOLDER,
        lambda root: write_music(root, *TWO, metadata="file,genre\na/1.wav,a\n"),
        "needs the columns",
    ),
    "the same row twice": (
        FOLDER,
        lambda root: write_music(root, *TWO, metadata="file_name,genre\na/1.wav,a\na/1.wav,b\n"),
        "track 'a/1.wav' occurs more than once: mend its row, or take it out",
    ),
    "a label that is silent": (
        SECOND,
        lambda root: (write_music(root, *TWO), soundfile.write(root / "b" / "1.wav", np.zeros(12_000), 8_000)),
        "none of the 1 clips of genre 'b' is usable; most often: silent. Give it clips that are",
    ),
    "another table": (FMA, lambda root: write_tracks(root, "a,b\n1,2\n"), "tracks.csv is not FMA's tracks.csv"),
    "a table without rows": (
        FMA,
        lambda root: write_tracks(root, ",set,set,track,artist\n,split,subset,genre_top,id\n"),
        "tracks.csv is not FMA's tracks.csv",
    ),
    "no TOML": ("[corpus\n", lambda root: None, "not valid TOML: Expected ']'"),
    "epochs in words": (FOLDER + '[training]\nepochs = "ten"\n', lambda root: None, "must be a whole number of 1 or"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_sentence_of_the_command(tmp_path, monkeypatch, mistake):
    profile, write, said = MISTAKES[mistake]
    monkeypatch.setenv("SOUNDFUSION_DATA", str(tmp_path / "data"))
    (tmp_path / "mine.toml").write_text(profile)
    write(tmp_path / "music")
    result = CliRunner().invoke(main, ["prepare", str(tmp_path / "mine.toml")])
    assert result.exit_code == 1 and isinstance(result.exception, SystemExit), repr(result.exception)
    last = result.output.rstrip().splitlines()[-1]
    assert last.startswith("Error: ") and said in last and str(tmp_path) in last


def test_a_mistake_is_one_sentence_in_a_notebook(tmp_path):
    code = f"from soundfusion_lib.datasets import folder; folder({str(tmp_path / 'music')!r})"
    environment = {**os.environ, "IPYTHONDIR": str(tmp_path), "NO_COLOR": "1"}
    command = [sys.executable, "-m", "IPython", "--colors=NoColor", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert (done.stdout + done.stderr).strip() == f"SoundFusionError: {tmp_path / 'music'}: no such folder"
