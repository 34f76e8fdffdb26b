"""Files as people have them that libsndfile does not decode, or not to their ends; see test_audio."""

from io import BytesIO

import av
import numpy as np
from bad_audio import encoded, music

RATE = 44_100


def by_ffmpeg(form: str, codec: str, samples: np.ndarray, rate: int = RATE, kilobits: int = 128, **options) -> bytes:
    """Samples (time, channels) in a container's format, encoded by FFmpeg."""
    file = BytesIO()
    with av.open(file, "w", format=form, options=options) as container:
        layout = {1: "mono", 2: "stereo", 6: "5.1"}[samples.shape[1]]
        track = container.add_stream(codec, rate=rate, layout=layout, bit_rate=1_000 * kilobits)
        frame = av.AudioFrame.from_ndarray(samples.astype(np.float32).reshape(1, -1), format="flt", layout=layout)
        frame.sample_rate = rate
        resampler = av.AudioResampler(track.format, layout, rate, track.frame_size)
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(track.encode(part))
        container.mux(track.encode(None))
    return file.getvalue()


def mp3(seconds: float, rate: int = RATE, kilobits: int = 128, header: bool = True, seed: int = 0) -> bytes:
    """An MP3 with or without its encoder's header, which states the length."""
    options = {} if header else {"write_xing": "0", "id3v2_version": "0"}
    return by_ffmpeg("mp3", "libmp3lame", music(rate, 2, seconds, seed), rate, kilobits, **options)


def unknown_length(flac: bytes) -> bytes:
    """A FLAC as an encoder writes it into a pipe."""
    return flac[:21] + bytes([flac[21] & 0xF0]) + bytes(4) + flac[26:]


def files() -> dict[str, tuple[bytes, float]]:
    """By name: the content, and the length in s of what can be heard."""
    short, long = music(RATE, 2, 3), music(RATE, 2, 5, seed=1)
    wav, aac = encoded("wav", short, RATE, "PCM_16"), by_ffmpeg("mp4", "aac", short)
    whole = mp3(8)
    return {
        "two with headers.mp3": (mp3(3) + mp3(5, seed=1), 8),
        "loud then quiet.mp3": (mp3(3, kilobits=320, header=False) + mp3(5, kilobits=48, header=False), 8),
        "another rate.mp3": (mp3(3, header=False) + mp3(5, 32_000, header=False), 8),
        "hole.mp3": (whole[:40_000] + whole[70_000:], 6.1),
        "noise.mp3": (whole[:40_000] + np.random.default_rng(2).bytes(1_000) + whole[41_000:], 8),
        "half.mp3": (whole[: len(whole) // 2], 4),
        "chained.ogg": (encoded("ogg", short, RATE, "VORBIS") + encoded("ogg", long, RATE, "VORBIS"), 8),
        "unknown length.flac": (unknown_length(encoded("flac", short, RATE)), 3),
        "of no length.wav": (wav[:40] + bytes(4) + wav[44:], 3),
        "song.m4a": (aac, 3),
        "aac.mp3": (aac, 3),
        "lossless.m4a": (by_ffmpeg("mp4", "alac", short), 3),
        "song.wma": (by_ffmpeg("asf", "wmav2", short), 3),
        "song.wv": (by_ffmpeg("wv", "wavpack", short), 3),
        "song.tta": (by_ffmpeg("tta", "tta", short), 3),
        "song.ac3": (by_ffmpeg("ac3", "ac3", short), 3),
        "song.aac": (by_ffmpeg("adts", "aac", short), 3),
        "song.mka": (by_ffmpeg("matroska", "libopus", music(48_000, 2, 3), 48_000), 3),
    }
