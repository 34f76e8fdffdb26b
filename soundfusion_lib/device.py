"""Where to compute, and with which numbers."""

import contextlib
import ctypes
import platform

import psutil
import torch

from soundfusion_lib.errors import SoundFusionError

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of mallopt, as in glibc's malloc.h


def choose_device(name: str = "auto") -> torch.device:
    """The device of this name; "auto" is CUDA where there is one, then MPS, then the CPU.

    Raises:
        SoundFusionError: this machine has no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise SoundFusionError(f"device {name!r} is not available here: {str(error).splitlines()[0]}") from error
    return device


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
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":  # AVX-512 alone emulates it: slower than float32
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return False


def fits(size: int, device: torch.device) -> bool:
    """Whether an array of so many bytes may live in this device's memory: it leaves half of it for the rest."""
    if device.type == "cuda":
        return size <= torch.cuda.mem_get_info(device)[1] // 2
    return size <= psutil.virtual_memory().total // 2


def keep_freed_memory() -> None:
    """Have this process keep the memory that tensors on the CPU free, for the next ones (with glibc; elsewhere nothing).

    By default glibc gives large blocks back to the system and gets them anew, page by page, at every operation: a large
    part of a step of ResNet1D (benchmarks/train.py shows it). The process keeps its peak of memory until it ends.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):  # no such function: another C library, another system
        return
    mallopt(M_MMAP_MAX, 0)
    mallopt(M_TRIM_THRESHOLD, -1)
