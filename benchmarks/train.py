"""Training: segments per second of every model, against a plain loop and lever by lever.

    python benchmarks/train.py                        # all models, on the CPU or on CUDA where it is there
    python benchmarks/train.py --models resnet1d-small,resnet2d-small
    python benchmarks/train.py --accuracy             # do the levers cost accuracy? a paired test on the demo corpus

The plain loop: float32, default memory layout, all cores, a DataLoader with two workers over segments computed before,
`.item()` at each step. The levers are added one after the other. Gradients of long one-dimensional convolutions are
matrix products in the row that says so, and torch's own in those above; the last row of a CPU is what a study does: the
faster of the two for this processor, and a run on each core. Every measurement is a process of its own. Synthetic
segments of 5 s, the report's batch sizes, no augmentation.
"""

import tempfile
import time
from pathlib import Path

import click
import pandas as pd
import torch
from common import least_seconds, record, synthetic_store
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.flop_counter import FlopCounterMode

from soundfusion_lib.analysis import statistics
from soundfusion_lib.audio.representations import MelSpectrogram, Waveform
from soundfusion_lib.audio.segments import Segmenting, Segments
from soundfusion_lib.device import autocast, choose_device, describe
from soundfusion_lib.models import build_model, resnet1d
from soundfusion_lib.pool import cores, worker_pool
from soundfusion_lib.study import protocol
from soundfusion_lib.study.study import Study
from soundfusion_lib.training import inference, loop, train
from soundfusion_lib.training.loop import Training, fit

FUSED = [("resnet1d", {"width": 16}), ("resnet2d", {"width": 16, "pool": 1})]
MODELS = {  # name: (model, options, batch size)
    "simple_cnn": ("simple_cnn", {}, 256),
    "nnet1": ("nnet1", {}, 32),
    "nnet2": ("nnet2", {}, 32),
    "resnet1d-small": ("resnet1d", {"width": 16}, 32),
    "resnet1d-medium": ("resnet1d", {"width": 32}, 32),
    "resnet1d-large": ("resnet1d", {"width": 64}, 16),
    "resnet2d-small": ("resnet2d", {"width": 16}, 32),
    "resnet2d-medium": ("resnet2d", {"width": 32}, 32),
    "resnet2d-large": ("resnet2d", {"width": 64}, 16),
    "soundfusion1": ("fusion_concat", {"parts": FUSED}, 32),
    "soundfusion2": ("fusion_decision", {"parts": FUSED}, 32),
    "vgg16": ("vgg16", {}, 16),
}
SPECS = [Waveform(), MelSpectrogram()]
LEVERS = [
    "fit(), no lever",
    "+ channels_last",
    "+ gradients as products",
    "gradients as chosen, a run a core",
]
ALL = len(LEVERS) - 1
EPOCHS = 3  # the best of the last two counts


def pull(lever: int) -> None:
    """Set up this process so that fit() has the first so many levers; with all, it chooses the gradients itself."""
    if lever < 1:
        loop.MEMORY_FORMAT = torch.contiguous_format
    if lever < ALL:
        resnet1d.PRODUCTS = lever == 2


def segments_for(name: str, folder: Path, steps: int, device: torch.device) -> tuple[Segments, Segments]:
    """Segments for so many steps, and a few for validation."""
    model, _, batch_size = MODELS[name]
    whole = model == "simple_cnn"
    clips = -(-batch_size * steps // (1 if whole else 7))  # 7 segments a clip
    store = synthetic_store(folder, 8 * -(-clips // 8), 30.0, SPECS)
    kinds = _build(name).inputs
    train, few = store.tracks.index[:clips], store.tracks.index[:1]
    segmenting = Segmenting(30.0, None) if whole else Segmenting()
    return tuple(Segments(store, tracks, kinds, segmenting, device) for tracks in (train, few))


def _build(name: str) -> nn.Module:
    torch.manual_seed(0)
    model, options, _ = MODELS[name]
    return build_model(model, 8, **options)


def library(name: str, lever: int, folder: Path, steps: int, device: torch.device) -> float:
    """Segments per second of `fit` with the first so many levers."""
    pull(lever)
    train, few = segments_for(name, folder, steps, device)
    settings = Training(epochs=EPOCHS, patience=EPOCHS, batch_size=MODELS[name][2])
    history, _, _ = fit(_build(name), train, few, settings, progress=False)
    return len(train) / history["seconds"][1:].min()


def plain(name: str, folder: Path, steps: int, device: torch.device) -> float:
    """Segments per second of the plain loop."""
    pull(0)
    train, _ = segments_for(name, folder, steps, torch.device("cpu"))
    inputs, targets = zip(*train.batches(64), strict=True)
    data = TensorDataset(*(torch.cat(kind) for kind in zip(*inputs, strict=True)), torch.cat(targets))
    loader = DataLoader(data, MODELS[name][2], shuffle=True, num_workers=2, persistent_workers=True)
    model = _build(name).to(device).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    best = float("inf")
    for _ in range(EPOCHS):
        began, total_loss, total_right = time.perf_counter(), 0.0, 0
        for *inputs, targets in loader:
            inputs, targets = [x.to(device) for x in inputs], targets.to(device)
            optimizer.zero_grad()
            logits = model(*inputs)
            loss = cross_entropy(logits, targets)
            loss.backward()
            optimizer.step()
            total_loss += loss.item() * len(targets)
            total_right += (logits.argmax(1) == targets).sum().item()
        best = min(best, time.perf_counter() - began)
    return len(data) / best


def work(name: str) -> tuple[float, float]:
    """A segment's training step: floating-point operations; bytes that its layers read and write at least (float32).

    Both count the forward pass and twice as much for the two gradients; the bytes are all layers' inputs and outputs.
    """
    model = _build(name).train()
    frames = SPECS[1].frames(30.0 if name == "simple_cnn" else 5.0)
    shapes = {"waveform": (1, SPECS[0].frames(5.0)), "mel": (2, 64, frames)}
    inputs = [torch.randn(2, *shapes[kind]) for kind in model.inputs]
    moved = 0

    def count(module, args, output):
        nonlocal moved
        moved += sum(x.numel() * x.element_size() for x in (*args, output) if isinstance(x, torch.Tensor))

    for module in model.modules():
        if not list(module.children()):
            module.register_forward_hook(count)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(*inputs)
    return 3 * counter.get_total_flops() / 2, 3 * moved / 2


def peaks(device: torch.device) -> tuple[float, float]:
    """Measured: operations per second of large matrix products in training's number format; bytes copied per second."""
    size = 8192 if device.type == "cuda" else 2048

    a = torch.randn(size, size, device=device)
    with autocast(device):
        operations = 2 * size**3 / least_seconds(lambda: a @ a)
    source, target = torch.randn(2, 2**28 // 4, device=device)
    return operations, 2 * source.numel() * 4 / least_seconds(lambda: target.copy_(source))


def one(function, *arguments, workers: int = 1, threads: int = 0) -> float:
    """The sum over fresh processes that run the same at once."""
    threads = threads or cores()
    with worker_pool(workers, threads) as pool:
        return sum(future.result() for future in [pool.submit(function, *arguments) for _ in range(workers)])


def speeds(names: list[str], device: torch.device, steps: int) -> pd.DataFrame:
    with worker_pool(1, cores()) as pool:
        most_operations, most_bytes = pool.submit(peaks, device).result()
    rows = []
    for name in names:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            segments_for(name, folder, steps, torch.device("cpu"))  # written once, for all processes
            measured = {"plain loop": one(plain, name, folder, steps, device)}
            if device.type == "cpu":
                for lever, title in enumerate(LEVERS[:-1]):
                    measured[title] = one(library, name, lever, folder, steps, device)
                measured[LEVERS[-1]] = one(library, name, ALL, folder, steps, device, workers=cores(), threads=1)
            else:
                measured["fit()"] = one(library, name, ALL, folder, steps, device)
        operations, moved = work(name)
        for title, speed in measured.items():
            value_bytes = 4 if device.type == "cpu" or title == "plain loop" else 2
            rows.append(
                {
                    "model": name,
                    "how": title,
                    "segments per second": speed,
                    "times the plain loop": speed / measured["plain loop"],
                    "share of matrix peak": speed * operations / most_operations,
                    "share of bandwidth": speed * moved * value_bytes / 4 / most_bytes,
                }
            )
            print(f"{name:18}{title:36}{speed:9.1f} segments/s", flush=True)
    return pd.DataFrame(rows)


def demo_run(model: str, lever: int, seed: int, folder: Path, device: torch.device) -> pd.DataFrame:
    """Predictions on the demo corpus's test part of a model trained with the first so many levers."""
    from dataclasses import replace

    pull(lever)
    study = Study("benchmark", "demo", str(device), progress=False)
    experiment = replace(protocol.resnet(study, model), seed=seed)
    if lever < ALL and device.type == "cuda":
        import contextlib

        loop.autocast = inference.autocast = lambda device: contextlib.nullcontext()
    return train.train_or_find(experiment, study.store, folder / str(lever), device, progress=False).predictions("test")


def accuracies(device: torch.device, seeds: int) -> pd.DataFrame:
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        for model in ("resnet1d", "resnet2d"):
            predictions = {0: [], ALL: []}
            for lever, frames in predictions.items():
                for seed in range(seeds):
                    with worker_pool(1, cores()) as pool:
                        frames.append(pool.submit(demo_run, model, lever, seed, Path(temporary), device).result())
            test = statistics.compare(predictions[ALL], predictions[0])
            rows.append(
                {
                    "model": f"{model}-small",
                    "seeds": seeds,
                    "accuracy by vote, no lever": statistics.accuracy(predictions[0]),
                    "all levers": statistics.accuracy(predictions[ALL]),
                    **test,
                }
            )
    return pd.DataFrame(rows)


@click.command(help=__doc__)
@click.option("--models", default=",".join(MODELS), help="Which, separated by commas.")
@click.option("--steps", default=0, help="Steps an epoch; 6 on a CPU and 60 on a GPU by default.")
@click.option("--accuracy", is_flag=True, help="Compare accuracies instead of speeds.")
@click.option("--seeds", default=3, show_default=True, help="For --accuracy.")
@click.option("--device", "name", default="auto", show_default=True)
def main(models: str, steps: int, accuracy: bool, seeds: int, name: str) -> None:
    device = choose_device(name)
    names = models.split(",")
    unknown = sorted(set(names) - set(MODELS))
    if unknown:
        raise click.BadParameter(f"no model {unknown[0]!r}; there are: {', '.join(MODELS)}")
    if accuracy:
        record("accuracy", accuracies(device, seeds), device=describe(device))
    else:
        table = speeds(names, device, steps or (60 if device.type == "cuda" else 6))
        record("train", table, device=describe(device))


if __name__ == "__main__":
    main()
