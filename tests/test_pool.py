import os
import signal
import subprocess
import sys
import threading
from concurrent.futures.process import BrokenProcessPool

import psutil
import pytest

from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.pool import worker_pool

INTERRUPTED = """
import os, signal
from soundfusion_lib.pool import cores, prepare_pool, worker_pool

if __name__ == "__main__":
    prepare_pool()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.killpg(0, signal.SIGINT)  # to this process and to the server, which is still importing
    with worker_pool(1) as pool:
        print(pool.submit(abs, -1).result())
"""


def interrupt_yourself() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # started in the background, Python would ignore it
    os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no process groups")
def test_an_interrupt_while_the_server_imports_does_no_harm(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(INTERRUPTED)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, start_new_session=True, timeout=120)
    assert done.stdout == "1\n" and done.stderr == ""


def test_a_worker_can_be_interrupted():
    with worker_pool(1) as pool, pytest.raises(KeyboardInterrupt):
        pool.submit(interrupt_yourself).result()


SCRIPT = """
{before}
from soundfusion_lib.pool import cores, prepare_pool, worker_pool

{guard}
    with worker_pool(2) as pool:
        print(pool.submit(abs, -1).result())
"""
GUARD = 'if __name__ == "__main__":'
SPAWN = 'import multiprocessing\nmultiprocessing.get_all_start_methods = lambda: ["spawn"]'  # as on Windows


def run_script(tmp_path, before="", guard=GUARD, standard_input=False) -> subprocess.CompletedProcess:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(before=before, guard=guard))
    command, text = ([sys.executable, "-"], script.read_text()) if standard_input else ([sys.executable, script], None)
    return subprocess.run(command, input=text, capture_output=True, text=True, timeout=120, cwd=tmp_path)


start_method = pytest.mark.parametrize("before", ["", SPAWN], ids=["default", "spawn"])


@start_method
def test_a_script_with_a_main_guard_shares_its_work(tmp_path, before):
    done = run_script(tmp_path, before)
    assert (done.stdout, done.returncode) == ("1\n", 0), done.stderr


@start_method
def test_a_script_without_a_main_guard_is_told_so(tmp_path, before):
    done = run_script(tmp_path, before, guard="if True:")
    said = done.stderr.splitlines()[-1]
    assert "SoundFusionError: a process ended while it began" in said and "script.py" in said and GUARD in said
    assert "out of memory" not in done.stderr and done.stdout == "" and done.returncode == 1


def test_an_error_of_the_script_in_a_process_alone_is_not_put_on_the_memory(tmp_path):
    done = run_script(tmp_path, 'if __name__ != "__main__":\n    raise ValueError("only in a process")')
    assert "ValueError: only in a process" in done.stderr
    assert "a process ended while it began" in done.stderr.splitlines()[-1] and "out of memory" not in done.stderr


def test_a_script_on_standard_input_is_told_so_before_a_process_starts(tmp_path):
    done = run_script(tmp_path, standard_input=True)
    assert "SoundFusionError" in done.stderr and "<stdin> is no file" in done.stderr.splitlines()[-1]
    assert "FileNotFoundError" not in done.stderr and done.returncode == 1


def test_a_pool_that_could_not_begin_leaves_no_thread(monkeypatch):
    before = set(threading.enumerate())
    monkeypatch.setattr("soundfusion_lib.pool._begin", os._exit)
    with pytest.raises(SoundFusionError, match="a process ended while it began"):
        worker_pool(1)
    assert set(threading.enumerate()) <= before


def end_yourself() -> None:
    os._exit(7)


def test_a_process_that_dies_later_breaks_the_pool():
    with worker_pool(1) as pool, pytest.raises(BrokenProcessPool):
        pool.submit(end_yourself).result()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="processes have no affinity here")
def test_cores_are_those_that_the_process_may_use():
    script = "import os; os.sched_setaffinity(0, [0]); from soundfusion_lib.pool import cores; print(cores())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.stdout == "1\n", done.stderr


WORKING = """
import sys, time
from soundfusion_lib.pool import cores, prepare_pool, worker_pool

if __name__ == "__main__":
    with worker_pool(2) as pool:
        waiting = [pool.submit(time.sleep, 600) for _ in range(int(sys.argv[1]))]
        print("begun", flush=True)
        time.sleep(600)
"""


def family(process: psutil.Process) -> list[psutil.Process]:
    """A process and all that it started."""
    return [process, *process.children(recursive=True)]


def assert_ended(members: list[psutil.Process]) -> None:
    """All of these end: in a second or two, and where every core is busy in ten; the server unloads its modules."""
    _, alive = psutil.wait_procs(members, timeout=30)
    assert [(one.pid, one.cmdline()) for one in alive if one.status() != psutil.STATUS_ZOMBIE] == []


@pytest.mark.parametrize("before, jobs", [("", 0), ("", 2), (SPAWN, 2)], ids=["idle", "at work", "spawn"])
def test_no_process_outlives_the_killed_one_that_started_it(tmp_path, before, jobs):
    script = tmp_path / "script.py"
    script.write_text(f"{before}\n{WORKING}")
    with subprocess.Popen([sys.executable, script, str(jobs)], stdout=subprocess.PIPE, text=True) as started:
        said = started.stdout.readline()
        members = family(psutil.Process(started.pid))
        started.kill()
    assert_ended(members)
    assert said == "begun\n" and len(members) >= 3  # this one, the resource tracker, and workers
