"""The benchmarks run; what they measure is not asserted."""

import json
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner

from soundfusion_lib.analysis.statistics import accuracy
from soundfusion_lib.audio.representations import MelSpectrogram, Waveform
from soundfusion_lib.audio.segments import Segmenting, Segments
from soundfusion_lib.paths import PROJECT
from soundfusion_lib.study import protocol
from soundfusion_lib.study.starts import RANDOM, Start
from soundfusion_lib.study.study import Study

sys.path.insert(0, str(PROJECT / "benchmarks"))  # scripts, not a package

import batches
import busy
import calibration
import common
import demo
import features
import fresh
import gpu
import memory
import prepare
import scale
import store_memory
import study as whole_study
import threads
import train


@pytest.fixture(autouse=True)
def results(tmp_path, monkeypatch):
    monkeypatch.setattr(common, "RESULTS", tmp_path / "results")
    return tmp_path / "results"


@pytest.fixture
def recorded(results):
    """Run a benchmark; gives the table that it records under this name."""

    def recorded(name: str, command, options: str = "", *paths) -> pd.DataFrame:
        result = CliRunner().invoke(command, [*options.split(), *map(str, paths)], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return pd.read_csv(results / f"{name}.csv")

    return recorded


def test_preparation_and_the_shares_of_its_steps(recorded):
    table = recorded("prepare", prepare.main, "--clips 24 --repeats 1 --processes 2").set_index("method")
    assert table.loc["this library", "times this library"] == 1
    assert table.loc["decoding alone (floor)", "times the floor"] == 1
    assert (table["clips"] == 24).all() and (table.loc[table["processes"] == 2, "peak MiB per worker"] > 0).all()
    assert {"torchaudio", "this library, one process", "this library, spectrogram alone"} <= set(table.index)
    table = recorded("prepare_shares", prepare.main, "--shares --repeats 1").set_index("step")
    assert table.loc["decoding", "times decoding"] == 1 and (table["core ms"] > 0).all()


def test_what_a_gpu_is_measured_on(tmp_path, monkeypatch):
    monkeypatch.setenv("SOUNDFUSION_DATA", str(tmp_path))
    monkeypatch.setattr(gpu, "BLOCK", 50)
    gpu.make_noise(80, 6.0, narrow=True)
    study = Study("gpu", gpu.profile_file(80), "cpu", progress=False, dry=True)  # dry: nothing is left to decode
    assert study.store.tracks["seconds"].eq(6).all() and study.store.tracks["split"].value_counts()["train"] == 64
    assert study.store.bytes == 80 * 2 * (study.profile.waveform.frames(6) + 2 * 64 * study.profile.mel.frames(6))
    first, again = (study.store.arrays["mel"].clip(track) for track in ("00000", "00050"))
    assert np.array_equal(first, again) and first.astype(float).std() == pytest.approx(10, rel=0.05)
    row = gpu.epoch(protocol.simple_cnn(study), study.store, 0.5, study.device, ahead=1)
    assert row["seconds per epoch"] > 0


def test_memory_of_preparing_training_and_predicting(recorded, tmp_path):
    row = recorded("memory", memory.main, "--clips 8 --seconds 2").iloc[0]
    assert row["clips"] == 8 and row["store MiB"] > 0 and row["peak MiB"] >= row["of a worker"] > 0
    table = recorded("store_memory", store_memory.main, "--clips 8 --folder", tmp_path)
    assert table["work"].tolist() == [*store_memory.WORK] and (table["private MiB"] > 0).all()


def test_training_also_beside_busy_processes_and_its_batches(recorded, monkeypatch):
    monkeypatch.setattr(busy, "BUSY", (0, 1))
    table = recorded("busy", busy.main, "--networks simple_cnn --seconds 0.05")
    assert table["runs"].tolist() == 2 * [1, 2, 1] and table["busy processes"].tolist() == 3 * [0] + 3 * [1]
    assert (table[["ms", "core ms", "times idle", "times its share"]] > 0).all(axis=None)
    monkeypatch.setattr(batches, "BATCH", 2)
    monkeypatch.setattr(batches, "FILES", 2)
    table = recorded("batches", batches.main, "--clips 8 --seconds 0.1 --workers 1 --device cpu")
    assert len(table) == 6 and table["input, share of the step"].between(0, 1, inclusive="neither").all()
    table = recorded("train", train.main, "--models nnet1 --steps 1 --device cpu")
    assert table["how"].tolist() == ["plain loop", *train.LEVERS]
    assert (table["segments per second"] > 0).all()


def test_records_are_appended_whatever_their_columns(results):
    common.record("some", pd.DataFrame({"a": [1, 2]}), device="x")
    common.record("some", pd.DataFrame({"a": [3], "b": [4]}), device="y")
    table = pd.read_csv(results / "some.csv")
    assert table["a"].tolist() == [1, 2, 3] and table["device"].tolist() == ["x", "x", "y"]
    assert table[["date", "machine", "commit", "versions"]].notna().all().all()


def test_work_counts_the_operations_of_a_known_network():
    operations, moved = train.work("nnet1")
    assert operations > 0 and moved > 0
    wider = train.work("resnet2d-large")[0] / train.work("resnet2d-small")[0]
    assert wider == pytest.approx(16, rel=0.1)  # 4 x 4 filters


def test_synthetic_store_is_fma_shaped_and_can_be_learned(tmp_path):
    specs = [Waveform(), MelSpectrogram()]
    store = common.synthetic_store(tmp_path, 80, 30.0, specs)
    segments = Segments(store, store.tracks.index, ("waveform", "mel"), Segmenting(), torch.device("cpu"))
    (waveform, mel), _ = next(segments.batches(4))
    assert waveform.shape == (4, 1, 110_250) and mel.shape == (4, 2, 64, 431) and len(segments) == 7 * 80
    assert store.tracks["split"].value_counts().to_dict() == {"train": 64, "validation": 8, "test": 8}
    assert store.tracks.groupby("split")["label"].nunique().eq(8).all()
    bands = store.arrays["mel"].clip("000002").astype(float).mean((0, 1)).reshape(8, 8).mean(1)
    assert bands.argmax() == 2  # its genre
    assert 0.05 < waveform.std() < 0.2


def test_the_plan_has_every_run_of_the_study(tmp_path):
    study = Study("benchmark", "fma_small", "cpu", progress=False)
    planned = whole_study.planned(study)
    assert sum(runs for _, runs in planned.values()) == 36 + 3 + 1 + 5 + 3 + 1 + 10
    store = common.synthetic_store(tmp_path, 80, 30.0, study.profile.representations)
    measured = whole_study.measure(planned["nnet1"][0], store, 2, torch.device("cpu"), 0)
    assert measured["seconds"] > 0 and 0 <= measured["accuracy"] <= 1


def test_the_demo_s_minutes(recorded, tmp_path):
    runs = {"a": {"seconds": 5.0}, "b": {"seconds": 6.0}}
    first = {"seconds": 8.0, "wall_seconds": 11.0, "runs_trained": 2, "runs": runs, "commit": "x", "finished": "1"}
    second = {"seconds": 4.0, "wall_seconds": 7.0, "runs_trained": 0, "runs": runs, "commit": "x", "finished": "2"}
    file = tmp_path / "summary.json"
    file.write_text(json.dumps({"notebooks": {"01": first, "02": second}, "wall_seconds": 18.5}))
    table = recorded("demo", demo.main, "--summary", file).set_index("notebook")
    assert table.loc["all", ["runs", "training", "study", "beside", "wall"]].tolist() == [2, 11, 12, 6, 18.5]
    assert table.loc["02", "training"] == 0 and table.loc["02", "beside"] == 3
    file.write_text(json.dumps({"notebooks": {"02": second}, "wall_seconds": 7.0}))
    assert "found runs" in CliRunner().invoke(demo.main, ["--summary", str(file)]).output


def test_frozen_features_in_two_number_formats():
    def network(study):
        return Start("ResNet2D-small", RANDOM, protocol.resnet(study, "resnet2d"))

    float32, bfloat16 = features.measure("demo", network, ["float32", "bfloat16"], 8, 1)
    assert float32["times float32"] == 1 and float32["difference"] == 0 and bfloat16["difference"] < 0.2
    assert min(row[name] for row in (float32, bfloat16) for name in ("core s", "share of peak")) > 0


def test_the_cost_of_other_corpora_grows_with_their_clips():
    table = scale.table().set_index("corpus")
    assert table.loc["FMA-small", "store, GB"] == pytest.approx(8_000 * 2 * (661_500 + 2_584 * 128) / 1e9, rel=1e-3)
    seconds = 100 * (121 + 187 + 390 + 79 + 153 + 208)  # 100 epochs of the report's six networks
    assert table.loc["FMA-small", "report, GPU-days"] == pytest.approx(seconds / 86_400)
    a_clip = table.div(table["clips"], axis=0)
    assert np.allclose(a_clip, a_clip.iloc[0]) and (table > 0).all(axis=None)


def test_calibration(recorded):
    table = recorded("calibration", calibration.main, "--repetitions 2")
    assert table["rejected"].equals(table["excludes 0"]) and table["covered"].between(0, 1).all()
    a, b = calibration.networks(calibration.np.random.default_rng(0), 2000, 2, 0.0, 0.1)
    assert len(a) == len(b) == 2 and accuracy(a) - accuracy(b) == pytest.approx(0.1, abs=0.02)
    fitted = table[table["splits"].notna()]
    assert len(fitted) == 4 and fitted["Nadeau-Bengio"].between(0, 1).all()
    drawn = [calibration.cross_validated(calibration.np.random.default_rng(seed), 60, 1) for seed in range(60)]
    one, two = np.mean([[accuracy(side) for side in sides] for sides in drawn], axis=0)
    assert one == pytest.approx(two, abs=0.03) and one > 0.55  # both learn, as much in the mean


def test_a_fresh_clone_is_timed_and_weighed(recorded, monkeypatch):
    monkeypatch.setattr(fresh, "STEPS", {"copy": "cp README.md copy.md", "nothing": "true"})
    table = recorded("fresh", fresh.main).set_index("step")
    size = (PROJECT / "README.md").stat().st_size / 1e9
    assert table["gigabytes"].tolist() == pytest.approx([size, 0.0], rel=0.2) and (table["minutes"] > 0).all()


def test_how_far_predictions_are_apart():
    one = {"a": np.array([[0.6, 0.4], [0.5, 0.5]]), "b": np.array([[1.0, 0.0]])}
    table = threads.differences(one, {"a": np.array([[0.4, 0.6], [0.5, 0.5]]), "b": one["b"]})
    assert table["network"].tolist() == ["a", "b"] and table["labels that change"].tolist() == [1, 0]
    assert table["largest"].tolist() == pytest.approx([0.2, 0]) and table["mean"].tolist() == pytest.approx([0.1, 0])
