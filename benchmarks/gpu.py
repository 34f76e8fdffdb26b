"""What benchmarks/gpu.sh measures on a GPU, stage by stage; each row is recorded as soon as it is there.

    python benchmarks/gpu.py noise       # 8,000 clips of 30 s, as a store of the profile fma_small, and a fifth of them
    python benchmarks/gpu.py networks    # an epoch of each network of the report's tables of performance and widths
    python benchmarks/gpu.py batches     # clips in the GPU's memory, or gathered from main memory, ahead or not
    python benchmarks/gpu.py together    # one run on the GPU, and four at once
    python benchmarks/gpu.py notebooks   # notebooks 2 and 5 by papermill, two epochs each, on the fifth
    python benchmarks/gpu.py steps       # a step as it is, as a CUDA graph, and compiled

An epoch is timed on a quarter of the training set, or on all of the fifth, and counted for 8,000 clips. `GPU busy` is
the share of time that nvidia-smi saw it compute. `times eager`, `times resident`: the time over that of the first row.
"""

import subprocess
import sys
import time
import tomllib
from contextlib import contextmanager
from dataclasses import replace
from itertools import product
from pathlib import Path

import click
import numpy as np
import pandas as pd
import tomli_w
import torch
from common import GENRES, record
from torch.nn.functional import cross_entropy

from soundfusion_lib.audio import segments as segments_module
from soundfusion_lib.audio.clips import Clip, ClipFolder, digest
from soundfusion_lib.audio.segments import Segments
from soundfusion_lib.audio.store import Store
from soundfusion_lib.device import autocast, choose_device, describe
from soundfusion_lib.models import MODELS
from soundfusion_lib.paths import data_dir, results_dir
from soundfusion_lib.pool import worker_pool
from soundfusion_lib.study import protocol
from soundfusion_lib.study.profile import BUILT_IN
from soundfusion_lib.study.study import Study
from soundfusion_lib.training.experiment import Experiment
from soundfusion_lib.training.loop import MEMORY_FORMAT, fit
from soundfusion_lib.training.train import untrained

TRUE_CLIPS = 8_000
BLOCK = 200  # clips of noise that are repeated: drawing all would take minutes
NARROW = {
    "widths": {name: {"small": 2, "medium": 3, "large": 4} for name in ("resnet1d", "resnet2d")},
    "models": {"nnet1": {"width": 8}, "nnet2": {"width": 8}, "vgg16": {"width": 2}},
}


def profile_file(clips: int) -> Path:
    return data_dir() / f"noise{clips}.toml"


def make_noise(clips: int, seconds: float, narrow: bool) -> None:
    """A corpus of files that hold their number only, a store of noise that is found by them, and a profile as fma_small
    but for two epochs, without its grid search of 36 runs and its pre-training."""
    corpus = data_dir() / f"noise{clips}"
    corpus.mkdir(parents=True)
    part = ["train"] * 8 + ["validation", "test"]
    rows = [[f"{n:05d}.mp3", GENRES[n % 8], f"artist {n}", part[n // 8 % 10]] for n in range(clips)]
    pd.DataFrame(rows, columns=["file_name", "genre", "artist", "split"]).to_csv(corpus / "metadata.csv", index=False)
    for name, *_ in rows:
        (corpus / name).write_text(name)
    content = tomllib.loads((BUILT_IN / "fma_small.toml").read_text())
    content |= {"name": corpus.name, "corpus": {"kind": "folder", "path": str(corpus)}, "leave_out": ["grid"]}
    content |= {"clip_seconds": seconds, **(NARROW if narrow else {})}
    content["training"]["epochs"] = 2
    del content["pretraining"]
    profile_file(clips).write_text(tomli_w.dumps(content))
    rng = np.random.default_rng(0)
    for spec in Study("gpu", profile_file(clips), "cpu", dry=True).profile.representations:
        folder, frames = ClipFolder(data_dir() / "store" / corpus.name, spec), spec.frames(seconds)
        folder.prepare()
        noise = rng.standard_normal((min(BLOCK, clips), frames, spec.channels, spec.bands), dtype=np.float32)
        noise = (10 * noise - 40 if spec.kind == "mel" else 3000 * noise).astype(spec.dtype)
        with open(folder.data, "wb") as data, open(folder.journal, "wb") as journal:
            for first in range(0, clips, BLOCK):
                noise[: clips - first].tofile(data)
            for n, (name, *_) in enumerate(rows):
                journal.write(Clip(digest(corpus / name), n * frames, frames, seconds, -120.0).line())


@contextmanager
def watched():
    """A list that in the end has the share of the block's time that the GPU computed; empty without nvidia-smi."""
    share, command = [], "nvidia-smi --query-gpu=utilization.gpu --format=csv,noheader,nounits -lms 200"
    try:
        with subprocess.Popen(command.split(), stdout=subprocess.PIPE, text=True) as process:
            yield share
            process.terminate()
            seen = [float(line) for line in process.stdout if line.strip()]
            share.append(np.mean(seen) / 100 if seen else float("nan"))
    except FileNotFoundError:
        yield share


def epoch(experiment: Experiment, store: Store, share: float, device: torch.device, **settings) -> dict:
    """The faster of the second and third epoch on a share of the tracks, counted for `TRUE_CLIPS`."""
    cuda, kinds, tracks = device.type == "cuda", MODELS[experiment.model].inputs, store.tracks
    parts = [tracks.index[tracks["split"] == part] for part in ("train", "validation")]
    some = [part[: max(8, int(share * len(part)))] for part in parts]
    train, validation = (Segments(store, part, kinds, experiment.segmenting, device) for part in some)
    for name, value in settings.items():
        setattr(train, name, value)
    training = replace(experiment.training, epochs=3, patience=3)
    model = untrained(experiment, store, train, data_dir())
    if cuda:
        torch.cuda.reset_peak_memory_stats(device)
    with watched() as busy:
        history = fit(model, train, validation, training, progress=False).history
    seconds = history["seconds"][1:].min() * TRUE_CLIPS * 0.8 / len(some[0])
    memory = torch.cuda.max_memory_allocated(device) / 2**30 if cuda else float("nan")
    return {"seconds per epoch": seconds, "peak GiB": memory, "GPU busy": busy[0] if busy else float("nan")}


def networks(study: Study, _: Study):
    """Rows of the report's performance and widths, and VGG16, with what the report's epoch took."""
    reported = {
        f"{protocol.LABELS[row.model]}-{row.size}": row.seconds_per_epoch
        for row in protocol.reported("figure1_width_scaling").itertuples()
    }
    named = {one.name: one for one in protocol.widths(study).values()} | protocol.two_dimensional(study)
    named |= protocol.joint_fusions(study) | {"VGG16": protocol.vgg16(study, "VGG16")}
    for name, experiment in named.items():
        row = epoch(experiment, study.store, 0.25, study.device)
        yield {"network": name, **row, "reported": reported.get(name, float("nan"))}


def batches(study: Study, fifth: Study):
    experiment, fits, first = protocol.resnet(fifth, "resnet1d"), segments_module.fits, None
    for how, resident, ahead in (("resident", True, 0), ("gathered ahead", False, 2), ("gathered", False, 0)):
        segments_module.fits = fits if resident else lambda *_: False
        store = Store(fifth.store.corpus, {kind: replace(array) for kind, array in fifth.store.arrays.items()})
        row = epoch(experiment, store, 1, fifth.device, ahead=ahead)
        first = first or row["seconds per epoch"]
        yield {"network": experiment.name, "how": how, **row, "times resident": row["seconds per epoch"] / first}


def together(study: Study, fifth: Study):
    for model in ("resnet2d", "resnet1d"):
        experiment, alone = protocol.resnet(fifth, model), None
        for runs in (1, 4):
            with worker_pool(runs) as pool:
                calls = [pool.submit(epoch, experiment, fifth.store, 1, fifth.device) for _ in range(runs)]
                rows = [call.result() for call in calls]
            row = max(rows, key=lambda row: row["seconds per epoch"])
            alone = alone or row["seconds per epoch"]
            gain = runs * alone / row["seconds per epoch"]
            yield {"network": experiment.name, "how": f"{runs} at once", **row, "times one after the other": gain}


def notebooks(study: Study, fifth: Study):
    for number in ("02", "05"):
        began, command = time.perf_counter(), "from soundfusion_lib.cli import main; main()"
        arguments = ["reproduce", str(profile_file(len(fifth.store.tracks))), "--only", number]
        arguments += ["--device", str(fifth.device)]
        subprocess.run([sys.executable, "-c", command, *arguments], check=True)
        tables = len(list((results_dir() / fifth.profile.name / "tables").glob(f"{number}_*.csv")))
        yield {"network": f"notebook {number}", "seconds": time.perf_counter() - began, "tables": tables}


def steps(study: Study, fifth: Study):
    """Milliseconds of a step on one batch in the GPU's memory; what fails says why in its row."""
    device, store, first = fifth.device, fifth.store, {}
    ways = ("eager", "CUDA graph", "compiled") if device.type == "cuda" else ("eager", "compiled")
    for how, model in product(ways, ("simple_cnn", "resnet1d", "resnet2d")):
        experiment = protocol.simple_cnn(fifth) if model == "simple_cnn" else protocol.resnet(fifth, model)
        segments = Segments(store, store.tracks.index[:64], MODELS[model].inputs, experiment.segmenting, device)
        inputs, targets = next(segments.batches(32))
        network = experiment.build(len(store.labels)).to(device, memory_format=MEMORY_FORMAT).train()
        optimizer = torch.optim.Adam(network.parameters(), fused=True)
        try:
            if how == "CUDA graph":
                with torch.autocast(device.type, torch.bfloat16, cache_enabled=False):
                    network = torch.cuda.make_graphed_callables(network, inputs)
            if how == "compiled":
                options = {"mode": "reduce-overhead"} if device.type == "cuda" else {"backend": "eager"}
                network = torch.compile(network, **options)
            ms = step(network, optimizer, inputs, targets, device)
            first.setdefault(model, ms)
            yield {"network": experiment.name, "how": how, "ms": ms, "times eager": ms / first[model]}
        except RuntimeError as error:
            yield {"network": experiment.name, "how": f"{how}: {str(error).splitlines()[0]}"}


def step(network, optimizer, inputs, targets, device: torch.device, seconds: float = 1.5) -> float:
    """The mean of the steps in so many seconds, in milliseconds, after as many to warm up."""
    for _ in range(2):
        began, count = time.perf_counter(), 0
        while count == 0 or time.perf_counter() - began < seconds:
            optimizer.zero_grad()
            with autocast(device):
                logits = network(*inputs)
            cross_entropy(logits.float(), targets).backward()
            optimizer.step()
            count += 1
            if count % 20 == 0 and device.type == "cuda":  # the queue must not grow
                torch.cuda.synchronize()
        if device.type == "cuda":
            torch.cuda.synchronize()
    return 1000 * (time.perf_counter() - began) / count


STAGES = {function.__name__: function for function in (networks, batches, together, notebooks, steps)}


@click.command(help=__doc__)
@click.argument("stage", type=click.Choice(["noise", *STAGES]))
@click.option("--dry", is_flag=True, help="On the CPU in a tiny size; nothing is recorded.")
def main(stage: str, dry: bool) -> None:
    clips, fifth, seconds = (160, 80, 6.0) if dry else (TRUE_CLIPS, TRUE_CLIPS // 5, 30.0)
    began = time.perf_counter()
    if stage == "noise":
        for count in (clips, fifth):
            make_noise(count, seconds, narrow=dry)
        return print(f"noise: {time.perf_counter() - began:.0f} s")
    name = "cpu" if dry else "cuda"
    studies = [Study("gpu", profile_file(count), name, progress=False) for count in (clips, fifth)]
    for row in STAGES[stage](*studies):
        table = pd.DataFrame([{"stage": stage, **row}])
        if dry:
            print(table.to_string(index=False), flush=True)
        else:
            record("gpu", table, device=describe(choose_device(name)))


if __name__ == "__main__":
    main()
