"""The search of hyper-parameters: how it ends, goes on, and what it leaves behind."""

import shutil
from types import SimpleNamespace

import optuna
import pandas as pd
import pytest
from conftest import SMALL_SIGNALS, copy_music

from soundfusion_lib.analysis import tables
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.paths import PROJECT, data_dir, runs_dir
from soundfusion_lib.study import further, search
from soundfusion_lib.study.profile import load_profile
from soundfusion_lib.study.study import Study
from soundfusion_lib.training import loop, parallel
from soundfusion_lib.training.loop import Diverged

PROFILE = f"""
name = "searched"
clip_seconds = 4
test_folds = [1, 2]
leave_out = []
corpus = {{ kind = "folder", path = "music" }}
training = {{ epochs = 4, batch_size = 8, keep = "last" }}
models = {{ nnet1 = {{ width = 4 }}, nnet2 = {{ width = 4 }}, vgg16 = {{ width = 2 }} }}

{SMALL_SIGNALS}
[widths]
resnet1d = {{ small = 2, large = 4 }}
resnet2d = {{ small = 2 }}

[search]
trials = 6

[search.space]
learning_rate = {{ low = 1e-3, high = 3e-2, log = true }}
max_fraction = {{ low = 0.0, high = 0.3 }}
width = [4, 6]
"""


@pytest.fixture(scope="module")
def folder(corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("user")
    copy_music(corpus, folder / "music")
    return folder


@pytest.fixture(autouse=True)
def begins_anew(folder, tmp_path, monkeypatch):
    """No search has begun; the clips are decoded once for all tests."""
    monkeypatch.setenv("SOUNDFUSION_DATA", str(folder / "data"))
    monkeypatch.setenv("SOUNDFUSION_RESULTS", str(tmp_path / "results"))
    shutil.rmtree(folder / "data" / "search", ignore_errors=True)


@pytest.fixture
def one_core(monkeypatch):
    """Trials run one after the other, in this process."""
    monkeypatch.setattr(parallel, "cores", lambda: 1)


@pytest.fixture
def study_with(folder):
    """A study of the profile with changes to its text."""

    def study(*changes, more="") -> Study:
        text = PROFILE
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        (folder / "searched.toml").write_text(text + more)
        return Study("10_search", folder / "searched.toml", "cpu", progress=False)

    return study


def state(found) -> list[tuple]:
    trials = search.ended(found)
    return [(trial.state.name, trial.params, trial.value, trial.intermediate_values) for trial in trials]


def with_losses(monkeypatch, curves) -> None:
    """Have trials report these validation losses; None diverges."""

    def fit(*_, description, on_epoch, **options):
        curve = curves[int(description.split()[-1])]
        if curve is None:
            raise Diverged("loss not finite")
        for epoch, loss in enumerate(curve, 1):
            on_epoch({"epoch": epoch, "validation_loss": loss, "validation_accuracy": 0.5, "core_seconds": 1.0})
        return None, len(curve), None

    monkeypatch.setattr(search, "fit", fit)


def test_processes_share_a_search_and_leave_nothing_else(study_with, monkeypatch):
    monkeypatch.setattr(parallel, "cores", lambda: 2)
    study = study_with(("trials = 6", "trials = 3"))
    found = search.search(study)
    assert len(found.trials) == len(search.ended(found)) == 3
    assert found.best_value == found.best_trial.intermediate_values[4]
    files = {path.suffix for path in (data_dir() / "search").glob(f"{search.key_of(study)}*")}
    assert files == {".jsonl", ".lock", ".writing"} and not list(runs_dir().glob("*"))  # no run, so no test set
    assert state(search.search(study)) == state(found)
    assert len(search.search(study_with(("trials = 6", "trials = 4"))).trials) == 4


def test_an_interrupted_search_ends_as_it_would_have(study_with, one_core, monkeypatch):
    """Every other interruption is a kill: the trial's file still has it in training."""
    monkeypatch.setattr(search, "STARTUP", 2)
    monkeypatch.setattr(optuna.Trial, "should_prune", lambda trial: trial.params["width"] == 6)  # on any processor
    study = study_with()
    whole = state(search.search(study))
    assert {how for how, *_ in whole} == {"COMPLETE", "PRUNED"}
    shutil.rmtree(data_dir() / "search")
    validate, set_state = loop._validate, optuna.storages.JournalStorage.set_trial_state_values
    epochs, failures = [], []

    def validate_or_stop(*arguments):
        epochs.append(1)
        if len(epochs) % 5 == 0:
            raise KeyboardInterrupt
        return validate(*arguments)

    def set_state_or_die(storage, number, state, values=None):
        failures.extend([1] * (state.name == "FAIL"))
        killed = state.name == "FAIL" and len(failures) % 3 == 1  # the next to fail is this trial, at the next start
        return killed or set_state(storage, number, state, values)

    monkeypatch.setattr(loop, "_validate", validate_or_stop)
    monkeypatch.setattr(optuna.storages.JournalStorage, "set_trial_state_values", set_state_or_die)
    interrupted = 0
    while True:
        try:
            found = search.search(study)
            break
        except KeyboardInterrupt:
            interrupted += 1
    assert interrupted >= 4 and len(failures) > interrupted and state(found) == whole
    assert list(tables.trials(found)["trial"]) == list(range(6))


def test_the_worse_half_stops_at_a_rung_and_what_diverges_fails(study_with, one_core, monkeypatch):
    curves = [[4, 3, 2, 1], None, [4, 2, 2, 2], [4, 3, 2, 2], [9, 9, 9, 0], [3, 3, 3, 0], [3, 2, 2, 9]]
    with_losses(monkeypatch, curves)
    study = study_with(("trials = 6", "trials = 7"))
    found = search.search(study)
    # rungs after a half and three quarters of 4 epochs, once four trials are complete: 0, 2, 3 and 4
    table = tables.trials(found)
    assert list(table["how"]) == [*["to the end", "diverged"], *["to the end"] * 3, "stopped", "to the end"]
    assert list(table["epochs"]) == [4, 0, 4, 4, 4, 3, 4]
    assert found.best_trial.number == 4 and found.best_value == 0
    assert list(table["validation_loss"])[5:] == [3, 9]
    assert table["core_minutes"][0] == 4 / 60
    weights = tables.importances(found)
    assert set(weights["setting"]) == {"learning_rate", "max_fraction", "width"}
    assert weights["importance"].sum() == pytest.approx(1)


def test_the_profiles_own_settings_are_the_first_trial_if_the_space_has_them(study_with, one_core, monkeypatch):
    with_losses(monkeypatch, [[4, 3, 2, 1]] * 2)
    fewer, rate = ("trials = 6", "trials = 2"), ("epochs = 4", "epochs = 4, learning_rate = 2e-3")
    inside = search.search(study_with(fewer, rate, ("resnet2d = { small = 2 }", "resnet2d = { small = 4 }")))
    own = {"learning_rate": 2e-3, "max_fraction": 0.3, "width": 4}
    assert [trial.params == own for trial in inside.trials] == [True, False]
    assert not any(trial.params == own for trial in search.search(study_with(fewer, rate)).trials)


def test_a_search_in_which_all_diverge_says_so(study_with, one_core, monkeypatch):
    with_losses(monkeypatch, [None] * 6)
    with pytest.raises(SoundFusionError, match=r"no trial .* came to its end: give \[search.space\] lower"):
        search.search(study_with())


def test_the_winner_is_tested_in_the_fold_of_the_search_alone(study_with):
    settings = {"learning_rate": 0.00123456, "max_fraction": 0.25, "width": 3}
    study = study_with()
    winner = further.winner(study, settings)
    assert winner.folds == (1,) and [variant.split.fold for variant in study.variants(winner)] == [1]
    assert (winner.training.learning_rate, winner.options["width"]) == (0.00123, 3)
    assert winner.augment == {"mel": {"max_fraction": 0.25}}
    assert winner.training.epochs == 4 and winner.options["dropout"] == 0.3  # as the network that it is compared with
    assert further.searched(study) == {}
    study = study_with(more="\n" + search.as_toml(settings))
    assert study.key(study.variants(further.searched(study)["searched"])[0]) == study.key(study.variants(winner)[0])


def test_what_a_search_depends_on_is_another_search(study_with):
    key = search.key_of(study_with())
    assert search.key_of(study_with(("trials = 6", "trials = 60"))) == key
    for change in ("width = [4, 6]", "width = [4, 8]"), ("epochs = 4", "epochs = 5"), ("[1, 2]", "[2, 1]"):
        assert search.key_of(study_with(change)) != key


def test_a_kept_search_is_shown_and_leaves_no_file(study_with, one_core, monkeypatch):
    with_losses(monkeypatch, [[4, 3, 2, 1], None, [4, 2, 2, 2], *[[5, 5, 5, 5]] * 3])
    study = study_with()
    found = search.search(study)
    file = study.folder / "search.jsonl"
    file.parent.mkdir(parents=True)
    shutil.copy(data_dir() / "search" / f"{search.key_of(study)}.jsonl", file)
    shutil.rmtree(data_dir() / "search")
    assert not search.open_search(study).trials
    study.kept, content = True, file.read_text()
    assert state(search.search(study)) == state(found)
    assert tables.trials(search.open_search(study)).equals(tables.trials(found))
    for other in (content.replace(search.key_of(study), "of other settings"), content[: len(content) * 2 // 3]):
        file.write_text(other)
        assert not search.open_search(study).trials


@pytest.mark.parametrize("name, run", [("emotify", "df97eff64d968e6e"), ("soundtracks", "9ca6d3047b92df51")])
def test_the_committed_searches_are_found_by_their_keys(name, run, monkeypatch):
    """`run` is the key of the run with the profile's own settings."""
    monkeypatch.setattr(search, "experiment_of", lambda study: None)
    profile, folder = load_profile(name), PROJECT / "results" / name
    study = SimpleNamespace(profile=profile, folder=folder, kept=True, key=lambda experiment: run)
    found = search.open_search(study)
    assert further.rounded(found.best_params) == profile.searched
    table = tables.trials(found).to_csv(index=False, float_format="%.6g", lineterminator="\n")
    assert table == (folder / "tables" / "10_trials.csv").read_text(encoding="utf-8")
    importances = tables.importances(found)
    committed = pd.read_csv(folder / "tables" / "10_importance.csv")
    pd.testing.assert_frame_equal(importances, committed, rtol=1e-4)


def test_every_pair_and_way_of_fusing_is_an_experiment_on_equal_terms(study_with):
    study = study_with()
    fusions = further.fusions(study)
    assert len(fusions) == 2 * 6 + 2  # pairs of 2 networks on waveforms and 6 on spectrograms, a gate, attention
    reported = fusions["SoundFusion-1"]
    assert {fusion.training for fusion in fusions.values()} == {reported.training}
    assert fusions["Gated fusion"].model == "fusion_gated"
    parts = [("resnet1d", {"width": 4}), ("resnet2d", {"width": 2, "pool": 1, "depth": 18})]
    assert fusions["ResNet1D-large + ResNet18-small"].options["parts"] == parts
    assert fusions["ResNet1D-small + nnet2"].options["parts"][1] == ("nnet2", {"width": 4})
    assert len({study.key(study.variants(fusion)[0]) for fusion in fusions.values()}) == len(fusions)
    assert {fusion.build(3).inputs for fusion in fusions.values()} == {("waveform", "mel")}


def test_a_profile_chooses_its_pairs_or_leaves_a_model_out(study_with):
    def fusions(line):
        return list(further.fusions(study_with(('name = "searched"', f'name = "searched"\n{line}'))))

    chosen = ["SoundFusion-1", *further.WAYS.values(), "ResNet1D-small + nnet1"]
    assert fusions('pairs = ["ResNet1D-small + nnet1"]') == chosen
    with pytest.raises(SoundFusionError, match="pairs: no 'nnet1'; there are: ResNet1D-small \\+ ResNet2D-small,"):
        fusions('pairs = ["nnet1"]')
    without = further.fusions(study_with(("leave_out = []", 'leave_out = ["vgg16", "large"]')))
    assert len(without) > 5 and not any("VGG16" in name or "large" in name for name in without)


def test_the_best_of_a_size_and_of_a_time():
    table = pd.DataFrame({"model": ["a", "b", "c", "d"], "parameters": [10, 10, 20, 30]})
    table = table.assign(core_minutes=[4.0, 3.0, 2.0, 1.0], track_accuracy=[0.5, 0.6, 0.6, 0.55])
    best = tables.best_of_their_size(table)
    assert list(best["best_of_size"]) == ["no", "yes", "yes", "no"]
    assert list(best["best_of_time"]) == ["no", "yes", "yes", "yes"]
    unknown = tables.best_of_their_size(table.assign(core_minutes=[float("nan"), *table["core_minutes"][1:]]))
    assert list(unknown["best_of_time"]) == ["-", "yes", "yes", "yes"]
