"""One file of any length -> its representations, in bounded memory: the values that `transform` gives of all of it."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import soxr
import torch

from soundfusion_lib.audio.decode import stream, to_channels
from soundfusion_lib.audio.representations import Representation
from soundfusion_lib.paths import writing

CHUNK = 2**18  # samples of a longer file that are transformed at once; four of the longest windows


class StreamedArray:
    """One representation, `spec`, of a file, as a temporary file of so many `frames`, read piece by piece.

    A spectrogram's floor is `top_db` below the loudest value of the whole file, known at its end: `read` adds it.
    """

    def __init__(self, spec: Representation, sample_rate: int, folder: ExitStack):
        self.spec, self.frames = spec, 0
        self._file = folder.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
        same = sample_rate == spec.sample_rate
        self._resampler = None if same else soxr.ResampleStream(sample_rate, spec.sample_rate, spec.channels, "float32")
        self._loudest = np.float32(-np.inf)
        self._waiting = np.empty((0, spec.channels), np.float32)  # resampled samples that later frames need
        self._given = 0  # frames of those that are stored already

    def add(self, samples: np.ndarray, last: bool = False) -> None:
        """Take the next samples of the file, (time, channels); `last` ends it."""
        samples = to_channels(samples, self.spec.channels)
        if self._resampler:
            samples = self._resampler.resample_chunk(np.ascontiguousarray(samples), last=last)
        mel = self.spec.kind == "mel"
        array = self._mel(samples, last) if mel else self.spec.transform(samples, self.spec.sample_rate)
        self.frames += len(array)
        with writing(Path(tempfile.gettempdir())):
            self._file.write(np.ascontiguousarray(array))

    def _mel(self, samples: np.ndarray, last: bool) -> np.ndarray:
        """The next frames of the spectrogram that the samples so far complete, without a floor."""
        self._waiting = np.concatenate([self._waiting, samples]) if len(self._waiting) else samples
        spec, length = replace(self.spec, top_db=1_000.0), len(self._waiting)  # dB, which cuts nothing
        if not last and length < CHUNK:
            return np.empty((0, spec.channels, spec.bands), np.float16)
        mel = spec.decibels(self._waiting, spec.sample_rate)
        if not last:  # the last windows reach beyond the samples so far
            mel = mel[: 1 + (length + spec.n_fft // 2 - spec.n_fft) // spec.hop_length]
        new, lead = mel[self._given :], spec.n_fft // 2 // spec.hop_length + 2  # frames, more than half a window
        first = max(0, len(mel) - lead)
        self._waiting, self._given = self._waiting[first * spec.hop_length :].copy(), len(mel) - first
        self._loudest = max(self._loudest, new.numpy().max(initial=-np.inf))
        return new.half().numpy()

    def read(self, start: int, stop: int) -> np.ndarray:
        """Frames from start to stop, as far as there are: (frames, channels, bands), of the spec's dtype."""
        frame = self.spec.channels * self.spec.bands  # values
        self._file.seek(start * frame * np.dtype(self.spec.dtype).itemsize)
        array = np.fromfile(self._file, self.spec.dtype, max(0, stop - start) * frame)
        array = array.reshape(-1, self.spec.channels, self.spec.bands)
        if self.spec.kind == "mel":
            floor = np.float16(self._loudest - np.float32(self.spec.top_db))  # first in float32, as `decibels` has it
            torch.from_numpy(array).clamp_(min=float(floor))
        return array

    @property
    def silence(self) -> float:
        """The value that silence has in the array; in a spectrogram, `top_db` below its loudest value."""
        return float(np.float16(self._loudest)) - self.spec.top_db if self.spec.kind == "mel" else 0.0


@contextmanager
def streamed(
    file: Path, specs: list[Representation], seconds: float | None = None
) -> Iterator[tuple[float, list[StreamedArray]]]:
    """Decode a file, or its first seconds, once, block by block: its length in seconds, and its representations.
    Raises UnusableAudio as `decode`, and SoundFusionError where the temporary folder is full."""
    with ExitStack() as folder:
        arrays: list[StreamedArray] = []
        read, rate = 0, 1
        for samples, rate in stream(file, seconds):
            arrays = arrays or [StreamedArray(spec, rate, folder) for spec in specs]
            read += len(samples)
            for array in arrays:
                array.add(samples)
        for array in arrays:
            array.add(samples[:0], last=True)
        yield read / rate, arrays
