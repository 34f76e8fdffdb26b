"""The search of hyper-parameters: what it may be, how it ends, goes on, and what it leaves behind."""

import json
from concurrent.futures import Future
from contextlib import contextmanager

import optuna
import pandas as pd
import pytest
from conftest import SMALL_SIGNALS, copy_music
from soundfusion_lib.study.kept import adopt, keep

from soundfusion_lib.analysis import figures, searches
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.paths import data_dir, results_dir, runs_dir
from soundfusion_lib.study import further, protocol, search, space
from soundfusion_lib.study.study import Study
from soundfusion_lib.training import loop, train
from soundfusion_lib.training.loop import Diverged
from soundfusion_lib.training.trainers import Trainers

PROFILE = (
    """
name = "searched"
clip_seconds = 4
test_folds = [1, 2]

[corpus]
kind = "folder"
path = "music"

"""
    + SMALL_SIGNALS
    + """
[training]
epochs = 4
batch_size = 8
keep = "last"

[widths]
resnet1d = { small = 2, large = 4 }
resnet2d = { small = 2 }

[models]
nnet1 = { width = 4 }
nnet2 = { width = 4 }
vgg16 = { width = 2 }

[search]
trials = 6

[search.space]
learning_rate = { low = 1e-3, high = 3e-2, log = true }
max_fraction = { low = 0.0, high = 0.3 }
width = [4, 6]
"""
)


@pytest.fixture(scope="module")
def file(corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("user")
    copy_music(corpus, folder / "music")
    file = folder / "searched.toml"
    file.write_text(PROFILE)
    return file


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    monkeypatch.setenv("SOUNDFUSION_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("SOUNDFUSION_RESULTS", str(tmp_path / "results"))
    return tmp_path


def study_of(file) -> Study:
    return Study("10_search", file, "cpu", progress=False)


def state(found) -> list[tuple]:
    return [(one.state.name, one.params, one.value, one.intermediate_values) for one in found.trials]


def trained_in_turn(study, monkeypatch, submit=None) -> None:
    """Have one worker train, in this process."""

    def here(experiment, place, until) -> Future:
        future = Future()
        try:
            future.set_result(train.train_a_while(experiment, study.store, data_dir() / place, study.device, until))
        except Diverged as error:
            future.set_exception(error)
        return future

    @contextmanager
    def trainers(*_):
        yield Trainers(1, submit or here)

    monkeypatch.setattr(search, "_trainers", trainers)


def test_two_processes_search_and_nothing_else_is_left(file):
    study = study_of(file)
    assert search.trials_left(study) == 6 and not list(data_dir().glob("search/*.db"))
    found = search.search(study)
    assert search.trials_left(study) == 0
    assert len(found.trials) == 6 and all(trial.state.is_finished() for trial in found.trials)
    assert {trial.params["width"] for trial in found.trials} <= {4, 6}
    best = min(trial.value for trial in found.trials if trial.state.name == "COMPLETE")
    assert found.best_value == best == found.best_trial.intermediate_values[4]
    left = sorted(path.name for path in (data_dir() / "search").iterdir())
    assert left == [f"{search.key_of(study)}.db", f"{search.key_of(study)}.lock"]
    assert not list(runs_dir().glob("*"))  # no run, so no prediction of the test part
    again = search.search(study)
    assert state(again) == state(found)


def test_an_interrupted_search_ends_as_it_would_have(file, tmp_path, monkeypatch):
    monkeypatch.setattr(search, "STARTUP", 1)
    study = study_of(file)
    trained_in_turn(study, monkeypatch)
    whole = state(search.search(study))
    assert {how for how, *_ in whole} == {"COMPLETE", "PRUNED"}
    monkeypatch.setenv("SOUNDFUSION_DATA", str(tmp_path / "other"))
    study = study_of(file)
    trained_in_turn(study, monkeypatch)
    save, epochs = loop._save, []

    def save_and_stop(*arguments):
        save(*arguments)
        epochs.append(1)
        if len(epochs) % 5 == 0:
            raise KeyboardInterrupt

    monkeypatch.setattr(loop, "_save", save_and_stop)
    tell, told = optuna.Study.tell, []

    def stop_and_tell(*arguments, **options):
        told.append(1)
        if len(told) % 2:
            raise KeyboardInterrupt
        return tell(*arguments, **options)

    monkeypatch.setattr(optuna.Study, "tell", stop_and_tell)
    interrupted = 0
    while True:
        try:
            found = search.search(study)
            break
        except KeyboardInterrupt:
            interrupted += 1
    assert interrupted >= 9 and state(found) == whole


def losses(*epochs: float) -> pd.DataFrame:
    rows = {"epoch": range(1, len(epochs) + 1), "validation_loss": epochs, "validation_accuracy": 0.5}
    return pd.DataFrame({**rows, "core_seconds": 1.0})


def test_the_worse_half_is_stopped_at_a_rung_and_what_diverges_fails(file, monkeypatch):
    study = study_of(file)
    asked = []
    curves = [[4, 3, 2, 1], [4, 3, 3, 3], [4, 2, 2, 2], [4, 3, 2, 2], [9, 9, 9, 0], [3, 3, 3, 0]]

    def submit(experiment, place, until):
        number = int(experiment.name.split()[-1])
        asked.append((number, until))
        future = Future()
        if number == 1:
            future.set_exception(Diverged("loss not finite"))
        else:
            future.set_result(losses(*curves[number][:until]))
        return future

    trained_in_turn(study, monkeypatch, submit)
    file_of_seven = file.with_name("seven.toml")
    file_of_seven.write_text(PROFILE.replace("trials = 6", "trials = 7").replace('"searched"', '"seven"'))
    study = study_of(file_of_seven)
    curves.append([3, 2, 2, 9])
    found = search.search(study)
    # a half of 4 epochs, three quarters, all; after four complete ones (0, 2, 3 and, as 1 failed, 4)
    assert [until for number, until in asked if number == 0] == [2, 3, 4]
    table = searches.trials(found)
    assert list(table["how"]) == [*["to the end", "diverged"], *["to the end"] * 3, "stopped", "to the end"]
    assert list(table["epochs"]) == [4, 0, 4, 4, 4, 3, 4]
    assert found.best_trial.number == 4 and found.best_value == 0
    assert list(table["validation_loss"])[5:] == [3, 9]
    assert table["core_minutes"][0] == 4 / 60
    weights = searches.importances(found)
    assert set(weights["setting"]) == {"learning_rate", "max_fraction", "width"}
    assert weights["importance"].sum() == pytest.approx(1)
    figure = figures.search(study, table, weights)
    axis = figure.axes[0]
    assert [len(points.get_offsets()) for points in axis.collections] == [5, 1]  # to the end, stopped
    assert list(axis.lines[0].get_ydata()) == [1, 1, 1, 0, 0]  # the lowest so far


def test_the_profiles_own_settings_are_the_first_trial_if_the_space_has_them(file, monkeypatch):
    inside = file.with_name("inside.toml")
    text = PROFILE.replace('"searched"', '"inside"').replace("resnet2d = { small = 2 }", "resnet2d = { small = 4 }")
    inside.write_text(text.replace("epochs = 4", "epochs = 4\nlearning_rate = 2e-3"))

    def submit(experiment, place, until):
        future = Future()
        future.set_result(losses(*[4, 3, 2, 1][:until]))
        return future

    for profile, own in ((inside, {"learning_rate": 2e-3, "max_fraction": 0.3, "width": 4}), (file, None)):
        study = study_of(profile)
        trained_in_turn(study, monkeypatch, submit)
        trials = search.search(study).trials
        assert len(trials) == 6 and [trial.params == own for trial in trials] == [own is not None, *[False] * 5]


def test_a_search_in_which_all_diverge_says_so(file, monkeypatch):
    future = Future()
    future.set_exception(Diverged("loss not finite"))
    study = study_of(file)
    trained_in_turn(study, monkeypatch, lambda *_: future)
    with pytest.raises(SoundFusionError, match=r"no trial .* came to its end: give \[search.space\] lower"):
        search.search(study)


def test_the_winner_is_tested_in_the_fold_of_the_search_alone(file):
    study = study_of(file)
    winner = protocol.winner(study, {"learning_rate": 0.00123456, "max_fraction": 0.25, "width": 3})
    assert winner.folds == (1,) and [one.split.fold for one in study.variants(winner)] == [1]
    assert (winner.training.learning_rate, winner.options["width"]) == (0.00123, 3)
    assert winner.augment == {"mel": {"max_fraction": 0.25}}
    assert winner.training.epochs == 4 and winner.options["dropout"] == 0.3  # as the network that it is compared with
    assert protocol.searched(study) == {}
    text = space.as_toml({"learning_rate": 0.00123456, "max_fraction": 0.25, "width": 3})
    other = file.with_name("with.toml")
    other.write_text(PROFILE.replace('"searched"', '"with"') + "\n" + text)
    study = study_of(other)
    assert study.key(study.variants(protocol.searched(study)["searched"])[0]) == study.key(study.variants(winner)[0])


def test_what_a_search_depends_on_is_another_search(file):
    key = search.key_of(study_of(file))

    def of(name, *changes):
        text = PROFILE.replace('"searched"', f'"{name}"')
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        other = file.with_name(f"{name}.toml")
        other.write_text(text)
        return search.key_of(study_of(other))

    assert of("same", ("trials = 6", "trials = 60")) == key
    assert of("space", ("width = [4, 6]", "width = [4, 8]")) != key
    assert of("epochs", ("epochs = 4", "epochs = 5")) != key
    assert of("fold", ("test_folds = [1, 2]", "test_folds = [2, 1]")) != key


def test_trials_are_kept_and_adopted(file, tmp_path, monkeypatch):
    found = search.search(study_of(file))
    keep(file)
    kept = json.loads((results_dir() / "searched" / "search.json").read_text())
    assert len(kept["trials"]) == 6
    monkeypatch.setenv("SOUNDFUSION_DATA", str(tmp_path / "elsewhere"))
    whole = (results_dir() / "searched" / "search.json").read_text()
    for damaged in (whole[:-9], whole.replace('"params"', '"parameters"'), whole.replace('"trials"', '"tried"'), "[]"):
        (results_dir() / "searched" / "search.json").write_text(damaged)
        with pytest.warns(UserWarning, match="search.json is damaged: it is left out"):
            adopt(file)
    (results_dir() / "searched" / "search.json").write_text(whole)
    assert adopt(file) == ([], [])  # no run, but the search
    study = study_of(file)
    trained_in_turn(study, monkeypatch, submit=None)
    monkeypatch.setattr(train, "train_a_while", None)  # nothing is trained
    assert state(search.search(study)) == state(found)
    assert searches.trials(search.search(study)).equals(searches.trials(found))


def test_every_pair_and_way_of_fusing_is_an_experiment_on_equal_terms(file):
    study = study_of(file)
    fusions = further.fusions(study)
    assert len(fusions) == 2 * 6 + 2  # pairs of 2 networks on waveforms and 6 on spectrograms, a gate, attention
    reported = fusions["SoundFusion-1"]
    assert {one.training for one in fusions.values()} == {reported.training}
    assert fusions["Gated fusion"].model == "fusion_gated"
    assert fusions["ResNet1D-large + ResNet18-small"].options["parts"] == [
        ("resnet1d", {"width": 4}), ("resnet2d", {"width": 2, "pool": 1, "depth": 18}),
    ]  # fmt: skip
    assert fusions["ResNet1D-small + nnet2"].options["parts"][1] == ("nnet2", {"width": 4})
    assert len({study.key(study.variants(one)[0]) for one in fusions.values()}) == len(fusions)
    for one in fusions.values():
        assert one.build(3).inputs == ("waveform", "mel")


def test_a_profile_chooses_its_pairs_or_leaves_a_model_out(file):
    other = file.with_name("fewer.toml")
    other.write_text('pairs = ["ResNet1D-small + nnet1"]\n' + PROFILE.replace('"searched"', '"fewer"'))
    assert list(further.fusions(study_of(other))) == ["SoundFusion-1", *further.WAYS.values(), "ResNet1D-small + nnet1"]
    other.write_text('pairs = ["nnet1"]\n' + PROFILE.replace('"searched"', '"fewer"'))
    with pytest.raises(SoundFusionError, match="pairs: no 'nnet1'; there are: ResNet1D-small \\+ ResNet2D-small,"):
        further.fusions(study_of(other))
    other.write_text('leave_out = ["vgg16"]\n' + PROFILE.replace('"searched"', '"fewer"'))
    assert not any("VGG16" in name for name in further.fusions(study_of(other)))


def test_the_best_of_a_size_and_of_a_time():
    table = pd.DataFrame(
        {
            "model": ["a", "b", "c", "d"],
            "parameters": [10, 10, 20, 30],
            "core_minutes": [4.0, 3.0, 2.0, 1.0],
            "track_accuracy": [0.5, 0.6, 0.6, 0.55],
        }
    )
    best = searches.best_of_their_size(table)
    assert list(best["best_of_size"]) == ["no", "yes", "yes", "no"]
    assert list(best["best_of_time"]) == ["no", "yes", "yes", "yes"]
    unknown = searches.best_of_their_size(table.assign(core_minutes=[float("nan"), *table["core_minutes"][1:]]))
    assert list(unknown["best_of_time"]) == ["-", "yes", "yes", "yes"]
