"""What a network hears, the waveform or the mel spectrogram: frozen specs, and the transform that each stands for.

An array of either is time-major, (time, channels, bands), so that a segment of a clip is one contiguous slice.
"""

from dataclasses import asdict
from functools import lru_cache
from typing import Annotated, ClassVar

import numpy as np
import scipy
import torch
from pydantic import Field
from torchaudio.functional import melscale_fbanks

from soundfusion_lib.audio.decode import resample, to_channels
from soundfusion_lib.checks import Bands, Number, Rate, Whole, checked

BLOCK = 256  # frames transformed at once: their spectra stay in the processor's cache


@checked
class Waveform:
    """The raw waveform: mono, int16 in the store, float32 with full scale +-1 as a network's input."""

    sample_rate: Rate = 22_050  # Hz

    kind: ClassVar[str] = "waveform"
    dtype: ClassVar[str] = "int16"
    bands: ClassVar[int] = 1
    channels: ClassVar[int] = 1
    scale: ClassVar[float] = 1 / 32_768

    @property
    def slug(self) -> str:
        """Name that says all that the array depends on."""
        return f"waveform-{self.sample_rate}"

    def frames(self, seconds: float) -> int:
        """Samples in so many seconds."""
        return int(seconds * self.sample_rate)

    position = frames  # index of the sample at this time

    def transform(self, samples: np.ndarray, sample_rate: int) -> np.ndarray:
        """Samples (time, channels), float32, at `sample_rate` Hz -> (time, 1, 1), int16."""
        mono = resample(to_channels(samples, 1), sample_rate, self.sample_rate)
        scaled = torch.from_numpy(mono).mul(32_768).round_().clamp_(-32_768, 32_767)
        return scaled.to(torch.int16).numpy()[:, :, None]


@checked
class MelSpectrogram:
    """Log-mel spectrogram in dB: torchaudio's MelSpectrogram and AmplitudeToDB("power"), several times faster on a CPU.

    Hann window, centred frames with reflected edges, power, HTK mel scale (O'Shaughnessy, Speech Communication, 1987)
    from 0 Hz to half the sample rate, at most `top_db` below the clip's loudest value. float16 in the store. The
    defaults are the report's; its authors fed their ResNet2D `MelSpectrogram(22_050, 1, 128)`.
    """

    sample_rate: Rate = 44_100  # Hz
    channels: Annotated[Whole, Field(ge=1, le=2)] = 2  # left and right (a mono clip is both), or 1: their mean
    n_mels: Bands = 64
    n_fft: Annotated[Whole, Field(ge=2, le=65_536)] = 1024  # window, in samples
    hop_length: Annotated[Whole, Field(ge=1, le=65_536)] = 512  # in samples
    top_db: Annotated[Number, Field(ge=1, le=1_000)] = 80.0  # dB

    kind: ClassVar[str] = "mel"
    dtype: ClassVar[str] = "float16"
    scale: ClassVar[float] = 1.0

    @property
    def bands(self) -> int:
        return self.n_mels

    @property
    def slug(self) -> str:
        size = f"{self.channels}ch-{self.n_mels}-{self.n_fft}-{self.hop_length}"
        return f"mel-{self.sample_rate}-{size}-{self.top_db:g}db"

    def frames(self, seconds: float) -> int:
        """Frames in so many seconds."""
        return 1 + self.position(seconds)

    def position(self, seconds: float) -> int:
        """Index of the last frame centred at or before this time."""
        return int(seconds * self.sample_rate) // self.hop_length

    def transform(self, samples: np.ndarray, sample_rate: int) -> np.ndarray:
        """Samples (time, channels), float32, at `sample_rate` Hz -> (frames, channels, mel bands) in dB, float16."""
        return self.decibels(samples, sample_rate).half().numpy()

    def decibels(self, samples: np.ndarray, sample_rate: int) -> torch.Tensor:
        """As `transform`, before rounding to float16: (frames, channels, mel bands), dB, float32."""
        samples = resample(to_channels(samples, self.channels), sample_rate, self.sample_rate)
        window, filters = torch.hann_window(self.n_fft), _mel_filters(self.sample_rate, self.n_mels, self.n_fft)
        half = self.n_fft // 2
        if len(samples) <= half:  # the reflection needs more samples than it adds
            samples = np.pad(samples, ((0, half + 1 - len(samples)), (0, 0)))
        count = 1 + (len(samples) + 2 * half - self.n_fft) // self.hop_length  # n_fft may be odd
        mel = np.empty((count, self.channels, self.n_mels), np.float32)
        for channel in range(self.channels):
            padded = torch.from_numpy(np.pad(samples[:, channel], half, "reflect"))
            frames = padded.unfold(0, self.n_fft, self.hop_length)  # (frames, n_fft), a view
            for start in range(0, count, BLOCK):
                spectrum = torch.fft.rfft(frames[start : start + BLOCK] * window).numpy()
                power = spectrum.real**2 + spectrum.imag**2  # (frames, bins)
                mel[start : start + BLOCK, channel] = (filters @ power.T).T
        decibels = torch.from_numpy(mel).clamp_(min=1e-10).log10_().mul_(10)
        return decibels.clamp_(min=decibels.max() - self.top_db)


Representation = Waveform | MelSpectrogram


@lru_cache(maxsize=8)
def _mel_filters(sample_rate: int, n_mels: int, n_fft: int) -> "scipy.sparse.csr_array":
    """torchaudio's triangular filters, (mel bands, bins): sparse, as most of their weights are 0."""
    filters = melscale_fbanks(n_fft // 2 + 1, 0.0, sample_rate / 2, n_mels, sample_rate)  # (bins, mel bands)
    return scipy.sparse.csr_array(filters.numpy().T)  # scipy imports its parts where they are first used


def to_dict(representation: Representation) -> dict:
    return {"kind": representation.kind, **asdict(representation)}


def from_dict(spec: dict) -> Representation:
    """The inverse of `to_dict`."""
    spec = dict(spec)
    return {"waveform": Waveform, "mel": MelSpectrogram}[spec.pop("kind")](**spec)
