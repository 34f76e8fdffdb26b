"""Processes beside this one, for work that one process cannot share among its threads."""

import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import forkserver, resource_tracker

import joblib
from threadpoolctl import threadpool_limits

from soundfusion_lib.errors import SoundFusionError

# Workers are forked from a server that imports torch once, beside this process; each of joblib's imports it anew, in 6
# core-seconds and 380 MB. Forking this process itself would copy locks of threads that the copy lacks.
FORKS = "forkserver" in multiprocessing.get_all_start_methods()
GUARD = 'put what the script does under `if __name__ == "__main__":`, as its processes import it'
CONTEXT = multiprocessing.get_context("forkserver" if FORKS else "spawn")


def environment() -> dict[str, str]:
    """Variables of the environment that a process which trains starts with; they have no effect on a running one.

    One thread, since a second never pays for these networks; and glibc keeps the memory that tensors free, which it
    would give back to the system and get anew, page by page. The workers of `worker_pool` have them in any case.
    """
    threads = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    return threads | {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40), "MALLOC_ARENA_MAX": "1"}


def cores() -> int:
    """Processor cores that this process may use: its affinity and its container's limit count."""
    return joblib.cpu_count()


def worker_pool(workers: int, threads: int = 1) -> ProcessPoolExecutor:
    """Processes of so many threads each, the first of which has begun; SoundFusionError if it could not. They end with
    this one, however it ends."""
    refuse_in_import()
    prepare_pool()
    executor = ProcessPoolExecutor(workers, CONTEXT, _begin, (threads,))
    try:
        executor.submit(os.getpid).result()
    except BrokenProcessPool as error:
        executor.shutdown()  # or Python, ending, would wake a thread of it that is closing its pipe
        raise SoundFusionError(f"a process ended while it began ({GUARD}?); what it said is printed above") from error
    return executor


def _begin(threads: int) -> None:
    import torch  # here: the commands that ask for `environment` or `cores` need not wait for it

    threading.Thread(target=_end_with_parent, daemon=True).start()
    if FORKS:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # see `prepare_pool`
    torch.set_num_threads(threads)
    threadpool_limits(threads)  # of numpy's linear algebra


def _end_with_parent() -> None:
    """A worker does not notice that its parent ended: it waits for work on a pipe whose other end it holds itself."""
    multiprocessing.parent_process().join()
    os._exit(1)


def prepare_pool() -> None:
    """Have the server import now, beside this process, what this one has imported of the library. It starts with
    interrupts blocked: the one that Jupyter ends a kernel with would break its imports."""
    os.environ.update(environment() | os.environ)  # for the processes, what is set already first
    if FORKS and not getattr(multiprocessing.current_process(), "_inheriting", False):
        library = [name for name in sys.modules if name.startswith("soundfusion_lib.")]
        CONTEXT.set_forkserver_preload([*library, "torch._dynamo"])  # which every optimizer imports at its first step
        resource_tracker.ensure_running()  # first, as it unblocks them
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            forkserver.ensure_running()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def refuse_in_import() -> None:
    """Raise RuntimeError in a process still importing the script that started it: it would wait for itself."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise RuntimeError(GUARD)


def in_order(pool: Executor, function: Callable, items: Iterable, ahead: int) -> Iterator:
    """The results of a function in the order of its arguments; at most so many wait to be taken."""
    waiting = deque()
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
