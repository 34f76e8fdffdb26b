import numpy as np
import pytest
import torch
from torchaudio import transforms

from soundfusion_lib.audio.representations import MelSpectrogram, Waveform, from_dict, to_dict

SPECS = [MelSpectrogram(), MelSpectrogram(44_100, 1, 96), MelSpectrogram(44_100, 2, 40, 2048, 256, 60)]
SPECS += [MelSpectrogram(n_fft=1023)]  # an odd window, which has a last frame of its own


def clips():
    """Signals that test a spectrogram at its ends: noise, decay, tone and silence, very quiet, very short, nothing."""
    rng = np.random.default_rng(0)
    time = np.arange(3 * 44_100) / 44_100
    decay = np.sin(2 * np.pi * 440 * time) * np.exp(-3 * (time % 0.5))
    tone = np.where(time < 1, 0.9 * np.sin(2 * np.pi * 9_000 * time), 0)
    noise = rng.normal(0, 0.2, (len(time), 2))
    return {
        "noise": noise,
        "decay": np.stack([decay, 0.3 * decay], 1),
        "tone then silence": np.stack([tone, tone], 1),
        "quiet": 1e-5 * noise,
        "short": noise[:1_500],
        **{f"hops {samples - 51_200:+d}": noise[:samples] for samples in (51_199, 51_200, 51_201)},
        "silence": np.zeros((44_100, 2)),
    }


def torchaudio_s(spec: MelSpectrogram, samples: np.ndarray) -> torch.Tensor:
    """Samples (time, channels) at the spec's rate -> (frames, channels, mel bands), dB."""
    options = {"n_fft": spec.n_fft, "hop_length": spec.hop_length, "n_mels": spec.n_mels}
    power = transforms.MelSpectrogram(spec.sample_rate, **options)(torch.from_numpy(np.ascontiguousarray(samples.T)))
    return transforms.AmplitudeToDB("power", spec.top_db)(power).permute(2, 0, 1)


@pytest.mark.parametrize("name", list(clips()))
@pytest.mark.parametrize("spec", SPECS)
def test_log_mel_equals_torchaudio_s(spec, name):
    samples = clips()[name].astype(np.float32)
    expected = torchaudio_s(spec, samples.mean(1, keepdims=True) if spec.channels == 1 else samples)
    decibels = spec.decibels(samples, 44_100)
    frames = 1 + (len(samples) - spec.n_fft % 2) // spec.hop_length
    assert decibels.shape == expected.shape == (frames, spec.channels, spec.bands)
    assert (decibels - expected).abs().max() <= 1e-3
    stored = spec.transform(samples, 44_100)
    half_a_step = torch.from_numpy(np.spacing(expected.abs().half().numpy()).astype(np.float32) / 2)
    assert stored.dtype == np.float16
    assert ((torch.from_numpy(stored).float() - expected).abs() <= half_a_step + 1e-3).all()


def test_a_mono_clip_fills_both_channels_and_every_rate_is_resampled():
    mono = clips()["decay"][:, :1].astype(np.float32)
    both = MelSpectrogram().decibels(mono, 44_100)
    assert torch.equal(both[:, 0], both[:, 1])
    half = MelSpectrogram().decibels(mono[::2], 22_050)
    assert half.shape == both.shape
    quiet_above = slice(8, 40)
    assert (half - both)[20:-20, :, quiet_above].abs().median() < 1


def test_a_clip_shorter_than_half_a_window_has_a_spectrogram():
    for length in (0, 1, 3, 512, 513):
        assert MelSpectrogram().transform(np.ones((length, 1), np.float32), 44_100).shape == (2, 2, 64)


def test_waveform_is_mono_16_bit_and_saturates():
    samples = np.array([[1.5, 1.5], [-1.5, -1.5], [0.5, -0.5], [0.25, 0.25]], np.float32)
    stored = Waveform().transform(samples, 22_050)
    assert stored.dtype == np.int16 and stored.shape == (4, 1, 1)
    assert stored[:, 0, 0].tolist() == [32_767, -32_768, 0, 8_192]


def test_specs_survive_json_and_name_what_they_depend_on():
    specs = [Waveform(), Waveform(16_000), MelSpectrogram(), MelSpectrogram(22_050, 1, 128), MelSpectrogram(top_db=60)]
    assert [from_dict(to_dict(spec)) for spec in specs] == specs
    assert len({spec.slug for spec in specs}) == len(specs)
