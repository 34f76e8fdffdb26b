"""Augmentation of inputs on their own device, different for every sample, and only in training mode."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from soundfusion_lib.checks import Fraction, NotNegative, Number, Whole, check, options_of
from soundfusion_lib.errors import SoundFusionError

Masks = Annotated[Whole, Field(ge=0)]


class SpecAugment(nn.Module):
    """Hide random stretches of time and of frequency (Park et al., "SpecAugment", Interspeech 2019; no time warping).

    Each mask is applied with its `probability`. Its width is uniform in 0..max_fraction of its axis, its place uniform
    among those where it fits. A sample's masks are the same in all channels, and are filled with the sample's mean.

    Shape: (N, C, M, T), standardised (else the filling shows in bands far from the mean) -> the same.
    """

    def __init__(
        self,
        n_time_masks: Masks = 2,
        n_frequency_masks: Masks = 2,
        probability: Fraction = 1.0,
        max_fraction: Fraction = 0.3,
    ) -> None:
        super().__init__()
        self.n_time_masks, self.n_frequency_masks = n_time_masks, n_frequency_masks
        self.probability, self.max_fraction = probability, max_fraction

    def forward(self, specgram: Tensor) -> Tensor:
        if not self.training:
            return specgram
        n_samples, _, n_mels, n_frames = specgram.shape
        time = self._masks(n_samples, n_frames, self.n_time_masks, specgram.device)  # (N, T)
        frequency = self._masks(n_samples, n_mels, self.n_frequency_masks, specgram.device)  # (N, M)
        masked = time[:, None, None, :] | frequency[:, None, :, None]  # (N, 1, M, T)
        mean = specgram.mean(dim=(1, 2, 3), keepdim=True)  # (N, 1, 1, 1)
        return torch.where(masked, mean, specgram)

    def _masks(self, n_samples: int, length: int, n_masks: int, device: torch.device) -> Tensor:
        """Boolean (n_samples, length), true where any of a sample's masks lies."""
        width, start, chance = torch.rand(3, n_samples, n_masks, 1, device=device)
        width = (width * (int(self.max_fraction * length) + 1)).floor()
        start = (start * (length - width + 1)).floor()
        position = torch.arange(length, device=device)
        inside = (position >= start) & (position < start + width) & (chance < self.probability)
        return inside.any(dim=1)


class NoiseAndGain(nn.Module):
    """Add white noise (its deviation as a share of full scale), then change each sample's volume by a gain uniform
    between min_db and max_db. Shape: (N, 1, L) -> the same."""

    def __init__(self, noise_std: NotNegative = 0.02, min_db: Number = -12.0, max_db: Number = 12.0) -> None:
        super().__init__()
        self.noise_std, self.min_db, self.max_db = noise_std, min_db, max_db

    def forward(self, waveform: Tensor) -> Tensor:
        if not self.training:
            return waveform
        noisy = waveform + self.noise_std * torch.randn_like(waveform)
        draw = torch.rand(waveform.shape[0], 1, 1, dtype=waveform.dtype, device=waveform.device)
        decibels = self.min_db + (self.max_db - self.min_db) * draw  # (N, 1, 1)
        return noisy * 10 ** (decibels / 20)


AUGMENTATIONS = {"mel": SpecAugment, "waveform": NoiseAndGain}


def augmentation(input_name: str, **options) -> nn.Module:
    """The report's augmentation of ``mel`` (`SpecAugment`) or ``waveform`` (`NoiseAndGain`), with these options of it.
    Raises SoundFusionError for another input or option, and for a value that is not allowed."""
    if input_name not in AUGMENTATIONS:
        raise SoundFusionError(f"no augmentation of {input_name!r}; there are: {', '.join(AUGMENTATIONS)}")
    module = AUGMENTATIONS[input_name]
    check(options_of(module), options, f"augmentation of {input_name!r}:")
    return module(**options)
