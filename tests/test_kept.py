"""Runs kept among the results: found where nothing is trained, if one asks for them."""

import json

import pandas as pd
import pytest
from conftest import SMALL_SIGNALS, at_home_in, copy_music
from keep import keep_runs

from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.paths import results_dir, runs_dir
from soundfusion_lib.study import protocol
from soundfusion_lib.study.study import Study
from soundfusion_lib.training.run import kept_run

PROFILE = f"""
name = "kept"
clip_seconds = 4
test_folds = [0]
corpus = {{ kind = "folder", path = "music" }}
training = {{ epochs = 1, batch_size = 16 }}
widths = {{ resnet1d = {{ small = 2 }}, resnet2d = {{ small = 2 }} }}
{SMALL_SIGNALS}"""


@pytest.fixture(scope="module")
def trained(corpus, tmp_path_factory):
    """A user's study of a fusion of trained parts, its runs by name, kept with the weights of the parts."""
    folder = tmp_path_factory.mktemp("user")
    copy_music(corpus, folder / "music")
    file = folder / "kept.toml"
    file.write_text(PROFILE)
    with at_home_in(folder):
        study = Study("kept", file, "cpu", progress=False)
        fused = protocol.fusion_of_trained(study)
        runs = {part.name: study.train(part).runs[0] for part in (*fused.start.runs, fused)}
        parts = runs[fused.name].experiment.starts_from
        keep_runs(runs.values(), {run.key: study.store.content_id for run in runs.values()}, kept_folder(), parts)
        yield file, runs


def kept_folder():
    return results_dir() / "kept" / "runs"


@pytest.fixture
def elsewhere(trained, tmp_path, monkeypatch):
    """The same results beside a data folder that has no run."""
    monkeypatch.setenv("SOUNDFUSION_DATA", str(tmp_path / "data"))
    return Study("kept", trained[0], "cpu", progress=False, kept=True)


def test_kept_runs_are_what_was_trained_in_few_files(trained):
    for run in trained[1].values():
        kept = kept_run(run.key, kept_folder())
        assert json.dumps(kept.experiment.to_dict()) == json.dumps(run.experiment.to_dict()) and kept.key == run.key
        pd.testing.assert_frame_equal(kept.history, run.history)
        for part in ("validation", "test"):
            pd.testing.assert_frame_equal(kept.predictions(part), run.predictions(part))
    assert kept_run("0" * 16, kept_folder()) is None
    parts = [f"{key}.safetensors" for key in trained[1]["SoundFusion-1 of trained parts"].experiment.starts_from]
    files = [*parts, "histories.parquet", "predictions.parquet", "runs.json"]
    assert sorted(file.name for file in kept_folder().iterdir()) == sorted(files)


def test_kept_runs_are_found_and_started_from_where_they_are_asked_for(trained, elsewhere):
    fused = protocol.fusion_of_trained(elsewhere)
    result = elsewhere.train(fused)
    assert not any(run.trained for run in elsewhere._runs.values()) and not runs_dir().exists()
    assert result.predictions()[0].drop(columns=["group", "fold"]).equals(trained[1][fused.name].predictions())
    parts = [elsewhere.train(part).runs[0] for part in fused.start.runs]
    for part in parts:
        before = trained[1][part.experiment.name].model().state_dict()
        assert all(values.equal(before[name]) for name, values in part.model().state_dict().items())
    with pytest.raises(SoundFusionError, match=f"weights of the run {result.runs[0].key}.*are not kept"):
        result.runs[0].model()
    changed = elsewhere.experiment("x", "fusion_concat", start=fused.start, **fused.options, epochs=2)
    again = elsewhere.train(changed).runs[0]
    assert again.trained and again.experiment.starts_from == trained[1][fused.name].experiment.starts_from
    assert [folder.name for folder in runs_dir().iterdir() if folder.is_dir()] == [again.key]


def test_without_asking_everything_is_trained_anew(trained, elsewhere, monkeypatch):
    monkeypatch.setenv("SOUNDFUSION_KEPT", "1")
    assert Study("kept", trained[0], "cpu", progress=False).kept == kept_folder()
    study = Study("kept", trained[0], "cpu", progress=False, kept=False)
    assert study.train(protocol.resnet(study, "resnet2d")).runs[0].trained
