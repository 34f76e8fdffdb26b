"""One file -> samples: decoding, channels, sample rate; and samples -> MP3."""

import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lameenc
import numpy as np
import soundfile
import soxr

BLOCK = 2**18  # samples of each channel in a block of a stream; half as many of four channels, and so on
AT_ONCE = 2**26  # samples of all channels that `decode` takes; 12 minutes of stereo at 44.1 kHz, 256 MiB
RATES = 4_000, 384_000  # Hz; a header that says 1 Hz would make a second a day at 44.1 kHz
LOUDEST = 10.0  # times full scale; decoded music reaches 1.6, broken frames 1e8; squares of 1e30 are infinite
QUIETEST = 2**-16  # between the lowest and the highest sample: half a step of 16 bits
MP3_FRAME = 1152  # samples; one that is damaged decodes to zeros
ZEROS = 0.5  # share of an MP3's frames that may be zeros; in music with rests up to a fifth are
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


class LongAudio(UnusableAudio):
    """More than `decode` takes; `stream` gives it piece by piece."""


def decode(file: Path, seconds: float | None = None) -> tuple[np.ndarray, int]:
    """An MP3, FLAC, OGG or WAV file (whatever libsndfile reads), or its first seconds -> samples (time, channels),
    float32, full scale at +-1, and the sample rate in Hz.

    Raises:
        UnreadableFile: no such file, no file but a folder or a pipe, or the system could not read it.
        LongAudio: more than `AT_ONCE` samples.
        UnusableAudio: it cannot be decoded, its sample rate is none of music's, it holds no audio, only silence (see
            `Level`), or samples that are not finite or far beyond full scale.
    """
    with _open(file) as opened:
        rate, level = opened.samplerate, Level(opened.format)
        wanted = opened.frames if seconds is None else min(opened.frames, int(seconds * rate))
        if wanted * opened.channels > AT_ONCE:
            raise LongAudio(f"longer than the {AT_ONCE:,} samples that are decoded at once")
        with _reasons():
            samples = opened.read(wanted, dtype="float32", always_2d=True)
    level.add(samples)
    level.check()
    return samples, rate


def stream(file: Path, seconds: float | None = None) -> Iterator[tuple[np.ndarray, int]]:
    """As `decode`, and the same samples, one block of at most `BLOCK` after the other, each with the sample rate."""
    with _open(file) as opened:
        rate, level = opened.samplerate, Level(opened.format)
        size = max(1, 2 * BLOCK // max(2, opened.channels))
        left = opened.frames if seconds is None else int(seconds * rate)  # fewer where the header lies
        while left > 0:
            with _reasons():
                samples = opened.read(min(size, left), dtype="float32", always_2d=True)
            if not len(samples):
                break
            left -= len(samples)
            level.add(samples)
            yield samples, rate
        level.check()


@contextmanager
def _open(file: Path) -> Iterator[soundfile.SoundFile]:
    with _reasons():
        if not stat.S_ISREG(os.stat(file).st_mode):  # opening a pipe would wait for its other end
            raise UnreadableFile("not a file")
        open(file, "rb").close()  # libsndfile has one message for all that the system may say
        # by its path, not from its bytes: libsndfile goes by the suffix where an MP3 begins with something else
        opened = soundfile.SoundFile(_name(file))
    with opened:
        lowest, highest = RATES
        if not lowest <= opened.samplerate <= highest:
            raise UnusableAudio(f"sample rate of {opened.samplerate:,} Hz, which is not {lowest:,} to {highest:,}")
        yield opened


class Level:
    """What the samples of a file reach, block by block: whether they are sound.

    Raises UnusableAudio, from `add` for what no later samples can mend, from `check` at the end: no samples; silence,
    which is channels whose samples are all the same, or all within half a step of 16 bits; zeros for more than `ZEROS`
    of an MP3, as damaged frames decode to.

    Args:
        format: of the file, as libsndfile calls it.
    """

    def __init__(self, format: str):
        self.mp3 = format in ("MPEG", "MP3")
        self.lowest, self.highest = np.inf, -np.inf
        self.moves = False  # whether any sample of a channel differs from the one before
        self.frames, self.zeros = 0, 0  # of an MP3's frames, in whole ones of each block

    def add(self, samples: np.ndarray) -> None:
        """The next samples, (time, channels)."""
        if not samples.size:
            return
        lowest, highest = samples.min(), samples.max()  # NaN where there is one
        if not np.isfinite([lowest, highest]).all():
            raise UnusableAudio("holds samples that are not finite")
        peak = max(-lowest, highest)
        if peak > LOUDEST:
            raise UnusableAudio(f"its samples reach {peak:.3g}, far beyond full scale, which is 1")
        self.lowest, self.highest = min(self.lowest, lowest), max(self.highest, highest)
        flat, channels = samples.ravel(), samples.shape[1]
        self.moves = self.moves or bool((flat[channels:] != flat[:-channels]).any())
        if self.mp3:
            count = len(samples) // MP3_FRAME
            self.frames += count
            self.zeros += count - samples[: count * MP3_FRAME].reshape(count, MP3_FRAME * channels).any(1).sum()

    def check(self) -> None:
        """At the end of the file."""
        if self.lowest > self.highest:
            raise UnusableAudio("holds no audio")
        if not self.moves or self.highest - self.lowest < QUIETEST:
            raise UnusableAudio("silent")
        if self.zeros > ZEROS * self.frames:
            raise UnusableAudio(f"silent in {self.zeros / self.frames:.0%} of its MP3 frames, as damaged ones are")


def _name(file: Path) -> str | bytes:
    """A file's name as libsndfile takes it: on systems whose names are bytes, these, which need be no text."""
    return str(file) if os.name == "nt" else os.fsencode(file)


@contextmanager
def _reasons() -> Iterator[None]:
    """What reading a file raises, as a reason to leave it out; nothing of it on the terminal."""
    try:
        with _silent():
            yield
    except OSError as error:
        raise unreadable(error) from error
    except (RuntimeError, TypeError) as error:  # soundfile's are of the first kind, and for .raw of the second
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
