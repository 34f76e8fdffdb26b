"""A trained network as an ONNX graph that takes samples: the spectrogram is inside it.

A batch is a file: its segments together set the floor, `top_db` below the loudest value, which in training is the whole
clip's. The edges of each segment are reflected, where `Recognizer` cuts segments from the file's spectrogram.
"""

import importlib.util
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from soundfusion_lib.audio.representations import MelSpectrogram, Representation
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.models import AudioClassifier
from soundfusion_lib.training.experiment import Experiment

ONNX = "model.onnx"
TOLERANCE = 1e-4  # of a probability
NOTE = (
    "The spectrogram is inside the graph. Give it the segments of one file as one batch: the loudest of them sets the "
    "spectrogram's floor, as in training. It hears the edges of a segment reflected, where `predict` hears what comes "
    "before and after, so that probabilities differ in the second decimal."
)


class _MelOfBatch(nn.Module):
    """Mel spectrograms with one floor: samples (N, channels, time) -> (N, channels, mel bands, frames) in dB."""

    def __init__(self, spec: MelSpectrogram) -> None:
        super().__init__()
        self.module, self.channels = spec.module(), spec.channels

    def forward(self, samples: Tensor) -> Tensor:
        return self.module(samples.flatten(0, 1)).unflatten(0, (-1, self.channels))  # as the channels of one clip


class FromSamples(nn.Module):
    """The network with its spectrogram in front, ending in probabilities.

    Args:
        model: in evaluation mode.
        specs: the representations of its inputs, in their order.

    Shape: for each name in ``names``, samples (N, channels, time), full scale at +-1, at the name's rate ->
    probabilities (N, num_classes).
    """

    def __init__(self, model: AudioClassifier, specs: list[Representation]) -> None:
        super().__init__()
        self.model = model
        self.front = nn.ModuleList(_MelOfBatch(spec) if spec.kind == "mel" else nn.Identity() for spec in specs)
        named = {_name(spec): spec for spec in specs}
        self.names = list(named)
        self.source = [self.names.index(_name(spec)) for spec in specs]  # representations may share samples

    def forward(self, *samples: Tensor) -> Tensor:
        inputs = [front(samples[source]) for front, source in zip(self.front, self.source, strict=True)]
        return self.model(*inputs).softmax(1)


def write_onnx(model: AudioClassifier, experiment: Experiment, file: Path) -> dict[str, Any]:
    """Write the graph, and, where onnxruntime is installed, see that it gives what PyTorch gives, to `TOLERANCE`.

    Args:
        model: on the CPU, in evaluation mode.
        experiment: its representations and how a file is cut.
        file: to write.

    Returns:
        As JSON can hold it: file; inputs, with the shape of each and what it is; note; difference, the largest from
        PyTorch's probabilities, None where it was not measured.

    Raises:
        SoundFusionError: it differs by more.
    """
    by_kind = {spec.kind: spec for spec in experiment.representations}
    specs = [by_kind[kind] for kind in model.inputs]
    graph = FromSamples(model, specs).eval()
    channels = {_name(spec): spec.channels for spec in specs}
    lengths = {_name(spec): int(experiment.segmenting.seconds * spec.sample_rate) for spec in specs}
    examples = _examples([(channels[name], lengths[name]) for name in graph.names], 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's exporter warns of its own parts
        batch = torch.export.Dim("segments")
        torch.onnx.export(
            graph,
            tuple(examples),
            file,
            input_names=graph.names,
            output_names=["probabilities"],
            dynamic_shapes={"samples": tuple({0: batch} for _ in examples)},
            external_data=False,
            verbose=False,
        )
    shapes = {name: ["segments", channels[name], lengths[name]] for name in graph.names}
    what = f"{experiment.segmenting.seconds:g} s of samples, float32, full scale at +-1"
    inputs = {name: {"shape": shape, "what": what} for name, shape in shapes.items()}
    return {"file": file.name, "inputs": inputs, "note": NOTE, "difference": _difference(graph, file, examples)}


def _name(spec: Representation) -> str:
    """What the samples are that a representation is made of: mono_22050, stereo_44100."""
    return f"{'mono' if spec.channels == 1 else 'stereo'}_{spec.sample_rate}"


def _examples(shapes: list[tuple[int, int]], count: int) -> list[Tensor]:
    """So many segments of noise, from quiet to loud, of each shape (channels, time)."""
    random = torch.Generator().manual_seed(0)
    loudness = torch.logspace(-2, -0.5, count)[:, None, None]
    return [0.5 * loudness * torch.randn(count, *shape, generator=random) for shape in shapes]


def _difference(graph: FromSamples, file: Path, examples: list[Tensor]) -> float | None:
    if importlib.util.find_spec("onnxruntime") is None:
        return None
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    largest = 0.0
    for count in (1, 3):  # batches of other sizes than the one that was traced
        samples = _examples([tuple(one.shape[1:]) for one in examples], count)
        with torch.inference_mode():
            expected = graph(*samples).numpy()
        named = dict(zip(graph.names, (one.numpy() for one in samples), strict=True))
        [given] = session.run(None, named)
        largest = max(largest, float(np.abs(given - expected).max()))
    if largest > TOLERANCE:
        raise SoundFusionError(f"the ONNX graph differs from the network by {largest:.1e}: no export is written")
    return largest
