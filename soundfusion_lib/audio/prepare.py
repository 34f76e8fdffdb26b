"""Files -> clips: each file is decoded once, for all representations that lack it."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from soundfusion_lib.audio.clips import PART, Clip, ClipFolder, cut_mark, digest
from soundfusion_lib.audio.decode import LongAudio, UnreadableFile, UnusableAudio, decode
from soundfusion_lib.audio.streaming import streamed
from soundfusion_lib.pool import cores, in_order, worker_pool

AHEAD = 4  # clips that are begun before they are needed, times the processes
LONGEST = 4 * 3600.0  # seconds of a clip
PIECE = 2**16  # frames of a long clip that are written at once


class Job(NamedTuple):
    """A file to decode."""

    path: Path
    digest: str  # of its clip
    seconds: float | None  # used of it; None for all
    folders: list[ClipFolder]  # of the representations that lack it


Clips = list[tuple[Clip, np.ndarray | bytes | Path]]  # with their arrays, or the file of one; in the order of folders


def represent_all(jobs: list[Job], workers: int | None) -> Iterator[Clips | UnreadableFile]:
    """The clips of each job, or why its file cannot be read now, in this order: made in this process if it is the only
    worker, else in others. When a file kills its process, those begun are tried again, each alone in a process."""
    if workers == 1:
        with threadpool_limits(1):  # small matrix products, which come out the same as in the processes
            yield from map(_represent, jobs)
        return
    workers = max(1, min(workers or cores(), len(jobs)))
    left, suspects = deque(jobs), 0
    while left:
        count, ahead = (1, 0) if suspects else (workers, AHEAD * workers)
        try:
            with worker_pool(count) as pool:
                for result in in_order(pool, _represent, list(islice(left, suspects or None)), ahead):
                    left.popleft()
                    suspects -= bool(suspects)
                    yield result
        except BrokenProcessPool:
            if suspects:
                left.popleft()
                suspects -= 1
                yield UnreadableFile("the process that decodes it was killed, twice (out of memory?)")
            else:
                suspects = min(len(left), ahead + 1)


def _represent(job: Job) -> Clips | UnreadableFile:
    try:
        try:
            clips = _at_once(job)
        except LongAudio:
            clips = _in_pieces(job)
    except UnreadableFile as reason:
        return reason
    except UnusableAudio as reason:
        clips = [(Clip(job.digest, reason=str(reason)), b"")] * len(job.folders)
    except MemoryError:
        return UnreadableFile("there is not enough memory to decode it")
    same = f"{digest(job.path)}{cut_mark(job.seconds)}" == job.digest
    return clips if same else UnreadableFile("changed while it was read")


def _at_once(job: Job) -> Clips:
    samples, sample_rate = decode(job.path, job.seconds)
    seconds, clips = len(samples) / sample_rate, []
    for spec in [folder.representation for folder in job.folders]:
        array = spec.transform(samples, sample_rate)
        clips.append((Clip(job.digest, 0, len(array), seconds, spec.silence(array)), array))
    return clips


def _in_pieces(job: Job) -> Clips:
    """As `_at_once`, in bounded memory, the arrays in files: those of two hours are 500 MB, and several files wait."""
    clips, specs = [], [folder.representation for folder in job.folders]
    with streamed(job.path, specs, job.seconds, LONGEST) as (seconds, arrays):
        for folder, array in zip(job.folders, arrays, strict=True):
            with NamedTemporaryFile(suffix=PART, dir=folder.folder, delete=False) as part:
                for start in range(0, array.frames, PIECE):
                    part.write(array.read(start, start + PIECE))
            clips.append((Clip(job.digest, 0, array.frames, seconds, array.silence), Path(part.name)))
    return clips
