"""Processes beside this one, for work that one process cannot share among its threads."""

import multiprocessing
import os
import signal
import sys
import threading
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import forkserver, resource_tracker

import joblib
import torch
from threadpoolctl import threadpool_limits

from soundfusion_lib.errors import SoundFusionError

# Workers are forked from a server; forking this process itself would copy locks of threads that the copy lacks.
FORKS = "forkserver" in multiprocessing.get_all_start_methods()  # not on Windows
CONTEXT = multiprocessing.get_context("forkserver" if FORKS else "spawn")
if FORKS:  # what the server imports, once for all; every optimizer imports torch._dynamo at its first step
    CONTEXT.set_forkserver_preload(["soundfusion_lib.training.train", "torch._dynamo"])


def environment() -> dict[str, str]:
    """Variables of the environment that a process which trains starts with; they have no effect on a running one.

    One thread, since a second never pays for these networks; and glibc keeps the memory that tensors free, which it
    would give back to the system and get anew, page by page. A script that starts without them trains slower, to the
    same numbers as long as torch has one thread; the workers of `worker_pool` have them in any case.
    """
    threads = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    return threads | {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40), "MALLOC_ARENA_MAX": "1"}


def cores() -> int:
    """Processor cores that this process may use: its affinity and its container's limit count."""
    return joblib.cpu_count()


def worker_pool(workers: int, threads: int = 1) -> ProcessPoolExecutor:
    """Processes of so many threads each, the first of which has begun; SoundFusionError if it could not.

    They end with this one, however it ends, and the server that they are forked from ends with the last of them. A
    script that uses them needs ``if __name__ == "__main__":`` around what it does, as each process imports it.
    """
    refuse_in_import()
    main = sys.modules["__main__"]
    script = getattr(main, "__file__", None)  # none in a notebook
    if script and not getattr(main, "__spec__", None) and not os.path.isfile(script):
        raise SoundFusionError(
            f"the processes that share the work import the script that starts them, and {script} is no file: write it "
            'to a file, with what it does under `if __name__ == "__main__":`, and run that'
        )
    prepare_pool()
    executor = ProcessPoolExecutor(workers, CONTEXT, _begin, (threads,))
    try:
        executor.submit(os.getpid).result()
    except BrokenProcessPool as error:
        executor.shutdown()  # or Python, ending, would wake a thread of it that is closing its pipe
        advice = f'it imports {script}: put what that does under `if __name__ == "__main__":`; ' if script else ""
        raise SoundFusionError(f"a process ended while it began: {advice}what it said is printed above") from error
    return executor


def _begin(threads: int) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if FORKS:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # see `prepare_pool`
    torch.set_num_threads(threads)
    threadpool_limits(threads)  # of numpy's linear algebra


def _end_with_parent() -> None:
    """Wait for the process that started this one to end, and end, too.

    A worker waits for work on a pipe whose other end it holds itself, so that it would not notice; and while it lives,
    so does the server that it is forked from.
    """
    multiprocessing.parent_process().join()
    os._exit(1)


def prepare_pool() -> None:
    """Have the server's imports begin now, beside this process.

    It starts with interrupts blocked: the one that Jupyter ends a kernel with would break its imports.
    """
    if FORKS and not _importing():
        resource_tracker.ensure_running()  # first, as it unblocks them
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            forkserver.ensure_running()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _importing() -> bool:
    """Whether this is such a process, still importing the script that started it."""
    return getattr(multiprocessing.current_process(), "_inheriting", False)


def refuse_in_import() -> None:
    """Raise RuntimeError in a process still importing the script that started it: it would wait for itself."""
    if _importing():
        raise RuntimeError('put what the script does under `if __name__ == "__main__":`, as its processes import it')
