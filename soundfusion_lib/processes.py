"""Processes beside this one, for work that one process cannot share among its threads."""

import multiprocessing
import signal
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import forkserver, resource_tracker

import joblib
import torch
from threadpoolctl import threadpool_limits

# Imported once, by a server that the workers are forked from; forking this process itself would copy locks of threads
# that the copy lacks. torch._dynamo: every optimizer imports it at its first step.
PRELOADED = ["soundfusion_lib.experiments", "torch._dynamo"]


def cores() -> int:
    """Processor cores that this process may use: its affinity and its container's limit count."""
    return joblib.cpu_count()


def pool(workers: int, threads: int = 1) -> ProcessPoolExecutor:
    """Processes of so many threads each.

    A script that uses them needs ``if __name__ == "__main__":`` around what it does, as each process imports it.
    """
    prepare()
    return ProcessPoolExecutor(workers, _context(), initializer=_begin, initargs=(threads,))


def _begin(threads: int) -> None:
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    torch.set_num_threads(threads)
    threadpool_limits(threads)  # of numpy's linear algebra


def prepare() -> None:
    """Have the imports of the processes to come begin now, beside this one."""
    if _context().get_start_method() != "forkserver":
        return
    resource_tracker.ensure_running()  # which unblocks signals
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # which the server starts with: the interrupt that
    try:  # Jupyter ends a kernel with would break its imports
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _context():
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)  # without effect once the server runs
    return context


def refuse_in_import() -> None:
    """Raise RuntimeError in a process that is still importing the script that started it, which would wait for itself."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise RuntimeError('put what the script does under `if __name__ == "__main__":`, as its processes import it')
