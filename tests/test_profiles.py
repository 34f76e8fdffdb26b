"""Profiles: what a TOML file may say, and the one sentence that it is told where it says something else."""

import dataclasses
import inspect
import math
import subprocess
import sys

import numpy as np
import pytest

from soundfusion_lib import settings
from soundfusion_lib.audio.augment import AUGMENTATIONS, NoiseAndGain, augmentation
from soundfusion_lib.audio.representations import MelSpectrogram, Waveform
from soundfusion_lib.audio.segments import Segmenting
from soundfusion_lib.datasets import kinds as kinds_of_corpora
from soundfusion_lib.datasets.kinds import open_corpus
from soundfusion_lib.datasets.splits import Split
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.models import MODELS, build_model
from soundfusion_lib.study import profile as profiles
from soundfusion_lib.study.profile import Profile, load_profile
from soundfusion_lib.training.loop import OPTIMIZERS, Training

CORPUS = '[corpus]\nkind = "folder"\npath = "music"\n'


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
large_batch = 8
leave_out = ["vgg16", "nnet1"]
seeds_of = { nnet2 = [0, 1] }
[corpus]
kind = "folder"
path = "music"
label = "sound"
[pretraining]
kind = "demo_gtzan"
tracks = 20
seconds = 3
seed = 1
[split]
scheme = "artist"
folds = 3
seed = 5
[waveform]
sample_rate = 8000
[mel]
channels = 1
top_db = 60
[segmenting]
seconds = 1
overlap = 0
[training]
learning_rate = 1
optimizer = "adamw"
[models.resnet1d]
variant = "allamy"
batch_size = 4
[models.vgg16]
dropout = 0.5
[models.fusion_decision]
dropout = 0
[augment]
waveform = { max_db = 20, min_db = -20.5 }
[widths.resnet2d]
small = 4
[large]
epochs = 1
[grid]
epochs = 2
"""
    loaded = load_profile(profile(tmp_path, text))
    assert loaded.seeds == (0, 3) and loaded.test_folds == (0, 2) and loaded.leave_out == ("vgg16", "nnet1")
    assert loaded.corpus["path"] == str(tmp_path / "music")
    assert loaded.split == Split("artist", 3, 0, 5) and loaded.segmenting == Segmenting(1.0, 0.0)
    assert loaded.width("resnet2d", "small") == 4 and loaded.width("resnet2d", "large") == 64


def test_what_a_profile_does_not_say_is_the_report_s(tmp_path):
    plain = load_profile(profile(tmp_path, CORPUS))
    assert plain == Profile("mine", {"kind": "folder", "path": str(tmp_path / "music")})


def test_a_byte_order_mark_is_no_fault(tmp_path):
    assert load_profile(profile(tmp_path, 'name = "ours"\n' + CORPUS, encoding="utf-8-sig")).name == "ours"


@pytest.mark.parametrize("name", profiles.built_in())
def test_built_in_profiles_are_valid_and_bear_their_file_s_name(name):
    assert load_profile(name).name == name


FAULTS = [
    ("[training]\nepochs = 'ten'", '[training] epochs = "ten": must be a whole number of 1 or more'),
    ("[training]\nepochs = 1.5", "[training] epochs = 1.5: must be a whole number of 1 or more"),
    ("[training]\nepochs = true", "[training] epochs = true: must be a whole number"),
    ("[training]\nepochs = 0", "[training] epochs = 0: must be a whole number of 1 or more"),
    ("[training]\nepochs = { a = 1 }", "[training] epochs = {'a': 1}: must be a whole number"),
    ("[training]\nbatch_size = 8.0", "[training] batch_size = 8.0: must be a whole number of 2 or more"),
    ("[training]\nbatch_size = 1", "[training] batch_size = 1: must be a whole number of 2 or more"),
    ("[training]\nlearning_rate = '1e-3'", '[training] learning_rate = "1e-3": must be a number above 0'),
    ("[training]\nlearning_rate = nan", "[training] learning_rate = nan: must be a number above 0"),
    ("[training]\nlearning_rate = inf", "[training] learning_rate = inf: must be a number above 0"),
    ("[training]\noptimizer = ['adam']", '[training] optimizer = ["adam"]: must be one of adam, adamw'),
    ("[training]\nepoch = 3", "[training] has no key 'epoch'; there are: averaging, batch_size, epochs,"),
    ("[[training]]\nepochs = 3", 'training = [{"epochs": 3}]: must be a table, [training]'),
    ("[large]\nepochs = 'one'", '[large] epochs = "one": must be a whole number'),
    ("[grid]\npatience = 0", "[grid] patience = 0: must be a whole number"),
    ("[models.vgg16]\nlearning_rate = 0", "[models.vgg16] learning_rate = 0: must be a number above 0"),
    ("[models.nnet1]\nwidth = 0", "[models.nnet1] width = 0: must be a whole number of 2 or more"),
    ("[models.nnet1]\npool = 3", "[models.nnet1] has no key 'pool'; there are: averaging, batch_size, dropout,"),
    ("[models.nnet2]\ndropout = 2", "[models.nnet2] dropout = 2: must be a number of 0 or more and below 1"),
    ("[models.resnet2d]\npool = 0", "[models.resnet2d] pool = 0: must be a whole number of 1 or more"),
    ("[models.resnet1d]\nvariant = 'x'", '[models.resnet1d] variant = "x": must be one of soundfusion, allamy'),
    ("[models]\nvgg16 = 3", "models.vgg16 = 3: must be a table, [models.vgg16]"),
    ("[models.simple]", "[models] has no key 'simple'; there are: fusion_concat,"),
    ("[augment.mel]\nmax_fraction = 'x'", '[augment.mel] max_fraction = "x": must be a number of 0 to 1'),
    ("[augment.mel]\nn_time_masks = 1.0", "[augment.mel] n_time_masks = 1.0: must be a whole number of 0 or more"),
    ("[augment.mel]\nnoise_std = 1", "[augment.mel] has no key 'noise_std'; there are: max_fraction,"),
    ("[augment.waveform]\nmin_db = 20", "[augment.waveform] min_db = 20: must not be above max_db = 12.0"),
    ("[augment]\nmel = true", "augment.mel = true: must be a table, [augment.mel]"),
    ("[widths]\nresnet1d = { small = 0 }", "[widths.resnet1d] small = 0: must be a whole number of 2 or more"),
    ("[widths]\nresnet1d = { tiny = 4 }", "[widths.resnet1d] has no key 'tiny'; there are: large, medium, small"),
    ("[widths]\nvgg16 = { small = 4 }", "[widths] has no key 'vgg16'; there are: resnet1d, resnet2d"),
    ("[pretraining]\ntracks = 100", "[pretraining] needs a kind: demo, demo_gtzan,"),
    ("[pretraining]", "[pretraining] needs a kind: demo, demo_gtzan,"),
    ("[pretraining]\nkind = 'mp3'", "[pretraining] there is no corpus of kind 'mp3', only demo,"),
    ("[pretraining]\nkind = ['demo']", "[pretraining] there is no corpus of kind ['demo'], only demo,"),
    ("[pretraining]\nkind = 'demo'\ntracks = 'many'", '[pretraining] tracks = "many": must be a whole number'),
    ("[pretraining]\nkind = 'demo'\nseconds = '5'", '[pretraining] seconds = "5": must be a number of 0.01 to 14400'),
    ("[pretraining]\nkind = 'demo'\nseed = -1", "[pretraining] seed = -1: must be a whole number of 0 to"),
    ("[pretraining]\nkind = 'fma'\nsubset = 1", "[pretraining] subset = 1: must be one of small, medium"),
    ("[pretraining]\nkind = 'gtzan'\npath = 3", "[pretraining] path = 3: must be a text that is not empty"),
    ("[pretraining]\nkind = 'folder'", "[pretraining] a corpus of kind 'folder' needs a path"),
    ("[pretraining]\nkind = 'gtzan'\nlabel = 'x'", "[pretraining] a corpus of kind 'gtzan' has no key 'label'"),
    ("[segmenting]\nseconds = '5'", '[segmenting] seconds = "5": must be a number of 0.01 to 14400'),
    ("[segmenting]\noverlap = 1.0", "[segmenting] overlap = 1.0: must be a number of 0 to 0.99"),
    ("[segmenting]\noverlap = false", "[segmenting] overlap = false: must be a number"),
    ("[split]\nfolds = 2", "[split] folds = 2: must be a whole number of 3 or more"),
    ("[split]\nscheme = 'random'", '[split] scheme = "random": must be one of auto, official, artist, stratified'),
    ("[split]\nseed = -1", "[split] seed = -1: must be a whole number of 0 to 4294967295"),
    ("[mel]\nhop_length = 0", "[mel] hop_length = 0: must be a whole number of 1 to 65536"),
    ("[mel]\nn_mels = 0", "[mel] n_mels = 0: must be a whole number of 1 to 1024"),
    ("[mel]\nn_fft = 1", "[mel] n_fft = 1: must be a whole number of 2 to 65536"),
    ("[mel]\nchannels = 3", "[mel] channels = 3: must be a whole number of 1 to 2"),
    ("[mel]\ntop_db = -80", "[mel] top_db = -80: must be a number of 1 to 1000"),
    ("[waveform]\nsample_rate = -1", "[waveform] sample_rate = -1: must be a whole number of 1000 to 384000"),
    ("[waveform]\nsample_rate = 10_000_000", "sample_rate = 10000000: must be a whole number of 1000 to 384000"),
    ("[mel]\nn_fft = 1_000_000", "[mel] n_fft = 1000000: must be a whole number of 2 to 65536"),
    ("[mel]\ntop_db = 1e300", "[mel] top_db = 1e+300: must be a number of 1 to 1000"),
    ("[segmenting]\nseconds = 1e-9", "[segmenting] seconds = 1e-09: must be a number of 0.01 to 14400"),
    ("[segmenting]\noverlap = 0.999999999", "[segmenting] overlap = 0.999999999: must be a number of 0 to 0.99"),
    ("[split]\nfolds = 2", "[split] folds = 2: must be a whole number of 3 or more"),
    ("[waveform]\nsample_rate = 22050.0", "[waveform] sample_rate = 22050.0: must be a whole number"),
]
TOP_FAULTS = [
    ("training = 3", "training = 3: must be a table, [training]"),
    ("mel = 'big'", 'mel = "big": must be a table, [mel]'),
    ("seeds = 3", "seeds = 3: must be a list of one or more different whole numbers of 0 to"),
    ('seeds = ["a"]', 'seeds = ["a"]: must be a list'),
    ("seeds = []", "seeds = []: must be a list of one or more"),
    ("seeds = [0, 0]", "seeds = [0, 0]: must be a list of one or more different"),
    ("seeds = [-1]", "seeds = [-1]: must be a list"),
    ("seeds = [true]", "seeds = [true]: must be a list"),
    ("seeds_of = 3", "seeds_of = 3: must be a table, [seeds_of]"),
    ("[seeds_of]\nnnet1 = 3", "[seeds_of] nnet1: seeds = 3: must be a list of one or more different whole numbers"),
    ("test_folds = [0, 0]", "test_folds = [0, 0]: must be a list of one or more different"),
    ("test_folds = []", "test_folds = []: must be a list of one or more"),
    ("test_folds = [10]", "test_folds = [10]: [split] has folds 0 to 9"),
    ("leave_out = 'vgg16'", 'leave_out = "vgg16": must be a list of names'),
    ("leave_out = [1]", "leave_out = [1]: must be a list of names"),
    ("leave_out = ['vgg']", "leave_out: there is no 'vgg', only simple_cnn,"),
    ('name = "../../x"', 'name = "../../x": must be letters, digits'),
    ('name = ".hidden"', 'name = ".hidden": must be letters, digits'),
    ('name = ""', 'name = "": must be letters, digits'),
    ("name = 3", "name = 3: must be letters, digits"),
    ("clip_seconds = 1e12", "clip_seconds = 1000000000000.0: must be a number of 0.01 to 14400"),
    ("clip_seconds = 0", "clip_seconds = 0: must be a number of 0.01 to 14400"),
    ("large_batch = 1", "large_batch = 1: must be a whole number of 2 or more"),
    ("epochs = 3", "has no key 'epochs'; there are: augment, clip_seconds"),
]
SET_BY_THE_STUDY = [
    ("[split]\nfold = 1", "[split] fold is set by the study: set test_folds"),
    ("[large]\nbatch_size = 8", "[large] batch_size is set by the study: set large_batch"),
    ("[models.vgg16]\nbatch_size = 8", "[models.vgg16] batch_size is set by the study: set large_batch"),
    ("[models.resnet1d]\nwidth = 8", "[models.resnet1d] width is set by the study: set [widths.resnet1d]"),
    ("[models.resnet2d]\nwidth = 8", "[models.resnet2d] width is set by the study: set [widths.resnet2d]"),
    ("[models.resnet2d]\ndropout = 0.1", "[models.resnet2d] dropout is set by the study: the table of regularization"),
    ("[models.fusion_concat]\nparts = []", "parts is set by the study: they are the small ResNets"),
    ("[models.fusion_decision]\nweighting = 'learned'", "weighting is set by the study: both are trained"),
    ("[models.nnet1]\nn_mels = 32", "[models.nnet1] n_mels is set by the study: set n_mels in [mel]"),
    ("[models.nnet1]\nin_channels = 1", "[models.nnet1] in_channels is set by the study: set channels in [mel]"),
]


@pytest.mark.parametrize(
    "text, message",
    [(f"{CORPUS}{tables}\n", message) for tables, message in FAULTS + SET_BY_THE_STUDY]
    + [(f"{top}\n{CORPUS}", message) for top, message in TOP_FAULTS]
    + [
        ("", "[corpus] needs a kind: demo,"),
        ("corpus = 'demo'\n", 'corpus = "demo": must be a table, [corpus]'),
        ("[corpus]\nkind = 'folder'\npath = 3\n", "[corpus] path = 3: must be a text"),
    ],
)
def test_a_fault_is_said_in_one_sentence_that_names_file_key_and_value(tmp_path, text, message):
    file = profile(tmp_path, text)
    with pytest.raises(SoundFusionError) as refused:
        load_profile(file)
    assert str(refused.value).startswith(f"profile {file}") and message in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["demo", "Demo", "fma_small"])
def test_a_built_in_profile_s_name_is_taken(tmp_path, name):
    copy = (profiles.BUILT_IN / "demo.toml").read_text(encoding="utf-8").replace('name = "demo"', f'name = "{name}"')
    with pytest.raises(SoundFusionError, match=f'name = "{name}": a built-in profile has this name: give another'):
        load_profile(profile(tmp_path, copy))
    with pytest.raises(SoundFusionError, match="a built-in profile has this name"):
        load_profile(profile(tmp_path, CORPUS, "demo.toml"))
    assert load_profile(profiles.BUILT_IN / "demo.toml") == load_profile("demo")


def test_a_file_whose_name_is_no_folder_s_is_told_to_give_one(tmp_path):
    file = profile(tmp_path, CORPUS, "my study.toml")
    with pytest.raises(SoundFusionError, match='name = "my study": must be letters'):
        load_profile(file)
    file.write_text('name = "my-study"\n' + CORPUS)
    assert load_profile(file).name == "my-study"


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Training(epochs="ten"), 'Training: epochs = "ten": must be a whole number of 1 or more'),
        (lambda: Training(batch_size=True), "Training: batch_size = true: must be a whole number"),
        (lambda: Training(learning_rate=math.nan), "Training: learning_rate = nan: must be a number"),
        (lambda: Segmenting("5"), 'Segmenting: seconds = "5"'),
        (lambda: Split(fold=12), "Split: fold = 12: must be below folds = 10"),
        (lambda: Split(seed=-1), "Split: seed = -1"),
        (lambda: Waveform(0), "Waveform: sample_rate = 0"),
        (lambda: MelSpectrogram(channels=3), "MelSpectrogram: channels = 3: must be a whole number of 1 to 2"),
        (lambda: MelSpectrogram(hop_length=0), "MelSpectrogram: hop_length = 0"),
        (lambda: NoiseAndGain("x"), 'NoiseAndGain: noise_std = "x"'),
        (lambda: augmentation("mel", max_fraction=2), "SpecAugment: max_fraction = 2: must be a number of 0 to 1"),
        (lambda: build_model("simple_cnn", 8, dropout=2), "simple_cnn: dropout = 2: must be a number"),
        (lambda: build_model("resnet1d", 8, width=0), "resnet1d: width = 0: must be a whole number of 2 or more"),
        (lambda: build_model("fusion_concat", 8, parts=["nnet1"]), "fusion_concat: parts = .* must be a list of pairs"),
        (lambda: open_corpus({"kind": "demo", "tracks": "many"}), 'corpus: tracks = "many": must be a whole number'),
        (lambda: open_corpus({"kind": "folder", "path": "x", "name": "y"}), "of kind 'folder' has no key 'name'"),
    ],
)
def test_the_same_table_holds_in_python(make, message):
    with pytest.raises(SoundFusionError, match=message):
        make()


def test_numbers_of_numpy_and_segments_of_whole_clips_are_taken():
    assert Training(epochs=np.int64(3), learning_rate=np.float32(0.5)).epochs == 3
    assert Split(fold=np.int64(2)).fold == 2 and Segmenting(1, None).overlap is None


def test_every_setting_has_its_rule_and_every_rule_its_setting():
    kinds = Training, Segmenting, Split, Waveform, MelSpectrogram
    names = {item.name for kind in kinds for item in dataclasses.fields(kind)}
    for function in (*MODELS.values(), *AUGMENTATIONS.values(), *kinds_of_corpora.KINDS.values()):
        names |= set(inspect.signature(function).parameters)
    plain = {"name", "clip_seconds", "seeds", "test_folds", "large_batch", "leave_out", "pairs", "trials"}
    assert names - {"num_classes"} | plain | set(profiles.SIZES) == set(settings.RULES)
    assert settings.RULES["optimizer"].allowed == f"one of {', '.join(OPTIMIZERS)}"
    assert {item.name for item in dataclasses.fields(Profile)} > plain - {"trials"}  # in [search]


def test_help_does_not_wait_for_torch():
    code = "import sys; from soundfusion_lib.cli import main; main(['--help'], standalone_mode=False)"
    code += "; assert 'torch' not in sys.modules"
    shown = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert "relative to the project" in " ".join(shown.split())
