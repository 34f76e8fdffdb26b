"""One file -> samples: decoding, channels, sample rate; and samples -> MP3."""

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import av
import mutagen
import numpy as np
import soundfile
import soxr
from mutagen.aac import AAC
from mutagen.ac3 import AC3
from mutagen.mp3 import BitrateMode

AT_ONCE = 2**26  # samples of all channels in a file that is read at once: 12 minutes of stereo at 44.1 kHz, 256 MiB
BLOCK = 2**18  # samples of each channel in a block of a longer file
RATES = 4_000, 384_000  # Hz; a header that says 1 Hz would make a second a day at 44.1 kHz
LOUDEST = 10.0  # times full scale; decoded music reaches 1.6, broken frames 1e8; squares of 1e30 are infinite
QUIETEST = 2**-16  # between the lowest and the highest sample: half a step of 16 bits
SLACK = 1.0  # seconds; a file that lacks no more of what it says is whole
ENDLESS = 2**31 - 2**16  # bytes; what writers that do not know the length of a WAV put down for it
# what FFmpeg may take a file for: not a list of other files, of which it would open each
FORMATS = "aac,ac3,aiff,ape,asf,au,caf,dsf,flac,matroska,mov,mp3,mpc,mpc8,ogg,tta,w64,wav,wv"


class UnusableAudio(Exception):
    """A file that cannot be used; the message is the reason."""


class UnreadableFile(UnusableAudio):
    """A file that cannot be read now; its content may be good, so it is tried again."""


Block = tuple[np.ndarray, int]  # samples (time, channels), float32, full scale at +-1; sample rate in Hz


def decode(file: Path, seconds: float | None = None) -> Block:
    """Read an audio file of whatever format libsndfile or FFmpeg knows, or its first seconds: samples (time, channels),
    float32, full scale at +-1; and the sample rate in Hz.

    Raises:
        UnreadableFile: there is no such file, it is a folder or a pipe, or the system refuses to read it.
        UnusableAudio: it cannot be decoded, its sample rate is out of range, or it holds no usable sound.
    """
    blocks = list(stream(file, seconds))
    return np.concatenate([samples for samples, _ in blocks]), blocks[0][1]


def stream(file: Path, seconds: float | None = None) -> Iterator[Block]:
    """Read as `decode` does, block by block; an ordinary file of at most `AT_ONCE` is one block. What can only be told
    at the end of the file is raised after its last block."""
    lowest, highest, moves = np.inf, -np.inf, False
    with reading(file):
        for samples, rate in _blocks(file, seconds):
            if not RATES[0] <= rate <= RATES[1]:
                raise UnusableAudio(f"sample rate of {rate:,} Hz, which is not {RATES[0]:,} to {RATES[1]:,}")
            low, high = samples.min(), samples.max()  # NaN where there is one
            if not np.isfinite([low, high]).all():
                raise UnusableAudio("holds samples that are not finite")
            if max(-low, high) > LOUDEST:
                raise UnusableAudio(f"its samples reach {max(-low, high):.3g}, far beyond full scale, which is 1")
            lowest, highest = min(lowest, low), max(highest, high)
            moves = moves or bool((samples[1:] != samples[:-1]).any())  # in any channel
            yield samples, rate
    if lowest > highest:
        raise UnusableAudio("holds no audio")
    if not moves or highest - lowest < QUIETEST:
        raise UnusableAudio("silent")


def _blocks(file: Path, seconds: float | None) -> Iterator[Block]:
    """What libsndfile decodes, and behind it what FFmpeg does, where libsndfile stops more than `SLACK` before the end
    (at a damaged spot, at the end of the first of several files in one, by a header that says too little)."""
    given, rate, failure = 0, 0, None
    # by its name, as libsndfile goes by the suffix where an MP3 begins with something else; it need not be text
    name = str(file) if os.name == "nt" else os.fsencode(file)
    try:
        with _quietly(soundfile.SoundFile, name) as sound:
            rate, mp3 = sound.samplerate, sound.format in ("MPEG", "MP3")
            frames = sound.frames if seconds is None else min(sound.frames, int(seconds * rate))
            size = frames if frames * sound.channels <= AT_ONCE else BLOCK
            while len(samples := _quietly(sound.read, min(size, frames - given), dtype="float32", always_2d=True)):
                given += len(samples)
                yield samples, rate
    except (RuntimeError, TypeError) as error:  # soundfile's are of the first kind, and for .raw of the second
        failure = error
    if given and not failure:
        enough = seconds is not None and given >= int(seconds * rate)
        if enough or max(frames / rate, _length(file, mp3)) <= given / rate + SLACK:
            return
    for block in _by_ffmpeg(file, given, rate, seconds):
        given += len(block[0])
        yield block
    if failure and not given:
        raise UnusableAudio("cannot be decoded (no audio found in it)") from failure


def unreadable(file: Path) -> str | None:
    """Why not even the first second of a file can be decoded; None where it can."""
    try:
        next(stream(file, seconds=1.0))
    except UnusableAudio as reason:
        return str(reason)


def stated_seconds(file: Path) -> float:
    """The length that a file states; 0 where it states none, as an MP3 without a header of its encoder's."""
    try:
        content = mutagen.File(file)
        length, bitrate = content.info.length, getattr(content.info, "bitrate", 0)
    except Exception:  # of junk it raises more kinds than its own, and for what it does not know it returns None
        return 0.0
    guessed = getattr(content.info, "bitrate_mode", None) == BitrateMode.UNKNOWN or isinstance(content, (AAC, AC3))
    return 0.0 if guessed or length * bitrate / 8 >= ENDLESS else length


def stated_beyond(file: Path, seconds: float, limit: float | None = None) -> float:
    """The length that a file, or its first seconds up to a limit, states where more than `SLACK` of it is missing in so
    many decoded seconds; else 0."""
    stated = min(stated_seconds(file), limit or np.inf)
    return stated if stated > seconds + SLACK else 0.0


def _length(file: Path, mp3: bool) -> float:
    """The length in s that a file states, or, of an MP3, that FFmpeg finds: of one that states none, by its packets."""
    stated = stated_seconds(file)
    if not mp3:
        return stated
    with suppress(av.FFmpegError, IndexError), _container(file) as container:
        if stated:  # where its bytes are more than its encoder wrote down, FFmpeg goes by the bytes
            return max(stated, (container.duration or 0) / av.time_base)
        track = container.streams.audio[0]
        return float(sum(packet.duration or 0 for packet in container.demux(track)) * track.time_base)
    return stated


def _container(file: Path) -> av.container.InputContainer:
    options = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}
    return av.open(os.path.abspath(file), options=options, metadata_errors="ignore")


def _by_ffmpeg(file: Path, skipped: int, rate: int, seconds: float | None) -> Iterator[Block]:
    """What FFmpeg decodes behind the samples that libsndfile gave, at their rate (0: its own), in blocks."""
    waiting, count, position, frames = [], 0, 0, _frames(file, rate)  # decoded and not given yet; where that ends
    with suppress(av.FFmpegError):
        for samples, rate in frames:
            stop = None if seconds is None else max(0, int(seconds * rate) - position)
            waiting.append(samples[max(0, skipped - position) : stop])
            position, count = position + len(samples), count + len(waiting[-1])
            if count >= BLOCK:
                yield np.concatenate(waiting), rate
                waiting, count = [], 0
            if stop is not None and stop <= len(samples):
                break
    if count:
        yield np.concatenate(waiting), rate


def _frames(file: Path, rate: int) -> Iterator[Block]:
    """What FFmpeg decodes, packet by packet, and so behind a damaged one, too; all at this rate (0: that of the first
    frame), and with the channels of the first."""
    form, layout, resampler = None, None, None
    with _container(file) as container:
        track = container.streams.best("audio")
        for packet in container.demux(track) if track and track.codec_context else ():  # it may know no decoder
            frames = []
            with suppress(av.FFmpegError):
                frames = packet.decode()
            for frame in frames:
                if form != (frame.format.name, frame.layout.name, frame.sample_rate):  # of files one behind the other
                    form = frame.format.name, frame.layout.name, frame.sample_rate
                    rate, layout = rate or frame.sample_rate, layout or frame.layout
                    resampler = av.AudioResampler("flt", layout, rate)
                frame.pts = None  # samples count, whatever their times are said to be
                for resampled in resampler.resample(frame):
                    yield resampled.to_ndarray().reshape(-1, layout.nb_channels), rate


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
    """Call libsndfile without libmpg123's notes on file descriptor 2, which go past Python's `sys.stderr`."""
    terminal = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        return call(*arguments, **options)
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
