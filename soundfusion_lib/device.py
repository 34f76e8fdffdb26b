"""Where to compute, with which numbers, and in how much memory."""

import contextlib
import platform
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil
import torch

from soundfusion_lib.errors import SoundFusionError

SYSTEM = Path("/")
GROUPS = {  # of versions 1 and 2 of control groups: folder, and files of the limit and of what is used
    "memory": ("sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
    "": ("sys/fs/cgroup", "memory.max", "memory.current"),
}


def choose_device(name: str = "auto") -> torch.device:
    """The device of this name, which this machine has; "auto" is CUDA where there is one, then MPS, then the CPU."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if not re.fullmatch(r"cpu|mps|cuda(:[0-9]+)?", name):
        raise SoundFusionError(f"there is no device {name!r}: take auto, cpu, cuda, cuda:1 (the second one) or mps")
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:
        raise SoundFusionError(f"device {name!r} is not available here: {str(error).splitlines()[0]}") from error
    return torch.device(name)


def autocast(device: torch.device) -> contextlib.AbstractContextManager:
    """bfloat16 for the heavy operations where the hardware has it (slower elsewhere, so float32 there)."""
    return torch.autocast(device.type, torch.bfloat16) if _has_bfloat16(device) else contextlib.nullcontext()


def describe(device: torch.device) -> str:
    """The device in words, with the number format that training uses on it."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    threads = f", {torch.get_num_threads()} threads" if device.type == "cpu" else ""
    return f"{device.type} ({name}{threads}, {'bfloat16' if _has_bfloat16(device) else 'float32'})"


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        with torch.cuda.device(device):  # torch asks the current one
            return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":  # AVX-512 alone emulates it: slower than float32
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return False


class Memory(NamedTuple):
    """Main memory, in bytes: all that this process may use, and what of it is free."""

    total: int
    available: int


def memory() -> Memory:
    """The machine's main memory, or the container's where its limit is lower."""
    machine = psutil.virtual_memory()
    limits = [Memory(machine.total, machine.available), *_limits()]
    return Memory(min(limit.total for limit in limits), max(0, min(limit.available for limit in limits)))


def _limits() -> Iterator[Memory]:
    """Of each control group that this process is in and that has a limit. Files that the kernel caches are free.

    https://docs.kernel.org/admin-guide/cgroup-v2.html and cgroup-v1/memory.html
    """
    groups = SYSTEM / "proc/self/cgroup"
    for line in groups.read_text().splitlines() if groups.exists() else ():
        _, controllers, group = line.split(":", 2)
        for root, *names in [GROUPS[name] for name in controllers.split(",") if name in GROUPS]:
            folder = SYSTEM / root / group.strip("/")
            for around in (folder, *folder.parents):  # a container may see its own group as the root
                with contextlib.suppress(OSError, ValueError):  # not there; "max", which is no limit
                    limit, used = (int((around / name).read_text()) for name in names)
                    sizes = dict(line.split() for line in (around / "memory.stat").read_text().splitlines())
                    prefix = "total_" if controllers else ""
                    cached = sum(int(sizes.get(f"{prefix}{kind}_file", 0)) for kind in ("active", "inactive"))
                    yield Memory(limit, limit - used + cached)


def fits(size: int, device: torch.device) -> bool:
    """Whether arrays of so many bytes in all may live in this device's memory: half of what is free stays so."""
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # by torch, for tensors to come
        return size <= (torch.cuda.mem_get_info(device)[0] + kept) // 2
    return size <= memory().available // 2
