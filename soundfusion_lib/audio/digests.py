"""What files hold: hashed once, and again only where a file has changed."""

import hashlib
import os
import sqlite3
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from tqdm import tqdm

from soundfusion_lib.audio.decode import UnreadableFile, unreadable
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.paths import writing
from soundfusion_lib.pool import cores

DIGITS = 64  # of the SHA-256 that a digest begins with
RECENT = 2_000_000_000  # nanoseconds; FAT counts time in these
State = tuple[bytes, int, int, int]  # a file's path, size, st_mtime_ns, st_ctime_ns
TABLE = """CREATE TABLE IF NOT EXISTS files
    (path BLOB PRIMARY KEY, size INTEGER, modified INTEGER, changed INTEGER, digest TEXT) WITHOUT ROWID"""


def digest(file: Path) -> str | UnreadableFile:
    """SHA-256 of a file in hexadecimal digits, and its suffix in lower case; or why it cannot be read now.

    That is all that decoding depends on: libsndfile goes by the suffix where an MP3 begins with something else.
    """
    try:
        if not stat.S_ISREG(os.stat(file).st_mode):  # opening a pipe would wait for its other end
            return UnreadableFile("not a file")
        with open(file, "rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest() + Path(file).suffix.lower()
    except OSError as error:
        return unreadable(error)


def digests(files: list[Path], cache_dir: Path, progress: bool = True) -> list[str | UnreadableFile]:
    """The `digest` of each file, remembered in ``<cache_dir>/digests.sqlite``, which several processes may use at once;
    raises SoundFusionError if that cannot be used."""
    path = Path(cache_dir) / "digests.sqlite"
    with writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with closing(sqlite3.connect(path, timeout=60)) as memory, ThreadPoolExecutor(cores()) as pool:
            memory.execute(TABLE)
            remembered = {tuple(state): content for *state, content in memory.execute("SELECT * FROM files")}

            def look(file: Path) -> tuple[State | None, str | UnreadableFile]:
                state = _state(file)  # before it is read: a change meanwhile gives another
                return state, remembered.get(state) or digest(file)

            results = pool.map(look, files)
            found = list(tqdm(results, "hashing", len(files), unit="file", delay=1, disable=not progress))
            new = {state: content for state, content in found if state and isinstance(content, str)}
            rows = [(*state, content) for state, content in new.items() if state not in remembered]
            with memory:
                memory.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?)", rows)
    except sqlite3.DatabaseError as error:
        raise SoundFusionError(f"{path} cannot be used ({error}): if that stays so, delete it") from error
    return [content for _, content in found]


def _state(file: Path) -> State | None:
    """What a file is known by; None where it was changed a moment ago, as it may be once more within the same times."""
    try:
        status = os.stat(file)
    except OSError:
        return None
    times = status.st_mtime_ns, status.st_ctime_ns
    if any(abs(time.time_ns() - changed) <= RECENT for changed in times):
        return None
    return os.fsencode(os.path.abspath(file)), status.st_size, *times
