"""Where to compute, with which numbers, and in how much memory."""

import contextlib
import os
import platform
from pathlib import Path

import psutil
import torch

from soundfusion_lib.errors import SoundFusionError

THREADS_ARE_SET = "OMP_NUM_THREADS" in os.environ  # by the user, or for a process of ours: see `pool.environment`
CONTAINER = [Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes")]  # its limit


def choose_device(name: str = "auto") -> torch.device:
    """The device of this name, which this machine has; "auto" is CUDA where there is one, then MPS, then the CPU. From
    then on torch computes with one thread there, unless OMP_NUM_THREADS was set: see benchmarks/busy.py."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:
        message = f"device {name!r} is not available here: {str(error).splitlines()[0]}; take auto, cpu, cuda or mps"
        raise SoundFusionError(message) from error
    if name == "cpu" and not THREADS_ARE_SET:
        torch.set_num_threads(1)
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
    # AVX-512 alone emulates it, slower than float32; torch may be held to AVX2, see docs/performance.md
    if device.type == "cpu" and torch.backends.cpu.get_cpu_capability() not in ("AVX2", "DEFAULT"):
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return False


def memory() -> int:
    """Main memory that this process may use, in bytes: the machine's, or its container's where that is less."""
    sizes = [psutil.virtual_memory().total]
    for file in CONTAINER:
        with contextlib.suppress(OSError, ValueError):  # not there; "max", which is no limit
            sizes.append(int(file.read_text()))
    return min(sizes)


def fits(size: int, device: torch.device) -> bool:
    """Whether arrays of so many bytes in all may live in this device's memory: half of what is free stays so."""
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # by torch, for tensors to come
        return size <= (torch.cuda.mem_get_info(device)[0] + kept) // 2
    return size <= min(psutil.virtual_memory().available, memory()) // 2
