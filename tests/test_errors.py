"""What a user does wrong is one sentence, from a command and in a notebook."""

import os
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from soundfusion_lib.cli import main

FOLDER = '[corpus]\nkind = "folder"\npath = "music"\n'
METADATA = "metadata.csv", "file_name,genre\na/1.wav,a\na/1.wav,b\n"
MISTAKES = {  # the profile, the sounds in its folder, a text file beside them, and what is said; test_datasets has more
    "no folder": (FOLDER, [], None, "music: no such folder"),
    "one label": (FOLDER + "[segmenting]\nseconds = 1\n", ["a/1.wav"], None, "music: only one genre ('a'); there is"),
    "long segments": (
        FOLDER + "[segmenting]\nseconds = 500\n",
        ["a/1.wav", "b/1.wav"],
        None,
        "none of its 2 clips is usable; most often: too short (1.5 s of at least 500 s)",
    ),
    "the same row twice": (FOLDER, ["a/1.wav"], METADATA, "track 'a/1.wav' occurs more than once: mend its row, or"),
    "another table": (
        FOLDER.replace("folder", "fma"),
        [],
        ("fma_metadata/tracks.csv", "a,b\n1,2\n"),
        "tracks.csv is not FMA's tracks.csv",
    ),
    "epochs in words": (FOLDER + '[training]\nepochs = "ten"\n', [], None, "must be a valid integer"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_sentence_of_the_command(tmp_path, monkeypatch, mistake):
    profile, sounds, table, said = MISTAKES[mistake]
    monkeypatch.setenv("SOUNDFUSION_DATA", str(tmp_path / "data"))
    (tmp_path / "mine.toml").write_text(profile)
    for file in sounds:
        (tmp_path / "music" / file).parent.mkdir(parents=True)
        soundfile.write(tmp_path / "music" / file, np.random.default_rng(0).normal(0, 0.1, 12_000), 8_000)
    if table:
        (tmp_path / "music" / table[0]).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "music" / table[0]).write_text(table[1])
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
