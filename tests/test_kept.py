"""Runs kept among the results, and taken for trained where nothing is."""

import json
import shutil
from dataclasses import replace

import pytest
from click.testing import CliRunner
from conftest import SMALL_SIGNALS, copy_music

from soundfusion_lib.cli import main
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.paths import results_dir, runs_dir
from soundfusion_lib.study import protocol
from soundfusion_lib.study.kept import adopt, keep
from soundfusion_lib.study.study import Study
from soundfusion_lib.use.export import export

FIRST = "trained on other music first"
PROFILE = (
    """
name = "kept"
clip_seconds = 4

[corpus]
kind = "folder"
path = "music"

[pretraining]
kind = "folder"
path = "music"

"""
    + SMALL_SIGNALS
    + """
[training]
epochs = 1
batch_size = 16

[widths]
resnet1d = { small = 2 }
resnet2d = { small = 2 }
"""
)


@pytest.fixture(scope="module")
def trained(corpus, tmp_path_factory):
    """A user's study with a fusion of trained parts, and its runs by name, in folders of its own."""
    folder = tmp_path_factory.mktemp("user")
    copy_music(corpus, folder / "music")
    file = folder / "kept.toml"
    file.write_text(PROFILE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOUNDFUSION_DATA", str(folder / "data"))
        patch.setenv("SOUNDFUSION_RESULTS", str(folder / "results"))
        yield file, experiments(file), train(file)


def experiments(file) -> dict:
    study = Study("kept", file, "cpu", progress=False)
    fused = protocol.fusion_of_trained(study)
    return {fused.name: fused} | {part.name: part for part in fused.start["trained"]}


def train(file) -> dict:
    study = Study("kept", file, "cpu", progress=False)
    first = protocol.fine_tuned(study)["SimpleCNN"].start["pretrained"]
    runs = {name: study.train(one).runs[0] for name, one in experiments(file).items()}
    return runs | {FIRST: study.pretrained(first)}


@pytest.fixture
def elsewhere(trained, tmp_path, monkeypatch):
    """The results with the runs kept in them, beside a data folder that has no run."""
    file, _, _ = trained
    keep(file)
    shutil.copytree(results_dir(), tmp_path / "results")
    monkeypatch.setenv("SOUNDFUSION_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("SOUNDFUSION_RESULTS", str(tmp_path / "results"))
    return file


def test_kept_runs_are_found_where_nothing_is_trained(trained, elsewhere):
    _, wanted, before = trained
    assert sorted(adopt(elsewhere)[0]) == sorted(run.folder.name for run in before.values())
    after = train(elsewhere)
    assert len(after) == 1 + len(wanted) == 4 and not any(run.trained for run in after.values())
    for name, run in after.items():
        assert run.folder.parent == runs_dir() and run.predictions().equals(before[name].predictions())
    assert adopt(elsewhere) == ([], [])  # they are there


def test_weights_are_kept_of_runs_that_another_or_a_probe_starts_from(elsewhere, trained, tmp_path):
    _, _, before = trained
    adopt(elsewhere)
    runs = train(elsewhere)
    fused = runs.pop("SoundFusion-1 of trained parts")
    for name, run in runs.items():
        ours, theirs = run.model().state_dict(), before[name].model().state_dict()
        assert all(ours[layer].equal(theirs[layer]) for layer in theirs)
    with pytest.raises(SoundFusionError, match=f"{fused.folder.name}.*only what it predicted.*delete {fused.folder}"):
        fused.model()
    with pytest.raises(SoundFusionError, match="only what it predicted is kept"):
        export(fused.folder, tmp_path / "exported", str(elsewhere))
    assert not (tmp_path / "exported").exists()
    study = Study("kept", elsewhere, "cpu", progress=False)
    again = study.train(replace(protocol.fusion_of_trained(study), seeds=(0,), options=fused.experiment.options))
    assert again.runs[0].folder == fused.folder


def test_weights_of_seeds_that_the_profile_only_adds_stay_behind(elsewhere):
    study = Study("kept", elsewhere, "cpu", progress=False)
    fusions = study.train(replace(protocol.fusion_of_trained(study), seeds=(0, 1))).runs
    new = keep(elsewhere)
    for run in fusions:
        assert run.folder.name in new
        for part in run.experiment.starts_from:
            kept = results_dir() / "kept" / "runs" / part
            assert kept.is_dir() and (kept / "model.safetensors").exists() == (run.experiment.seed == 0)


def test_a_run_that_came_without_weights_gets_them_where_they_are_kept(elsewhere, trained):
    """As one that is a row of one corpus, and what the networks of another start from."""
    _, _, before = trained
    key = before[FIRST].folder.name
    kept = results_dir() / "kept" / "runs" / key
    weights, info = (kept / "model.safetensors").read_bytes(), json.loads((kept / "run.json").read_text())
    bare = {**info, "checksums": {name: sum_ for name, sum_ in info["checksums"].items() if "model" not in name}}
    (kept / "model.safetensors").unlink()
    (kept / "run.json").write_text(json.dumps(bare))
    assert key in adopt(elsewhere)[0] and not (runs_dir() / key / "model.safetensors").exists()
    (kept / "model.safetensors").write_bytes(weights)
    (kept / "run.json").write_text(json.dumps(info))
    assert adopt(elsewhere)[0] == [key] and (runs_dir() / key / "model.safetensors").read_bytes() == weights
    train(elsewhere)
    (kept / "model.safetensors").unlink()
    (kept / "run.json").write_text(json.dumps(bare))
    assert key in keep(elsewhere) and (kept / "model.safetensors").read_bytes() == weights


def test_what_was_tampered_with_is_refused_by_name(elsewhere):
    one, other, *_ = sorted((results_dir() / "kept" / "runs").iterdir())
    predictions = one / "predictions.parquet"
    predictions.write_bytes(predictions.read_bytes()[:-1] + b"x")
    other.rename(other.with_name("0" * 16))  # the name of another experiment
    with pytest.warns(UserWarning, match=f"{one.name} is damaged"):
        brought, refused = adopt(elsewhere)
    assert sorted(refused) == sorted([one.name, "0" * 16]) and len(brought) == 2
    assert not (runs_dir() / one.name).exists()


def test_only_what_is_new_is_copied_and_what_this_version_would_not_find_goes(trained):
    file, _, runs = trained
    keep(file)
    folder = results_dir() / "kept" / "runs"
    assert keep(file) == []
    shutil.copytree(next(folder.iterdir()), folder / "older")
    key = runs["ResNet1D-small"].folder.name
    info = json.loads((folder / key / "run.json").read_text())
    (folder / key / "run.json").write_text(json.dumps(info | {"finished": "yesterday"}))
    assert keep(file) == [key] and not (folder / "older").exists()


def test_the_commands_say_how_many(trained, elsewhere):
    call = CliRunner().invoke
    assert "4 runs are adopted\n" in call(main, ["adopt", str(elsewhere)]).output
    train(elsewhere)  # the clips are decoded
    assert "0 runs are new" in call(main, ["keep", str(elsewhere)]).output
    shutil.rmtree(results_dir())
    done = call(main, ["adopt", str(elsewhere)])
    assert done.exit_code == 1 and "nothing is kept in" in done.output
