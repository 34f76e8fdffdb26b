"""Profiles: what a TOML file may say, and the sentence that says what is wrong with it."""

import subprocess
import sys
from dataclasses import asdict, replace

import pytest

from soundfusion_lib.audio.augment import augmentation
from soundfusion_lib.audio.segments import Segmenting
from soundfusion_lib.datasets.splits import Split
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.models import MODELS
from soundfusion_lib.study import profile as profiles
from soundfusion_lib.study.profile import Profile, Search, changed, load_profile
from soundfusion_lib.training.experiment import Experiment
from soundfusion_lib.training.loop import Training

CORPUS = '[corpus]\nkind = "folder"\npath = "music"\n'


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("SOUNDFUSION_DATA", str(tmp_path / "data"))


def profile(folder, text, name="mine.toml", encoding="utf-8"):
    file = folder / name
    file.write_text(text, encoding=encoding)
    return file


def test_a_profile_may_set_everything_that_has_an_effect(tmp_path):
    text = """
name = "my-study_2.1"
clip_seconds = 10
seeds = [0, 3]
test_folds = [0, 2]
leave_out = ["vgg16", "ablation"]
seeds_of = { nnet2 = [0, 1] }
corpus = { kind = "folder", path = "music", label = "sound" }
pretraining = { kind = "demo_gtzan" }
split = { scheme = "artist", folds = 3, seed = 5 }
waveform = { sample_rate = 8000 }
mel = { channels = 1, top_db = 60 }
segmenting = { seconds = 1, overlap = 0 }
training = { learning_rate = 1, optimizer = "adamw" }
augment.waveform = { max_db = 20, min_db = -20.5 }
search = { trials = 3 }
searched = { width = 8 }
[models]
resnet1d = { variant = "allamy", batch_size = 4 }
fusion_decision = { dropout = 0 }
[widths.resnet2d]
small = 4
"""
    loaded = load_profile(profile(tmp_path, text))
    assert loaded.seeds == (0, 3) and loaded.test_folds == (0, 2) and loaded.leave_out == ("vgg16", "ablation")
    assert loaded.corpus["path"] == str(tmp_path / "music") and loaded.seeds_of == {"nnet2": (0, 1)}
    assert loaded.split == Split("artist", 3, 0, 5) and loaded.segmenting == Segmenting(1.0, 0.0)
    assert loaded.width("resnet2d", "small") == 4 and loaded.width("resnet2d", "large") == 64
    assert loaded.search == Search(trials=3) and loaded.searched == {"width": 8}


def test_a_path_is_relative_to_the_profile_and_in_a_built_in_one_to_the_data_folder(tmp_path, monkeypatch):
    plain = load_profile(profile(tmp_path, CORPUS))
    corpus = {"kind": "folder", "path": str(tmp_path / "music")}
    assert plain == Profile("mine", corpus, leave_out=profiles.LARGE)  # else all is the report's
    assert plain.search.space is not Search().space  # no two profiles share one
    monkeypatch.setattr(profiles, "BUILT_IN", tmp_path)
    assert load_profile("mine").corpus["path"] == str(tmp_path / "data" / "music")


def test_the_order_of_precedence(tmp_path):
    tables = "[training]\nepochs = 7\nmixup = 0.1\n[models.simple_cnn]\nepochs = 9\ndropout = 0.2\n"
    loaded = load_profile(profile(tmp_path, CORPUS + tables))
    report = asdict(Training())
    assert loaded.settings("nnet1") == report | {"epochs": 7, "mixup": 0.1}
    cnn = {"learning_rate": 1e-3, "weight_decay": 1e-3, "batch_size": 256}
    assert loaded.settings("simple_cnn") == report | cnn | {"epochs": 9, "mixup": 0.1, "dropout": 0.2}


FAULTS = [
    ("[training]\nepochs = 'ten'", '[training] epochs = "ten": must be a valid integer'),
    ("[training]\nlearning_rate = nan", "[training] learning_rate = nan: must be a finite number"),
    ("[training]\noptimizer = ['adam']", "[training] optimizer = [\"adam\"]: must be 'adam' or 'adamw'"),
    ("[training]\nepoch = 3", "[training] has no key 'epoch'; there are: averaging, batch_size, class_weights,"),
    ("[models.nnet1]\npool = 3", "[models.nnet1] has no key 'pool'; there are: averaging, batch_size, class_weights,"),
    ("[models.simple]", "[models] has no key 'simple'; there are: fusion_concat,"),
    ("[augment.mel]\nnoise_std = 1", "[augment.mel] has no key 'noise_std'; there are: max_fraction,"),
    ("[widths]\nresnet1d = { small = 0 }", "[widths.resnet1d] small = 0: must be greater than or equal to 2"),
    ("[pretraining]\nkind = 'emotify'\nseconds = 'all'", '[pretraining] seconds = "all": must be a valid number'),
    ("[search.space]\nepochs = [1, 2]", "[search.space] has no key 'epochs'"),
    ("[search.space]\nwidth = [8]", "[search.space] width = [8]: give a list of two values or more, or { low = …,"),
    # what the study sets
    ("[split]\nfold = 1", "[split] fold is set by the study: set test_folds"),
    ("[models.vgg16]\nbatch_size = 8", "vgg16: batch_size is set by the study: see [mel], [widths] and large_batch"),
    ("[models.resnet2d]\ndropout = 0.1", "resnet2d: dropout is set by the study"),
    ("[models.nnet1]\nn_mels = 32", "nnet1: n_mels is set by the study"),
]
TOP_FAULTS = [
    ("mel = 'big'", 'mel = "big": must be a dictionary or an instance of MelSpectrogram'),
    ("seeds = []", "seeds = []: must have at least 1 item"),
    ("leave_out = ['vgg']", "leave_out = \"vgg\": must be 'simple_cnn', 'resnet2d',"),
    ('name = "../../x"', 'name = "../../x": must match pattern'),
    ("epochs = 3", "has no key 'epochs'; there are: augment, clip_seconds"),
]


@pytest.mark.parametrize(
    "text, message",
    [(f"{CORPUS}{tables}\n", message) for tables, message in FAULTS]
    + [(f"{top}\n{CORPUS}", message) for top, message in TOP_FAULTS]
    + [
        ("", '[corpus] kind = "": must be one of demo,'),
        ("corpus = 'demo'\n", 'corpus = "demo": must be a valid dictionary'),
        ('[corpus]\nkind = "folder"\npath = "x"\nlable = "sound"\n', "[corpus] has no key 'lable'"),
        ('[corpus]\nkind = "folder"\npath = "C:\\Users\\me"\n', "write C:/music, or 'C:\\music' in single quotes"),
    ],
)
def test_a_fault_is_said_in_one_sentence_that_names_file_key_and_value(tmp_path, text, message):
    file = profile(tmp_path, text)
    with pytest.raises(SoundFusionError) as refused:
        load_profile(file)
    assert str(refused.value).startswith(f"profile {file}") and message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_is_read_in_utf_8_and_names_the_profile_unless_it_says_another_name_that_is_not_taken(tmp_path):
    ours = 'name = "ours"\n' + CORPUS
    assert load_profile(profile(tmp_path, ours, "my study.toml", "utf-8-sig")).name == "ours"
    with pytest.raises(SoundFusionError, match='write name = "mine" as its first line'):
        load_profile(profile(tmp_path, CORPUS, "my study (2).toml"))
    for encoding in ("utf-16", "latin-1"):
        with pytest.raises(SoundFusionError, match=r"mine.toml: its text is no UTF-8 \(UTF-16\?\): save it in UTF-8"):
            load_profile(profile(tmp_path, "# Über\n" + ours, encoding=encoding))
    for name in ("demo", "Demo"):
        for file in (profile(tmp_path, f'name = "{name}"\n{CORPUS}'), profile(tmp_path, CORPUS, f"{name}.toml")):
            with pytest.raises(SoundFusionError, match=f'"{name}": a built-in profile has this name: give another'):
                load_profile(file)
    assert load_profile(profiles.BUILT_IN / "demo.toml") == load_profile("demo")


def test_a_file_of_yours_leaves_out_what_takes_long_unless_it_says_what(tmp_path):
    assert load_profile(profile(tmp_path, CORPUS)).leave_out == ("vgg16", "large", "grid", "search")
    for said in ((), ("grid",)):
        assert load_profile(profile(tmp_path, f"leave_out = {list(said)}\n{CORPUS}")).leave_out == said
    changed_one = load_profile(changed(str(profile(tmp_path, CORPUS)), ["leave_out=[]"]))
    assert changed_one.leave_out == load_profile("fma_small").leave_out == ()


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Training(epoch=3), "Training: has no key 'epoch'; there are: averaging"),
        (lambda: replace(Training(), epochs=0), "Training: epochs = 0: must be greater than or equal to 1"),
        (lambda: Profile("mine"), "Profile: needs corpus"),
        (lambda: augmentation("mel", max_fraction=2), "'mel': max_fraction = 2: must be less than or equal to 1"),
        (lambda: Experiment("x", "nnet1", (), {"widht": 3}), "experiment 'x': nnet1: has no key 'widht'; there are:"),
        (lambda: Experiment("x", "nnet1", (), augment={"wave": {}}), "no augmentation of 'wave'; there are: mel,"),
    ],
)
def test_values_are_checked_in_python_too(make, message):
    with pytest.raises(SoundFusionError, match=message):
        make()


def test_an_own_model_has_its_table(tmp_path, monkeypatch):
    class Mine(MODELS["nnet1"]):
        def __init__(self, num_classes: int, bands=3):
            super().__init__(num_classes)

    monkeypatch.setitem(MODELS, "mine", Mine)
    text = CORPUS + "[models.mine]\nepochs = 3\n"
    assert load_profile(profile(tmp_path, text + "bands = 4")).models == {"mine": {"epochs": 3, "bands": 4}}
    with pytest.raises(SoundFusionError, match=r"\[models.mine\] has no key 'band'; there are: averaging, bands,"):
        load_profile(profile(tmp_path, text + "band = 4"))


# --set key=value


def test_a_changed_profile_is_a_file_with_a_name_of_its_own_and_its_paths(tmp_path, monkeypatch):
    old = str(profile(tmp_path, CORPUS + "[models.vgg16]\nwidth = 4\n"))
    changes = ["training.epochs=3", "models.vgg16.width=8"]
    loaded = load_profile(changed(old, changes))
    assert loaded.name.startswith("mine-models-vgg16-width-8-training-epochs-3-")
    tables = {"training": {"epochs": 3}, "models": {"vgg16": {"width": 8}}}
    assert loaded == replace(load_profile(old), name=loaded.name, **tables)
    assert changed(old, changes[::-1]) == changed(old, changes) and changed(old, []) == old
    assert load_profile(changed(changed(old, changes), ["name=short"])) == replace(loaded, name="short")
    written = {file.name for file in (tmp_path / "data" / "profiles").iterdir()}
    assert written == {"mine.toml", "short.toml", f"{loaded.name}.toml"}  # nothing partial
    assert loaded.corpus["path"] == str(tmp_path / "music")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")  # which a path that is changed is relative to
    assert load_profile(changed(old, ["corpus.path=here"])).corpus["path"] == str(tmp_path / "work" / "here")


def test_a_change_of_training_overrides_every_table():
    assert load_profile("demo").settings("simple_cnn")["epochs"] == 15  # its table's
    for changes, epochs in ((["training.epochs=3"], 3), (["models.simple_cnn.epochs=4", "training.epochs=3"], 4)):
        loaded = load_profile(changed("demo", changes))
        assert loaded.settings("simple_cnn")["epochs"] == epochs and loaded.settings("nnet1")["epochs"] == 3
        assert loaded.grid == {} and loaded.models["simple_cnn"]["weight_decay"] == 0.05
    loaded = load_profile(changed("demo", ["models.simple_cnn.epochs=2", "models.nnet1.mixup=0.4"]))
    assert loaded.grid == {} and loaded.settings("simple_cnn")["epochs"] == 2  # the grid is of SimpleCNN
    assert load_profile(changed("emotify", ["models.resnet1d.mixup=0.4"])).searched["mixup"] == 0.175  # ResNet2D's
    assert "mixup" not in load_profile(changed("emotify", ["models.resnet2d.mixup=0.4"])).searched
    loaded = load_profile(changed("emotify", ["training.batch_size=8", "training.mixup=0", "seeds=[1,2]"]))
    assert loaded.seeds == (1, 2) and loaded.seeds_of == {} and "mixup" not in loaded.searched
    assert loaded.large_batch == loaded.settings("simple_cnn")["batch_size"] == 8


def test_names_of_changed_profiles_differ_as_their_settings_do(tmp_path):
    old, long = str(profile(tmp_path, CORPUS)), "corpus.label=" + "long " * 40
    changes = "seeds=[0,1]", "seeds=[0, 11]", "augment.waveform.min_db=-3", "augment.waveform.min_db=3", long + "1"
    names = {load_profile(changed(old, [change])).name for change in (*changes, long + "2")}
    assert len(names) == len(changes) + 1 and max(map(len, names)) <= 80


@pytest.mark.parametrize(
    "change", ["training.epochs", "training=3", "models=3", "models.nnet1=3", "name.x=3", "=3", "training.epochs=ten"]
)
def test_a_change_that_is_none_is_refused(change):
    with pytest.raises(SoundFusionError, match="--set"):
        changed("demo", [change])


@pytest.mark.parametrize("name", profiles.built_in())
def test_every_setting_of_a_profile_survives_a_change(name):
    assert load_profile(name).name == name
    expected = replace(load_profile(name), name="nine", large_batch=9)
    assert load_profile(changed(name, ["large_batch=9", "name=nine"])) == expected


def test_help_does_not_wait_for_torch():
    code = "import sys; from soundfusion_lib.cli import main; main(['--help'], standalone_mode=False)"
    code += "; assert 'torch' not in sys.modules"
    shown = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert "relative to the project" in " ".join(shown.split())
