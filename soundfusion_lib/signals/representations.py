"""What a network hears: the waveform, or the mel spectrogram. Frozen specs, and the transform that each stands for.

An array of either is time-major, (time, channels, bands), so that a segment of a clip is one contiguous slice.
"""

from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
import torch

from soundfusion_lib import audio, settings

BLOCK = 256  # frames transformed at once: their spectra stay in the processor's cache
BANDS = 16  # mel bands summed up at once


@dataclass(frozen=True)
class Waveform:
    """The raw waveform: mono, int16 in the store, float32 with full scale +-1 as a network's input.

    Args:
        sample_rate: in Hz.
    """

    sample_rate: int = 22_050

    kind: ClassVar[str] = "waveform"
    dtype: ClassVar[str] = "int16"
    bands: ClassVar[int] = 1
    channels: ClassVar[int] = 1
    scale: ClassVar[float] = 1 / 32_768

    def __post_init__(self):
        settings.check(vars(self), "Waveform:")

    @property
    def slug(self) -> str:
        """Name that says everything the array depends on."""
        return f"waveform-{self.sample_rate}"

    def frames(self, seconds: float) -> int:
        """Samples in so many seconds."""
        return int(seconds * self.sample_rate)

    def position(self, seconds: float) -> int:
        """Index of the sample at this time."""
        return int(seconds * self.sample_rate)

    def transform(self, samples: np.ndarray, sample_rate: int) -> np.ndarray:
        """Samples (time, channels), float32, at `sample_rate` Hz -> (time, 1, 1), int16."""
        mono = audio.resample(audio.to_channels(samples, 1), sample_rate, self.sample_rate)
        scaled = torch.from_numpy(mono).mul(32_768).round_().clamp_(-32_768, 32_767)
        return scaled.to(torch.int16).numpy()[:, :, None]

    def silence(self, array: np.ndarray) -> float:
        """The value that silence has in a clip's array."""
        return 0.0


@dataclass(frozen=True)
class MelSpectrogram:
    """Log-mel spectrogram in dB, as torchaudio's MelSpectrogram followed by AmplitudeToDB("power") gives it:
    Hann window, centred frames with reflected edges, power, HTK mel scale from 0 Hz to half the sample rate, no
    normalisation, at most `top_db` below the clip's loudest value. float16 in the store.

    Args:
        sample_rate: in Hz.
        channels: 1 (mean of the channels) or 2 (left, right; a mono clip is duplicated).
        n_mels: mel bands.
        n_fft: window, in samples.
        hop_length: in samples.
        top_db: in dB.

    The defaults are the report's; `MelSpectrogram(22_050, 1, 128)` is what its authors' ResNet2D was fed.
    Source: torchaudio.transforms; the mel scale is O'Shaughnessy's, Speech Communication, 1987.
    """

    sample_rate: int = 44_100
    channels: int = 2
    n_mels: int = 64
    n_fft: int = 1024
    hop_length: int = 512
    top_db: float = 80.0

    kind: ClassVar[str] = "mel"
    dtype: ClassVar[str] = "float16"
    scale: ClassVar[float] = 1.0

    def __post_init__(self):
        settings.check(vars(self), "MelSpectrogram:")

    @property
    def bands(self) -> int:
        return self.n_mels

    @property
    def slug(self) -> str:
        """Name that says everything the array depends on."""
        return (
            f"mel-{self.sample_rate}-{self.channels}ch-{self.n_mels}-{self.n_fft}-{self.hop_length}-{self.top_db:g}db"
        )

    def frames(self, seconds: float) -> int:
        """Frames in so many seconds."""
        return 1 + int(seconds * self.sample_rate) // self.hop_length

    def position(self, seconds: float) -> int:
        """Index of the last frame centred at or before this time."""
        return int(seconds * self.sample_rate) // self.hop_length

    def transform(self, samples: np.ndarray, sample_rate: int) -> np.ndarray:
        """Samples (time, channels), float32, at `sample_rate` Hz -> (frames, channels, mel bands) in dB, float16."""
        return self.decibels(samples, sample_rate).half().numpy()

    def decibels(self, samples: np.ndarray, sample_rate: int) -> torch.Tensor:
        """As `transform`, before rounding to float16: (frames, channels, mel bands), dB, float32."""
        samples = audio.resample(audio.to_channels(samples, self.channels), sample_rate, self.sample_rate)
        window, filters = _window_and_filters(self.sample_rate, self.n_mels, self.n_fft)
        half = self.n_fft // 2
        short = half + 1 - len(samples)  # reflection needs more samples than it adds
        if short > 0:
            samples = np.pad(samples, ((0, short), (0, 0)))
        padded = np.empty((self.channels, len(samples) + 2 * half), np.float32)
        padded[:, half:-half] = samples.T
        padded[:, :half] = samples[half:0:-1].T
        padded[:, -half:] = samples[-2 : -half - 2 : -1].T
        strided = torch.from_numpy(padded).unfold(1, self.n_fft, self.hop_length)  # (channels, frames, n_fft), a view
        power = np.empty((strided.shape[1], self.channels, self.n_mels), np.float32)
        windowed = torch.empty(BLOCK, self.n_fft)
        for channel, frames in enumerate(strided):
            for start in range(0, len(frames), BLOCK):
                block = frames[start : start + BLOCK]
                spectrum = torch.fft.rfft(torch.mul(block, window, out=windowed[: len(block)]))
                squares = torch.view_as_real(spectrum).square_().flatten(1).numpy()  # (frames, 2 x bins)
                for bands, span, weights in filters:
                    np.matmul(squares[:, span], weights, out=power[start : start + BLOCK, channel, bands])
        decibels = torch.from_numpy(power).clamp_(min=1e-10).log10_().mul_(10)
        return decibels.clamp_(min=decibels.max() - self.top_db)

    def silence(self, array: np.ndarray) -> float:
        """The value that silence has in a clip's array, in dB: `top_db` below its loudest."""
        return float(torch.from_numpy(array).max()) - self.top_db


Representation = Waveform | MelSpectrogram


@lru_cache(maxsize=8)
def _window_and_filters(sample_rate: int, n_mels: int, n_fft: int):
    """The window; and triangular filters of the HTK mel scale, some bands at a time, as these leave most of the spectrum out:
    slices of the bands and of the spectrum's squares, and the weights between them, (squares, bands).

    The squares of a bin's real and imaginary part stand side by side, and their sum is its power.
    """
    highest = 2595 * np.log10(1 + sample_rate / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, highest, n_mels + 2) / 2595) - 1)  # in Hz
    bins = np.linspace(0, sample_rate / 2, n_fft // 2 + 1).repeat(2)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    weights = np.minimum(rising, falling).clip(0).astype(np.float32)  # (squares, bands)
    filters = []
    for first in range(0, n_mels, BANDS):
        bands = slice(first, first + BANDS)
        used = np.flatnonzero(weights[:, bands].any(1))
        span = slice(used[0], used[-1] + 1) if len(used) else slice(0, 1)  # a short window may have no bin for them
        filters.append((bands, span, weights[span, bands].copy()))
    return torch.hann_window(n_fft), filters


def from_dict(spec: dict) -> Representation:
    """The inverse of `to_dict`."""
    spec = dict(spec)
    return {"waveform": Waveform, "mel": MelSpectrogram}[spec.pop("kind")](**spec)


def to_dict(representation: Representation) -> dict:
    """A representation as JSON can hold it."""
    return {"kind": representation.kind, **asdict(representation)}
