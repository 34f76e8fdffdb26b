import os
from contextlib import contextmanager
from types import SimpleNamespace

import psutil
import pytest
import torch
from conftest import run_python

from soundfusion_lib import device as device_module
from soundfusion_lib.device import choose_device, fits, memory
from soundfusion_lib.errors import SoundFusionError

GIB = 2**30


@pytest.mark.parametrize("name", ["xpu", "cuda:", "gpu", "", "cuda:97"])
def test_a_device_that_is_not_there_is_named(name):
    assert choose_device("cpu") == torch.device("cpu")
    with pytest.raises(SoundFusionError, match=f"device '{name}' is not available here.*; take auto, cpu, cuda"):
        choose_device(name)


@pytest.mark.parametrize("variables, threads", [({}, 1), ({"OMP_NUM_THREADS": "2"}, 2)], ids=["unset", "set"])
def test_a_session_that_imported_torch_before_computes_with_one_thread_unless_it_is_told(variables, threads):
    session = "import torch; torch.set_num_threads({}); from soundfusion_lib.device import choose_device; {}"
    code = session.format(2, "choose_device('cpu'); print(torch.get_num_threads())")
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"} | variables
    done = run_python("-c", code, env=environment)
    assert done.stdout.strip() == str(threads), done.stderr


def test_bfloat16_is_asked_of_the_device_itself_not_of_the_current_one(monkeypatch):
    """Two GPUs by decree: the current one lacks bfloat16, the other one has it."""
    current = [0]

    @contextmanager
    def made_current(device):
        current.append(device.index)
        yield
        current.pop()

    monkeypatch.setattr(torch.cuda, "device", made_current)
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


def test_memory_is_the_machine_s_or_its_container_s_where_that_is_less(tmp_path, monkeypatch, cpu):
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(device_module, "CONTAINER", [limit, tmp_path / "none"])
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=64 * GIB, available=40 * GIB))
    for text, total, available in ((None, 64, 40), ("max\n", 64, 40), (f"{8 * GIB}\n", 8, 8), (f"{2**63}\n", 64, 40)):
        if text:
            limit.write_text(text)
        assert memory() == total * GIB
        half = available * GIB // 2
        assert fits(half, cpu) and not fits(half + 1, cpu)
