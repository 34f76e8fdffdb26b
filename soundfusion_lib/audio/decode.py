"""One file -> samples: decoding, channels, sample rate; and samples -> MP3."""

import os
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import soundfile
import soxr

AT_ONCE = 2**26  # samples of all channels in a file that is read at once: 12 minutes of stereo at 44.1 kHz, 256 MiB
BLOCK = 2**18  # samples of each channel in a block of a longer file; half as many of four channels, and so on
RATES = 4_000, 384_000  # Hz; a header that says 1 Hz would make a second a day at 44.1 kHz
LOUDEST = 10.0  # times full scale; decoded music reaches 1.6, broken frames 1e8; squares of 1e30 are infinite
QUIETEST = 2**-16  # between the lowest and the highest sample: half a step of 16 bits
MP3_FRAME = 1152  # samples; a damaged one decodes to zeros
ZEROS = 0.5  # share of an MP3's frames that may be zeros; in music with rests up to a fifth are
STANDARD_ERROR = threading.Lock()  # one thread at a time may replace it
SYSTEM_ERROR = 2  # libsndfile's SF_ERR_SYSTEM: the operating system refused, whatever the file holds


class UnusableAudio(Exception):
    """A file that cannot be used; the message is the reason."""


class UnreadableFile(UnusableAudio):
    """A file that cannot be read now; its content may be good, so it is tried again."""


def decode(file: Path, seconds: float | None = None) -> tuple[np.ndarray, int]:
    """Read an MP3, FLAC, OGG or WAV file (whatever libsndfile reads), or its first seconds: samples (time, channels),
    float32, full scale at +-1; and the sample rate in Hz.

    Raises:
        UnreadableFile: there is no such file, it is a folder or a pipe, or the system refuses to read it.
        UnusableAudio: it cannot be decoded, its sample rate is out of range, or it holds no usable sound.
    """
    blocks = list(stream(file, seconds))
    return np.concatenate([samples for samples, _ in blocks]), blocks[0][1]


def stream(file: Path, seconds: float | None = None) -> Iterator[tuple[np.ndarray, int]]:
    """Read as `decode` does, block by block, each with the sample rate; a file of at most `AT_ONCE` is one block. What
    can only be told at the end of the file is raised after its last block."""
    # by its name, not from its bytes: libsndfile goes by the suffix where an MP3 begins with something else;
    # names are bytes but on Windows, and need not be text
    name = str(file) if os.name == "nt" else os.fsencode(file)
    with reading(file), _quietly(soundfile.SoundFile, name) as opened:
        rate, channels = opened.samplerate, opened.channels
        if not RATES[0] <= rate <= RATES[1]:
            raise UnusableAudio(f"sample rate of {rate:,} Hz, which is not {RATES[0]:,} to {RATES[1]:,}")
        frames = opened.frames if seconds is None else min(opened.frames, int(seconds * rate))
        size = frames if frames * channels <= AT_ONCE else max(1, 2 * BLOCK // max(2, channels))
        for samples in _usable(_blocks(opened, frames, size), opened.format in ("MPEG", "MP3")):
            yield samples, rate


def _blocks(opened: soundfile.SoundFile, frames: int, size: int) -> Iterator[np.ndarray]:
    while frames > 0:
        samples = _quietly(opened.read, min(size, frames), dtype="float32", always_2d=True)
        if len(samples):
            yield samples
        frames = frames - size if len(samples) == size else 0  # the header may promise more than there is


def _usable(blocks: Iterator[np.ndarray], mp3: bool) -> Iterator[np.ndarray]:
    """The blocks, (time, channels) each, of a file whose sound can be used; raises UnusableAudio for any other."""
    lowest, highest, moves, mp3_frames, zeros = np.inf, -np.inf, False, 0, 0
    for samples in blocks:
        low, high = samples.min(), samples.max()  # NaN where there is one
        if not np.isfinite([low, high]).all():
            raise UnusableAudio("holds samples that are not finite")
        if max(-low, high) > LOUDEST:
            raise UnusableAudio(f"its samples reach {max(-low, high):.3g}, far beyond full scale, which is 1")
        lowest, highest = min(lowest, low), max(highest, high)
        moves = moves or bool((samples[1:] != samples[:-1]).any())  # in any channel
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


@contextmanager
def reading(file: Path) -> Iterator[BinaryIO]:
    """Open a file. Raises UnreadableFile for what the system refuses, here or in the block, and for a folder or a
    pipe: opening a pipe would wait for its other end."""
    try:
        if not stat.S_ISREG(os.stat(file).st_mode):
            raise UnreadableFile("not a file")
        with open(file, "rb") as opened:
            yield opened
    except FileNotFoundError as error:
        raise UnreadableFile("file not found") from error
    except OSError as error:
        raise UnreadableFile(f"cannot be read ({error.strerror or error})") from error


def _quietly(call: Callable, *arguments: Any, **options: Any) -> Any:
    """Call libsndfile: its errors become reasons, and libmpg123's notes, which go to file descriptor 2, past Python's
    `sys.stderr`, stay off the terminal."""
    with STANDARD_ERROR, open(os.devnull, "wb") as nowhere:
        terminal = os.dup(2)
        os.dup2(nowhere.fileno(), 2)
        try:
            return call(*arguments, **options)
        except (RuntimeError, TypeError) as error:  # soundfile's are of the first kind, and for .raw of the second
            reason = str(getattr(error, "error_string", error)).strip().rstrip(".")
            if getattr(error, "code", None) == SYSTEM_ERROR:
                raise UnreadableFile(f"cannot be read ({reason})") from error
            if reason.startswith("File does not exist"):  # libsndfile's words for an MP3 without a frame, too
                reason = "no audio found in it"
            raise UnusableAudio(f"cannot be decoded ({reason})") from error
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)


def to_channels(samples: np.ndarray, channels: int) -> np.ndarray:
    """(time, any number of channels) -> (time, 1), their mean, or (time, 2), the first two; a single one is both."""
    count = samples.shape[1]
    if count == channels:
        return samples
    if channels == 1:  # numpy's mean over so short an axis is 20 times slower than this product
        return samples @ np.full((count, 1), 1 / count, samples.dtype)
    return samples[:, :channels] if count > channels else np.repeat(samples[:, :1], channels, axis=1)


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
