"""Decoded clips on disk, and the digests of files that they are found by."""

import hashlib
import json
import os
import shutil
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from soundfusion_lib.audio.decode import UnreadableFile, check_regular, unreadable
from soundfusion_lib.audio.representations import Representation, to_dict
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.paths import writing
from soundfusion_lib.pool import cores

STORE_REVISION = 2  # raise it when decoding or a transform gives other values, or the files here mean something else
PART = ".part"  # a long clip on its way into the data
RECENT = 2_000_000_000  # nanoseconds; FAT counts time in these
TABLE = """CREATE TABLE IF NOT EXISTS files
    (path BLOB PRIMARY KEY, size INTEGER, modified INTEGER, changed INTEGER, digest TEXT) WITHOUT ROWID"""


@dataclass(frozen=True)
class Clip:
    """A file of some content in one representation: a line of the journal."""

    digest: str  # of the file, see `digest`, and its `cut_mark`
    start: int = 0  # where its array lies, in frames of the data
    frames: int = 0
    seconds: float = 0.0  # its length; 0 where it cannot be used
    silence: float = 0.0  # the value that silence has in its array
    reason: str | None = None  # why it cannot be used

    def line(self) -> bytes:
        return json.dumps(asdict(self)).encode() + b"\n"


class ClipFolder:
    """The clips of a corpus in one representation: arrays one after the other, and a journal that is the index.

    Clips are added, never changed or removed. Who adds holds a lock; readers need none, as what they find is whole.
    """

    def __init__(self, corpus_folder: Path, representation: Representation):
        self.representation = representation
        self.folder = Path(corpus_folder) / f"{representation.slug}-r{STORE_REVISION}"
        self.data, self.journal = self.folder / "data.bin", self.folder / "clips.jsonl"
        self.frame_bytes = representation.channels * representation.bands * np.dtype(representation.dtype).itemsize

    def read(self) -> dict[str, Clip]:
        """The clips by their digests, up to the first whose line or array is incomplete: after an interruption the
        last, after a power cut any that had not reached the disk."""
        if not self.journal.exists():
            return {}
        *lines, _ = self.journal.read_bytes().split(b"\n")  # the last is empty, or torn
        size = self.data.stat().st_size if self.data.exists() else 0  # only now: arrays come before their lines
        clips = {}
        for line in lines:
            try:
                clip = Clip(**json.loads(line))
            except ValueError:
                break
            if (clip.start + clip.frames) * self.frame_bytes > size:
                break
            clips[clip.digest] = clip
        return clips

    def prepare(self, digests: set[str]) -> None:
        """Make the folder ready for more clips: cut off what is behind the last whole one, and copy those of these
        digests that another corpus of the same cache has."""
        self.folder.mkdir(parents=True, exist_ok=True)
        spec = self.representation
        about = {"representation": to_dict(spec), "dtype": spec.dtype, "layout": "time,channel,band"}
        (self.folder / "store.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8", newline="\n")
        for part in self.folder.glob(f"*{PART}"):  # of a process that was killed
            part.unlink()
        clips = self.read()
        end = max((clip.start + clip.frames for clip in clips.values()), default=0)
        lines = sum(len(clip.line()) for clip in clips.values())
        for file, size in ((self.data, end * self.frame_bytes), (self.journal, lines)):
            file.touch()
            os.truncate(file, size)
        missing = digests - clips.keys()
        for folder in sorted(self.folder.parent.parent.glob(f"*/{self.folder.name}")):
            other = ClipFolder(folder.parent, spec)
            for clip in other.read().values():
                if clip.digest in missing:
                    missing.remove(clip.digest)
                    size, offset = clip.frames * self.frame_bytes, clip.start * self.frame_bytes
                    self.add(clip, np.fromfile(other.data, np.uint8, size, offset=offset))

    def add(self, clip: Clip, array: np.ndarray | bytes | Path) -> None:
        """Put a clip behind the others, wherever it says that it starts; a long one is in a file, which is deleted."""
        with open(self.data, "ab") as data:
            clip = replace(clip, start=data.tell() // self.frame_bytes)
            if isinstance(array, Path):
                with open(array, "rb") as part:
                    shutil.copyfileobj(part, data)
                array.unlink()
            else:
                data.write(array)
        with open(self.journal, "ab") as journal:  # after its array: a clip in the journal is there
            journal.write(clip.line())


def digest(file: Path) -> str | UnreadableFile:
    """SHA-256 of a file in hexadecimal digits, and its suffix in lower case; or why it cannot be read now.

    That is all that decoding depends on: libsndfile goes by the suffix where an MP3 begins with something else.
    """
    try:
        check_regular(file)
        with open(file, "rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest() + Path(file).suffix.lower()
    except OSError as error:
        return unreadable(error)
    except UnreadableFile as reason:
        return reason


def cut_mark(seconds: float | None) -> str:
    """What follows a file's digest where only its first seconds are used: another cut of it is another clip."""
    return "" if seconds is None else f" first {seconds:g}s"


def digests(files: list[Path], cache_dir: Path, progress: bool = True) -> list[str | UnreadableFile]:
    """The `digest` of each file, remembered in ``<cache_dir>/digests.sqlite``, which several processes may use at once;
    raises SoundFusionError if that cannot be used."""
    path = Path(cache_dir) / "digests.sqlite"
    with writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    states = [_state(file) for file in files]  # before they are read: a change meanwhile gives another state
    try:
        with closing(sqlite3.connect(path, timeout=60)) as database, ThreadPoolExecutor(cores()) as pool:
            database.execute(TABLE)
            known = {tuple(state): content for *state, content in database.execute("SELECT * FROM files")}
            results = pool.map(lambda file, state: known.get(state) or digest(file), files, states)
            contents = list(tqdm(results, "hashing", len(files), unit="file", delay=1, disable=not progress))
            new = {state: content for state, content in zip(states, contents, strict=True) if state not in known}
            rows = [(*state, content) for state, content in new.items() if state and isinstance(content, str)]
            with database:
                database.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?)", rows)
    except sqlite3.DatabaseError as error:
        raise SoundFusionError(f"{path} cannot be used ({error}): if that stays so, delete it") from error
    return contents


def _state(file: Path) -> tuple[bytes, int, int, int] | None:
    """A file's path, size and times, which it is known by; None where it was changed a moment ago, as it may be once
    more within the same times."""
    try:
        status = os.stat(file)
    except OSError:
        return None
    times = status.st_mtime_ns, status.st_ctime_ns
    if any(abs(time.time_ns() - changed) <= RECENT for changed in times):
        return None
    return os.fsencode(os.path.abspath(file)), status.st_size, *times
