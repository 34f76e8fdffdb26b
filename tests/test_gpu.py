"""What only a GPU can show; `bash benchmarks/gpu.sh` runs these first."""

import pytest
import torch
from conftest import NARROW, SPECS, interrupted_after

from soundfusion_lib.audio import segments as segments_module
from soundfusion_lib.audio.segments import Segmenting, Segments
from soundfusion_lib.audio.store import Store, StoredArray
from soundfusion_lib.models import MODELS, build_model
from soundfusion_lib.training.inference import log_probabilities
from soundfusion_lib.training.loop import Training, fit

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
GPU = torch.device("cuda")
SHORT = Training(epochs=3, patience=3, batch_size=16, learning_rate=1e-3)


def prepared(store, name: str, device=GPU):
    """A narrow network, training and validation segments."""
    segments = [Segments(store, store.tracks.index[some::2], MODELS[name].inputs, Segmenting(1.0, 0.0), device)
                for some in (0, 1)]  # fmt: skip
    torch.manual_seed(0)
    bands = {} if name == "resnet1d" or name.startswith("fusion") else {"n_mels": SPECS[1].n_mels}
    model = build_model(name, len(store.labels), **NARROW[name], **bands)
    model.set_statistics(segments[0].statistics())
    return model, *segments


@pytest.mark.parametrize("name", sorted({"simple_cnn", "resnet1d", "resnet2d", "nnet2", "vgg16"}))
def test_a_network_learns_there_and_tells_the_cpu_the_same(store, cpu, name):
    model, train, validation = prepared(store, name)
    fitted = fit(model, train, validation, SHORT, progress=False)
    assert fitted.history["train_loss"].iloc[-1] < fitted.history["train_loss"].iloc[0]
    assert fitted.log_probabilities.device.type == "cuda"
    _, _, at_home = prepared(store, name, cpu)
    apart = log_probabilities(model.to(cpu), at_home).exp() - fitted.log_probabilities.exp().to(cpu)
    assert apart.abs().max() < 0.05  # bfloat16


def test_batches_from_main_memory_are_gathered_ahead_and_equal_those_in_the_gpu_s(store, monkeypatch):
    _, resident, _ = prepared(store, "resnet2d")
    monkeypatch.setattr(segments_module, "fits", lambda *_: False)
    arrays = {kind: StoredArray(*array.__reduce__()[1]) for kind, array in store.arrays.items()}
    _, pinned, _ = prepared(Store(store.corpus, arrays), "resnet2d")
    assert (resident.ahead, pinned.ahead) == (0, segments_module.AHEAD)
    assert pinned._windows[0].gather(torch.arange(2), pinned._windows[0].start[:2]).is_pinned()
    batches = [segments.batches(16, torch.Generator().manual_seed(0)) for segments in (resident, pinned)]
    for ((one,), targets), ((other,), also) in zip(*batches, strict=True):
        assert torch.equal(one, other) and torch.equal(targets, also) and other.is_cuda


def test_an_interrupted_training_goes_on_there(store, tmp_path):
    model, *segments = prepared(store, "simple_cnn")
    with interrupted_after(2):
        fit(model, *segments, SHORT, checkpoint=tmp_path / "checkpoint.pt", progress=False)
    model, *segments = prepared(store, "simple_cnn")
    fitted = fit(model, *segments, SHORT, checkpoint=tmp_path / "checkpoint.pt", progress=False)
    assert fitted.history["epoch"].tolist() == [1, 2, 3]
