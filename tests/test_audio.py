import numpy as np
import pytest
import soundfile

from soundfusion_lib.audio import UnusableAudio, decode, resample, to_channels


def sine(frequency, seconds, rate):
    return np.sin(2 * np.pi * frequency * np.arange(int(seconds * rate)) / rate).astype(np.float32)


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_decodes_what_libsndfile_reads(tmp_path, suffix):
    wanted = np.stack([sine(440, 1, 44_100), 0.5 * sine(880, 1, 44_100)], 1)
    soundfile.write(tmp_path / f"x.{suffix}", 0.5 * wanted, 44_100)
    samples, rate = decode(tmp_path / f"x.{suffix}")
    assert rate == 44_100 and samples.dtype == np.float32 and samples.shape == (44_100, 2)
    assert np.corrcoef(samples[1000:-1000, 0], wanted[1000:-1000, 0])[0, 1] > 0.99


@pytest.mark.parametrize(
    "content, reason",
    [(None, "file not found"), (b"", "cannot be decoded"), (b"no music, but bytes " * 99, "cannot be decoded")],
)
def test_unusable_files_give_their_reason(tmp_path, content, reason):
    file = tmp_path / "x.mp3"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UnusableAudio, match=reason):
        decode(file)


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
