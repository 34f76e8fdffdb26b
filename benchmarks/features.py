"""Features of frozen networks, in bfloat16 where the hardware has it and in float32: time, and whether they are equal.

    soundfusion download emotify; soundfusion download musicnn    # needed, and ImageNet's VGG16
    python benchmarks/features.py

`core s` is the processor's time for 400 clips of 30 s, in segments without overlap, on one thread. `share of peak`:
the layers' floating-point operations in that time, over those of a large matrix product in the same number format.
`difference`: of features from float32's, over the deviation of the feature between clips; root mean square over clips
and features. `largest`: the same of the worst feature.
"""

import contextlib
import time

import click
import pandas as pd
import torch
from common import record
from torch.utils.flop_counter import FlopCounterMode

from soundfusion_lib.audio.segments import Segments
from soundfusion_lib.device import autocast, choose_device, describe
from soundfusion_lib.study import protocol
from soundfusion_lib.study.starts import IMAGENET, Start, musicnn
from soundfusion_lib.study.study import Study
from soundfusion_lib.training import features
from soundfusion_lib.training.inference import BATCH

CLIPS, SECONDS = 400, 30.0  # that the times are counted for
FORMATS = {"bfloat16": autocast, "float32": lambda device: contextlib.nullcontext()}


def peak(number_format: str, device: torch.device) -> float:
    """Operations per second of a large matrix product."""
    a, times = torch.randn(2048, 2048, device=device), []
    with FORMATS[number_format](device):
        for _ in range(6):
            began = time.perf_counter()
            a @ a
            times.append(time.perf_counter() - began)
    return 2 * 2048**3 / min(times)


def measure(study: Study, start: Start, clips: int, repeats: int) -> list[dict]:
    """A row for each number format."""
    model = start.build(study, 0)
    store = study.build_store(study.corpus, list(start.experiment.representations))
    tracks = store.tracks.index[torch.linspace(0, len(store.tracks) - 1, min(clips, len(store.tracks))).int()]
    segments = Segments(store, tracks, model.inputs, start.experiment.segmenting, study.device)
    track = torch.from_numpy(tracks.get_indexer(segments.table["track"]))
    batches = [x for (x,), _ in segments.batches(BATCH)]
    model.eval()
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model.features(batches[0][:1])
    seconds, found = {name: [] for name in FORMATS}, {}
    for _, name in [(repeat, name) for repeat in range(repeats) for name in FORMATS]:  # they see the same noise
        features.autocast = FORMATS[name]
        began = time.process_time()
        outputs = features.pooled(model, batches, study.device, start.standardizes)
        seconds[name].append(time.process_time() - began)
        blocks = {stage: features.over_segments(values, track, len(tracks)) for stage, values in outputs.items()}
        used = start.blocks or list(blocks)[-3:]
        found[name] = torch.cat([torch.from_numpy(blocks[stage]) for stage in used], 1)
    error = (found["bfloat16"] - found["float32"]).square().mean(0).sqrt()
    deviation = found["float32"].std(0)
    error = (error / deviation)[deviation > 0]
    heard = len(segments) * start.experiment.segmenting.seconds
    return [
        {
            "network": start.name,
            "format": name,
            "core s": min(seconds[name]) * CLIPS * SECONDS / heard,
            "times float32": min(seconds[name]) / min(seconds["float32"]),
            "share of peak": counter.get_total_flops() * len(segments) / min(seconds[name]) / peak(name, study.device),
            "difference": error.square().mean().sqrt().item() if name != "float32" else 0.0,
            "largest": error.max().item() if name != "float32" else 0.0,
        }
        for name in FORMATS
    ]


@click.command(help=__doc__)
@click.option("--profile", default="emotify", show_default=True, help="Whose clips, and whose VGG16.")
@click.option("--clips", default=40, show_default=True, help="How many of them at most.")
@click.option("--repeats", default=3, show_default=True, help="The best of so many is taken.")
def main(profile: str, clips: int, repeats: int) -> None:
    device = choose_device("cpu")
    study = Study("benchmark", profile, "cpu", progress=False)
    vgg16 = Start("VGG16", IMAGENET, protocol.vgg16(study, "VGG16"))
    if describe(device).endswith("float32)"):
        click.echo("this hardware has no bfloat16: both rows are float32", err=True)
    rows = [row for start in (musicnn(), vgg16) for row in measure(study, start, clips, repeats)]
    record("features", pd.DataFrame(rows), profile=profile, clips=clips, device=describe(device))


if __name__ == "__main__":
    main()
