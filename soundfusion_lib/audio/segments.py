"""Segments of tracks, and batches of them gathered on the training device."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated

import numpy as np
import pandas as pd
import torch
from pydantic import Field

from soundfusion_lib.audio.store import Store, StoredArray
from soundfusion_lib.checks import Number, Seconds, checked
from soundfusion_lib.device import fits
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.pool import in_order

AHEAD = 2  # batches gathered beside the step on a GPU whose memory the clips do not fit in


@checked
class Segmenting:
    """How to cut a clip; the report's 5 s with 25 % overlap give 7 segments of a 30 s clip.

    Without an overlap a clip is one segment from its start ("without segmentation"), cut or padded with silence.
    """

    seconds: Seconds = 5.0  # length of a segment
    overlap: Annotated[Number, Field(ge=0, le=0.99)] | None = 0.25  # share that a segment has in common with the next

    def starts(self, seconds: float) -> np.ndarray:
        """Start times, in seconds, of the segments that fit in a clip of so many seconds; may be empty."""
        if self.overlap is None:
            return np.zeros(1)
        hop = self.seconds * (1 - self.overlap)
        count = 1 + int((seconds - self.seconds) / hop + 1e-9) if seconds >= self.seconds else 0
        return hop * np.arange(count)


class Segments:
    """The segments of some tracks (ids) of a store, as inputs of a network, gathered on a device.

    Args:
        kinds: the representations, in this order: ("waveform",), ("mel",), ("waveform", "mel").

    Attributes:
        table: one row per segment: `track` (id), `segment` (its number in the track), `target` (class index).
        targets: the same class indices on the device, (segments,), int64.
    """

    def __init__(
        self, store: Store, tracks: pd.Index, kinds: tuple[str, ...], segmenting: Segmenting, device: torch.device
    ):
        usable = store.tracks
        starts = usable.loc[tracks, "seconds"].map(segmenting.starts).explode().dropna().astype(float)  # by track
        if starts.empty:
            raise SoundFusionError(f"none of {len(tracks)} tracks holds a segment of {segmenting.seconds} s")
        targets = np.searchsorted(store.labels, usable.loc[starts.index, "label"].to_numpy(str))
        numbers = starts.groupby(level=0).cumcount().to_numpy()
        self.table = pd.DataFrame({"track": starts.index, "segment": numbers, "target": targets})
        self.device = device
        self.targets = torch.from_numpy(targets).to(device)
        arrays = [store.arrays[kind] for kind in kinds]
        fit = fits(sum(array.data.nbytes for array in arrays if device not in array.tensors), device)
        self._where = device if fit else torch.device("cpu")  # of the arrays
        self._windows = [_Windows(array, starts, segmenting, self._where, device) for array in arrays]
        self.ahead = AHEAD if device.type == "cuda" and not fit else 0  # batches that a thread gathers

    def __len__(self) -> int:
        return len(self.table)

    def batch_sizes(self, batch_size: int) -> list[int]:
        """Sizes of an epoch's batches. A last one of one segment, which batch norm cannot use, joins the one before."""
        full, rest = divmod(len(self), batch_size)
        sizes = [batch_size] * full + [rest] * bool(rest)
        return sizes[:-2] + [batch_size + 1] if full and rest == 1 else sizes

    def batches(
        self, batch_size: int, generator: torch.Generator | None = None, random_starts: bool = False
    ) -> Iterator[tuple[tuple[torch.Tensor, ...], torch.Tensor]]:
        """All segments once, shuffled if there is a generator (of the CPU), else in the order of `table`; with
        `random_starts` each begins anywhere in its track where it fits.

        Yields:
            Inputs, one per kind, float32 on the device: waveform (N, 1, samples), mel (N, channels, bands, frames);
            targets (N,), int64.
        """
        order = torch.arange(len(self)) if generator is None else torch.randperm(len(self), generator=generator)
        sizes = self.batch_sizes(batch_size)
        order = order.to(self._where)  # once per epoch: once per batch, each would wait for the device
        starts = [windows.start for windows in self._windows]
        if random_starts:
            share = torch.rand(len(self), generator=generator, dtype=torch.float64)  # the same of every representation
            starts = [windows.random_start(share) for windows in self._windows]
        targets = self.targets[order.to(self.device)].split(sizes)

        def gather(rows: torch.Tensor) -> list[torch.Tensor]:
            return [windows.gather(rows, start[rows]) for windows, start in zip(self._windows, starts, strict=True)]

        parts = order.split(sizes)
        with ThreadPoolExecutor(1) as thread:
            gathered = in_order(thread, gather, parts, self.ahead) if self.ahead else map(gather, parts)
            for batch, target in zip(gathered, targets, strict=True):
                yield tuple(windows.input(values) for windows, values in zip(self._windows, batch, strict=True)), target

    def statistics(self, batch_size: int = 64) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
        """By kind: mean and standard deviation per band over all segments, each (bands,), float64 on the CPU."""
        totals = [torch.zeros(2, windows.spec.bands, dtype=torch.float64) for windows in self._windows]
        for inputs, _ in self.batches(batch_size):
            for total, x in zip(totals, inputs, strict=True):
                x = x.unsqueeze(-2) if x.ndim == 3 else x  # (N, channels, bands, frames)
                total += torch.stack([x.sum((0, 1, 3)), x.square().sum((0, 1, 3))]).cpu()
        statistics = {}
        for windows, total in zip(self._windows, totals, strict=True):
            mean, square = total / (len(self) * windows.spec.channels * windows.length)
            statistics[windows.spec.kind] = mean, (square - mean**2).clamp(min=0).sqrt()
        return statistics


class _Windows:
    """Windows of one stored array, which lies in the memory of `where`, gathered on `device`."""

    def __init__(
        self, array: StoredArray, starts: pd.Series, segmenting: Segmenting, where: torch.device, device: torch.device
    ):
        self.spec, self.device, self.data = array.representation, device, array.tensor(where)
        self.length = self.spec.frames(segmenting.seconds)
        clips = array.tracks.loc[starts.index]  # one row per segment
        frames = clips["frames"].to_numpy()
        room = np.maximum(frames - self.length, 0)
        offset = np.minimum([self.spec.position(start) for start in starts], room)  # resampling may cut a clip's end
        self.clip, self.room = torch.tensor(clips["start"].to_numpy()), torch.tensor(room)
        self.start = (self.clip + torch.tensor(offset)).to(where)
        self.available = torch.from_numpy(np.minimum(frames, self.length)).to(where)
        self.silence = torch.from_numpy(clips["silence"].to_numpy(np.float32)).to(where)
        self.padded = bool((frames < self.length).any())

    def random_start(self, share: torch.Tensor) -> torch.Tensor:
        """Where each segment starts if it leaves this share (0 to 1) of the room in its clip before it, (segments,)."""
        return (self.clip + (share * (self.room + 1)).long()).to(self.start.device)

    def gather(self, rows: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
        """Segments of these numbers (N,) that start there (N,), as they are stored: (N, channels, bands, length); for a
        GPU in pinned memory, which it copies from while it computes."""
        if self.padded:  # a window may be longer than its clip: frames behind it would be the next clip's
            position = torch.arange(self.length, device=self.data.device)
            inside = position < self.available[rows, None]  # (N, length)
            window = self.data[(start[:, None] + position).where(inside, start[:, None])]
            silence = self.silence[rows, None, None, None].to(window.dtype)
            window = torch.where(inside[:, :, None, None], window, silence).permute(0, 2, 3, 1)
        else:
            window = self.data.unfold(0, self.length, 1)[start]  # (N, channels, bands, length)
        return window.pin_memory() if self.device.type == "cuda" and not window.is_cuda else window

    def input(self, window: torch.Tensor) -> torch.Tensor:
        """What `gather` gives as a network's input on the device, see `Segments.batches`."""
        # 16 bits a value travel; only CUDA keeps the source until it is copied, MPS may read it when it is freed
        window = window.to(self.device, non_blocking=self.device.type == "cuda").float() * self.spec.scale
        return window.squeeze(2) if self.spec.kind == "waveform" else window
