import os
import sys

import numpy as np
import pytest
import soundfile
from odd_audio import encoded, files_by_length

from soundfusion_lib.audio import decode as decode_module
from soundfusion_lib.audio import representations
from soundfusion_lib.audio.decode import UnreadableFile, UnusableAudio, decode, encode_mp3, stated_beyond, to_channels
from soundfusion_lib.audio.representations import MelSpectrogram, Waveform, streamed
from soundfusion_lib.errors import SoundFusionError


def sine(frequency, seconds, rate):
    return np.sin(2 * np.pi * frequency * np.arange(int(seconds * rate)) / rate).astype(np.float32)


@pytest.mark.parametrize("rate, kilobits", [(44_100, 128), (44_100, 32), (22_050, 64), (8_000, 32)])
def test_an_mp3_has_the_sound_and_the_bit_rate_that_were_asked_for(tmp_path, rate, kilobits):
    sound = 0.5 * sine(440, 4, rate)
    mono, stereo = encode_mp3(sound, rate, kilobits), encode_mp3(np.stack([sound, 4 * sound], 1), rate, kilobits)
    for mp3, channels in ((mono, 1), (stereo, 2)):
        assert len(mp3) == pytest.approx(125 * kilobits * 4, rel=0.1)
        (tmp_path / "x.mp3").write_bytes(mp3)
        samples, decoded_rate = decode(tmp_path / "x.mp3")
        assert decoded_rate == rate and samples.shape[1] == channels
        assert 0 <= len(samples) - len(sound) < 2_500  # where the bits are few, none say where the padding ends
        assert np.abs(np.fft.rfft(samples[rate : 2 * rate, 0])).argmax() == 440
        assert np.abs(samples).max() < 1.7  # the second channel is clipped


@pytest.mark.parametrize("suffix", ["mp3", "raw", "wav"])  # libsndfile would decode .raw if it were told how
def test_files_that_cannot_be_used_or_not_now_are_told_apart(tmp_path, suffix):
    file = tmp_path / f"x.{suffix}"
    for write, kind, reason in (
        (lambda: None, UnreadableFile, "^file not found$"),
        (lambda: file.write_bytes(b"no music, but bytes " * 99), UnusableAudio, "^cannot be decoded"),
        (lambda: (file.unlink(), file.mkdir()), UnreadableFile, "^not a file$"),
    ):
        write()
        with pytest.raises(UnusableAudio, match=reason) as caught:
            decode(file)
        assert caught.type is kind


def test_a_damaged_mp3_is_decoded_in_silence(tmp_path, capfd):
    (tmp_path / "x.mp3").write_bytes(encode_mp3(sine(440, 1, 44_100), 44_100)[:500] + bytes(9000))
    with pytest.raises(UnusableAudio):
        decode(tmp_path / "x.mp3")
    assert capfd.readouterr().err == ""
    os.write(2, b"heard")  # and what others say after it is not lost
    assert capfd.readouterr().err == "heard"


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """By name: the file, and the length in s of what can be heard in it."""
    folder, files = tmp_path_factory.mktemp("odd"), {}
    for name, (content, seconds) in files_by_length().items():
        (folder / name).write_bytes(content)
        files[name] = folder / name, seconds
    return files


def test_what_can_be_heard_is_decoded_whole_and_what_is_missing_is_said(odd):
    lengths, missing = {}, set()
    for name, (file, _) in odd.items():
        samples, rate = decode(file)
        lengths[name] = len(samples) / rate
        assert samples.shape[1] == 2 and rate == (48_000 if name == "song.mka" else 44_100)
        assert np.abs(samples[-rate // 2 :]).max() > 0.2  # its end is there, too
        missing |= {name} if stated_beyond(file, lengths[name]) else set()
    assert lengths == pytest.approx({name: seconds for name, (_, seconds) in odd.items()}, abs=0.1)
    assert missing == {"half.mp3", "hole.mp3"}
    assert stated_beyond(odd["half.mp3"][0], 4.0) == pytest.approx(8.0, abs=0.1)
    assert stated_beyond(odd["half.mp3"][0], 4.0, limit=4.5) == 0


def test_blocks_of_a_long_file_are_those_of_the_whole_behind_a_damaged_spot_too(odd, monkeypatch):
    monkeypatch.setattr(decode_module, "BLOCK", 50_021)
    for name in ("hole.mp3", "noise.mp3", "chained.ogg", "two with headers.mp3", "song.m4a"):
        file = odd[name][0]
        samples, rate = decode(file)
        with monkeypatch.context() as context:
            context.setattr(decode_module, "AT_ONCE", 0)
            blocks = [block for block, _ in decode_module.stream(file)]
        assert len(blocks) > 2 and max(map(len, blocks)) < 2 * rate
        assert abs(sum(map(len, blocks)) - len(samples)) < 0.1 * rate
        first, limited = decode(file, 1.5)[0], decode(file, 5.5)[0]
        np.testing.assert_array_equal(first, samples[: len(first)])
        np.testing.assert_array_equal(limited, samples[: len(limited)])
        assert len(first) == 1.5 * rate and len(limited) == min(int(5.5 * rate), len(samples))


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3", "aiff", "au"])
def test_an_ordinary_file_has_libsndfile_s_values_and_ffmpeg_decodes_none_of_it(tmp_path, suffix, monkeypatch):
    monkeypatch.setattr(decode_module, "_by_ffmpeg", None)
    sound = np.stack([0.5 * sine(440, 3, 44_100), 0.3 * sine(880, 3, 44_100)], 1)
    soundfile.write(tmp_path / f"x.{suffix}", sound, 44_100)
    samples, rate = decode(tmp_path / f"x.{suffix}")
    np.testing.assert_array_equal(samples, soundfile.read(tmp_path / f"x.{suffix}", dtype="float32")[0])
    assert rate == 44_100 and samples.dtype == np.float32 and samples.shape == (3 * 44_100, 2)


def test_a_list_of_other_files_is_no_audio(tmp_path):
    """FFmpeg would open what an HLS playlist or a concat script names."""
    soundfile.write(tmp_path / "secret.wav", 0.5 * sine(440, 3, 44_100), 44_100)
    playlist = "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\nsecret.wav\n#EXT-X-ENDLIST\n"
    for name, text in (("a.mp3", playlist), ("b.mp3", "ffconcat version 1.0\nfile secret.wav\n")):
        (tmp_path / name).write_text(text)
        with pytest.raises(UnusableAudio, match="cannot be decoded"):
            decode(tmp_path / name)


def test_what_a_recorder_that_cannot_know_the_length_writes_states_none(tmp_path):
    wav = bytearray(encoded("wav", sine(440, 3, 44_100), 44_100))
    for size, stated in ((2**32 - 1, 0), (2 * 44_100 * 9, 9)):
        wav[40:44] = size.to_bytes(4, "little")
        (tmp_path / "x.wav").write_bytes(wav)
        assert stated_beyond(tmp_path / "x.wav", 3.0) == stated


def test_channels():
    stereo = np.array([[1.0, 0.0], [0.5, -0.5]], np.float32)
    np.testing.assert_array_equal(to_channels(stereo, 1), [[0.5], [0.0]])
    np.testing.assert_array_equal(to_channels(stereo[:, :1], 2), [[1.0, 1.0], [0.5, 0.5]])
    surround = np.arange(12, dtype=np.float32).reshape(2, 6)
    np.testing.assert_array_equal(to_channels(surround, 2), surround[:, :2])
    np.testing.assert_allclose(to_channels(surround, 1)[:, 0], surround.mean(1))


SPECS = [  # in which a file that is read piece by piece has the values of the whole
    Waveform(),
    Waveform(44_100),
    MelSpectrogram(),
    MelSpectrogram(22_050, 1, 128),
    MelSpectrogram(22_050, 2, 16, n_fft=301, hop_length=450),  # an odd window, shorter than the hop
    MelSpectrogram(22_050, 1, 32, n_fft=1024, hop_length=2048, top_db=30),
]
FILES = {  # seconds, rate, channels, suffix
    "short": (0.004, 22_050, 1, "wav"),
    "mono": (3.1, 48_000, 1, "flac"),
    "stereo": (2.7, 44_100, 2, "mp3"),
    "many": (4.03, 11_025, 3, "wav"),
    "level": (3.0, 22_050, 2, "ogg"),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Sounds that get louder, so that the loudest value of all comes at the end."""
    folder, random = tmp_path_factory.mktemp("files"), np.random.default_rng(0)
    paths = {}
    for name, (seconds, rate, channels, suffix) in FILES.items():
        tones = np.sin(np.cumsum(random.uniform(0, 1, (int(seconds * rate), channels)), axis=0))
        paths[name] = folder / f"{name}.{suffix}"
        soundfile.write(paths[name], tones * np.linspace(0.01, 0.9, len(tones))[:, None], rate)
    return paths


@pytest.mark.parametrize("name", FILES)
@pytest.mark.filterwarnings("ignore:At least one mel filterbank:UserWarning")
def test_pieces_are_the_whole_at_every_border(files, name, monkeypatch):
    monkeypatch.setattr(decode_module, "BLOCK", 5_003)  # many borders in a short file
    monkeypatch.setattr(representations, "CHUNK", 6_007)
    samples, rate = decode(files[name])
    monkeypatch.setattr(decode_module, "AT_ONCE", 0)
    blocks = list(decode_module.stream(files[name]))
    assert {rate for _, rate in blocks} == {FILES[name][1]} and max(len(block) for block, _ in blocks) <= 5_003
    np.testing.assert_array_equal(np.concatenate([block for block, _ in blocks]), samples)
    with streamed(files[name], SPECS) as (seconds, arrays):
        for spec, array in zip(SPECS, arrays, strict=True):
            whole = spec.transform(samples, rate)
            assert seconds == len(samples) / rate and array.frames == len(whole) and array.spec == spec
            assert array.silence == (float(whole.max()) - spec.top_db if spec.kind == "mel" else 0)
            pieces = np.concatenate([array.read(start, start + 7) for start in range(0, array.frames, 7)])
            assert pieces.dtype == whole.dtype
            # resampling and transforming short pieces may round another last digit: 1 of 32,768, or float16's at 80 dB
            digit = 1.0 if spec.kind == "waveform" else float(np.spacing(np.float16(80)))
            np.testing.assert_allclose(pieces.astype(float), whole.astype(float), atol=1.01 * digit)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /dev/full")
def test_a_full_temporary_folder_is_said_to_be_full(files, monkeypatch):
    monkeypatch.setattr(representations, "open", lambda *_: open("/dev/full", "wb"), raising=False)  # noqa: SIM115
    full = pytest.raises(SoundFusionError, match="cannot write to .*No space left")
    with full, streamed(files["mono"], [Waveform()]):
        pass
