import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from conftest import copy_music, user
from matplotlib import pyplot as plt

from soundfusion_lib import SoundFusionError, notebooks, paths
from soundfusion_lib.analysis import paired_tests, tables
from soundfusion_lib.analysis.page import write_page
from soundfusion_lib.cli import main
from soundfusion_lib.datasets.splits import Split, groups_of
from soundfusion_lib.study import catalogue, protocol
from soundfusion_lib.study import study as study_module
from soundfusion_lib.study.study import NothingYet, Study
from soundfusion_lib.training.experiment import FromParts, FromRun
from soundfusion_lib.training.result import of_runs

PROFILE = """
name = "tones"
seeds = [0, 1]
test_folds = [0, 1]
clip_seconds = 4.0
corpus = {{ kind = "folder", path = '{path}', label = "sound" }}
mel = {{ sample_rate = 22050, n_mels = 32, n_fft = 512, hop_length = 256 }}
segmenting = {{ seconds = 1.0 }}
split = {{ scheme = "artist", folds = 4 }}
training = {{ epochs = 4, batch_size = 8, learning_rate = 3e-3 }}

[models.simple_cnn]
dropout = 0.1
"""


@pytest.fixture(scope="module")
def profile(corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("user")
    with user(corpus, folder, PROFILE.format(path=folder / "music")):
        yield folder / "mine.toml"


@pytest.fixture(scope="module")
def study(profile):
    return Study("test", profile, "cpu", progress=False)


@pytest.fixture(scope="module")
def runs(study):
    augmented = study.experiment("augmented", "simple_cnn", augment=True, dropout=0.3)
    return {one.name: study.train(one) for one in (study.experiment("plain", "simple_cnn"), augmented)}


def test_settings_are_the_report_s_then_the_profile_s_then_the_call_s(study):
    experiment = study.experiment("x", "simple_cnn", dropout=0.3, weight_decay=0.0)
    assert experiment.training.learning_rate == 3e-3 and experiment.training.weight_decay == 0.0
    assert experiment.options == {"dropout": 0.3} and experiment.segmenting.overlap is None
    assert study.experiment("z", "resnet2d", width=16, augment=True).augment == {"mel": {}}


def test_a_small_corpus_is_tested_in_all_folds_unless_the_profile_says_which(study, monkeypatch):
    assert study.test_folds == (0, 1)
    monkeypatch.setattr(study, "profile", dataclasses.replace(study.profile, test_folds=()))
    assert study.test_folds == (0, 1, 2, 3)
    assert [one.split.fold for one in study.variants(study.experiment("x", "simple_cnn"))] == [0, 1, 2, 3] * 2
    monkeypatch.setattr(study_module, "MANY", len(study.corpus.tracks))
    assert study.test_folds == (0,)


def test_a_named_experiment_varied_keeps_its_width_dropout_augmentation_and_seeds(study, monkeypatch):
    seeds_of = {"ResNet2D-small": [3, 4]}
    monkeypatch.setattr(study, "profile", dataclasses.replace(study.profile, seeds_of=seeds_of, leave_out=("vgg16",)))
    before, varied = protocol.resnet(study, "resnet2d"), study.vary("resnet2d-small", learning_rate=1e-2)
    training = dataclasses.replace(before.training, learning_rate=1e-2)
    name = "ResNet2D-small, learning_rate = 0.01"
    assert varied == dataclasses.replace(before, name=name, training=training, seeds=(3, 4))
    with pytest.raises(SoundFusionError, match="ResNet2D-small: has no key 'learning'"):
        study.vary("ResNet2D-small", learning=1e-2)
    with pytest.raises(SoundFusionError, match="there is no experiment 'ResNet3D'"):
        study.vary("ResNet3D", learning_rate=1e-2)


def test_a_run_for_each_seed_and_fold_which_are_pooled_and_tested_on_common_tracks(runs, study):
    group = runs["plain"]
    assert [(run.experiment.seed, run.experiment.split.fold) for run in group.runs] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert [len(frame) for frame in group.predictions()] == [18, 18]
    assert group.predictions()[0]["track"].is_unique
    assert group.run(1, 0) is group.runs[2]
    with pytest.raises(SoundFusionError, match="'plain' has no run with seed 7 in fold 0"):
        group.run(7, 0)
    fewer = of_runs([group.run(0, 0), group.run(1, 0)], groups_of(study.store.tracks))
    row = paired_tests.comparisons({"all": runs["augmented"], "fewer": fewer}, [("all", "fewer")]).iloc[0]
    assert row["tracks"] == len(fewer.predictions()[0]) == 9
    own = [frame[frame["track"].isin(fewer.predictions()[0]["track"])] for frame in runs["augmented"].predictions()]
    assert row["difference"] == pytest.approx(tables.accuracy(own) - tables.accuracy(fewer.predictions()))


@pytest.fixture
def trained(study, monkeypatch):
    """The experiments that a study would train, in their order."""
    trained = []
    monkeypatch.setattr(study, "_run", lambda experiment, store: trained.append(experiment))
    monkeypatch.setattr(study_module, "train_many", lambda *arguments: ())
    monkeypatch.setattr(study_module, "of_runs", lambda runs, groups, parts: None)
    return trained


def test_the_best_epoch_is_that_of_lowest_loss_where_labels_are_unequal(study, monkeypatch):
    part = study.experiment("part", "simple_cnn")
    whole = dataclasses.replace(part, name="whole", start=FromParts((part,)))
    equal = study.variants(whole)[0]
    assert equal.training.keep == "best"
    tracks = study.corpus.tracks
    rare = tracks.index[tracks["label"] == "low"][:5]  # 7 of them remain, of the others 12
    monkeypatch.setattr(study, "corpus", dataclasses.replace(study.corpus, tracks=tracks.drop(rare)))
    by_loss = dataclasses.replace(part.training, keep="lowest_loss")
    unequal = study.variants(whole)[0]
    assert unequal.training == by_loss and study.key(unequal) != study.key(equal)
    assert unequal.starts_from == (study.key(dataclasses.replace(study.variants(part)[0], training=by_loss)),)
    last = dataclasses.replace(part, training=dataclasses.replace(part.training, keep="last"))
    assert study.variants(last)[0].training == last.training


def test_a_profile_has_seeds_for_experiments_that_there_are_and_what_they_start_from(study, trained, monkeypatch):
    profile = dataclasses.replace(study.profile, seeds=(0,), seeds_of={"whole": [0, 4]}, test_folds=(0,))
    monkeypatch.setattr(study, "profile", profile)
    part = study.experiment("part", "simple_cnn")
    assert [one.seed for one in study.variants(part)] == [0]
    study.train(dataclasses.replace(part, name="whole", start=FromParts((part,))))
    assert [(one.name, one.seed) for one in trained] == [("part", 0), ("part", 4), ("whole", 0), ("whole", 4)]
    assert [one.starts_from for one in trained[2:]] == [(study.key(one),) for one in trained[:2]]
    with pytest.raises(SoundFusionError, match=r'\[seeds_of\] has no experiment .whole.; there are: .*"nnet1"'):
        catalogue.by_notebook(study)


def test_an_experiment_may_have_folds_and_seeds_of_its_own_which_its_parts_are_trained_with(study, trained):
    part = study.experiment("part", "simple_cnn")
    assert [one.split.fold for one in study.variants(dataclasses.replace(part, folds=(0, 3)))] == [0, 3] * 2
    study.train(dataclasses.replace(part, start=FromParts((part,)), folds=(3,), seeds=(7,)))
    assert [(one.seed, one.split.fold, one.folds, one.seeds) for one in trained] == [(7, 3, (), ())] * 2
    assert trained[1].start == FromParts((study.key(trained[0]),))


def test_corpus_and_split_tables_count_every_track_once_and_say_that_artists_are_unknown(study):
    table, parts = tables.corpus_table(study), tables.split_table(study)
    assert table.loc["all", "tracks"] == 36 == table["tracks"].sum() / 2
    assert parts["tracks"].sum() == 36 and (parts["artists shared with another part"] == 0).all()
    assert parts["segments"].sum() == table.loc["all", "segments"]
    unknown = dataclasses.replace(study.corpus, tracks=study.corpus.tracks.assign(group=None))
    assert study.corpus.artists_note == ""
    assert unknown.artists_note == ", artists unknown: tracks of one artist may be on both sides"  # of captions
    made = SimpleNamespace(tracks=study.tracks.assign(group=None), profile=study.profile, corpus=unknown)
    assert set(tables.corpus_table(made)["artists"]) == {"unknown"}
    parts = tables.split_table(made)
    assert set(parts["artists"]) == set(parts["artists shared with another part"]) == {"unknown"}


def test_results_are_saved_the_summary_counts_runs_and_another_notebook_finds_them(study, runs, profile):
    study.save_table(pd.DataFrame({"model": ["x"], "test_accuracy": [0.5]}), "plain", "A plain table")
    study.save_figure(plt.figure(), "plain", "A plain figure")
    study.save_table(paired_tests.comparisons(runs, []), "nothing", "Nothing to compare")
    assert (study.folder / "tables" / "plain.csv").read_text() == "model,test_accuracy\nx,0.5\n"
    assert (study.folder / "figures" / "plain.png").stat().st_size > 0
    assert study.finish().loc["test"].to_dict() == {"runs": 8, "trained now": 8, "found": 0}
    summary = json.loads((study.folder / "summary.json").read_text())
    assert summary["profile"] == "tones" and summary["synthetic"] is False and summary["tracks"] == 36
    assert len(summary["notebooks"]["test"]["runs"]) == 8
    page = write_page("tones").read_text()
    assert "**A plain table, label: sound** (" in page and "| x | 0.500 |" in page
    assert "![A plain figure](figures/plain.png)" in page
    assert "**Nothing to compare, label: sound**" in page
    assert "8 runs" in page and "synthetic" not in page and "**The label is the sound, not a genre**" in page
    other = Study("other", profile, "cpu", progress=False)
    other.train(other.experiment("the same under another name", "simple_cnn"))
    assert other.finish().loc["other"].to_dict() == {"runs": 4, "trained now": 0, "found": 4}
    assert "other" in json.loads((other.folder / "summary.json").read_text())["notebooks"]


def test_several_experiments_are_trained_in_processes_and_an_error_in_one_comes_through(profile):
    study = Study("several", profile, "cpu", progress=False)
    options = [{"epochs": 1, "learning_rate": rate} for rate in (1e-3, 2e-3)]
    wanted = {each["learning_rate"]: study.experiment("x", "simple_cnn", **each) for each in options}
    runs = study.train(wanted)
    assert list(runs) == [1e-3, 2e-3] and all(len(group.runs) == 4 for group in runs.values())
    assert [group.experiment.training.learning_rate for group in runs.values()] == [1e-3, 2e-3]
    assert study.finish().loc["several"].to_dict() == {"runs": 8, "trained now": 8, "found": 0}
    assert not list(paths.runs_dir().glob("*.partial"))
    wanted = {rate: study.experiment("diverges", "simple_cnn", epochs=1, learning_rate=rate) for rate in (1e30, 2e30)}
    with pytest.raises(SoundFusionError, match="not finite in epoch 1.*lower learning rate"):
        study.train(wanted)


def test_a_fusion_waits_for_the_runs_that_it_starts_from(study):
    parts = [study.experiment(f"part {rate}", "simple_cnn", epochs=1, learning_rate=rate) for rate in (1e-4, 2e-4)]
    options = {"parts": [("simple_cnn", {})] * 2, "epochs": 1}
    fused = study.experiment("fused", "fusion_concat", start=FromParts(tuple(parts)), **options)
    runs = study.train({"fused": fused, "one": parts[0], "two": parts[1]})
    for run, one, two in zip(runs["fused"].runs, runs["one"].runs, runs["two"].runs, strict=True):
        assert run.experiment.start == FromParts((one.key, two.key))
    new = study.experiment("new", "simple_cnn", epochs=2)
    alone = study.train(dataclasses.replace(fused, start=FromParts((parts[0], new))))
    assert [run.trained for run in alone.runs] == [True] * 4  # after its missing part, which was trained too


def copied(corpus, folder, **columns):
    """The corpus's files in another folder, and a profile of it there."""
    copy_music(corpus, folder)
    pd.read_csv(folder / "metadata.csv").assign(**columns).to_csv(folder / "metadata.csv", index=False)
    file = folder.parent / f"{folder.name}.toml"
    file.write_text(PROFILE.format(path=folder).replace('name = "tones"', ""))
    return file


def test_other_usable_tracks_are_another_split_and_so_another_run(profile, tmp_path):
    """SimpleCNN takes whole clips, so the length of segments is none of its settings; yet it decides what is usable."""
    studies = []
    for seconds in ("1.0", "4.3"):
        file, text = tmp_path / f"{seconds}.toml", profile.read_text().replace('name = "tones"', "")
        file.write_text(text.replace("{ seconds = 1.0", f"{{ seconds = {seconds}"))
        studies.append(Study("test", file, "cpu", progress=False))
    assert [len(study.store.tracks) for study in studies] == [36, 18]
    experiments = [study.experiment("whole clips", "simple_cnn", epochs=1) for study in studies]
    assert experiments[0] == experiments[1] and studies[0].key(experiments[0]) != studies[1].key(experiments[1])


def test_a_label_without_a_usable_clip_is_refused_before_anything_is_trained(corpus, profile, tmp_path):
    file = copied(corpus, tmp_path / "broken")
    for path in (tmp_path / "broken").glob("low*.wav"):
        path.write_bytes(b"no music")
    study = Study("broken", file, "cpu", progress=False)
    with pytest.raises(SoundFusionError, match="12 clips of sound 'low'"):
        study.train(study.experiment("x", "simple_cnn"))
    prepared = cli("prepare", str(file))
    assert prepared.exit_code == 1 and "low00.wav: cannot be decoded" in prepared.output and "'low'" in prepared.output


def test_a_corpus_with_a_split_of_its_own_has_no_folds_unless_the_profile_splits_it(corpus, profile, tmp_path):
    parts = ["train", "train", "validation", "test"]
    file = copied(corpus, tmp_path / "official", split=[parts[int(artist[-1])] for artist in corpus.tracks["group"]])
    text, variants = file.read_text().replace('scheme = "artist", ', ""), []
    for folds in (4, 5):
        file.write_text(text.replace("folds = 4", f"folds = {folds}"))
        study = Study("official", file, "cpu", progress=False)
        variants.append(study.variants(study.experiment("x", "simple_cnn")))
    assert study.test_folds == (0,) and variants[0] == variants[1] and variants[0][0].split.scheme == "official"
    study.profile = dataclasses.replace(study.profile, split=Split("artist", folds=4))
    assert study.test_folds == (0, 1)


def test_a_fold_that_cannot_be_split_is_said_before_anything_is_trained(corpus, profile, tmp_path, monkeypatch):
    """All of a label in one fold: another one trains without trouble, and this one has nothing to learn it from."""
    artists = corpus.tracks["group"].where(corpus.tracks["label"] != "low", "the only one")
    study = Study("few", copied(corpus, tmp_path / "few", artist=artists.to_numpy()), "cpu", progress=False)
    monkeypatch.setattr(study_module, "train_many", lambda *arguments: pytest.fail("trains"))
    with pytest.raises(SoundFusionError, match="by the artist split no track of 'low' is in train"):
        study.train(dataclasses.replace(study.experiment("x", "simple_cnn"), folds=(0, 1, 2, 3)))


def test_a_fusion_trains_as_long_as_its_longest_part(profile, tmp_path):
    file = tmp_path / "parts.toml"
    file.write_text(profile.read_text() + "\n[models.resnet2d]\nepochs = 7\npatience = 30\n")
    study = Study("parts", file, "cpu")
    epochs = {experiment.training.epochs for experiment in protocol.joint_fusions(study).values()}
    assert epochs == {7} and protocol.resnet(study, "resnet1d").training.epochs == 4
    assert protocol.fusion_of_trained(study).training.patience == 30
    file.write_text(file.read_text() + "\n[models.fusion_concat]\nepochs = 2\n")
    fusions = protocol.joint_fusions(Study("parts", file, "cpu"))
    assert [fusions[f"SoundFusion-{n}"].training.epochs for n in (1, 2)] == [2, 7]


def cli(*arguments):
    return CliRunner().invoke(main, list(arguments))


def test_status_makes_nothing_and_says_so(profile, tmp_path, monkeypatch):
    monkeypatch.setenv("SOUNDFUSION_DATA", str(tmp_path / "empty"))
    said = cli("status", str(profile))
    assert said.exit_code == 0 and "nothing is there yet" in said.output and "is not decoded" in said.output
    dry = Study("status", "fma_small", "cpu", dry=True)
    monkeypatch.setattr(protocol, "published_weights", lambda: pytest.fail("downloads"))
    assert "VGG16, ImageNet start, frozen" in protocol.transfer(dry)[0]
    assert not list((tmp_path / "empty").rglob("data.bin"))


def test_large_networks_are_no_experiments_where_they_are_left_out_and_reproduce_says_so(study, profile, monkeypatch):
    monkeypatch.setattr(notebooks, "reproduce", lambda *arguments: "results")
    said = cli("reproduce", str(profile)).output
    assert "leaves out, as it takes long: vgg16, large, grid, search (leave_out = [] runs everything)" in said
    assert "leaves out" not in cli("reproduce", str(profile), "--set", "leave_out=[]").output
    whole = dataclasses.replace(study.profile, leave_out=())
    for leave_out, large in (((), True), (study.profile.leave_out, False)):
        monkeypatch.setattr(study, "profile", dataclasses.replace(whole, leave_out=leave_out))
        shown = catalogue.by_notebook(study)
        names = {experiment.name for experiments in shown.values() for experiment in experiments}
        assert ("10_search" in shown) == large and ("ResNet2D-large" in names) == large
        assert any("VGG16" in name for name in names) == any("SpecAugment (" in name for name in names) == large


def test_status_counts_the_controls_of_the_part_that_was_better(study, monkeypatch):
    small = {model: protocol.resnet(study, model) for model in protocol.LABELS}
    controls = {m: [protocol.as_large(study, m), protocol.twin(study, one)] for m, one in small.items()}
    monkeypatch.setattr(catalogue.protocol, "performance", lambda study: {})  # quicker
    keys = {m: {study.key(run) for one in pair for run in study.variants(one)} for m, pair in controls.items()}
    shown = {m: catalogue.by_notebook(study, m) for m in controls}
    for better, experiments in shown.items():
        runs = {study.key(run) for one in sum(experiments.values(), []) for run in study.variants(one)}
        assert keys[better] <= runs
        monkeypatch.setattr(study, "is_trained", lambda key, runs=runs: key in runs)
        assert catalogue.left_to_train(study) == f"tones: {len(runs)} of {len(runs)} runs are there"


def test_a_dry_study_trains_nothing_counts_runs_once_and_expects_what_like_runs_took(profile, runs, monkeypatch):
    dry = Study("status", profile, "cpu", dry=True)
    plain, other = (dry.experiment(name, "simple_cnn", epochs=n) for name, n in (("plain", 4), ("other", 7)))
    assert len(dry.train(plain).runs) == 4
    with pytest.raises(NothingYet, match="4 runs are not trained"):
        dry.train(other)
    fine_tuned = dry.experiment("fine-tuned", "nnet1", width=8, start=FromRun(plain))
    more_seeds = dataclasses.replace(other, seeds=(0, 2))
    monkeypatch.setattr(dry, "profile", dataclasses.replace(dry.profile, pretraining={"kind": "folder", "path": "x"}))
    monkeypatch.setattr(Study, "pretraining", property(lambda self: exec("raise NothingYet('not decoded')")))
    shown = {"02": [plain, plain], "03": [plain, other, more_seeds], "04": [fine_tuned]}
    monkeypatch.setattr(catalogue, "by_notebook", lambda study, better: shown)
    monkeypatch.setattr(catalogue, "results_dir", lambda: paths.data_dir())  # no committed runs
    table = catalogue.progress(dry)
    assert table["runs"].tolist() == [4, 6, 4] and table["done"].tolist() == [4, 0, 0]
    infos = [run.info for run in runs["plain"].runs]
    per_epoch = [info["core_seconds"] * info["epoch_seconds"] / info["seconds"] for info in infos]
    left = table["core_hours_left"]
    assert left[0] == 0 and np.isnan(left[2]) and left[1] == pytest.approx(6 * 7 * np.mean(per_epoch) / 3600, rel=0.5)
    assert catalogue.left_to_train(dry).startswith("tones: 4 of 14 runs are there; the others take about")
    assert catalogue.left_to_train(dry, ["02"]) == "tones: 4 of 4 runs are there"


def test_findings_are_those_of_the_notebook_on_the_corpus(study, tmp_path, monkeypatch):
    monkeypatch.setattr("soundfusion_lib.study.results.BUILT_IN", tmp_path)
    assert "No findings are written down for test on the profile tones" in study.findings().data
    (tmp_path / "findings").mkdir()
    (tmp_path / "findings" / "tones.md").write_text("## other\n\nNo.\n\n## test\n\nTones *differ*.\n\n## more\n\nNo.\n")
    assert study.findings().data == "Tones *differ*."
