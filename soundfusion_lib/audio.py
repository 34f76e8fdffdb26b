"""One file -> samples: decoding, channels, sample rate; and samples -> MP3."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lameenc
import numpy as np
import soundfile
import soxr

BLOCK = 2**18  # samples of each channel in a block of a stream
STANDARD_ERROR = threading.Lock()
SYSTEM_ERROR = 2  # libsndfile's SF_ERR_SYSTEM: the operating system refused, whatever the file holds


class UnusableAudio(Exception):
    """A file that cannot be used; the message is the reason."""


class UnreadableFile(UnusableAudio):
    """A file that cannot be read now, whatever it holds: another time it may be."""


def unreadable(error: OSError) -> UnreadableFile:
    """What the operating system said of a file, as a reason to leave it out."""
    missing = isinstance(error, FileNotFoundError)
    return UnreadableFile("file not found" if missing else f"cannot be read ({error.strerror or error})")


def decode(file: Path) -> tuple[np.ndarray, int]:
    """An MP3, FLAC, OGG or WAV file (whatever libsndfile reads) -> samples (time, channels), float32, full scale at
    +-1, and the sample rate in Hz.

    Raises:
        UnreadableFile: no such file, or the system could not read it.
        UnusableAudio: it cannot be decoded, it holds no audio, or samples that are not finite.
    """
    with _reasons():
        open(file, "rb").close()  # libsndfile has one message for all that the system may say
        # by its path, not from its bytes: libsndfile goes by the suffix where an MP3 begins with something else
        samples, sample_rate = soundfile.read(_name(file), dtype="float32", always_2d=True)
    _check(samples)
    return samples, sample_rate


def stream(file: Path) -> Iterator[tuple[np.ndarray, int]]:
    """As `decode`, and the same samples, one block of at most `BLOCK` after the other, each with the sample rate."""
    with _reasons():
        open(file, "rb").close()
        opened = soundfile.SoundFile(_name(file))
    seen = 0
    with opened:
        while True:
            with _reasons():
                samples = opened.read(BLOCK, dtype="float32", always_2d=True)
            if seen and not len(samples):
                return
            _check(samples)
            seen += len(samples)
            yield samples, opened.samplerate


def _name(file: Path) -> str | bytes:
    """A file's name as libsndfile takes it: on systems whose names are bytes, these, which need be no text."""
    return str(file) if os.name == "nt" else os.fsencode(file)


def _check(samples: np.ndarray) -> None:
    if samples.size == 0:
        raise UnusableAudio("holds no audio")
    if not np.isfinite(samples).all():
        raise UnusableAudio("holds samples that are not finite")


@contextmanager
def _reasons() -> Iterator[None]:
    """What reading a file raises, as a reason to leave it out; nothing of it on the terminal."""
    try:
        with _silent():
            yield
    except OSError as error:
        raise unreadable(error) from error
    except RuntimeError as error:  # soundfile's errors are of this kind
        reason = str(getattr(error, "error_string", error)).strip().rstrip(".")
        if getattr(error, "code", None) == SYSTEM_ERROR:
            raise UnreadableFile(f"cannot be read ({reason})") from error
        if reason.startswith("File does not exist"):  # libsndfile's words for an MP3 without a frame, too
            reason = "no audio found in it"
        raise UnusableAudio(f"cannot be decoded ({reason})") from error


@contextmanager
def _silent() -> Iterator[None]:
    """Nothing is written to file descriptor 2, where libmpg123 notes damaged frames, past Python's `sys.stderr`."""
    with STANDARD_ERROR, open(os.devnull, "wb") as nowhere:  # one thread at a time, or the second keeps the first's
        kept = os.dup(2)
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def to_channels(samples: np.ndarray, channels: int) -> np.ndarray:
    """(time, any number of channels) -> (time, 1), their mean, or (time, 2), the first two; a single one is both."""
    have = samples.shape[1]
    if have == channels:
        return samples
    if channels == 1:  # numpy's mean over so short an axis is 20 times slower than this product
        return samples @ np.full((have, 1), 1 / have, samples.dtype)
    return samples[:, :channels] if have > channels else np.repeat(samples[:, :1], channels, axis=1)


def resample(samples: np.ndarray, sample_rate: int, target: int) -> np.ndarray:
    """(time, channels) at `sample_rate` Hz -> (time, channels) at `target` Hz (soxr, its high quality)."""
    if sample_rate == target:
        return samples
    return soxr.resample(np.ascontiguousarray(samples), sample_rate, target)


def encode_mp3(samples: np.ndarray, rate: int, kilobits: int = 128) -> bytes:
    """(time,) or (time, 2), full scale at +-1, at `rate` Hz -> MP3, 3.6 times as fast as libsndfile makes it."""
    encoder = lameenc.Encoder()
    encoder.silence()
    encoder.set_bit_rate(kilobits)
    encoder.set_in_sample_rate(rate)
    encoder.set_channels(1 if samples.ndim == 1 else 2)
    encoder.set_quality(7)
    pcm = np.rint(np.clip(samples, -1, 1) * 32_767).astype("<i2")
    return bytes(encoder.encode(pcm.tobytes())) + bytes(encoder.flush())
