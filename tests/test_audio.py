import os
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from soundfusion_lib.audio.decode import UnreadableFile, UnusableAudio, decode, encode_mp3, resample, to_channels


def sine(frequency, seconds, rate):
    return np.sin(2 * np.pi * frequency * np.arange(int(seconds * rate)) / rate).astype(np.float32)


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_decodes_what_libsndfile_reads(tmp_path, suffix):
    wanted = np.stack([sine(440, 1, 44_100), 0.5 * sine(880, 1, 44_100)], 1)
    soundfile.write(tmp_path / f"x.{suffix}", 0.5 * wanted, 44_100)
    samples, rate = decode(tmp_path / f"x.{suffix}")
    assert rate == 44_100 and samples.dtype == np.float32 and samples.shape == (44_100, 2)
    assert np.corrcoef(samples[1000:-1000, 0], wanted[1000:-1000, 0])[0, 1] > 0.99


@pytest.mark.parametrize("content", [b"", b"no music, but bytes " * 99])
@pytest.mark.parametrize("name", ["x.mp3", "x.raw"])  # libsndfile would decode the second if it were told how
def test_unusable_files_give_their_reason(tmp_path, name, content):
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(UnusableAudio, match="cannot be decoded") as caught:
        decode(file)
    assert not isinstance(caught.value, UnreadableFile)


def test_what_the_system_says_is_told_from_what_a_file_holds(tmp_path):
    with pytest.raises(UnreadableFile, match="^file not found$"):
        decode(tmp_path / "x.mp3")
    with pytest.raises(UnreadableFile, match="^not a file$"):
        decode(tmp_path)


DESCRIPTORS = """
import resource, sys
from soundfusion_lib.audio.decode import UnreadableFile, decode
decode(sys.argv[1])
kept = [open(sys.argv[1]) for _ in range(10)]
resource.setrlimit(resource.RLIMIT_NOFILE, (max(file.fileno() for file in kept) + 1,) * 2)
try:
    decode(sys.argv[1])
except UnreadableFile as reason:
    print(reason)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such limit")
def test_a_system_without_a_descriptor_to_spare_says_nothing_of_the_file(tmp_path):
    soundfile.write(tmp_path / "x.wav", sine(440, 1, 22_050), 22_050)
    done = subprocess.run([sys.executable, "-c", DESCRIPTORS, str(tmp_path / "x.wav")], capture_output=True, text=True)
    assert done.stdout == "cannot be read (Too many open files)\n"


def test_an_mp3_behind_other_bytes_is_found(tmp_path):
    (tmp_path / "x.mp3").write_bytes(bytes(500) + encode_mp3(sine(440, 1, 44_100), 44_100))
    assert len(decode(tmp_path / "x.mp3")[0]) > 44_000


def test_a_damaged_mp3_is_decoded_in_silence(tmp_path, capfd):
    (tmp_path / "x.mp3").write_bytes(encode_mp3(sine(440, 1, 44_100), 44_100)[:500] + bytes(9000))
    with pytest.raises(UnusableAudio):
        decode(tmp_path / "x.mp3")
    assert capfd.readouterr().err == ""
    os.write(2, b"heard")  # and what others say after it is not lost
    assert capfd.readouterr().err == "heard"


def test_no_samples_and_infinite_samples_are_unusable(tmp_path):
    soundfile.write(tmp_path / "empty.wav", np.zeros((0, 2)), 44_100)
    with pytest.raises(UnusableAudio, match="holds no audio"):
        decode(tmp_path / "empty.wav")
    soundfile.write(tmp_path / "nan.wav", np.array([0.0, np.nan]), 44_100, subtype="FLOAT")
    with pytest.raises(UnusableAudio, match="not finite"):
        decode(tmp_path / "nan.wav")


def test_channels():
    stereo = np.array([[1.0, 0.0], [0.5, -0.5]], np.float32)
    np.testing.assert_array_equal(to_channels(stereo, 1), [[0.5], [0.0]])
    np.testing.assert_array_equal(to_channels(stereo[:, :1], 2), [[1.0, 1.0], [0.5, 0.5]])
    surround = np.arange(12, dtype=np.float32).reshape(2, 6)
    np.testing.assert_array_equal(to_channels(surround, 2), surround[:, :2])
    np.testing.assert_allclose(to_channels(surround, 1)[:, 0], surround.mean(1))


@pytest.mark.parametrize("rate", [8_000, 32_000, 44_100, 48_000, 96_000])
def test_resampling_keeps_a_tone_and_its_length(rate):
    resampled = resample(sine(1000, 1, rate)[:, None], rate, 22_050)
    assert abs(len(resampled) - 22_050) <= 1
    middle = slice(2_000, 20_000)
    np.testing.assert_allclose(resampled[middle, 0], sine(1000, 1.01, 22_050)[: len(resampled)][middle], atol=2e-3)
