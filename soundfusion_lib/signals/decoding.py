"""Decoding the files of a corpus, each once for all representations that lack it."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import NamedTuple

import numpy as np
from filelock import FileLock
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from soundfusion_lib import processes
from soundfusion_lib.audio import UnreadableFile, UnusableAudio, decode
from soundfusion_lib.corpora.corpus import Corpus
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.signals.clips import Clip, Pool
from soundfusion_lib.signals.digests import digest
from soundfusion_lib.signals.representations import Representation

CUT = " first "  # between a file's digest and how much of it is used


class Job(NamedTuple):
    """A file to decode."""

    path: Path
    digest: str  # of its clip
    seconds: float | None  # used of it; None for all
    specs: list[Representation]  # that lack it


def missing(corpus: Corpus, files: dict[str, Clip], pools: list[Pool]) -> list[Job]:
    """What is left to decode of a corpus; `files` are its clips by track, with a digest or the reason why not."""
    known = {pool.representation: pool.read() for pool in pools}
    jobs = {}
    for track, file in files.items():
        specs = [spec for spec, clips in known.items() if file.digest not in clips]
        if specs and not file.reason and file.digest not in jobs:
            jobs[file.digest] = Job(corpus.file(track), file.digest, corpus.seconds, specs)
    return list(jobs.values())


def decode_missing(
    corpus: Corpus, files: dict[str, Clip], pools: list[Pool], workers: int | None, progress: bool
) -> dict[str, Clip]:
    """Add to the pools what is `missing`; one process at a time does so. Returns those of the files that could not be
    read meanwhile, with the reason; nothing is kept of them."""
    processes.refuse_in_import()  # it would wait for the lock
    folder = pools[0].folder.parent
    folder.mkdir(parents=True, exist_ok=True)
    failed = {}
    with FileLock(folder / "build.lock"):
        for pool in pools:
            pool.prepare({file.digest for file in files.values()})
        jobs = missing(corpus, files, pools)
        results = _represent_all(jobs, workers)
        bar = tqdm(results, f"decoding {corpus.name}", len(jobs), unit="clip", disable=not progress)
        for job, result in zip(jobs, bar, strict=True):
            if isinstance(result, UnreadableFile):
                failed[job.digest] = Clip("", reason=str(result))
                continue
            for pool in pools:
                if pool.representation in result:
                    pool.add(*result[pool.representation])
    return {track: failed[file.digest] for track, file in files.items() if file.digest in failed}


def _represent(job: Job) -> dict[Representation, tuple[Clip, np.ndarray | bytes]] | UnreadableFile:
    """A file's clip and its array in each representation; or why the file cannot be read now."""
    clips = {}
    try:
        samples, sample_rate = decode(job.path)
    except UnreadableFile as reason:
        return reason
    except UnusableAudio as reason:
        clips = {spec: (Clip(job.digest, reason=str(reason)), b"") for spec in job.specs}
    else:
        if job.seconds is not None:
            samples = samples[: int(job.seconds * sample_rate)]
        seconds = len(samples) / sample_rate
        for spec in job.specs:
            array = spec.transform(samples, sample_rate)
            clips[spec] = Clip(job.digest, 0, len(array), seconds, spec.silence(array)), array
    same = digest(job.path) == job.digest.partition(CUT)[0]
    return clips if same else UnreadableFile("changed while it was read")


def _represent_all(jobs: list[Job], workers: int | None) -> Iterator:
    """`_represent` of each job, in this order."""
    cores = processes.cores()
    workers = min(workers or cores, len(jobs))
    if workers == 1 or len(jobs) < 4:  # starting processes would take longer
        with threadpool_limits(1):  # small matrix products, which come out the same as in the processes
            yield from map(_represent, jobs)
        return
    try:
        with processes.pool(workers, max(1, cores // workers)) as pool:
            yield from in_order(pool, _represent, jobs, 4 * workers)
    except BrokenProcessPool as error:
        message = "a process that decodes was killed (out of memory?): start again, perhaps with fewer workers"
        raise SoundFusionError(message) from error


def in_order(pool: Executor, function: Callable, items: Iterable, ahead: int) -> Iterator:
    """The results of a function in the order of its arguments; at most so many wait to be taken."""
    waiting = deque()
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
