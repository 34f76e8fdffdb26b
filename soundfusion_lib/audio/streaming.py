"""One file of any length -> its representations, in bounded memory: the very values that `transform` gives of all of
it."""

import math
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import soxr
import torch

from soundfusion_lib.audio import decode as audio
from soundfusion_lib.audio.representations import MelSpectrogram, Representation
from soundfusion_lib.errors import SoundFusionError

CHUNK = 2**18  # samples that are transformed at once
UNBOUNDED = 1_000.0  # dB: a top_db that cuts nothing


class StreamedArray:
    """One representation of a file, in a temporary file: what `spec.transform` gives, read piece by piece.

    A spectrogram's floor is `top_db` below the loudest value of all of it, which is known at the end: until then
    values are kept without it.

    Attributes:
        spec: the representation.
        frames: how many there are.
        silence: the value that silence has, see `spec.silence`.
    """

    def __init__(self, spec: Representation, sample_rate: int, folder: ExitStack):
        self.spec = spec
        self.frames = 0
        self._file = folder.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
        same = sample_rate == spec.sample_rate
        self._resampler = None if same else soxr.ResampleStream(sample_rate, spec.sample_rate, spec.channels, "float32")
        self._transform = _MelInChunks(spec) if spec.kind == "mel" else _waveform_of(spec)
        self._loudest = np.full((1, 1, 1), -np.inf, np.float32)

    def add(self, samples: np.ndarray, last: bool = False) -> None:
        """Take in the next samples, (time, channels) of the file's; `last` ends it."""
        samples = audio.to_channels(samples, self.spec.channels)
        if self._resampler:
            samples = self._resampler.resample_chunk(np.ascontiguousarray(samples), last=last)
        array = self._transform(samples, last)
        if len(array):
            self._loudest = np.maximum(self._loudest, array.max())
            self.frames += len(array)
            try:
                self._file.write(np.ascontiguousarray(array, self.spec.dtype))
            except OSError as error:
                raise SoundFusionError(
                    f"the temporary folder {tempfile.gettempdir()} does not take what is decoded ({error.strerror}): "
                    "make room there, or set TMPDIR to another folder"
                ) from error

    def read(self, start: int, stop: int) -> np.ndarray:
        """Frames from start to stop, of those that there are: (frames, channels, bands), of the spec's dtype."""
        shape = (-1, self.spec.channels, self.spec.bands)
        size = self.spec.channels * self.spec.bands * np.dtype(self.spec.dtype).itemsize
        self._file.seek(start * size)
        array = np.frombuffer(self._file.read(max(0, stop - start) * size), self.spec.dtype).reshape(shape)
        if self.spec.kind == "mel":
            floor = torch.from_numpy(self._loudest) - self.spec.top_db  # in float32, as `decibels` has it
            return np.maximum(array, floor.half().numpy())
        return array

    @property
    def silence(self) -> float:
        return self.spec.silence(self._loudest.astype(self.spec.dtype)) if self.spec.kind == "mel" else 0.0


@contextmanager
def streamed(
    file: Path, specs: list[Representation], seconds: float | None = None, longest: float = math.inf
) -> Iterator[tuple[float, list[StreamedArray]]]:
    """The length in seconds of a file, or of its first seconds, and its representations; it is decoded once, block by
    block.

    Raises:
        UnusableAudio: as `audio.stream`; longer than `longest` seconds.
        SoundFusionError: the temporary folder is full.
    """
    with ExitStack() as folder:
        arrays: list[StreamedArray] = []
        seen, rate = 0, 1
        for samples, rate in audio.stream(file, seconds):
            arrays = arrays or [StreamedArray(spec, rate, folder) for spec in specs]
            seen += len(samples)
            if seen > longest * rate:
                raise audio.UnusableAudio(f"longer than {longest / 3600:g} hours")
            for array in arrays:
                array.add(samples)
        for array in arrays:
            array.add(samples[:0], last=True)
        yield seen / rate, arrays


class _MelInChunks:
    """Resampled samples (time, channels), as they come -> frames of the spectrogram, float32, without a floor."""

    def __init__(self, spec: MelSpectrogram):
        self.spec = spec
        self.unbounded = replace(spec, top_db=UNBOUNDED)
        self.lead = spec.n_fft // 2 // spec.hop_length + 2  # frames before the next one, more than half a window
        self.samples = np.empty((0, spec.channels), np.float32)
        self.done = 0  # frames of `samples` that are given already

    def __call__(self, samples: np.ndarray, last: bool) -> np.ndarray:
        self.samples = np.concatenate([self.samples, samples])
        spec, length = self.spec, len(self.samples)
        if not last and length < CHUNK + 4 * spec.n_fft:
            return np.empty((0, spec.channels, spec.bands), np.float32)
        mel = self.unbounded.decibels(self.samples, spec.sample_rate).numpy()
        if not last:  # the last windows reach beyond what is there yet
            mel = mel[: 1 + (length + spec.n_fft // 2 - spec.n_fft) // spec.hop_length]
        new, first = mel[self.done :], max(0, len(mel) - self.lead)
        self.samples, self.done = self.samples[first * spec.hop_length :].copy(), len(mel) - first
        return new


def _waveform_of(spec: Representation):
    return lambda samples, last: spec.transform(samples, spec.sample_rate)
