"""musicnn: filters shaped like timbre and like rhythm, and 50 tags learned from the Million Song Dataset.

Pons and Serra, "musicnn: Pre-trained convolutional neural networks for music audio tagging", ISMIR 2019 late-breaking.
Most filters of image networks are small squares. musicnn's first filters are as long as what they listen for: tall
and short ones (many mel bands, a tenth of a second) see the timbre of a moment, flat and long ones (one band, up to two
seconds) see how a band's energy moves in time. Each filter's output is its maximum over all mel bands: a timbre or a
beat is the same at any pitch.
"""

import zipfile
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import conv2d, max_pool2d, pad

from soundfusion_lib.datasets.download import Source, archive_of
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.models.base import AudioClassifier, read_weights
from soundfusion_lib.paths import data_dir, lock, whole, writing

MUSICNN = Source(  # licence: ISC, copyright Music Technology Group, Universitat Pompeu Fabra, 2019
    "musicnn",
    url="https://files.pythonhosted.org/packages/1b/6f/38229e7d99c438e11114bbfa39c8c39185458c398011d0b6d7d7c7401617/"
    "musicnn-0.1.0-py3-none-any.whl",
    needed=33_000_000,
    sha256="f38a4890c648c1ddbb141c5d96d2b0a8cfcd36746002d896989f7b88beb65cfa",
)
CHECKPOINT = "musicnn/MSD_musicnn/.data-00000-of-00001"  # within the wheel
SAMPLE_RATE, N_FFT, HOP, N_MELS = 16_000, 512, 256, 96  # a frame every 16 ms
SECONDS = 3.0  # of a segment; it was trained on 187 frames, 48,128 samples
FILTERS = ((204, 38, 7), (204, 67, 7), (51, 1, 128), (51, 1, 64), (51, 1, 32))  # number, mel bands, frames
MIDDLE, HIDDEN = 64, 200  # filters of each layer of the mid-end, units of the penultimate layer
EPSILON = 1e-3  # in TensorFlow's batch norm
TAGS = (
    "rock", "pop", "alternative", "indie", "electronic", "female vocalists", "dance", "00s", "alternative rock", "jazz",
    "beautiful", "metal", "chillout", "male vocalists", "classic rock", "soul", "indie rock", "Mellow", "electronica",
    "80s", "folk", "90s", "chill", "instrumental", "punk", "oldies", "blues", "hard rock", "ambient", "acoustic",
    "experimental", "female vocalist", "guitar", "Hip-Hop", "70s", "party", "country", "easy listening", "sexy",
    "catchy", "funk", "electro", "heavy metal", "Progressive rock", "60s", "rnb", "indie pop", "sad", "House", "happy",
)  # fmt: skip


class MusiCNN(AudioClassifier):
    """Front-end, mid-end and back-end of musicnn, its 50 tags, and a head for other labels; to evaluate, not to train.

    It takes the waveform, as the store's mel spectrograms lie on another mel scale and are rounded to float16.

    Shape: waveform (N, 1, L) at 16 kHz, L of 512 or more -> logits (N, num_classes); ``features`` (N, 250): the 200
    units of the penultimate layer, then the probabilities of `TAGS`.
    """

    inputs = ("waveform",)
    shortest = N_FFT
    stage_ends = ("front_end", "mid_end", "back_end", "tags")

    def __init__(self, num_classes: int) -> None:
        super().__init__({"waveform": 1}, HIDDEN + len(TAGS), num_classes, 0.0)
        self.log_mel = LogMel()
        self.front_end = FrontEnd()
        self.mid_end = MidEnd(sum(number for number, _, _ in FILTERS))
        self.back_end = BackEnd(sum(number for number, _, _ in FILTERS) + 3 * MIDDLE)
        self.tags = nn.Sequential(nn.Linear(HIDDEN, len(TAGS)), nn.Sigmoid())

    def embed(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):  # bfloat16 moves features
            x = self.log_mel(x.float())  # (N, 1, 96, T)
            x = self.front_end(x)  # (N, 561, T)
            x = self.mid_end(x)  # (N, 753, T)
            x = self.back_end(x)  # (N, 200)
            return torch.cat([x, self.tags(x)], 1)  # (N, 250)


class LogMel(nn.Module):
    """log10(10,000 power + 1) in 96 mel bands of Slaney's scale; no padding, so that segments begin and end as cut.

    Shape: (N, 1, L) in [-1, 1] -> (N, 1, 96, T), T = 1 + (L - 512) // 256.
    """

    def __init__(self) -> None:
        super().__init__()
        from torchaudio.transforms import MelSpectrogram  # here: torchaudio takes a second to import

        slaney = {"norm": "slaney", "mel_scale": "slaney"}
        self.mel = MelSpectrogram(SAMPLE_RATE, N_FFT, hop_length=HOP, n_mels=N_MELS, center=False, **slaney)

    def forward(self, x: Tensor) -> Tensor:
        return (10_000 * self.mel(x) + 1).log10()


def layer(convolution: nn.Module, normalization: nn.Module) -> nn.Sequential:
    """Convolution, ReLU and, behind it, batch norm."""
    return nn.Sequential(convolution, nn.ReLU(inplace=True), normalization)


class FrontEnd(nn.Module):
    """Timbre and time: each filter's maximum over the mel bands, for every frame, (N, 1, 96, T) -> (N, 561, T)."""

    def __init__(self) -> None:
        super().__init__()
        self.normalize = nn.BatchNorm2d(1, EPSILON)
        self.layers = nn.ModuleList(
            layer(nn.Conv2d(1, number, (bands, frames)), nn.BatchNorm2d(number, EPSILON))
            for number, bands, frames in FILTERS
        )

    def forward(self, x: Tensor) -> Tensor:
        segments = self.normalize(x).split(1)  # as maps of 9 MB each are slow in batches
        return torch.cat([torch.cat([self.maximum(filters, x) for filters in self.layers], 1) for x in segments])

    def maximum(self, filters: nn.Sequential, x: Tensor) -> Tensor:
        """(N, 1, 96, T) -> (N, filters, T); zeros on both sides keep T. The maximum comes before ReLU and batch norm,
        which, in evaluation, keep the order of values, or turn it: then the minimum comes."""
        convolution, relu, norm = filters
        frames, turned = convolution.kernel_size[1], torch.where(norm.weight < 0, -1.0, 1.0)
        weight, bias = convolution.weight * turned[:, None, None, None], convolution.bias * turned
        x = conv2d(pad(x, ((frames - 1) // 2, frames // 2)), weight, bias)  # (N, filters, 97 - bands, T)
        x = max_pool2d(x, (x.shape[2], 1)).squeeze(2)  # in channels_last many times faster than amax
        return norm(relu(x * turned[:, None]).unsqueeze(2)).squeeze(2)


class MidEnd(nn.Module):
    """Three layers over 7 frames, the second and third with a shortcut; what each gives stands beside its input:
    (N, channels, T) -> (N, channels + 192, T)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            layer(nn.Conv1d(inputs, MIDDLE, 7, padding=3), nn.BatchNorm1d(MIDDLE, EPSILON))
            for inputs in (channels, MIDDLE, MIDDLE)
        )

    def forward(self, x: Tensor) -> Tensor:
        first, second, third = self.layers
        outputs = [x, first(x)]
        for residual in (second, third):
            outputs.append(outputs[-1] + residual(outputs[-1]))
        return torch.cat(outputs, 1)


class BackEnd(nn.Module):
    """Maximum and mean of each channel over time, then the penultimate dense layer: (N, channels, T) -> (N, 200)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.normalize = nn.BatchNorm1d(2 * channels, EPSILON)
        self.dense = layer(nn.Linear(2 * channels, HIDDEN), nn.BatchNorm1d(HIDDEN, EPSILON))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.stack([x.amax(2), x.mean(2)], 2).flatten(1)  # maximum 1, mean 1, maximum 2, ...: (N, 2 channels)
        return self.dense(self.normalize(x))


def musicnn_file() -> Path:
    """Where `soundfusion download musicnn` puts the weights."""
    return data_dir() / "musicnn.safetensors"


def load_musicnn(model: MusiCNN) -> None:
    """Start from musicnn trained on the Million Song Dataset, all but the head. Raises SoundFusionError where
    `musicnn_file` is not there, or its content does not fit."""
    file = musicnn_file()
    if not file.is_file():
        raise SoundFusionError(f"no musicnn weights at {file}: `soundfusion download musicnn` brings them (29 MB)")
    model.load_weights(read_weights(file), str(file), ("head.", "standardize.", "log_mel.", "num_batches_tracked"))


def download_musicnn(source: Source = MUSICNN) -> Path:
    """Bring the weights into the data folder, out of musicnn's wheel on PyPI; returns the file, which is whole or
    absent. Raises SoundFusionError as `datasets.download.download`."""
    if not (file := musicnn_file()).exists():
        with writing(file.parent), lock(file.with_name(f".{file.name}.lock")):
            wheel = archive_of(source, file.parent)
            with zipfile.ZipFile(wheel) as archive, whole(file) as aside:
                save_file(converted(archive.read(CHECKPOINT)), aside)
            wheel.unlink()
    return file


def variables() -> dict[str, str]:
    """The names of our parameters by TensorFlow's, which numbers layers of a kind in the order in which they are
    built."""
    layers = [f"front_end.layers.{number}" for number in range(len(FILTERS))]
    layers += [f"mid_end.layers.{number}" for number in range(3)]
    norms = ["front_end.normalize", *(f"{layer}.2" for layer in layers), "back_end.normalize", "back_end.dense.2"]
    weights = {"kernel": "weight", "bias": "bias"}
    statistics = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
    convolutions, dense = [f"{layer}.0" for layer in layers], ["back_end.dense.0", "tags.0"]
    kinds = {"conv2d": convolutions, "dense": dense, "batch_normalization": norms}
    return {
        f"{kind}_{number}/{theirs}".replace("_0/", "/"): f"{module}.{ours}"
        for kind, modules in kinds.items()
        for number, module in enumerate(modules)
        for theirs, ours in (statistics if modules is norms else weights).items()
    }


def converted(checkpoint: bytes) -> dict[str, Tensor]:
    """The weights of `MusiCNN` from the data of a TensorFlow checkpoint.

    Its variables, float32, lie one behind the other in the order of their names; behind each that was trained are two
    of the optimizer's, and before the convolutions two numbers. Their axes are ours in reverse order.
    """
    values, weights, state = torch.frombuffer(bytearray(checkpoint), dtype=torch.float32), {}, MusiCNN(1).state_dict()
    for theirs, ours in sorted(variables().items()):
        shape = state[ours].shape[::-1]
        if theirs == "conv2d/bias":
            values = values[2:]
        weights[ours] = values[: shape.numel()].view(shape).permute(*reversed(range(len(shape)))).contiguous()
        values = values[shape.numel() * (1 if "moving" in theirs else 3) :]
    return weights
