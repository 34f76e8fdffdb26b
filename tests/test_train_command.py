"""`soundfusion train`, changed settings, and what reproduce says before it starts."""

import json
import re
import tomllib

import pytest
from click.testing import CliRunner
from conftest import copy_music

from soundfusion_lib.analysis.statistics import accuracy
from soundfusion_lib.cli import main
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.paths import runs_dir
from soundfusion_lib.study.find import experiment_named, find_model
from soundfusion_lib.study.study import Study
from soundfusion_lib.training.run import load_run

PROFILE = """
clip_seconds = 4
test_folds = [1]

[corpus]
kind = "folder"
path = "music"

[mel]
sample_rate = 22050
n_mels = 32
n_fft = 512
hop_length = 256

[segmenting]
seconds = 1.0

[split]
folds = 4

[training]
epochs = 2
batch_size = 16

[models.simple_cnn]
epochs = 2
batch_size = 16

[widths]
resnet2d = { small = 4 }
"""


@pytest.fixture(scope="module")
def profile(corpus, tmp_path_factory):
    """A user's profile, on a copy of the small corpus."""
    folder = tmp_path_factory.mktemp("user")
    copy_music(corpus, folder / "music")
    (folder / "mine.toml").write_text(PROFILE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOUNDFUSION_DATA", str(folder / "data"))
        patch.setenv("SOUNDFUSION_RESULTS", str(folder / "results"))
        yield str(folder / "mine.toml")


def call(*words: str):
    done = CliRunner().invoke(main, words)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


def test_a_network_is_trained_once_and_found_by_its_name(profile):
    first = call("train", profile, "simplecnn", "--device", "cpu")
    [key] = re.findall(r"^ *([0-9a-f]{16}) ", first.output, re.MULTILINE)
    run = load_run(runs_dir() / key)
    assert run.experiment.name == "SimpleCNN, whole clip" and run.experiment.split.fold == 1
    assert len(run.history) == 2
    vote = accuracy(run.predictions("test"))
    assert f"SimpleCNN, whole clip on mine: test accuracy by track vote {vote:.3f} [" in first.output
    assert "(9 tracks)" in first.output
    again = call("train", profile, "SimpleCNN, whole clip", "--device", "cpu")
    assert again.stdout == first.stdout and load_run(runs_dir() / key).info["finished"] == run.info["finished"]
    for name in ("SimpleCNN", "simplecnn, whole clip", key[:6], str(runs_dir() / key)):
        assert find_model(name, profile) == runs_dir() / key
    assert find_model(f"{profile}/SimpleCNN") == find_model(f"{profile.removesuffix('.toml')}/SimpleCNN")
    with pytest.raises(SoundFusionError, match="nnet1 of .* is not trained: `soundfusion train .* nnet1`"):
        find_model("nnet1", profile)


def test_the_run_is_the_one_that_a_notebook_finds(profile):
    call("train", profile, "ResNet2D-small", "--device", "cpu")
    study = Study("02", profile, "cpu", progress=False)
    result = study.train(experiment_named(study, "ResNet2D-small"))
    assert not any(run.trained for run in result.runs) and result.experiment.options["width"] == 4


def test_a_model_alone_has_the_profile_s_settings(profile):
    study = Study("02", profile, "cpu", progress=False)
    experiment = experiment_named(study, "resnet2d")
    assert experiment.name == "resnet2d" and experiment_named(study, "nnet1").name == "nnet1"
    assert experiment.training.epochs == 2 and experiment.augment == {"mel": {}}


def test_an_unknown_network_is_an_error_that_names_those_there_are(profile):
    done = call("train", profile, "ResNet3D")
    assert done.exit_code == 1
    assert all(name in done.output for name in ("'ResNet3D' on mine", "SoundFusion-1;", "fusion_decision"))
    assert "SpecAugment (" not in done.output  # 36 cells of a grid


def test_a_change_is_checked_as_the_profile_is(profile):
    for change, said in {
        "training.epocs=3": "[training] has no key 'epocs'; there are: averaging, batch_size, epochs",
        "training.epochs=none": '[training] epochs = "none": must be a whole number of 1 or more',
        "training": "give a key and a value, such as training.epochs=3",
        "training.epochs.x=1": "epochs is no table of the profile",
        "name=demo": "a built-in profile has this name",
        "split.scheme=all": "leaves nothing to test",
    }.items():
        for command in (["train", profile, "SimpleCNN"], ["reproduce", profile]):
            done = call(*command, "--set", change)
            assert done.exit_code == 1 and said in done.output, (change, done.output)


def test_a_command_that_is_refused_files_no_changed_profile(profile):
    change = "--set", "name=refused"
    assert "no experiment 'ResNet3D'" in call("train", profile, "ResNet3D", *change).output
    assert call("reproduce", profile, "--only", "99", *change).exit_code == 1
    assert not list(runs_dir().parent.glob("profiles/refused*"))


def test_a_change_trains_another_run_and_leaves_the_first(profile):
    runs = {folder.name for folder in runs_dir().glob("*") if not folder.suffix}
    done = call("train", profile, "SimpleCNN", "--set", "models.simple_cnn.epochs=1", "--device", "cpu")
    assert done.exit_code == 0 and "on mine-models-simple-cnn-epochs-1-" in done.output
    new = {folder.name for folder in runs_dir().glob("*") if not folder.suffix}
    assert runs < new and len(new) == len(runs) + 1


def test_reproduce_says_what_is_left_and_files_a_changed_profile_apart(profile):
    changes = "--set", "clip_seconds=3", "--set", "name=short"
    done = call("reproduce", profile, *changes, "--only", "01", "--device", "cpu")
    assert "these notebooks train nothing" in done.output and done.exit_code == 0, done.output
    folder = runs_dir().parents[1] / "results" / "short"
    assert (folder / "notebooks" / "01_data.ipynb").is_file() and (folder / "README.md").is_file()
    assert json.loads((folder / "summary.json").read_text())["profile"] == "short"
    assert tomllib.loads((runs_dir().parent / "profiles" / "short.toml").read_text())["clip_seconds"] == 3
    assert not (runs_dir().parents[1] / "results" / "mine").exists()
