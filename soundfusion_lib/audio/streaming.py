"""One file of any length -> its representations, in bounded memory: the values that `transform` gives of all of it."""

import math
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import soxr
import torch

from soundfusion_lib.audio.decode import UnusableAudio, stream, to_channels
from soundfusion_lib.audio.representations import Representation
from soundfusion_lib.errors import SoundFusionError

CHUNK = 2**18  # samples that are transformed at once
UNBOUNDED = 1_000.0  # dB: a top_db that cuts nothing


class StreamedArray:
    """One representation of a file, in a temporary file: what `spec.transform` gives, read piece by piece.

    A spectrogram's floor is `top_db` below the loudest value of the whole file, which is known at its end: what is
    stored has no floor, `read` adds it.

    Attributes:
        spec: the representation.
        frames: how many there are.
        silence: the value that silence has, see `spec.silence`.
    """

    def __init__(self, spec: Representation, sample_rate: int, folder: ExitStack):
        self.spec, self.frames = spec, 0
        self._file = folder.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
        same = sample_rate == spec.sample_rate
        self._resampler = None if same else soxr.ResampleStream(sample_rate, spec.sample_rate, spec.channels, "float32")
        self._loudest = np.full((1, 1, 1), -np.inf, np.float32)
        self._waiting = np.empty((0, spec.channels), np.float32)  # resampled samples that later frames need
        self._given = 0  # frames of those that are stored already

    def add(self, samples: np.ndarray, last: bool = False) -> None:
        """Take the next samples of the file, (time, channels); `last` ends it."""
        samples = to_channels(samples, self.spec.channels)
        if self._resampler:
            samples = self._resampler.resample_chunk(np.ascontiguousarray(samples), last=last)
        mel = self.spec.kind == "mel"
        array = self._mel(samples, last) if mel else self.spec.transform(samples, self.spec.sample_rate)
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

    def _mel(self, samples: np.ndarray, last: bool) -> np.ndarray:
        """The next frames of the spectrogram that the samples so far complete: float32, without a floor."""
        self._waiting = np.concatenate([self._waiting, samples])
        spec, length = replace(self.spec, top_db=UNBOUNDED), len(self._waiting)
        if not last and length < CHUNK + 4 * spec.n_fft:
            return np.empty((0, spec.channels, spec.bands), np.float32)
        mel = spec.decibels(self._waiting, spec.sample_rate).numpy()
        if not last:  # the last windows reach beyond the samples so far
            mel = mel[: 1 + (length + spec.n_fft // 2 - spec.n_fft) // spec.hop_length]
        new, lead = mel[self._given :], spec.n_fft // 2 // spec.hop_length + 2  # frames, more than half a window
        first = max(0, len(mel) - lead)
        self._waiting, self._given = self._waiting[first * spec.hop_length :].copy(), len(mel) - first
        return new

    def read(self, start: int, stop: int) -> np.ndarray:
        """Frames from start to stop, as far as there are: (frames, channels, bands), of the spec's dtype."""
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
    """Decode a file, or its first seconds, once, block by block: its length in seconds, and its representations.

    Raises:
        UnusableAudio: as `decode`; longer than `longest` seconds.
        SoundFusionError: the temporary folder is full.
    """
    with ExitStack() as folder:
        arrays: list[StreamedArray] = []
        read, rate = 0, 1
        for samples, rate in stream(file, seconds):
            arrays = arrays or [StreamedArray(spec, rate, folder) for spec in specs]
            read += len(samples)
            if read > longest * rate:
                raise UnusableAudio(f"longer than {longest / 3600:g} hours")
            for array in arrays:
                array.add(samples)
        for array in arrays:
            array.add(samples[:0], last=True)
        yield read / rate, arrays
