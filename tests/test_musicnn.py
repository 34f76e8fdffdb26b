"""musicnn: its weights out of the wheel, its layers, and its numbers, which are those of the TensorFlow original."""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file
from test_download import Handler, names, site, zipped  # noqa: F401

from soundfusion_lib import SoundFusionError, count_parameters
from soundfusion_lib.cli import main
from soundfusion_lib.datasets import download
from soundfusion_lib.datasets.download import Source
from soundfusion_lib.models.musicnn import CHECKPOINT, FILTERS, TAGS, MusiCNN, download_musicnn, load_musicnn, variables

REFERENCE = Path(__file__).with_name("musicnn_reference.csv")  # TensorFlow 2.21 on the wheel's graph and checkpoint
PATCH = 48_128  # samples of 187 frames


def random_model() -> MusiCNN:
    """All of it random, batch norm and its statistics too."""
    torch.manual_seed(0)
    model = MusiCNN(8).eval()
    for name, value in model.state_dict().items():
        if value.is_floating_point() and not name.startswith(("standardize", "log_mel")):
            value.copy_(torch.rand_like(value) * 0.1 + 0.5 * ("running_var" in name))
    return model


def checkpoint(model: MusiCNN) -> bytes:
    """A model's weights as TensorFlow lays them out, with Adam's two averages of each and its two powers."""
    trained, data = dict(model.named_parameters()), {"beta1_power": b"\xff" * 4, "beta2_power": b"\xff" * 4}
    for theirs, ours in variables().items():
        values = model.state_dict()[ours].numpy().T.tobytes()
        data[theirs] = values + 2 * len(values) * b"\xff" * (ours in trained)
    return b"".join(data[name] for name in sorted(data))


def test_the_maximum_before_batch_norm_is_the_one_behind_it_for_scales_of_both_signs():
    model, x = random_model(), torch.randn(2, 1, 96, 200)
    for layer in model.front_end.layers:
        layer[2].weight.data = torch.randn_like(layer[2].weight)
        frames = layer[0].kernel_size[1]
        behind = layer(torch.nn.functional.pad(x, ((frames - 1) // 2, frames // 2))).amax(2)
        torch.testing.assert_close(model.front_end.maximum(layer, x), behind)


def test_a_checkpoint_comes_out_of_its_wheel_as_the_network_that_went_in(site, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setenv("SOUNDFUSION_DATA", str(tmp_path))
    model, loaded = random_model(), MusiCNN(3).eval()
    with pytest.raises(SoundFusionError, match=r"no musicnn weights at .*`soundfusion download musicnn` brings them"):
        load_musicnn(loaded)
    site.body = zipped({CHECKPOINT: checkpoint(model)})
    url = f"http://127.0.0.1:{site.port}/musicnn-0.1.0-py3-none-any.whl"
    source = Source("musicnn", url, 20_000_000, sha256=hashlib.sha256(site.body).hexdigest())
    assert download_musicnn(source) == tmp_path / "musicnn.safetensors" and names(tmp_path) == {"musicnn.safetensors"}
    assert download_musicnn(source) == tmp_path / "musicnn.safetensors" and len(site.asked) == 1
    load_musicnn(loaded)
    x = 0.1 * torch.randn(2, 1, 9_000)
    assert torch.equal(loaded.features(x), model.features(x))
    (tmp_path / "musicnn.safetensors").write_bytes(b"damaged")
    with pytest.raises(SoundFusionError, match="cannot be read"):
        load_musicnn(loaded)


def test_layers_are_the_papers():
    model = MusiCNN(8)
    assert count_parameters(model) == 787_159 + 251 * 8 and len(set(TAGS)) == 50
    shapes, x = {}, torch.zeros(2, 1, PATCH)
    for name in ("log_mel", *model.stage_ends):
        model.get_submodule(name).register_forward_hook(lambda _, __, out, name=name: shapes.update({name: out.shape}))
    assert model.eval()(x).shape == (2, 8) and model.features(x).shape == (2, 250) and model.num_features == 250
    expected = [(1, 96, 187), (561, 187), (753, 187), (200,), (50,)]
    assert [tuple(shape[1:]) for shape in shapes.values()] == expected
    assert list(model.stages()) == ["block 1", "block 2", "block 3", "block 4"]
    assert model(torch.zeros(1, 1, 512)).shape == (1, 8)  # one frame
    with pytest.raises(SoundFusionError, match="512 or more, got 511"):
        model(torch.zeros(1, 1, 511))


@pytest.mark.parametrize("number", range(len(FILTERS)))
def test_a_filter_sees_as_many_frames_as_it_is_long(number):
    """An even filter has one frame more ahead than behind."""
    model, frames = random_model(), FILTERS[number][2]
    x = torch.zeros(2, 1, 96, 300)
    x[1, 0, 50, 150] = 1.0
    silence, click = (model.front_end.maximum(model.front_end.layers[number], one[None]) for one in x)
    changed = (click != silence).any(1)[0].nonzero().flatten()
    assert changed.tolist() == list(range(150 - frames // 2, 150 + (frames - 1) // 2 + 1))


@pytest.fixture(scope="session")
def weights(request):
    """The published weights, downloaded as a user would, once: they stay in pytest's cache."""
    folder = request.config.cache.mkdir("musicnn")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOUNDFUSION_DATA", str(folder))
        patch.setattr(download, "ATTEMPTS", 1)
        result = CliRunner().invoke(main, ["download", "musicnn"])
    if "did not arrive" in result.output:
        pytest.skip(f"PyPI cannot be reached: {result.output}")
    assert result.exit_code == 0, result.output
    return folder / "musicnn.safetensors"


def test_equal_to_the_tensorflow_original(weights, monkeypatch):
    monkeypatch.setenv("SOUNDFUSION_DATA", str(weights.parent))
    time = np.arange(PATCH) / 16_000
    chirp = 0.5 * np.sin(2 * np.pi * (100 * time + 1000 * time**2))
    noise = np.random.default_rng(0).normal(0, 0.1, PATCH)
    model = MusiCNN(8).eval()
    load_musicnn(model)
    with torch.inference_mode():
        features = model.features(torch.from_numpy(np.stack([chirp, noise])[:, None].astype(np.float32)))
    expected = pd.read_csv(REFERENCE, index_col="feature")
    assert tuple(expected.index[200:]) == TAGS
    np.testing.assert_allclose(features[:, :200].T, expected[:200], rtol=0, atol=1e-4)
    np.testing.assert_allclose(features[:, 200:].T, expected[200:], rtol=0, atol=1e-5)
    assert not any(name.startswith("head") for name in load_file(weights))
