"""Augmentation: width, place and filling of masks, level of noise, range of gains; and nothing in evaluation."""

import pytest
import torch

from soundfusion_lib.audio.augment import SpecAugment, augmentation


@pytest.fixture
def specgram():
    torch.manual_seed(0)
    return 20 * torch.rand(64, 2, 40, 100, generator=torch.Generator().manual_seed(1)) - 60  # (N, C, M, T) in dB


def runs(mask):
    """Number of stretches of True in each row of a boolean (N, length)."""
    return (torch.nn.functional.pad(mask.int(), (1, 0)).diff(dim=1) == 1).sum(dim=1)


def hidden(before, after):
    """Masked time frames (N, T) and mel bands (N, M)."""
    changed = (before != after).all(dim=1)  # (N, M, T)
    return changed.all(dim=1), changed.all(dim=2)


def test_masks_are_stretches_of_limited_width_which_differ_between_samples(specgram):
    time, frequency = hidden(specgram, SpecAugment(n_time_masks=1, n_frequency_masks=1)(specgram))
    assert len({tuple(row.tolist()) for row in time}) > 40
    for mask, limit in ((time, 30), (frequency, 12)):
        widths = mask.sum(dim=1)
        assert runs(mask).max() == 1 and 0.8 * limit <= widths.max() <= limit  # 64 draws come near the limit
        assert widths.float().mean().item() == pytest.approx(limit / 2, rel=0.25)


def test_masks_lie_anywhere_and_are_applied_with_their_probability():
    torch.manual_seed(0)
    share = SpecAugment()._masks(4000, 100, 1, torch.device("cpu")).float().mean(dim=0)  # (100,)
    assert share[0] > 0 and share[-1] > 0
    torch.testing.assert_close(share, share.flip(0), rtol=0, atol=0.03)
    assert share[40:60].mean().item() == pytest.approx(15 / 85, abs=0.02)  # mean width over places, roughly
    masks = SpecAugment(1, 0, probability=0.25)._masks(4000, 100, 1, torch.device("cpu"))  # widths are 0 one time in 31
    assert masks.any(dim=1).float().mean().item() == pytest.approx(0.25 * 30 / 31, abs=0.03)


def test_two_masks_can_be_apart_are_the_same_in_all_channels_and_hide_the_mean(specgram):
    augmented = SpecAugment()(specgram)
    time, frequency = hidden(specgram, augmented)
    assert runs(time).max() == 2 and runs(frequency).max() == 2
    assert time.sum(dim=1).max() <= 60 and frequency.sum(dim=1).max() <= 24
    changed = specgram != augmented
    assert torch.equal(changed[:, 0], changed[:, 1])
    mean = specgram.mean(dim=(1, 2, 3), keepdim=True).expand_as(specgram)
    torch.testing.assert_close(augmented[changed], mean[changed])
    for nothing in ({"probability": 0.0}, {"max_fraction": 0.0}, {"n_time_masks": 0, "n_frequency_masks": 0}):
        assert torch.equal(SpecAugment(**nothing)(specgram), specgram)


def test_noise_has_its_deviation_and_gain_is_one_per_sample_uniform_in_decibels():
    torch.manual_seed(0)
    noise = augmentation("waveform", noise_std=0.02, min_db=0, max_db=0)(torch.zeros(8, 1, 50_000))
    torch.testing.assert_close(noise.std(dim=2), torch.full((8, 1), 0.02), rtol=0.02, atol=0)
    assert noise.mean().abs() < 1e-3 and not torch.equal(noise[0], noise[1])
    waveform = torch.linspace(-1, 1, 100).expand(2000, 1, 100)
    gain = (augmentation("waveform", noise_std=0)(waveform) / waveform).squeeze(1)  # (2000, 100)
    torch.testing.assert_close(gain, gain[:, :1].expand_as(gain))
    decibels = 20 * gain[:, 0].log10()
    assert -12.001 <= decibels.min() < -11.9 and 11.9 < decibels.max() <= 12.001
    assert decibels.mean().abs() < 0.6 and decibels.std().item() == pytest.approx(24 / 12**0.5, rel=0.05)


@pytest.mark.parametrize("name, shape", [("mel", (4, 2, 64, 50)), ("waveform", (4, 1, 1000))])
def test_augmentation_acts_only_in_training(name, shape):
    module, x = augmentation(name), torch.randn(shape)
    untouched = x.clone()
    assert not torch.equal(module.train()(x), x)
    assert torch.equal(module.eval()(x), x)
    assert torch.equal(x, untouched)  # never in place: the input may be the store's
