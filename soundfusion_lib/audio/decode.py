"""One file -> samples: decoding, channels, sample rate; and samples -> MP3."""

import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
import soundfile
import soxr

BLOCK = 2**18  # samples of each channel in a block of a stream; half as many of four channels, and so on
AT_ONCE = 2**26  # samples of all channels that `decode` takes; 12 minutes of stereo at 44.1 kHz, 256 MiB
RATES = 4_000, 384_000  # Hz; a header that says 1 Hz would make a second a day at 44.1 kHz
LOUDEST = 10.0  # times full scale; decoded music reaches 1.6, broken frames 1e8; squares of 1e30 are infinite
QUIETEST = 2**-16  # between the lowest and the highest sample: half a step of 16 bits
MP3_FRAME = 1152  # samples; a damaged one decodes to zeros
ZEROS = 0.5  # share of an MP3's frames that may be zeros; in music with rests up to a fifth are
STANDARD_ERROR = threading.Lock()
SYSTEM_ERROR = 2  # libsndfile's SF_ERR_SYSTEM: the operating system refused, whatever the file holds


class UnusableAudio(Exception):
    """A file that cannot be used; the message is the reason."""


class UnreadableFile(UnusableAudio):
    """A file that cannot be read now; its content may be good, so it is tried again."""


class LongAudio(UnusableAudio):
    """More than `decode` takes; `stream` gives it piece by piece."""


def decode(file: Path, seconds: float | None = None) -> tuple[np.ndarray, int]:
    """Read an MP3, FLAC, OGG or WAV file (whatever libsndfile reads), or its first seconds.

    Returns:
        Samples (time, channels), float32, full scale at +-1; the sample rate in Hz.

    Raises:
        UnreadableFile: there is no such file, it is a folder or a pipe, or the system refuses to read it.
        LongAudio: more than `AT_ONCE` samples.
        UnusableAudio: it cannot be decoded, its sample rate is out of range, or it holds no usable sound (`_sound`).
    """
    ((samples, rate),) = stream(file, seconds, whole=True)
    return samples, rate


def stream(file: Path, seconds: float | None = None, whole: bool = False) -> Iterator[tuple[np.ndarray, int]]:
    """Read as `decode` does, one block of at most `BLOCK` samples after the other, or `whole` in a single one; each
    comes with the sample rate. What can only be told at the end of the file is raised after its last block."""
    with _reasons():
        check_regular(file)
        open(file, "rb").close()  # libsndfile has one message for all that the system may say
        # by its name, not from its bytes: libsndfile goes by the suffix where an MP3 begins with something else;
        # names are bytes but on Windows, and need not be text
        opened = soundfile.SoundFile(str(file) if os.name == "nt" else os.fsencode(file))
    with opened:
        rate, channels = opened.samplerate, opened.channels
        if not RATES[0] <= rate <= RATES[1]:
            raise UnusableAudio(f"sample rate of {rate:,} Hz, which is not {RATES[0]:,} to {RATES[1]:,}")
        frames = opened.frames if seconds is None else min(opened.frames, int(seconds * rate))
        if whole and frames * channels > AT_ONCE:
            raise LongAudio(f"longer than the {AT_ONCE:,} samples that are decoded at once")
        size = frames if whole else max(1, 2 * BLOCK // max(2, channels))
        for samples in _sound(_blocks(opened, frames, size), opened.format in ("MPEG", "MP3")):
            yield samples, rate


def _blocks(opened: soundfile.SoundFile, frames: int, size: int) -> Iterator[np.ndarray]:
    while frames > 0:
        with _reasons():
            samples = opened.read(min(size, frames), dtype="float32", always_2d=True)
        if len(samples):
            yield samples
        frames = frames - size if len(samples) == size else 0  # the header may promise more than there is


def _sound(blocks: Iterator[np.ndarray], mp3: bool) -> Iterator[np.ndarray]:
    """The blocks, (time, channels) each, of a file whose sound can be used.

    Raises UnusableAudio for samples that are not finite or too loud; and at the end where there are no samples; where
    all of a channel are the same, or all of the file within half a step of 16 bits; and where more than `ZEROS` of an
    MP3's frames are zeros, which damaged ones decode to.
    """
    lowest, highest, moves, mp3_frames, zeros = np.inf, -np.inf, False, 0, 0
    for samples in blocks:
        low, high = samples.min(), samples.max()  # NaN where there is one
        if not np.isfinite([low, high]).all():
            raise UnusableAudio("holds samples that are not finite")
        if max(-low, high) > LOUDEST:
            raise UnusableAudio(f"its samples reach {max(-low, high):.3g}, far beyond full scale, which is 1")
        lowest, highest = min(lowest, low), max(highest, high)
        moves = moves or bool((samples[1:] != samples[:-1]).any())
        if mp3:
            whole = samples[: len(samples) // MP3_FRAME * MP3_FRAME].reshape(-1, MP3_FRAME * samples.shape[1])
            mp3_frames, zeros = mp3_frames + len(whole), zeros + (~whole.any(1)).sum()
        yield samples
    if lowest > highest:
        raise UnusableAudio("holds no audio")
    if not moves or highest - lowest < QUIETEST:
        raise UnusableAudio("silent")
    if zeros > ZEROS * mp3_frames:
        raise UnusableAudio(f"silent in {zeros / mp3_frames:.0%} of its MP3 frames, as damaged ones are")


def check_regular(file: Path) -> None:
    """Raise UnreadableFile for a folder or a pipe: opening a pipe would wait for its other end."""
    if not stat.S_ISREG(os.stat(file).st_mode):
        raise UnreadableFile("not a file")


def unreadable(error: OSError) -> UnreadableFile:
    """What the operating system said of a file, as a reason to leave it out."""
    missing = isinstance(error, FileNotFoundError)
    return UnreadableFile("file not found" if missing else f"cannot be read ({error.strerror or error})")


@contextmanager
def _reasons() -> Iterator[None]:
    """Turn what reading a file raises into a reason to leave it out, and keep libmpg123's notes off the terminal.

    It writes them to file descriptor 2, past Python's `sys.stderr`; one thread at a time may replace that.
    """
    try:
        with STANDARD_ERROR, open(os.devnull, "wb") as nowhere:
            terminal = os.dup(2)
            os.dup2(nowhere.fileno(), 2)
            try:
                yield
            finally:
                os.dup2(terminal, 2)
                os.close(terminal)
    except OSError as error:
        raise unreadable(error) from error
    except (RuntimeError, TypeError) as error:  # soundfile's are of the first kind, and for .raw of the second
        reason = str(getattr(error, "error_string", error)).strip().rstrip(".")
        if getattr(error, "code", None) == SYSTEM_ERROR:
            raise UnreadableFile(f"cannot be read ({reason})") from error
        if reason.startswith("File does not exist"):  # libsndfile's words for an MP3 without a frame, too
            reason = "no audio found in it"
        raise UnusableAudio(f"cannot be decoded ({reason})") from error


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
    """Samples (time,) or (time, 2), full scale at +-1, at `rate` Hz -> MP3 of a constant bit rate."""
    lowest, highest = (32, 320) if rate >= 32_000 else (8, 160) if rate >= 16_000 else (8, 64)  # MPEG 1, 2, 2.5
    level = np.clip((highest - kilobits) / (highest - lowest), 0, 0.99)  # libsndfile refuses 1
    mp3, options = BytesIO(), {"bitrate_mode": "CONSTANT", "compression_level": level}
    soundfile.write(mp3, np.clip(samples, -1, 1), rate, format="MP3", **options)
    return mp3.getvalue()
