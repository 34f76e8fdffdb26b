"""Files that a folder of music may hold and should not, each with what becomes of it, see test_bad_audio; and files as
people have them that libsndfile does not decode, or not to their ends, see test_audio."""

import os
import struct
from io import BytesIO
from pathlib import Path

import av
import numpy as np
import soundfile

from soundfusion_lib.audio.decode import encode_mp3

RATE = 22_050
CD = 44_100
USED = None
CUT = r"\d+\.\d of \d+\.\d s"  # used, and listed
SHORT = r"too short \(0\.\d (of 3\.0 )?s of at least 1 s\)"
BROKEN = r"cannot be decoded \(no audio found in it\)"
FAR = "far beyond full scale, which is 1"
Files = dict[str, tuple[bytes, str | None]]  # by name: the content, and the reason to leave it out, or USED


def music(rate: int = RATE, channels: int = 2, seconds: float = 1.5, seed: int = 0) -> np.ndarray:
    """(time, channels): a tone of its own in each channel, and noise."""
    random, time = np.random.default_rng(seed), np.arange(max(1, int(seconds * rate))) / rate
    tones = np.stack([0.3 * np.sin(2 * np.pi * 220 * (1 + channel) * time) for channel in range(channels)], 1)
    return tones + random.normal(0, 0.02, tones.shape)


def encoded(suffix: str, samples: np.ndarray, rate: int = RATE, subtype: str | None = None) -> bytes:
    file = BytesIO()
    soundfile.write(file, samples, rate, subtype, format=suffix.upper())
    return file.getvalue()


def write_all(folder: Path) -> dict[str, str | None]:
    """Writes the files; the name of each, and the reason to leave it out as a regular expression, CUT or USED."""
    folder.mkdir(parents=True)
    files = _formats() | _samples() | _headers() | _cuts() | _mp3s() | _no_audio()
    for name, (content, _) in files.items():
        (folder / name).write_bytes(content)
    return {name: outcome for name, (_, outcome) in files.items()} | _no_files(folder)


def _formats() -> Files:
    kinds = {
        "u8.wav": "PCM_U8", "s16.wav": "PCM_16", "s24.wav": "PCM_24", "s32.wav": "PCM_32", "float.wav": "FLOAT",
        "double.wav": "DOUBLE", "ulaw.wav": "ULAW", "alaw.wav": "ALAW", "adpcm.wav": "IMA_ADPCM", "s16.flac": "PCM_16",
        "s24.flac": "PCM_24", "vorbis.ogg": "VORBIS", "s16.aiff": "PCM_16", "ulaw.au": "ULAW", "alac.caf": "ALAC_16",
        "s24.w64": "PCM_24", "layer3.mp3": "MPEG_LAYER_III",
    }  # fmt: skip
    files = {name: encoded(name.split(".")[1], music(seed=len(name)), RATE, kind) for name, kind in kinds.items()}
    files |= {f"{count} channels.wav": encoded("wav", music(channels=count)) for count in range(1, 9)}
    rates = 4_000, 8_000, 11_025, 48_000, 96_000, 192_000, 384_000
    files |= {f"{rate} Hz.wav": encoded("wav", music(rate, 1), rate) for rate in rates}
    files["opus.ogg"] = encoded("ogg", music(48_000), 48_000, "OPUS")
    files["opus.opus"] = files["opus.ogg"][:-1]  # of other bytes
    names = ["Ünïcödé 音楽 🎵.wav", "quoted \"a\" 'b'.wav", "-dash.wav", "50 % of {it}; $HOME.wav", "n" * 236 + ".wav"]
    files |= {name: encoded("wav", music(seed=20 + number)) for number, name in enumerate(names)}
    outcome = "sample rate of {:,} Hz, which is not 4,000 to .+"
    rates = 1, 100, 3_999, 384_001, 2**31 - 1
    wrong = {f"{rate} Hz.wav": (encoded("wav", music(channels=1), rate), outcome.format(rate)) for rate in rates}
    return {name: (content, USED) for name, content in files.items()} | wrong


def _samples() -> Files:
    sound = music(channels=1)[:, 0]
    infinite = "holds samples that are not finite"
    samples = {
        "nan.wav": (np.append(sound, np.nan), infinite),
        "infinity.wav": (np.append(sound, np.inf), infinite),
        "1e30.wav": (1e30 * sound, rf"its samples reach .+e\+29, {FAR}"),
        "one of -1e30.wav": (np.append(sound, -1e30), rf"its samples reach 1e\+30, {FAR}"),
        "whole numbers.wav": (np.round(32_767 * sound), f"its samples reach .+, {FAR}"),
        "loud.wav": (8 * sound, USED),
        "quiet.wav": (1e-3 * sound, USED),  # 66 dB below full scale
        "silence.wav": (0 * sound, "silent"),
        "constant.wav": (0 * sound + 0.25, "silent"),
        "a constant each.wav": (np.stack([0 * sound + 0.25, 0 * sound - 0.5], 1), "silent"),
        "nearly silence.wav": (1e-6 * sound, "silent"),
        "silence with an end.wav": (np.append(0 * sound, sound[:RATE]), USED),
        "one sample.wav": (sound[:1], "silent"),
        "two samples.wav": (sound[:2], SHORT),
        "short.wav": (sound[: int(0.4 * RATE)], SHORT),
    }
    return {name: (encoded("wav", values, RATE, "FLOAT"), outcome) for name, (values, outcome) in samples.items()}


def _headers() -> Files:
    """Headers that lie: (offset, layout, value) over a sound file."""
    wavs = {
        "data of 4 GB.wav": (40, "<I", 2**32 - 1, USED),
        "data of none.wav": (40, "<I", 0, USED),  # as a recorder writes it that lost its power
        "riff of none.wav": (4, "<I", 0, USED),
        "no channels.wav": (22, "<H", 0, BROKEN),
        "65535 channels.wav": (22, "<H", 65_535, BROKEN),
        "no such format.wav": (20, "<H", 4_242, BROKEN),
    }
    hours = bytearray(encoded("flac", music(seed=9)))
    hours[21:26] = bytes([hours[21] | 0x0F]) + b"\xff" * 4  # of 2**36 - 1 samples, 36 days
    files = {"36 days.flac": (bytes(hours), CUT)}
    for name, (offset, layout, value, outcome) in wavs.items():
        changed = bytearray(encoded("wav", music(seed=9)))
        struct.pack_into(layout, changed, offset, value)
        files[name] = bytes(changed), outcome
    return files


def _cuts() -> Files:
    """Files that end early: after so many bytes, in the middle, seven bytes before their end."""
    outcomes = {
        "wav": [BROKEN, BROKEN, "holds no audio", SHORT, SHORT, CUT, USED],
        "flac": [BROKEN] * 5 + [CUT, USED],
        "ogg": [BROKEN] * 5 + [USED, USED],
        "mp3": [BROKEN] * 4 + [SHORT, CUT, USED],
    }
    files = {}
    for kind, expected in outcomes.items():
        content = encoded(kind, music(seconds=3, seed=2))
        sizes = 1, 11, 44, 100, 1_500, len(content) // 2, len(content) - 7
        for size, outcome in zip(sizes, expected, strict=True):
            files[f"cut at {size}.{kind}"] = content[:size], outcome
    return files


def _mp3s() -> Files:
    sound = encode_mp3(music(44_100, seconds=6, seed=3), 44_100)
    random = np.random.default_rng(4)
    tag = b"ID3\x04\x00\x00" + bytes([0, 0, 100, 0]) + random.bytes(100 * 128)
    return {
        "behind a tag of junk.mp3": (tag + sound, USED),
        "before tags of junk.mp3": (sound + b"TAG" + random.bytes(125) + b"APETAGEX" + random.bytes(500), USED),
        "behind half a tag.mp3": (tag[:500] + sound, USED),
        "behind zeros.mp3": (bytes(5_000) + sound, USED),
        "emptied.mp3": (_emptied(sound), USED),
        "random frames.mp3": (_emptied(sound, random), f"its samples reach .+, {FAR}"),
        "silence.mp3": (encode_mp3(np.zeros((88_200, 2)), 44_100), "silent"),
    }


def _emptied(mp3: bytes, random: np.random.Generator | None = None) -> bytes:
    """An MP3 of 128 kbit/s at 44.1 kHz with zeros, or noise, behind the headers of seven of ten frames."""
    content, position, number = bytearray(mp3), 0, 0
    while position + 4 < len(content):
        size = 417 + (content[position + 2] >> 1 & 1)
        if number % 10 < 7:
            rest = len(content[position + 4 : position + size])
            content[position + 4 : position + size] = random.bytes(rest) if random else bytes(rest)
        position, number = position + size, number + 1
    return bytes(content)


def _no_audio() -> Files:
    random = np.random.default_rng(5)
    contents = {
        "text.mp3": b"This is a letter, and no music.\n" * 99,
        "page.mp3": b"<!DOCTYPE html><html><title>404 Not Found</title></html>",
        "picture.mp3": b"\x89PNG\r\n\x1a\n" + random.bytes(4_000),
        "archive.ogg": b"PK\x03\x04" + random.bytes(4_000),
        "m" * 236 + ".mp3": b"no music",
    }
    for suffix in ("mp3", "wav", "flac"):
        junk = {"empty": b"", "random": random.bytes(20_000), "zeros": bytes(20_000)}
        contents |= {f"{name}.{suffix}": content for name, content in junk.items()}
    named_wrongly = {
        "a wav.mp3": (encoded("wav", music(seed=6)), USED),
        "an mp3.wav": (encoded("mp3", music(seed=7)), USED),
    }
    return {name: (content, BROKEN) for name, content in contents.items()} | named_wrongly


def _no_files(folder: Path) -> dict[str, str | None]:
    (folder / "folder.mp3").mkdir()  # as a NAS has them; no track
    os.mkfifo(folder / "pipe.mp3")
    links = {"link to a pipe.mp3": "pipe.mp3", "device.wav": "/dev/zero", "broken link.mp3": "nothing.mp3"}
    for name, target in (links | {"link to itself.mp3": "link to itself.mp3"}).items():
        (folder / name).symlink_to(target)
    soundfile.write(folder / "forbidden.wav", music(seed=8), RATE)
    (folder / "forbidden.wav").chmod(0)
    outcomes = dict.fromkeys(["pipe.mp3", "link to a pipe.mp3", "device.wav"], "not a file")
    outcomes["forbidden.wav"] = USED if os.geteuid() == 0 else r"cannot be read \(Permission denied\)"  # root reads all
    outcomes["link to itself.mp3"] = r"cannot be read \(Too many levels.+\)"
    return outcomes | {"broken link.mp3": "file not found"}


def by_ffmpeg(form: str, codec: str, samples: np.ndarray, rate: int = CD, kilobits: int = 128, **options) -> bytes:
    """Samples (time, channels) in a container's format, encoded by FFmpeg."""
    file = BytesIO()
    with av.open(file, "w", format=form, options=options) as container:
        layout = {1: "mono", 2: "stereo", 6: "5.1"}[samples.shape[1]]
        track = container.add_stream(codec, rate=rate, layout=layout, bit_rate=1_000 * kilobits)
        frame = av.AudioFrame.from_ndarray(samples.astype(np.float32).reshape(1, -1), format="flt", layout=layout)
        frame.sample_rate = rate
        container.mux([*track.encode(frame), *track.encode(None)])
    return file.getvalue()


def mp3(seconds: float, rate: int = CD, kilobits: int = 128, header: bool = True, seed: int = 0) -> bytes:
    """An MP3 with or without its encoder's header, which states the length."""
    options = {} if header else {"write_xing": "0", "id3v2_version": "0"}
    return by_ffmpeg("mp3", "libmp3lame", music(rate, 2, seconds, seed), rate, kilobits, **options)


def files_by_length() -> dict[str, tuple[bytes, float]]:
    """By name: the content, and the length in s of what can be heard."""
    short, long = music(CD, 2, 3), music(CD, 2, 5, seed=1)
    wav, flac = encoded("wav", short, CD, "PCM_16"), encoded("flac", short, CD)
    whole, aac = mp3(8), by_ffmpeg("mp4", "aac", short)
    return {
        "two with headers.mp3": (mp3(3) + mp3(5, seed=1), 8),
        "loud then quiet.mp3": (mp3(3, kilobits=320, header=False) + mp3(5, kilobits=48, header=False), 8),
        "another rate.mp3": (mp3(3, header=False) + mp3(5, 32_000, header=False), 8),
        "hole.mp3": (whole[:40_000] + whole[70_000:], 6.1),
        "noise.mp3": (whole[:40_000] + np.random.default_rng(2).bytes(1_000) + whole[41_000:], 8),
        "half.mp3": (whole[: len(whole) // 2], 4),
        "chained.ogg": (encoded("ogg", short, CD, "VORBIS") + encoded("ogg", long, CD, "VORBIS"), 8),
        "into a pipe.flac": (flac[:21] + bytes([flac[21] & 0xF0]) + bytes(4) + flac[26:], 3),  # of no length, too
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
