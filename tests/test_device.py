from types import SimpleNamespace

import psutil
import pytest
import torch

from soundfusion_lib import device as device_module
from soundfusion_lib.device import choose_device, fits, memory
from soundfusion_lib.errors import SoundFusionError

GIB = 2**30
STATISTICS = {"anon": GIB, "active_file": GIB, "inactive_file": GIB // 2, "shmem": 7}


@pytest.mark.parametrize("name", ["meta", "xpu", "cpu:0", "cuda:", "cuda:x", "gpu", "", "CUDA"])
def test_names_of_other_devices_are_refused(name):
    with pytest.raises(SoundFusionError, match=f"there is no device '{name}': take auto, cpu, cuda"):
        choose_device(name)


def test_a_device_that_is_not_there_is_named():
    assert choose_device("cpu") == torch.device("cpu")
    with pytest.raises(SoundFusionError, match="device 'cuda:97' is not available here"):
        choose_device("cuda:97")


def test_bfloat16_is_asked_of_the_device_itself_not_of_the_current_one(monkeypatch):
    """Two GPUs by decree: the current one lacks bfloat16, the other one has it."""
    current = [0]

    class Current:
        def __init__(self, device):
            self.index = device.index

        def __enter__(self):
            current.append(self.index)

        def __exit__(self, *_):
            current.pop()

    monkeypatch.setattr(torch.cuda, "device", Current)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: current[-1] == 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "GPU")
    described = [device_module.describe(torch.device("cuda", index)) for index in (0, 1)]
    assert described == ["cuda (GPU, float32)", "cuda (GPU, bfloat16)"] and current == [0]


def test_arrays_may_take_half_of_what_is_free_on_a_gpu(monkeypatch):
    """Of 16 GiB, 3 are free and 3 of torch's 5 hold tensors."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (3 * GIB, 16 * GIB))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 5 * GIB)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 3 * GIB)
    gpu = torch.device("cuda", 0)
    assert fits(5 * GIB // 2, gpu) and not fits(5 * GIB // 2 + 1, gpu)


def write_group(folder, version, limit, used, statistics=STATISTICS):
    limit_name, used_name, prefix = {
        1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_"),
        2: ("memory.max", "memory.current", ""),
    }[version]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / limit_name).write_text(f"{limit}\n")
    (folder / used_name).write_text(f"{used}\n")
    lines = [f"{prefix}{name} {value}\n" for name, value in statistics.items()] + ["pgfault 5\n"]
    (folder / "memory.stat").write_text("".join(lines))


@pytest.fixture
def system(tmp_path, monkeypatch):
    """The root of a file system of a machine of 64 GiB with 40 free, and of a process in a group of version 2."""
    monkeypatch.setattr(device_module, "SYSTEM", tmp_path)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=64 * GIB, available=40 * GIB))
    assert memory() == (64 * GIB, 40 * GIB)  # as on Windows or macOS, where there are no groups
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/\n")
    return tmp_path


def test_memory_is_the_machine_s_or_the_container_s_and_cached_files_are_free(system, cpu):
    for limit, expected in ((None, (64, 40)), ("max", (64, 40)), (8 * GIB, (8, 4.5))):
        if limit:
            write_group(system / "sys/fs/cgroup", 2, limit, 5 * GIB)
        assert memory() == tuple(number * GIB for number in expected)
        half = int(expected[1] * GIB / 2)
        assert fits(half, cpu) and not fits(half + 1, cpu)


def test_the_lowest_limit_of_a_group_and_those_around_it_counts(system):
    (system / "proc/self/cgroup").write_text("12:cpu,cpuacct:/x\n0::/user/job:1\n")
    group = system / "sys/fs/cgroup/user"
    write_group(group, 2, 6 * GIB, 7 * GIB)
    for limit, used, expected in (("max", 2, (6, 0.5)), (3 * GIB, 4, (3, 0.5)), (3 * GIB, 6, (3, 0))):
        write_group(group / "job:1", 2, limit, used * GIB)
        assert memory() == tuple(number * GIB for number in expected)


def test_memory_of_a_container_with_groups_of_version_1(system):
    """Within a container the group has the host's path, but its files are at the root."""
    (system / "proc/self/cgroup").write_text("4:cpuset,memory:/docker/5a\n3:cpu:/\n0::/\n")
    for limit, expected in ((4 * GIB, (4, 2.5)), (2**63 - 4096, (64, 40))):  # the second is none
        write_group(system / "sys/fs/cgroup/memory", 1, limit, 3 * GIB)
        assert memory() == tuple(number * GIB for number in expected)


def test_memory_of_this_machine():
    total, available = memory()
    assert 0 < available <= total <= psutil.virtual_memory().total
