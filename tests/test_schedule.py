import dataclasses

import pytest
from click.testing import CliRunner

from soundfusion_lib.cli import main
from soundfusion_lib.study import needs, plan, protocol, schedule
from soundfusion_lib.study.schedule import makespan, schedules
from soundfusion_lib.study.stand_in import StandIn, look
from soundfusion_lib.study.status import Look

HOURS = {"a": 4.0, "b": 3.0, "c": 4.0, "fused": 1.0}


@pytest.mark.parametrize("workers, hours", [(1, 12), (2, 7), (3, 5), (8, 5)])
def test_a_worker_that_is_free_takes_the_first_run_that_waits_for_no_other(workers, hours):
    starts_from = {"a": (), "b": ("done before",), "c": (), "fused": ("a", "b")}
    assert makespan(HOURS, starts_from, workers) == hours


def test_nothing_left_takes_no_time():
    assert makespan({}, {}, 2) == 0


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """No corpus is here."""
    monkeypatch.setenv("SOUNDFUSION_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("SOUNDFUSION_RESULTS", str(tmp_path / "results"))
    return tmp_path / "data"


def test_noise_stands_in_for_fma_where_that_is_not_there(nowhere):
    study = look("fma_small")
    assert isinstance(study, StandIn) and type(look("emotify")) is Look
    tracks = study.store.tracks
    assert tracks["split"].value_counts().to_dict() == {"train": 6400, "validation": 800, "test": 800}
    assert set(tracks.groupby(["split", "label"]).size()) == {800, 100}
    assert study.store.arrays["mel"].clip("007999").shape == (study.profile.mel.frames(30), 2, 64)
    assert "VGG16, GTZAN start, frozen" in protocol.transfer(study)[0] and not nowhere.exists()


def test_a_schedule_of_the_report_s_study_from_the_time_of_steps(nowhere, monkeypatch):
    study = look("fma_small")
    parts = [protocol.resnet(study, model) for model in ("resnet1d", "resnet2d")]
    fused = protocol.fusion_of_trained(study)
    monkeypatch.setattr(schedule, "core_hours", lambda _, one: {"fusion_concat": 5.0}.get(one.model, 3.0))
    table = schedules(study, [fused], (1, 2, 4)).loc["cpu"]
    assert table["hours"].tolist() == [11, 8, 8] and (table["gib_a_worker"] > 0).all()
    more = dataclasses.replace(fused, seeds=(0, 1))
    assert schedules(study, [*parts, more], [1]).loc[("cpu", 1), "hours"] == 22


def test_one_worker_takes_the_core_hours_of_the_plan(nowhere, monkeypatch):
    study = look("fma_small")
    monkeypatch.setattr(plan, "_measured", {})
    monkeypatch.setattr(plan, "_timed", lambda trial, *_: 20.0 if trial.start.get("frozen") else 70.0)
    starts = list(protocol.transfer(study)[0].values())
    hours = schedules(study, starts, [1]).loc[("cpu", 1), "hours"]
    assert hours == pytest.approx(100 * (2 * 20 + 3 * 70) / 3600)
    assert hours == pytest.approx(plan.plan_of(study, {"03": starts}).loc["all", "core_hours_left"])


def test_the_command_plan_simulates_workers(nowhere, monkeypatch):
    monkeypatch.setattr(
        needs, "needed_by", lambda study: {"02": [study.experiment("x", "nnet1", epochs=7, batch_size=2)]}
    )
    monkeypatch.setattr(plan, "_measured", {})
    monkeypatch.setattr(plan, "_timed", lambda *_: 90.0)
    said = CliRunner().invoke(main, ["plan", "fma_small", "--workers", "1,2"])
    assert said.exit_code == 0, said.output
    hours = 24 * protocol.resnet(look("fma_small"), "resnet2d").training.epochs * 90 / 3600
    assert f"not counted: 24 trials of notebook 10's search, {hours:.1f} core-hours if none is stopped" in said.output
    assert "noise stands in" in said.output and "gib_a_worker" in said.output and "cpu    1" in said.output
    assert "leaks" not in said.output
    for wrong in ("0", "1,x"):
        said = CliRunner().invoke(main, ["plan", "fma_small", "--workers", wrong])
        assert said.exit_code == 2 and "numbers of 1 or more" in said.output
