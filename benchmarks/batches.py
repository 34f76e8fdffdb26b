"""Input to the network: batches from the store against the usual DataLoaders, and its share of a training step.

    python benchmarks/batches.py                  # on the CPU, or on CUDA where it is there
    python benchmarks/batches.py --clips 8000     # FMA-small's size, some 16 GB on disk

Synthetic clips of 30 s; shuffled segments of 5 s in batches of 32. The DataLoader over files decodes the segment,
resamples or computes its spectrogram, as tutorials do; the one over arrays cuts it from a memory-mapped float32 array a
clip.
"""

import tempfile
import time
from pathlib import Path

import click
import numpy as np
import pandas as pd
import soundfile
import torch
from common import record, synthetic_store
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset

from soundfusion_lib.audio.decode import encode_mp3
from soundfusion_lib.audio.representations import MelSpectrogram, Waveform
from soundfusion_lib.audio.segments import Segmenting, Segments
from soundfusion_lib.device import autocast, choose_device, describe
from soundfusion_lib.models import build_model

BATCH = 32
FILES = 64  # clips that the DataLoader over files and that over arrays read
MODELS = {"mel": "resnet2d", "waveform": "resnet1d"}
SPECS = {"mel": MelSpectrogram(), "waveform": Waveform()}


class FromFiles(Dataset):
    """A segment decoded from its file and represented by torchaudio, when it is asked for."""

    def __init__(self, folder: Path, kind: str, segments: list[tuple[int, float]]):
        self.folder, self.kind, self.segments = folder, kind, segments

    def __len__(self) -> int:
        return len(self.segments)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        from torchaudio import transforms

        clip, start = self.segments[index]
        samples, rate = soundfile.read(
            self.folder / f"{clip}.mp3", start=int(start * 44_100), frames=5 * 44_100, dtype="float32", always_2d=True
        )
        sound = torch.from_numpy(samples.T)
        if self.kind == "mel":
            if not hasattr(self, "mel"):
                self.mel = torch.nn.Sequential(
                    transforms.MelSpectrogram(rate, n_fft=1024, hop_length=512, n_mels=64),
                    transforms.AmplitudeToDB(top_db=80),
                )
            return self.mel(sound), clip % 8
        if not hasattr(self, "resample"):
            self.resample = transforms.Resample(rate, 22_050)
        return self.resample(sound.mean(0, keepdim=True)), clip % 8


class FromArrays(Dataset):
    """A segment cut from its clip's array, computed before."""

    def __init__(self, folder: Path, kind: str, segments: list[tuple[int, float]]):
        self.spec, self.segments = SPECS[kind], segments
        self.arrays = [np.load(folder / f"{clip}.{kind}.npy", mmap_mode="r") for clip in range(FILES)]

    def __len__(self) -> int:
        return len(self.segments)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        clip, start = self.segments[index]
        first = self.spec.position(start)
        return torch.from_numpy(self.arrays[clip][..., first : first + self.spec.frames(5.0)].copy()), clip % 8


def batches_per_second(batches, device: torch.device, seconds: float) -> float:
    """How many of an endless series of batches arrive on the device in a second."""
    next(batches)
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        next(batches)
        count += 1
    if device.type == "cuda":
        torch.cuda.synchronize()
    return count / (time.perf_counter() - began)


def endless(loader, device: torch.device):
    while True:
        for inputs, targets in loader:
            yield inputs.to(device, non_blocking=True), targets.to(device, non_blocking=True)


def from_store(segments: Segments):
    generator = torch.Generator().manual_seed(0)
    while True:
        for (inputs,), targets in segments.batches(BATCH, generator):
            yield inputs, targets


def step_seconds(kind: str, device: torch.device, steps: int) -> float:
    """A training step of the small network on one batch, again and again, without any input."""
    model = build_model(MODELS[kind], 8).to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    shape = (1, SPECS[kind].frames(5.0)) if kind == "waveform" else (2, 64, SPECS[kind].frames(5.0))
    inputs, targets = torch.randn(BATCH, *shape, device=device), torch.arange(BATCH, device=device) % 8
    for step in range(steps + 2):
        if step == 2:
            if device.type == "cuda":
                torch.cuda.synchronize()
            began = time.perf_counter()
        optimizer.zero_grad()
        with autocast(device):
            logits = model(inputs)
        cross_entropy(logits.float(), targets).backward()
        optimizer.step()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - began) / steps


def write_clips(folder: Path) -> None:
    """MP3s and arrays of noise for the DataLoaders."""
    rng = np.random.default_rng(0)
    for clip in range(FILES):
        (folder / f"{clip}.mp3").write_bytes(encode_mp3(0.1 * rng.standard_normal((30 * 44_100, 2)), 44_100))
        np.save(folder / f"{clip}.mel.npy", rng.standard_normal((2, 64, SPECS["mel"].frames(30.0)), dtype=np.float32))
        np.save(
            folder / f"{clip}.waveform.npy", rng.standard_normal((1, SPECS["waveform"].frames(30.0)), dtype=np.float32)
        )


@click.command(help=__doc__)
@click.option("--clips", default=400, show_default=True, help="Clips in the store.")
@click.option("--workers", default=2, show_default=True, help="Processes of each DataLoader.")
@click.option("--seconds", default=6.0, show_default=True, help="Length of each measurement.")
@click.option("--device", "name", default="auto", show_default=True)
def main(clips: int, workers: int, seconds: float, name: str) -> None:
    device = choose_device(name)
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_clips(folder)
        store = synthetic_store(folder / "store", clips, 30.0, list(SPECS.values()))
        cuts = [(clip, start) for clip in range(FILES) for start in Segmenting().starts(30.0)]
        for kind in SPECS:
            segments = Segments(store, store.tracks.index, (kind,), Segmenting(), device)
            step = step_seconds(kind, device, 20 if device.type == "cuda" else 4)
            sources = {"this library": from_store(segments)}
            for title, dataset in (("DataLoader over arrays", FromArrays), ("DataLoader over files", FromFiles)):
                loader = DataLoader(
                    dataset(folder, kind, cuts), BATCH, shuffle=True, num_workers=workers,
                    pin_memory=device.type == "cuda", persistent_workers=True,
                )  # fmt: skip
                sources[title] = endless(loader, device)
            speeds = {title: batches_per_second(source, device, seconds) for title, source in sources.items()}
            for title, speed in speeds.items():
                rows.append(
                    {
                        "input": kind,
                        "source": title,
                        "batches per second": speed,
                        "this library is faster by": speeds["this library"] / speed,
                        "ms a batch": 1000 / speed,
                        "ms a step without input": 1000 * step,
                        "input, share of the step": (1 / speed) / (1 / speed + step),
                    }
                )
    record("batches", pd.DataFrame(rows), clips=clips, device=describe(device))


if __name__ == "__main__":
    main()
