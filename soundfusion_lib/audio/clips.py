"""Decoded clips on disk, the digests of files that they are found by, and the processes that decode."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from soundfusion_lib.audio.decode import UnreadableFile, UnusableAudio, reading, stated_beyond
from soundfusion_lib.audio.representations import Representation, StreamedArray, represent
from soundfusion_lib.paths import whole
from soundfusion_lib.pool import cores, in_order, worker_pool

STORE_REVISION = 2  # raise it when decoding or a transform gives other values, or the files here mean something else
AHEAD = 4  # jobs for each process
FAINTEST = -76.0  # dB of full scale; music that is never louder is silence to a network


@dataclass(frozen=True)
class Clip:
    """A file of some content in one representation: a line of the journal."""

    digest: str  # of the file, and which seconds of it are used: another cut is another clip
    start: int = 0  # where its array lies, in frames of the data
    frames: int = 0
    seconds: float = 0.0  # its length; 0 where it cannot be used
    silence: float = 0.0  # the value that silence has in its array
    reason: str | None = None  # why it cannot be used
    stated: float = 0.0  # the length that the file states, in s, where more than a second of it is missing

    def line(self) -> bytes:
        return json.dumps(vars(self)).encode() + b"\n"


class ClipFolder:
    """The clips of a corpus in one representation: arrays one after the other, and a journal that is the index. A lock
    is for who adds clips; readers need none, as what they find is whole."""

    def __init__(self, corpus_folder: Path, representation: Representation):
        self.representation = representation
        self.folder = Path(corpus_folder) / f"{representation.slug}-r{STORE_REVISION}"
        self.data, self.journal = self.folder / "data.bin", self.folder / "clips.jsonl"
        self.frame_bytes = representation.channels * representation.bands * np.dtype(representation.dtype).itemsize

    def read(self) -> dict[str, Clip]:
        """The clips by their digests, up to the first whose line or array is incomplete: after an interruption the
        last, after a power cut any that had not reached the disk."""
        clips = {}
        with suppress(FileNotFoundError, ValueError):  # of json: after a power cut, a line of zeros
            *lines, _ = self.journal.read_bytes().split(b"\n")  # the last is empty, or torn
            size = self.data.stat().st_size  # only now: arrays come before their lines
            for clip in (Clip(**json.loads(line)) for line in lines):
                if (clip.start + clip.frames) * self.frame_bytes > size:
                    break
                clips[clip.digest] = clip
        return clips

    def prepare(self) -> None:
        """Make the folder ready for more clips: cut off what is behind the last whole one."""
        self.folder.mkdir(parents=True, exist_ok=True)
        clips = self.read().values()
        with whole(self.journal) as aside:  # which makes the folder
            aside.write_bytes(b"".join(clip.line() for clip in clips))
        self.data.touch()
        os.truncate(self.data, max((clip.start + clip.frames for clip in clips), default=0) * self.frame_bytes)

    def add(self, clip: Clip, array: Path | None) -> None:
        """Put a clip behind the others, wherever it says that it starts; its array is in a file, which is deleted."""
        with open(self.data, "ab") as data:
            clip = replace(clip, start=data.tell() // self.frame_bytes)
            if array:
                with open(array, "rb") as part:
                    shutil.copyfileobj(part, data, 2**20)  # fewer calls than by its 64 KiB
                array.unlink()
        with open(self.journal, "ab") as journal:  # after its array: a clip in the journal is there
            journal.write(clip.line())


# Files are known by their content


def digest(file: Path) -> str | UnreadableFile:
    """SHA-256 of a file in hexadecimal digits, and its suffix in lower case, which libsndfile goes by where an MP3
    begins with something else; or why the file cannot be read now."""
    try:
        with reading(file) as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest() + Path(file).suffix.lower()
    except UnreadableFile as reason:
        return reason


def digests(files: list[Path], cache_dir: Path, progress: bool = True) -> list[str | UnreadableFile]:
    """The `digest` of each file, remembered in ``<cache_dir>/digests.json`` by path, size and times."""
    path, known = Path(cache_dir) / "digests.json", {}
    with suppress(OSError, ValueError):  # none yet, or damaged: the files are hashed anew
        known = json.loads(path.read_text())
    states = []  # before the files are read: a change meanwhile gives another state
    for file in map(os.path.abspath, files):
        states.append(file)  # of one that is not there, which is never remembered
        with suppress(OSError):
            status = os.stat(file)
            states[-1] = f"{file} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"
    with ThreadPoolExecutor(cores()) as pool:
        results = pool.map(lambda file, state: known.get(state) or digest(file), files, states)
        contents = list(tqdm(results, "hashing", len(files), unit="file", delay=1, disable=not progress))
    new = {state: content for state, content in zip(states, contents, strict=True) if isinstance(content, str)}
    if not new.keys() <= known.keys():
        with whole(path) as aside:  # of two processes that write at once, the other hashes its files again
            aside.write_text(json.dumps(known | new))
    return contents


# Each file is decoded once, for all representations that lack it


class Job(NamedTuple):
    path: Path
    digest: str  # of its clip
    seconds: float | None  # used of it; None for all
    folders: list[ClipFolder]  # of the representations that lack it


Clips = list[tuple[Clip, Path | None]]  # with their arrays, see `ClipFolder.add`; in the order of folders


def represent_all(jobs: list[Job], parts: Path, workers: int | None) -> Iterator[Clips | UnreadableFile]:
    """The clips of each job, with their arrays in the folder `parts`, or why its file cannot be read now, in this
    order; a single worker is this process. When a file kills its process, those begun are tried again, each alone."""
    represented = partial(_represent, parts)
    if workers == 1:
        with threadpool_limits(1):  # small matrix products, which come out the same as in the processes
            yield from map(represented, jobs)
        return
    workers = min(workers or cores(), len(jobs))
    ahead, done, alone = AHEAD * workers, 0, 0  # jobs begun before their results are needed; results given
    while done < len(jobs):
        end = done + 1 if done < alone else None
        try:
            with worker_pool(1 if end else workers) as pool:
                for result in in_order(pool, represented, jobs[done:end], ahead):
                    done += 1
                    yield result
        except BrokenProcessPool:
            if end:
                done += 1
                yield UnreadableFile("the process that decodes it was killed, twice (out of memory?)")
            else:
                alone = done + ahead + 1


def silent_in(array: StreamedArray) -> str | None:
    """Why a network hears silence in this representation of a file that is not silent; None where it does not."""
    spec = array.spec
    if spec.kind == "mel":
        name, level = "mel spectrogram", array.loudest - 20 * np.log10(spec.n_fft / 4)  # of a full sine
    else:
        name, level = "waveform", 20 * np.log10(max(array.loudest, 1) * spec.scale)
    heard = "the mean of its channels is silence" if spec.channels == 1 else "its first two channels are silent"
    return f"silent as {name}: {heard}" if level < FAINTEST else None


def _represent(parts: Path, job: Job) -> Clips | UnreadableFile:
    try:
        seconds, arrays = represent(job.path, [folder.representation for folder in job.folders], parts, job.seconds)
    except UnreadableFile as reason:
        return reason
    except UnusableAudio as reason:
        return [(Clip(job.digest, reason=str(reason)), None)] * len(job.folders)
    stated = stated_beyond(job.path, seconds, job.seconds)
    return [
        (Clip(job.digest, 0, array.frames, seconds, array.silence, silent_in(array), stated), array.path)
        for array in arrays
    ]
