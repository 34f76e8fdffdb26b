"""Decoding the files of a corpus, each once for all representations that lack it."""

from collections import deque
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

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

Files = dict[str, str | UnreadableFile]  # by track id: the digest of its file, or why that cannot be read now
ClipAndArray = tuple[Clip, np.ndarray | bytes]
CUT = " first "  # between a file's digest and how much of it is used


def decode_missing(corpus: Corpus, files: Files, pools: list[Pool], workers: int | None, progress: bool) -> Files:
    """Add to the pools of a corpus the clips that they lack; one process at a time does so.

    Args:
        corpus: what the tracks are from.
        files: all its tracks.
        pools: one a representation.
        workers: processes that decode; all cores where None, which they share.
        progress: show a progress bar.

    Returns:
        The tracks whose files could not be read meanwhile; nothing is kept of them.

    Raises:
        SoundFusionError: a worker died; what was finished is kept.
    """
    root = pools[0].folder.parent
    root.mkdir(parents=True, exist_ok=True)
    failed = {}
    with FileLock(root / "build.lock"):
        for pool in pools:
            pool.repair()
            pool.adopt(file for file in files.values() if isinstance(file, str))
        found = [pool.read() for pool in pools]
        jobs = {}
        for track, file in files.items():
            lacking = [pool.representation for pool, clips in zip(pools, found, strict=True) if file not in clips]
            if isinstance(file, str) and lacking:
                jobs.setdefault(file, (corpus.file(track), file, corpus.seconds, lacking))
        results = _in_order(_represent, list(jobs.values()), workers)
        bar = tqdm(results, f"decoding {corpus.name}", len(jobs), unit="clip", disable=not progress)
        for file, result in zip(jobs, bar, strict=True):
            if isinstance(result, UnreadableFile):
                failed[file] = result
                continue
            for pool in pools:
                if pool.representation in result:
                    pool.add(*result[pool.representation])
    return {track: failed[file] for track, file in files.items() if file in failed}


def _represent(
    job: tuple[Path, str, float | None, list[Representation]],
) -> dict[Representation, ClipAndArray] | UnreadableFile:
    """A file's clip and its array in each representation; or why the file cannot be read now."""
    path, name, seconds, specs = job
    try:
        clips = _transform(path, name, seconds, specs)
        if digest(path) != name.partition(CUT)[0]:
            return UnreadableFile("changed while it was read")
        return clips
    except UnreadableFile as reason:
        return reason


def _transform(
    path: Path, name: str, longest: float | None, specs: list[Representation]
) -> dict[Representation, ClipAndArray]:
    try:
        samples, sample_rate = decode(path)
    except UnreadableFile:
        raise
    except UnusableAudio as reason:
        return {spec: (Clip(name, reason=str(reason)), b"") for spec in specs}
    if longest is not None:
        samples = samples[: int(longest * sample_rate)]
    seconds = len(samples) / sample_rate
    clips = {}
    for spec in specs:
        array = spec.transform(samples, sample_rate)
        clips[spec] = Clip(name, frames=len(array), seconds=seconds, silence=spec.silence(array)), array
    return clips


def _in_order(function, items, workers):
    """Results in the order of the items, computed by processes, with a bounded number of them waiting."""
    cores = processes.cores()
    workers = min(workers or cores, max(1, len(items)))
    if workers == 1 or len(items) < 4:  # starting processes would take longer
        with threadpool_limits(1):  # small matrix products, which come out the same as in the processes
            yield from map(function, items)
        return
    with processes.pool(workers, max(1, cores // workers)) as pool:
        waiting = deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > 4 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise SoundFusionError(
                "a process that decodes clips was killed (out of memory?); what it had finished is kept: "
                "start again, with fewer workers if it happens once more"
            ) from error
        finally:
            for future in waiting:
                future.cancel()
