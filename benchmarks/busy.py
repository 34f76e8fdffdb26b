"""A training step beside busy processes, on one thread and on all: against an idle machine and a fair share of it.

    python benchmarks/busy.py

Each kind of network trains at the demo's size (segments of 2 s, batches of 16), alone or in two runs at once, beside
0, 1 and 2 processes that only count. `core ms` is what a step takes of the processor's time, `ms` by the clock. The
clock of one run on one thread would show its core time on an idle machine: `times idle` is over that. `wanted to run`
is how many threads the system had to run at once, whoever's they are. With more of them than cores, a fair share of a
core is cores / threads: `times its share` is `times idle` times that, and 1 is fair. Both work on a busy machine, too.
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Executor, wait
from contextlib import ExitStack, contextmanager
from itertools import product
from pathlib import Path

import click
import pandas as pd
import torch
from common import record
from torch.nn.functional import cross_entropy

from soundfusion_lib.models import build_model
from soundfusion_lib.pool import cores, worker_pool
from soundfusion_lib.training.loop import MEMORY_FORMAT

PARTS = (("resnet1d", {"width": 8}), ("resnet2d", {"width": 8, "pool": 1}))
NETWORKS = {
    "simple_cnn": {}, "resnet1d": {"width": 12}, "resnet2d": {"width": 12}, "nnet2": {"width": 64},
    "fusion_concat": {"parts": PARTS},
}  # fmt: skip
SHAPES = {"waveform": (16, 1, 22_050), "mel": (16, 2, 64, 87)}
BUSY = (0, 1, 2)


@contextmanager
def counting() -> Iterator[None]:
    """A process beside this one that keeps a core busy."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        try:
            yield
        finally:
            process.kill()


def step_seconds(name: str, seconds: float) -> tuple[float, float]:
    """Time of a training step in this process by the clock, and of the cores, the means over so many seconds."""
    torch.manual_seed(0)
    model = build_model(name, 8, **NETWORKS[name]).to(memory_format=MEMORY_FORMAT).train()
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    inputs = [torch.randn(SHAPES[kind]) for kind in model.inputs]
    targets = torch.arange(16) % 8
    for length in (seconds / 4, seconds):  # the first warms up
        began, worked, steps = time.perf_counter(), time.process_time(), 0
        while steps == 0 or time.perf_counter() - began < length:
            optimizer.zero_grad()
            cross_entropy(model(*inputs), targets).backward()
            optimizer.step()
            steps += 1
    return (time.perf_counter() - began) / steps, (time.process_time() - worked) / steps


def measure(pool: Executor, name: str, runs: int, busy: int, seconds: float) -> tuple[float, float, float]:
    """A step of the slowest of so many runs at once, by the clock and of the cores; threads that wanted to run."""
    wanted = []
    with ExitStack() as beside:
        for _ in range(busy):
            beside.enter_context(counting())
        steps = [pool.submit(step_seconds, name, seconds) for _ in range(runs)]
        while not wanted or wait(steps, 0.1).not_done:
            wanted.append(running() or runs + busy)
    return *max(step.result() for step in steps), sum(wanted) / len(wanted)


def running() -> int:
    """Threads that run or wait for a core, without this one; 0 where the system does not tell."""
    lines = Path("/proc/stat").read_text().splitlines() if Path("/proc/stat").exists() else []
    return sum(int(line.split()[1]) - 1 for line in lines if line.startswith("procs_running"))


@click.command(help=__doc__)
@click.option("--networks", default=",".join(NETWORKS), show_default=True, help="Which, separated by commas.")
@click.option("--seconds", default=3.0, show_default=True, help="Length of each measurement.")
def main(networks: str, seconds: float) -> None:
    rows, cases = [], [(1, 1), (2, 1), (1, max(2, cores()))]
    with ExitStack() as stack:
        pools = {case: stack.enter_context(worker_pool(*case)) for case in cases}
        for pool, (runs, _) in zip(pools.values(), cases, strict=True):
            list(pool.map(time.sleep, [0.5] * runs))  # all of them have begun
        for name, busy, case in product(networks.split(","), BUSY, cases):  # cases side by side: they see the same load
            step, core, wanted = measure(pools[case], name, case[0], busy, seconds)
            rows.append([name, *case, busy, 1000 * step, 1000 * core, wanted])
    columns = ["network", "runs", "threads", "busy processes", "ms", "core ms", "wanted to run"]
    table = pd.DataFrame(rows, columns=columns)
    table["times idle"] = table["ms"] / table.groupby("network")["core ms"].transform("first")
    others = table["wanted to run"] - table["runs"] * (table["threads"] - 1)  # a run has one share
    table["times its share"] = table["times idle"] / (others / cores()).clip(lower=1)
    record("busy", table, seconds=seconds)


if __name__ == "__main__":
    main()
