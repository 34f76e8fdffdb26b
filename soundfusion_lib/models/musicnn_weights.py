"""musicnn's weights: out of its wheel on PyPI, from TensorFlow's layout into ours."""

import struct
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from soundfusion_lib.datasets.download import Source, archive_of, only_process
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.models.musicnn import FILTERS, musicnn_file
from soundfusion_lib.paths import whole

CITATION = (
    "Pons and Serra, musicnn: Pre-trained convolutional neural networks for music audio tagging, "
    "ISMIR 2019 late-breaking"
)
LICENCE = "ISC, copyright Music Technology Group, Universitat Pompeu Fabra, 2019"
MUSICNN = Source(
    "musicnn",
    url="https://files.pythonhosted.org/packages/1b/6f/38229e7d99c438e11114bbfa39c8c39185458c398011d0b6d7d7c7401617/"
    "musicnn-0.1.0-py3-none-any.whl",
    needed=33_000_000,
    sha256="f38a4890c648c1ddbb141c5d96d2b0a8cfcd36746002d896989f7b88beb65cfa",
)
CHECKPOINT = "musicnn/MSD_musicnn/.index", "musicnn/MSD_musicnn/.data-00000-of-00001"
# TensorFlow numbers layers of a kind in the order in which they are built
LAYERS = [f"front_end.layers.{number}" for number in range(len(FILTERS))] + [f"mid_end.layers.{n}" for n in range(3)]
CONVOLUTIONS = [f"{layer}.0" for layer in LAYERS]
DENSE = ["back_end.dense.0", "tags.0"]
NORMS = ["front_end.normalize", *(f"{layer}.2" for layer in LAYERS), "back_end.normalize", "back_end.dense.2"]
OF_NORM = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}


def download_musicnn(source: Source = MUSICNN) -> Path:
    """Bring the weights into the data folder, converted; returns the file, which is whole or absent.

    Raises:
        SoundFusionError: as `datasets.download.download`.
    """
    file = musicnn_file()
    if file.exists():
        print(f"{source.name}: {file} is there already, nothing to do")
        return file
    with only_process(source.name, file):
        wheel = archive_of(source, file.parent)
        try:
            with zipfile.ZipFile(wheel) as archive:
                weights = converted(read_checkpoint(*(archive.read(name) for name in CHECKPOINT)))
        except (zipfile.BadZipFile, KeyError, ValueError) as error:
            raise SoundFusionError(f"{source.name}: {wheel} holds no such checkpoint: {error}") from error
        with whole(file) as aside:
            save_file(weights, aside)
        wheel.unlink()
    print(f"{source.name}: converted to {file}; deleted the wheel")
    return file


def converted(variables: dict[str, np.ndarray]) -> dict[str, Tensor]:
    """TensorFlow's variables under the names and in the layout of `MusiCNN`."""
    weights = {}
    for kind, layers in {"conv2d": CONVOLUTIONS, "dense": DENSE}.items():
        for number, layer in enumerate(layers):
            name = f"{kind}_{number}" if number else kind
            kernel = variables[f"{name}/kernel"].T  # (frames, bands, 1, filters) -> (filters, 1, bands, frames)
            weights[f"{layer}.weight"] = kernel.squeeze(1) if layer.startswith("mid_end") else kernel
            weights[f"{layer}.bias"] = variables[f"{name}/bias"]
    for number, layer in enumerate(NORMS):
        name = f"batch_normalization_{number}" if number else "batch_normalization"
        weights |= {f"{layer}.{ours}": variables[f"{name}/{theirs}"] for theirs, ours in OF_NORM.items()}
    return {name: torch.from_numpy(value.copy()) for name, value in weights.items()}


def read_checkpoint(index: bytes, data: bytes) -> dict[str, np.ndarray]:
    """The float32 variables of a TensorFlow checkpoint by name, without TensorFlow.

    Args:
        index: of the .index file, an uncompressed LevelDB table; a value is a protocol buffer, BundleEntryProto, that
            says where in the data a variable lies.
        data: of the .data-00000-of-00001 file.
    """
    footer, variables = BytesIO(index[-48:]), {}
    _varint(footer), _varint(footer)  # where a block is that we do not need; behind it, where the block of blocks is
    for _, handle in _block(index, footer):
        for name, value in _block(index, BytesIO(handle)):
            entry = _message(value)
            if name and entry[1] == [1]:  # the table begins with a header without a name; type 1 is float32
                shape = [_message(size)[1][0] for size in _message(entry[2][0])[2]]
                (offset,), (size,) = entry[4] or [0], entry[5]  # a 0 is not written
                variables[name.decode()] = np.frombuffer(data, "<f4", size // 4, offset).reshape(shape)
    return variables


def _block(table: bytes, handle: BytesIO) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of the block that a handle points at. A key is written without what it shares with the last."""
    offset, size = _varint(handle), _varint(handle)
    content, key = BytesIO(table[offset : offset + size]), b""
    (restarts,) = struct.unpack("<I", content.getvalue()[-4:])
    while content.tell() < size - 4 * (restarts + 1):
        shared, rest, length = _varint(content), _varint(content), _varint(content)
        key = key[:shared] + content.read(rest)
        yield key, content.read(length)


def _message(content: bytes) -> dict[int, list]:
    """Values of a protocol buffer's fields by the fields' numbers."""
    stream, fields = BytesIO(content), defaultdict(list)
    while stream.tell() < len(content):
        number, kind = divmod(_varint(stream), 8)
        fields[number].append(_varint(stream) if kind == 0 else stream.read({1: 8, 5: 4}.get(kind) or _varint(stream)))
    return fields


def _varint(stream: BytesIO) -> int:
    """A whole number, 7 bits a byte, the lowest first; the last byte is below 128."""
    value = shift = 0
    while True:
        (byte,) = stream.read(1)  # raises ValueError at the end
        value, shift = value | (byte & 127) << shift, shift + 7
        if byte < 128:
            return value
