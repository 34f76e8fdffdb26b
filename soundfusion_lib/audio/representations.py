"""What a network hears, the waveform or the mel spectrogram: frozen specs, and the transform that each stands for, of
all of a file at once, or piece by piece in bounded memory.

An array of either is time-major, (time, channels, bands), so that a segment of a clip is one contiguous slice.
"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, ClassVar

import numpy as np
import scipy
import soxr
import torch
from pydantic import Field
from torchaudio.functional import melscale_fbanks

from soundfusion_lib.audio.decode import resample, stream, to_channels
from soundfusion_lib.checks import Bands, Number, Rate, Whole, checked
from soundfusion_lib.paths import writing

BLOCK = 128  # frames transformed at once: their spectra stay in the processor's cache
CHUNK = 2**18  # samples of a longer file that are transformed at once; four of the longest windows


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

    def decibels(self, samples: np.ndarray, sample_rate: int, whole: bool = True) -> torch.Tensor:
        """As `transform`, before rounding to float16, in float32; of what is not the `whole` clip without a floor."""
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
                power = spectrum.real**2  # (frames, bins)
                power += spectrum.imag**2
                mel[start : start + BLOCK, channel] = (filters @ power.T).T
        decibels = torch.from_numpy(mel).clamp_(min=1e-10).log10_().mul_(10)
        return decibels.clamp_(min=decibels.max() - self.top_db) if whole else decibels


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


# A file of any length, in the values that `transform` gives of all of it


class StreamedArray:
    """One representation, `spec`, of a file: the array's bytes in a new file, `path`, of so many `frames`."""

    def __init__(self, spec: Representation, sample_rate: int, folder: Path):
        self.spec, self.frames, self.path = spec, 0, folder / uuid.uuid4().hex
        self._rate, self._resampler = sample_rate, None
        self.loudest = np.float32(-np.inf)  # of its values, or of a waveform's absolute values
        # samples that later frames need, resampled unless all came at once
        self._waiting = np.empty((0, spec.channels), np.float32)
        self._given = 0  # frames of those that are stored already

    def add(self, samples: np.ndarray, last: bool = False) -> None:
        """Take the next samples of the file, (time, channels); `last` ends it."""
        spec, rate, samples = self.spec, self._rate, to_channels(samples, self.spec.channels)
        if rate != spec.sample_rate and (self._resampler or not last):  # what comes in one piece `transform` resamples
            self._resampler = self._resampler or soxr.ResampleStream(rate, spec.sample_rate, spec.channels, "float32")
            samples, rate = self._resampler.resample_chunk(np.ascontiguousarray(samples), last), spec.sample_rate
        array = self._mel(samples, rate, last) if spec.kind == "mel" else spec.transform(samples, rate)
        self.frames += len(array)
        if spec.kind == "waveform" and len(array):
            self.loudest = max(self.loudest, int(array.max()), -int(array.min()))
        with open(self.path, "ab") as file:
            file.write(np.ascontiguousarray(array))
        if last and spec.kind == "mel" and len(array) < self.frames:  # only now its loudest value is known
            floor = np.float16(self.loudest - np.float32(spec.top_db))  # first in float32, as `decibels` has it
            torch.from_numpy(np.memmap(self.path, spec.dtype, "r+")).clamp_(min=float(floor))

    def _mel(self, samples: np.ndarray, rate: int, last: bool) -> np.ndarray:
        """The next frames of the spectrogram that the samples so far complete; without a floor, unless they are all."""
        self._waiting = np.concatenate([self._waiting, samples]) if len(self._waiting) else samples
        spec, length = self.spec, len(self._waiting)
        if not last and length < CHUNK:
            return np.empty((0, spec.channels, spec.bands), np.float16)
        mel = spec.decibels(self._waiting, rate, whole=last and not self._given)
        if not last:  # the last windows reach beyond the samples so far
            mel = mel[: 1 + (length + spec.n_fft // 2 - spec.n_fft) // spec.hop_length]
        new, lead = mel[self._given :], spec.n_fft // 2 // spec.hop_length + 2  # frames, more than half a window
        first = max(0, len(mel) - lead)
        self._waiting, self._given = self._waiting[first * spec.hop_length :].copy(), len(mel) - first
        self.loudest = max(self.loudest, new.numpy().max(initial=-np.inf))
        return new.half().numpy()

    def read(self, start: int, stop: int) -> np.ndarray:
        """Frames from start to stop, as far as there are: (frames, channels, bands), of the spec's dtype."""
        data = np.memmap(self.path, self.spec.dtype, "r")
        return np.array(data.reshape(-1, self.spec.channels, self.spec.bands)[start:stop])

    @property
    def silence(self) -> float:
        """The value that silence has in the array; in a spectrogram, `top_db` below its loudest value."""
        return float(np.float16(self.loudest)) - self.spec.top_db if self.spec.kind == "mel" else 0.0


def represent(
    file: Path, specs: list[Representation], folder: Path, seconds: float | None = None
) -> tuple[float, list[StreamedArray]]:
    """Decode a file, or its first seconds, once, block by block: its length in seconds, and its representations, as
    files in this folder. Raises UnusableAudio as `decode`."""
    blocks = stream(file, seconds)
    samples, rate = next(blocks)
    arrays, read = [StreamedArray(spec, rate, folder) for spec in specs], len(samples)
    for following, _ in blocks:  # one block behind, as the last is told so, and an only one is transformed at once
        for array in arrays:
            array.add(samples)
        samples, read = following, read + len(following)
    for array in arrays:
        array.add(samples, last=True)
    return read / rate, arrays


@contextmanager
def streamed(file: Path, specs: list[Representation]) -> Iterator[tuple[float, list[StreamedArray]]]:
    """As `represent`, in a temporary folder; raises SoundFusionError where that is full."""
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        with writing(Path(folder)):
            result = represent(file, specs, Path(folder))
        yield result
