"""Processes beside this one, for work that one process cannot share among its threads."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import forkserver

import torch
from threadpoolctl import threadpool_limits

# Imported once, by a server that the workers are forked from; forking this process itself would copy locks of threads
# that the copy lacks. torch._dynamo: every optimizer imports it at its first step.
PRELOADED = ["soundfusion_lib.experiments", "torch._dynamo"]


def pool(workers: int, threads: int = 1) -> ProcessPoolExecutor:
    """Processes of so many threads each.

    A script that uses them needs ``if __name__ == "__main__":`` around what it does, as each process imports it.
    """
    return ProcessPoolExecutor(workers, _context(), initializer=_limit_threads, initargs=(threads,))


def _limit_threads(threads: int) -> None:
    torch.set_num_threads(threads)
    threadpool_limits(threads)  # of numpy's linear algebra


def prepare() -> None:
    """Have the imports of the processes to come begin now, beside this one."""
    if _context().get_start_method() == "forkserver":
        forkserver.ensure_running()


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
