"""A trained model on files that no corpus lists."""

from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from conftest import RATE, SMALL_MEL, tone
from torch.nn.modules.module import register_module_forward_hook

from soundfusion_lib.corpora.splits import Split
from soundfusion_lib.models import AudioClassifier
from soundfusion_lib.signals.segments import Segmenting
from soundfusion_lib.training.experiments import Experiment
from soundfusion_lib.training.fitting import Training
from soundfusion_lib.training.inference import per_track
from soundfusion_lib.training.runs import Run
from soundfusion_lib.training.train import train_or_find
from soundfusion_lib.use.predict import predict
from soundfusion_lib.use.recognizer import BATCH

EXPERIMENT = Experiment(
    name="small",
    model="simple_cnn",
    representations=(SMALL_MEL,),
    segmenting=Segmenting(1.0, 0.0),
    split=Split("artist", 4),
    training=Training(epochs=2, batch_size=16, learning_rate=3e-3),
)


@pytest.fixture(scope="module")
def trained(store, tmp_path_factory) -> Run:
    return train_or_find(EXPERIMENT, store, tmp_path_factory.mktemp("runs"), torch.device("cpu"), progress=False)


@pytest.fixture(scope="module")
def of_whole_clips(store, tmp_path_factory) -> Run:
    experiment = replace(EXPERIMENT, name="whole", segmenting=Segmenting(2.0, None), training=Training(20, 20, 8, 3e-3))
    return train_or_find(experiment, store, tmp_path_factory.mktemp("runs"), torch.device("cpu"), progress=False)


@contextmanager
def outputs():
    """The probabilities that any whole network gives meanwhile, a batch after the other, each (segments, classes)."""
    seen: list[np.ndarray] = []

    def keep(module, inputs, logits):
        if isinstance(module, AudioClassifier):
            seen.append(logits.detach().softmax(1).numpy())

    handle = register_module_forward_hook(keep)
    try:
        yield seen
    finally:
        handle.remove()


def test_files_are_predicted_as_the_run_predicted_them(trained, corpus, tmp_path):
    (tmp_path / "broken.mp3").write_bytes(b"nothing")
    test = trained.predictions("test")
    track = test["track"].iloc[0]
    table = predict(
        corpus.file(track), tmp_path / "broken.mp3", tmp_path / "none.wav", model=trained.folder, device="cpu"
    )
    own = test[test["track"] == track]
    assert table["prediction"][0] == trained.info["genres"][per_track(own)["vote"].item()]
    assert table["segments"].tolist() == [len(own), 0, 0]
    mean = own["p_" + table["prediction"][0]].mean()
    assert table["probability"][0] == pytest.approx(mean, abs=2e-3)  # training may predict in bfloat16
    assert table["error"][1].startswith("cannot be decoded") and table["error"][2] == "file not found"


def test_a_long_file_is_predicted_some_segments_at_a_time(trained, tmp_path):
    random = np.random.default_rng(0)
    seconds = 3 * BATCH + 5.5  # of sounds that change, so that segments out of order would be noticed
    samples = np.concatenate([tone("low", 40, RATE, random), tone("noise", seconds - 40, RATE, random)])
    soundfile.write(tmp_path / "long.wav", samples, RATE)
    with outputs() as batches:
        table = predict(tmp_path / "long.wav", model=trained.folder, device="cpu")
    assert [len(batch) for batch in batches] == [BATCH, BATCH, BATCH, 5]
    probabilities = np.concatenate(batches)
    chosen = [trained.info["genres"][k] for k in probabilities.argmax(1)]
    assert table["segments"][0] == len(chosen) == 3 * BATCH + 5
    assert table["prediction"][0] == max(set(chosen), key=chosen.count)
    winner = trained.info["genres"].index(table["prediction"][0])
    assert table["probability"][0] == pytest.approx(probabilities[:, winner].mean(), abs=1e-6)


def test_a_file_s_tie_of_votes_goes_where_a_table_s_does(trained, tmp_path):
    """Files of one second of either sound: where the two votes differ, the surer one wins."""
    genres, ties = trained.info["genres"], []
    random = np.random.default_rng(0)
    for number in range(40):
        halves = [tone(label, 1.0, RATE, random) for label in random.choice(genres, 2, replace=False)]
        file = tmp_path / f"{number}.wav"
        soundfile.write(file, np.concatenate(halves), RATE)
        with outputs() as batches:
            table = predict(file, model=trained.folder, device="cpu")
        (probabilities,) = batches
        frame = pd.DataFrame(probabilities, columns=["p_" + genre for genre in genres])
        expected = per_track(frame.assign(track="t", segment=[0, 1], target=0))["vote"].item()
        assert table["prediction"][0] == genres[expected]
        first, second = sorted(probabilities.argmax(1))
        if first != second:
            ties.append(int(expected == second))
    assert 0 < sum(ties) < len(ties)  # neither the first of the alphabet nor the last


@pytest.mark.parametrize(
    "seconds, windows", [((0.8, 0), 1), ((2, 0.9), 1), ((2, 1), 2), ((2, 3.99), 3), ((2, 4), 3), ((2, 4.99), 3)]
)
def test_a_model_of_whole_clips_hears_a_longer_file_to_its_end(of_whole_clips, tmp_path, seconds, windows):
    random = np.random.default_rng(0)
    first, then = (tone(label, length, RATE, random) for label, length in zip(("low", "noise"), seconds, strict=True))
    soundfile.write(tmp_path / "two sounds.wav", np.concatenate([first, then]), RATE)
    with outputs() as batches:
        table = predict(tmp_path / "two sounds.wav", model=of_whole_clips.folder, device="cpu")
    heard = [of_whole_clips.info["genres"][k] for k in np.concatenate(batches).argmax(1)]
    assert table["segments"][0] == windows and table["error"][0] is None
    assert windows == 1 or (heard[0] == "low" and heard[2:] == ["noise"] * (windows - 2))
    assert windows < 3 or table["prediction"][0] == "noise"
