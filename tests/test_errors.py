"""What a user does wrong is one sentence, from a command and in a notebook."""

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from conftest import TESTS_TOO, run_python

from soundfusion_lib.cli import main

FOLDER = '[corpus]\nkind = "folder"\npath = "music"\n'
TWICE = "file_name,genre\na/1.wav,a\na/1.wav,b\n"
SHORT = "none of its 2 clips is usable; most often: too short (1.5 s of at least 500 s)"
MISTAKES = {  # of the profile, sounds in its folder, its metadata.csv, and what is said; test_datasets has more
    "one label": ("[segmenting]\nseconds = 1", ["a/1.wav"], None, "music: only one genre ('a'); there is nothing"),
    "long segments": ("[segmenting]\nseconds = 500", ["a/1.wav", "b/1.wav"], None, SHORT),
    "the same row twice": ("", ["a/1.wav"], TWICE, "track 'a/1.wav' occurs more than once: mend its row, or"),
    "epochs in words": ('[training]\nepochs = "ten"', [], None, "must be a valid integer"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_sentence_of_the_command(tmp_path, monkeypatch, mistake):
    tables, sounds, metadata, said = MISTAKES[mistake]
    monkeypatch.setenv("SOUNDFUSION_DATA", str(tmp_path / "data"))
    (tmp_path / "mine.toml").write_text(FOLDER + tables)
    for file in sounds:
        (tmp_path / "music" / file).parent.mkdir(parents=True)
        soundfile.write(tmp_path / "music" / file, np.random.default_rng(0).normal(0, 0.1, 12_000), 8_000)
    if metadata:
        (tmp_path / "music" / "metadata.csv").write_text(metadata)
    result = CliRunner().invoke(main, ["prepare", str(tmp_path / "mine.toml")])
    assert result.exit_code == 1 and isinstance(result.exception, SystemExit), repr(result.exception)
    last = result.output.rstrip().splitlines()[-1]
    assert last.startswith("Error: ") and said in last and str(tmp_path) in last


def test_a_mistake_is_one_sentence_in_a_notebook(tmp_path):
    code = f"from soundfusion_lib.datasets import folder; folder({str(tmp_path / 'music')!r})"
    environment = {**TESTS_TOO, "IPYTHONDIR": str(tmp_path), "NO_COLOR": "1"}
    done = run_python("-m", "IPython", "--colors=NoColor", "-c", code, env=environment)
    assert (done.stdout + done.stderr).strip() == f"SoundFusionError: {tmp_path / 'music'}: no such folder"
