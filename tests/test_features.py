from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import SMALL_MEL

from soundfusion_lib import SoundFusionError, build_model
from soundfusion_lib.audio.representations import Waveform
from soundfusion_lib.audio.segments import Segmenting
from soundfusion_lib.audio.store import Store
from soundfusion_lib.datasets import Corpus
from soundfusion_lib.training.features import LEVEL, SPREAD, features

CUT = Segmenting(1.0, 0.25)


@pytest.fixture
def network():
    torch.manual_seed(0)
    return build_model("resnet2d", 3, in_channels=2, n_mels=32, width=4)


def extracted(store, model, folder, cut=CUT, standardizes=False):
    return features(store, model, cut, folder, torch.device("cpu"), standardizes=standardizes, progress=False)


def test_features_are_the_pooled_outputs_of_the_stages(store, network, tmp_path, monkeypatch):
    monkeypatch.setattr("soundfusion_lib.training.features.autocast", lambda device: nullcontext())
    computed = extracted(store, network, tmp_path)
    assert list(computed.blocks) == list(network.stages()) and computed.core_seconds > 0
    number, track = 5, store.tracks.index[5]
    array = store.arrays["mel"]
    clip = torch.from_numpy(array.clip(track).astype(np.float32)) * array.representation.scale  # (frames, 2, bands)
    clip = (clip - LEVEL) / SPREAD
    length = array.representation.frames(1.0)
    seconds = store.tracks.loc[track, "seconds"]
    starts = [array.representation.position(second) for second in range(int(seconds))]  # they do not overlap
    segments = torch.stack([clip[start : start + length].permute(1, 2, 0) for start in starts])
    outputs = {}
    for name, stage in network.eval().stages().items():
        stage.register_forward_hook(lambda _, __, output, name=name: outputs.update({name: output}))
    with torch.inference_mode():
        network.features(segments)
    for name, output in outputs.items():
        pooled = torch.cat([output.mean((2, 3)), output.amax((2, 3))], 1)
        expected = torch.cat([pooled.mean(0), pooled.std(0, correction=0)])
        np.testing.assert_allclose(computed.blocks[name][number], expected, rtol=1e-3, atol=1e-4)


def test_only_clips_that_a_network_has_not_met_are_computed(corpus, store, network, tmp_path, monkeypatch):
    whole = extracted(store, network, tmp_path / "whole")
    few = Corpus("few", corpus.root, corpus.tracks[::3])
    some = Store.build(few, [SMALL_MEL], tmp_path / "store", shortest=1.0, workers=1, progress=False)
    extracted(some, network, tmp_path / "grown")
    computed, inner = [], network.features
    monkeypatch.setattr(network, "features", lambda x: (computed.append(len(x)), inner(x))[1])
    grown = extracted(store, network, tmp_path / "grown")
    lengths = store.tracks.drop(some.tracks.index)["seconds"]
    assert sum(computed) == sum(len(replace(CUT, overlap=0.0).starts(seconds)) for seconds in lengths)
    for name, values in whole.blocks.items():
        np.testing.assert_allclose(grown.blocks[name], values, rtol=0.05, atol=0.05)  # bfloat16, other batches
    computed.clear()
    again = extracted(store, network, tmp_path / "grown")
    assert not computed and all(np.array_equal(again.blocks[name], grown.blocks[name]) for name in again.blocks)


def test_other_weights_another_cut_and_another_input_are_other_features(store, network, tmp_path):
    extracted(store, network, tmp_path)
    extracted(store, network, tmp_path, Segmenting(2.0, 0.25))
    with torch.no_grad():
        next(network.blocks.parameters()).mul_(2)
    extracted(store, network, tmp_path)
    with torch.no_grad():
        network.head.weight.mul_(2)  # behind the last stage: the same features
    extracted(store, network, tmp_path)
    assert len(list((tmp_path / "features").glob("*.parquet"))) == 3


def test_a_louder_clip_has_other_features_and_a_trained_network_standardises_itself(store, network, tmp_path):
    quiet = extracted(store, network, tmp_path)
    array = store.arrays["mel"]
    louder = replace(array)
    louder.__dict__["data"] = array.data + np.asarray(6 / array.representation.scale, array.data.dtype)
    loud = extracted(Store(store.corpus, store.arrays | {"mel": louder}), network, tmp_path / "loud")
    assert not np.allclose(loud.blocks["block 1"], quiet.blocks["block 1"], rtol=0.05, atol=5e-4)
    network.set_statistics({"mel": (torch.full((32,), LEVEL), torch.full((32,), SPREAD))})  # as a training part does
    trained = extracted(store, network, tmp_path, standardizes=True)
    np.testing.assert_allclose(trained.blocks["block 1"], quiet.blocks["block 1"], rtol=0.02, atol=1e-3)


def test_features_of_a_waveform_of_a_whole_clip_and_not_of_a_shorter_one(store, tmp_path):
    torch.manual_seed(0)
    assert store.arrays["waveform"].representation == Waveform()
    heard = extracted(store, build_model("resnet1d", 3, width=4), tmp_path, Segmenting(2.0, 0.25))
    assert all(values.shape[0] == 36 and np.isfinite(values).all() for values in heard.blocks.values())
    network = build_model("simple_cnn", 3, in_channels=2, n_mels=32)
    seen = extracted(store, network, tmp_path, Segmenting(4.0, None))
    last = seen.blocks["block 4"]
    assert (last[:, last.shape[1] // 2 :] == 0).all()  # one segment a clip: it has no deviation
    with pytest.raises(SoundFusionError, match=r"9 clips, 'high00' first, .*: \[segmenting\] seconds = 4.1 in .* out"):
        extracted(store, network, tmp_path, Segmenting(4.1, 0.25))
