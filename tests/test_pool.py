import os
import signal
import subprocess
import sys
import threading

import psutil
import pytest
from conftest import run_python

from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.pool import environment, worker_pool

GUARD = 'if __name__ == "__main__":'
SPAWN = 'import multiprocessing\nmultiprocessing.get_all_start_methods = lambda: ["spawn"]'  # as on Windows
SHARING = """
    with worker_pool(2) as pool:
        print(pool.submit(abs, -1).result())
"""


def run_script(tmp_path, work, before="", guard=GUARD) -> subprocess.CompletedProcess:
    script = tmp_path / "script.py"
    script.write_text(f"{before}\nimport os\nfrom soundfusion_lib.pool import *\n{guard}{work}")
    return run_python(script, cwd=tmp_path, start_new_session=True)


def interrupt_yourself() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # started in the background, Python would ignore it
    os.kill(os.getpid(), signal.SIGINT)


INTERRUPTED = f"""
    prepare_pool()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.killpg(0, signal.SIGINT)  # to this process and to the server, which is still importing
{SHARING}
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there are no process groups")
def test_an_interrupt_while_the_server_imports_does_no_harm(tmp_path):
    done = run_script(tmp_path, INTERRUPTED)
    assert done.stdout == "1\n" and done.stderr == ""


def test_a_worker_can_be_interrupted():
    with worker_pool(1) as pool, pytest.raises(KeyboardInterrupt):
        pool.submit(interrupt_yourself).result()


@pytest.mark.parametrize("before", ["", SPAWN], ids=["default", "spawn"])
def test_a_script_needs_a_main_guard_and_is_told_so(tmp_path, before):
    done = run_script(tmp_path, SHARING, before)
    assert (done.stdout, done.returncode) == ("1\n", 0), done.stderr
    done = run_script(tmp_path, SHARING, before, guard="if True:")
    said = done.stderr.splitlines()[-1]
    assert "SoundFusionError: a process ended while it began" in said and GUARD in said
    assert done.stdout == "" and done.returncode == 1


def test_a_pool_that_could_not_begin_leaves_no_thread(monkeypatch):
    before = set(threading.enumerate())
    monkeypatch.setattr("soundfusion_lib.pool._begin", os._exit)
    with pytest.raises(SoundFusionError, match="a process ended while it began"):
        worker_pool(1)
    assert set(threading.enumerate()) <= before


def test_workers_start_with_the_variables_and_keep_those_that_are_set(tmp_path):
    asking = f"""
    names = {sorted(environment())}
    for name in names:
        os.environ.pop(name, None)
    os.environ["OMP_NUM_THREADS"] = "3"
    with worker_pool(1) as pool:
        print(*pool.map(os.getenv, names))
"""
    done = run_script(tmp_path, asking)
    expected = environment() | {"OMP_NUM_THREADS": "3"}
    assert done.stdout.split() == [expected[name] for name in sorted(expected)], done.stderr


WORKING = """
import sys, time
from soundfusion_lib.pool import worker_pool

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
    assert [process.cmdline() for process in alive if process.status() != psutil.STATUS_ZOMBIE] == []


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
