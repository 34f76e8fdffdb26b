"""The whole study on one machine, planned from measured epochs: seconds per epoch of each network, and the total.

    python benchmarks/study.py                         # a GPU: a store of FMA-small's true size, 8,000 clips, 16 GB
    python benchmarks/study.py --clips 80 --epochs 2   # try it on a CPU

The store is synthetic (noise that a network can learn), written directly in the store's format. Every experiment of the
profile `fma_small` is trained for a few epochs, with one seed, as the study would; what an epoch takes at 8,000 clips,
times the epochs that its settings allow, is the plan. Early stopping makes the study shorter. Experiments that differ
in their starting weights or in regularization alone are timed once. `--together 2` trains as many copies of each run at
once on the one GPU, to see whether that is worth it.
"""

import tempfile
from dataclasses import replace
from pathlib import Path

import click
import pandas as pd
import torch
from common import record, synthetic_store

from soundfusion_lib.audio.store import Store
from soundfusion_lib.device import choose_device, describe
from soundfusion_lib.pool import worker_pool
from soundfusion_lib.study import protocol
from soundfusion_lib.study.study import Study
from soundfusion_lib.training import train
from soundfusion_lib.training.experiment import Experiment

TRUE_CLIPS = 8_000


def planned(study: Study) -> dict[str, tuple[Experiment, int]]:
    """By name, an experiment of each kind that costs the same per epoch, and the number of runs of that kind."""
    vgg16 = study.experiment("VGG16", "vgg16", batch_size=study.profile.large_batch)
    kinds = {
        "SimpleCNN, grid search": (protocol.simple_cnn(study), 36),
        **{name: (one, 1) for name, one in protocol.two_dimensional(study).items() if name.startswith("nnet")},
        "VGG16, five starts and before one of them": (
            vgg16,
            6,
        ),  # GTZAN, an eighth of the clips, counted like the others
        **{name: (experiment, 1) for name, experiment in protocol.joint_fusions(study).items()},
        "SoundFusion-1 of trained parts": (protocol.joint_fusions(study)["SoundFusion-1"], 1),
    }
    for (model, size), experiment in protocol.widths(study).items():
        kinds[f"{protocol.LABELS[model]}-{size}"] = experiment, 3 if size == "small" else 1  # three regularizations
    return kinds


def measure(experiment: Experiment, store: Store, epochs: int, device: torch.device, number: int) -> dict[str, float]:
    """The shortest of the later epochs of a run, in seconds, and the best validation accuracy."""
    short = replace(experiment, training=replace(experiment.training, epochs=epochs, patience=epochs), seed=number)
    with tempfile.TemporaryDirectory() as folder:
        history = train.train_or_find(short, store, Path(folder), device, progress=False).history
    peak = torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else float("nan")
    return {"seconds": history["seconds"][1:].min(), "accuracy": history["validation_accuracy"].max(), "memory": peak}


@click.command(help=__doc__)
@click.option("--clips", default=TRUE_CLIPS, show_default=True)
@click.option(
    "--epochs", default=3, show_default=True, help="Trained and timed; the first one warms up and does not count."
)
@click.option("--together", default=1, show_default=True, help="Copies of each run at once.")
@click.option("--folder", type=click.Path(path_type=Path), help="Where to keep the store; else it goes at the end.")
@click.option("--device", "name", default="auto", show_default=True)
def main(clips: int, epochs: int, together: int, folder: Path | None, name: str) -> None:
    if epochs < 2:
        raise click.BadParameter("the first epoch warms up: give 2 or more")
    device = choose_device(name)
    study = Study("benchmark", "fma_small", str(device), progress=False)
    with tempfile.TemporaryDirectory() as temporary:
        store = synthetic_store(
            folder or Path(temporary), clips, study.profile.clip_seconds, study.profile.representations
        )
        rows = []
        for title, (experiment, runs) in planned(study).items():
            with worker_pool(together, max(1, torch.get_num_threads() // together)) as pool:
                futures = [
                    pool.submit(measure, experiment, store, epochs, device, number) for number in range(together)
                ]
                copies = [future.result() for future in futures]
            seconds = (
                max(copy["seconds"] for copy in copies) / together * TRUE_CLIPS / clips
            )  # a run's share of the machine
            rows.append(
                {
                    "network": title,
                    "runs": runs,
                    "epochs each": experiment.training.epochs,
                    "seconds per epoch": seconds,
                    "minutes in all": runs * experiment.training.epochs * seconds / 60,
                    "best validation accuracy": max(copy["accuracy"] for copy in copies),
                    "GiB of GPU memory": max(copy["memory"] for copy in copies),
                }
            )
            print(f"{title:48}{seconds:9.2f} s per epoch at {TRUE_CLIPS:,} clips", flush=True)
    table = pd.DataFrame(rows)
    total = {"network": "all", "runs": table["runs"].sum(), "minutes in all": table["minutes in all"].sum()}
    table = pd.concat([table, pd.DataFrame([total])], ignore_index=True)
    record("study", table, clips=clips, together=together, device=describe(device))


if __name__ == "__main__":
    main()
