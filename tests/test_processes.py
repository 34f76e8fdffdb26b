import os
import signal
import subprocess
import sys

import pytest

from soundfusion_lib import processes

INTERRUPTED = """
import os, signal
from soundfusion_lib import processes

if __name__ == "__main__":
    processes.prepare()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.killpg(0, signal.SIGINT)  # to this process and to the server, which is still importing
    with processes.pool(1) as pool:
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
    with processes.pool(1) as pool, pytest.raises(KeyboardInterrupt):
        pool.submit(interrupt_yourself).result()
