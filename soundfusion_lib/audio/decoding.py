"""Decoding the files of a corpus, each once for all representations that lack it."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import NamedTuple

import numpy as np
from filelock import FileLock
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from soundfusion_lib.audio.clips import PART, Clip, Pool
from soundfusion_lib.audio.decode import LongAudio, UnreadableFile, UnusableAudio, decode
from soundfusion_lib.audio.digests import digest
from soundfusion_lib.audio.representations import Representation
from soundfusion_lib.audio.streaming import streamed
from soundfusion_lib.datasets.corpus import Corpus
from soundfusion_lib.pool import cores, refuse_in_import, worker_pool

CUT = " first "  # between a file's digest and how much of it is used
AHEAD = 4  # clips that are begun before they are needed, times the processes
LONGEST = 4 * 3600.0  # seconds of a clip
PIECE = 2**16  # frames of a long clip that are written at once


class Job(NamedTuple):
    """A file to decode."""

    path: Path
    digest: str  # of its clip
    seconds: float | None  # used of it; None for all
    folders: dict[Representation, Path]  # of the representations that lack it

    @property
    def specs(self) -> list[Representation]:
        return list(self.folders)


Represented = dict[Representation, tuple[Clip, np.ndarray | bytes | Path]]


def missing(corpus: Corpus, files: dict[str, Clip], pools: list[Pool]) -> list[Job]:
    """What is left to decode of a corpus; `files` are its clips by track, with a digest or the reason why not."""
    known = [(pool, pool.read()) for pool in pools]
    jobs = {}
    for track, file in files.items():
        folders = {pool.representation: pool.folder for pool, clips in known if file.digest not in clips}
        if folders and not file.reason and file.digest not in jobs:
            jobs[file.digest] = Job(corpus.file(track), file.digest, corpus.seconds, folders)
    return list(jobs.values())


def decode_missing(
    corpus: Corpus, files: dict[str, Clip], pools: list[Pool], workers: int | None, progress: bool
) -> dict[str, Clip]:
    """Add to the pools what is `missing`; one process at a time does so. Returns those of the files that could not be
    read meanwhile, with the reason; nothing is kept of them."""
    refuse_in_import()  # it would wait for the lock
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


def _represent(job: Job) -> Represented | UnreadableFile:
    """A file's clip and its array in each representation; or why the file cannot be read now."""
    try:
        try:
            clips = _at_once(job)
        except LongAudio:
            clips = _in_pieces(job)
    except UnreadableFile as reason:
        return reason
    except UnusableAudio as reason:
        clips = {spec: (Clip(job.digest, reason=str(reason)), b"") for spec in job.specs}
    except MemoryError:
        return UnreadableFile("there is not enough memory to decode it")
    same = digest(job.path) == job.digest.partition(CUT)[0]
    return clips if same else UnreadableFile("changed while it was read")


def _at_once(job: Job) -> Represented:
    samples, sample_rate = decode(job.path, job.seconds)
    seconds = len(samples) / sample_rate
    clips = {}
    for spec in job.specs:
        array = spec.transform(samples, sample_rate)
        clips[spec] = Clip(job.digest, 0, len(array), seconds, spec.silence(array)), array
    return clips


def _in_pieces(job: Job) -> Represented:
    """As `_at_once`, in bounded memory, the arrays in files: those of two hours are 500 MB, and several files wait."""
    clips = {}
    with streamed(job.path, job.specs, job.seconds, LONGEST) as (seconds, arrays):
        for array in arrays:
            with NamedTemporaryFile(suffix=PART, dir=job.folders[array.spec], delete=False) as part:
                for start in range(0, array.frames, PIECE):
                    part.write(array.read(start, start + PIECE))
            clips[array.spec] = Clip(job.digest, 0, array.frames, seconds, array.silence), Path(part.name)
    return clips


def _represent_all(jobs: list[Job], workers: int | None) -> Iterator[Represented | UnreadableFile]:
    """`_represent` of each job, in this order: in this process if it is to be the only worker, else in others, where a
    file that kills its process does no more than that."""
    available = cores()
    if workers == 1:
        with threadpool_limits(1):  # small matrix products, which come out the same as in the processes
            yield from map(_represent, jobs)
        return
    workers = max(1, min(workers or available, len(jobs)))
    left = deque(jobs)
    while left:
        try:
            with worker_pool(workers, max(1, available // workers)) as pool:
                for result in in_order(pool, _represent, list(left), AHEAD * workers):
                    left.popleft()
                    yield result
        except BrokenProcessPool:  # by one of those that were begun
            yield from _one_by_one([left.popleft() for _ in range(min(len(left), AHEAD * workers + 1))])


def _one_by_one(jobs: list[Job]) -> Iterator[Represented | UnreadableFile]:
    """`_represent` of each job, each alone in a process; one that kills it is left out."""
    left = deque(jobs)
    while left:
        try:
            with worker_pool(1) as pool:
                while left:
                    yield pool.submit(_represent, left[0]).result()
                    left.popleft()
        except BrokenProcessPool:
            left.popleft()
            yield UnreadableFile("the process that decodes it was killed, twice (out of memory?)")


def in_order(pool: Executor, function: Callable, items: Iterable, ahead: int) -> Iterator:
    """The results of a function in the order of its arguments; at most so many wait to be taken."""
    waiting = deque()
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
