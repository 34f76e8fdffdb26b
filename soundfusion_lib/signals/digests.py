"""What files hold: hashed once, and again only where a file has changed."""

import contextlib
import hashlib
import os
import sqlite3
import stat
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from soundfusion_lib import processes
from soundfusion_lib.audio import UnreadableFile, unreadable
from soundfusion_lib.errors import SoundFusionError

BATCH = 256  # files whose digests are remembered at once
RECENT = 2_000_000_000  # nanoseconds; written again so soon, a file may keep its times (FAT counts in 2 s)


def digest(file: Path) -> str:
    """SHA-256 of a file's bytes in hexadecimal digits, and its suffix in lower case: all that its decoding depends on.

    The suffix is in it because libsndfile goes by it where an MP3 begins with something else.

    Raises:
        UnreadableFile: no such file, or the system could not read it.
    """
    return _read(file)[0]


def digests(files: list[Path], cache_dir: Path, progress: bool = True) -> list[str | UnreadableFile]:
    """The digest of each file, or why it cannot be read now.

    They are remembered in ``<cache_dir>/digests.sqlite`` by the file's path, size and times of change; several
    processes may use it at once.

    Args:
        files: any.
        cache_dir: folder, made if it is not there.
        progress: show a bar while files are hashed.

    Raises:
        SoundFusionError: digests.sqlite cannot be used.
    """
    with _memory(Path(cache_dir)) as memory:
        found = [_recall(file, memory) for file in files]
        unknown = [i for i, known in enumerate(found) if known is None]
        bar = tqdm(total=len(unknown), desc="hashing", unit="file", disable=not progress or not unknown)
        with ThreadPoolExecutor(processes.cores()) as pool, bar:
            for first in range(0, len(unknown), BATCH):
                batch = unknown[first : first + BATCH]
                rows = []
                for i, (content, about) in zip(batch, pool.map(_try, [files[i] for i in batch]), strict=True):
                    found[i] = content
                    if about:
                        rows.append((_key(files[i]), *about, content))
                    bar.update()
                with memory:
                    memory.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?)", rows)
    return found


@contextlib.contextmanager
def _memory(cache_dir: Path) -> Iterator[sqlite3.Connection]:
    cache_dir.mkdir(parents=True, exist_ok=True)
    path = cache_dir / "digests.sqlite"
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=60)) as memory:
            memory.execute(
                "CREATE TABLE IF NOT EXISTS files "
                "(path BLOB PRIMARY KEY, size INTEGER, modified INTEGER, changed INTEGER, digest TEXT) WITHOUT ROWID"
            )
            yield memory
    except sqlite3.DatabaseError as error:
        raise SoundFusionError(
            f"{path} cannot be used ({error}); if that stays so, delete it: all files are then read again"
        ) from error


def _recall(file: Path, memory: sqlite3.Connection) -> str | UnreadableFile | None:
    try:
        about = _about(os.stat(file))
    except OSError as error:
        return unreadable(error)
    query = "SELECT digest FROM files WHERE path = ? AND size = ? AND modified = ? AND changed = ?"
    row = memory.execute(query, (_key(file), *about)).fetchone()
    return row[0] if row else None


def _try(file: Path) -> tuple[str | UnreadableFile, tuple[int, int, int] | None]:
    try:
        return _read(file)
    except UnreadableFile as reason:
        return reason, None


def _read(file: Path) -> tuple[str, tuple[int, int, int] | None]:
    """The digest of a file, and what to know it by: what the system said before its bytes were read, so that a change
    meanwhile is noticed; None where a change would not be, as the last one was a moment ago."""
    try:
        if not stat.S_ISREG(os.stat(file).st_mode):  # opening a pipe would wait for its other end
            raise UnreadableFile("not a file")
        with open(file, "rb") as opened:
            about = _about(os.fstat(opened.fileno()))
            settled = all(abs(time.time_ns() - changed) > RECENT for changed in about[1:])
            content = hashlib.file_digest(opened, "sha256").hexdigest() + Path(file).suffix.lower()
            return content, about if settled else None
    except OSError as error:
        raise unreadable(error) from error


def _about(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _key(file: Path) -> bytes:
    return os.fsencode(os.path.abspath(file))
