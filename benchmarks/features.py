"""Features of frozen networks, in bfloat16 where the hardware has it and in float32: time, and whether they are equal.

    soundfusion download emotify; soundfusion download musicnn    # needed, and ImageNet's VGG16
    python benchmarks/features.py

`core s` is the processor's time for 400 clips of 30 s, in segments without overlap, on one thread. `share of peak`:
the layers' floating-point operations in that time, over those of a large convolution in the same number format.
`difference`: of a feature from float32's, root mean square over clips, over the deviation of the feature between clips;
the median of all features, and what nine tenths of them stay below. musicnn computes in float32 on any hardware.
"""

import contextlib
import time
from collections.abc import Callable
from functools import partial
from itertools import product
from unittest.mock import patch

import click
import numpy as np
import pandas as pd
import torch
from common import least_seconds, record
from torch.utils.flop_counter import FlopCounterMode

from soundfusion_lib.analysis.probes import LAST
from soundfusion_lib.audio.segments import Segments
from soundfusion_lib.device import autocast, choose_device, describe
from soundfusion_lib.pool import worker_pool
from soundfusion_lib.study import protocol
from soundfusion_lib.study.starts import IMAGENET, Start, musicnn
from soundfusion_lib.study.study import Study
from soundfusion_lib.training import features
from soundfusion_lib.training.inference import BATCH

CLIPS, SECONDS = 400, 30.0  # that the times are counted for
FORMATS = {"float32": lambda device: contextlib.nullcontext(), "bfloat16": autocast}


def operations(function: Callable[[], object]) -> int:
    """Floating-point operations of a call's layers."""
    with FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops()


@torch.inference_mode()
def peak(number_format: str, device: torch.device) -> float:
    """Operations per second of a large convolution, which oneDNN computes faster than matrix products."""
    layer = torch.nn.Conv2d(256, 256, 3, padding=1).to(device, memory_format=torch.channels_last)
    call = partial(layer, torch.randn(4, 256, 64, 64).to(device, memory_format=torch.channels_last))
    with FORMATS[number_format](device):
        return operations(call) / least_seconds(call)


def measure(profile: str, network: Callable, formats: list[str], clips: int, repeats: int) -> list[dict]:
    """A row for each number format."""
    study = Study("benchmark", profile, "cpu", progress=False)
    start = network(study)
    model = start.build(study, 0).eval()
    store = study.build_store(study.corpus, list(start.experiment.representations))
    tracks = store.tracks.index[torch.linspace(0, len(store.tracks) - 1, min(clips, len(store.tracks))).int().numpy()]
    segments = Segments(store, tracks, model.inputs, start.experiment.segmenting, study.device)
    track = torch.from_numpy(tracks.get_indexer(segments.table["track"]))
    batches = [x for (x,), _ in segments.batches(BATCH)]
    with torch.inference_mode():
        work = operations(lambda: model.features(batches[0][:1])) * len(segments)
    seconds, found = {name: [] for name in formats}, {}
    for _, name in product(range(repeats), formats):  # they see the same noise
        with patch.object(features, "autocast", FORMATS[name]):
            began = time.process_time()
            outputs = features.pooled(model, batches, study.device, start.standardizes)
            seconds[name].append(time.process_time() - began)
        blocks = {stage: features.over_segments(values, track, len(tracks)) for stage, values in outputs.items()}
        found[name] = np.concatenate([blocks[stage] for stage in start.blocks or list(blocks)[-LAST:]], axis=1)
    varies = (deviation := found["float32"].std(axis=0)) > 0
    rows = []
    for name in formats:
        least, error = min(seconds[name]), np.sqrt(np.square(found[name] - found["float32"]).mean(axis=0))
        typical, most = np.quantile(error[varies] / deviation[varies], [0.5, 0.9])
        heard = len(segments) * start.experiment.segmenting.seconds
        rows.append(
            {
                "network": start.name,
                "format": name,
                "core s": least * CLIPS * SECONDS / heard,
                "times float32": least / min(seconds["float32"]),
                "share of peak": work / least / peak(name, study.device),
                "difference": typical,
                "of nine tenths": most,
            }
        )
    return rows


def of_music(study: Study) -> Start:
    return musicnn()


def of_pictures(study: Study) -> Start:
    return Start("VGG16", IMAGENET, protocol.vgg16(study, "VGG16"))


@click.command(help=__doc__)
@click.option("--profile", default="emotify", show_default=True, help="Whose clips, and whose VGG16.")
@click.option("--clips", default=40, show_default=True, help="How many of them at most.")
@click.option("--repeats", default=3, show_default=True, help="The best of so many is taken.")
def main(profile: str, clips: int, repeats: int) -> None:
    device = choose_device("cpu")
    formats = [name for name in FORMATS if name == "float32" or name in describe(device)]  # where the hardware has it
    networks = (of_music, formats[:1]), (of_pictures, formats)
    with worker_pool(1) as pool:  # with the variables that a study's processes have
        tables = [pool.submit(measure, profile, *network, clips, repeats).result() for network in networks]
    rows = [row for table in tables for row in table]
    record("features", pd.DataFrame(rows), profile=profile, clips=clips, device=describe(device))


if __name__ == "__main__":
    main()
