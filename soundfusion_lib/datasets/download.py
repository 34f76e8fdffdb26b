"""Download and unpack archives that are large, and may not be what they should.

requests carries the bytes. The resuming is here because neither pooch nor torch.hub resumes, and 7 GB get cut off.
"""

import hashlib
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import requests
import urllib3
from tqdm import tqdm

from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.paths import lock, writing

ATTEMPTS = 10  # connections in one call, whatever ends them
TIMEOUT = (15, 60)  # seconds to connect, and to wait for the next bytes
BLOCK = 1 << 16  # bytes; a cut connection loses at most one block


@dataclass(frozen=True)
class Source:
    """A .zip or .tar.gz on the web: of a folder with the archive's name, or of what is in that folder."""

    name: str  # what `soundfusion download` calls it
    url: str
    needed: int  # bytes of the archive and of its files, roughly; the archive may not have more
    sha1: str = ""  # of the archive; empty where nobody has published one
    sha256: str = ""  # in place of sha1


def download(source: Source, root: Path) -> Path:
    """Bring an archive's files into the folder root; after an interruption, the same call goes on where it stopped.

    Returns the unpacked folder, which appears when it is complete. Raises SoundFusionError for no connection after all
    attempts, too little space, a wrong length or checksum, or a damaged archive.
    """
    archive = Path(root) / source.url.rsplit("/", 1)[-1]
    folder = archive.with_name(archive.name.split(".")[0])
    with writing(archive.parent), lock(archive.with_name(f".{archive.name}.lock")):
        if folder.exists():
            print(f"{source.name}: {folder} is there already, nothing to do")
            return folder
        archive_of(source, archive.parent)
        print(f"{source.name}: unpacking {archive}")
        try:
            unpack(archive, folder)
        except Exception as error:  # zipfile, tarfile, gzip and zlib raise a dozen kinds
            if getattr(error, "errno", None):  # of the disk, not of the archive
                raise
            archive.unlink()
            deleted = f"{source.url} cannot be unpacked and was deleted: {error}. Run the same command again"
            raise SoundFusionError(f"{source.name}: {deleted}") from error
        archive.unlink()
    print(f"{source.name}: unpacked to {folder}; deleted the archive")
    return folder


def archive_of(source: Source, root: Path) -> Path:
    """The archive itself in the folder root, complete and checked; raises as `download`."""
    archive = Path(root) / source.url.rsplit("/", 1)[-1]
    part = archive.with_name(f"{archive.name}.part")
    check_space(source.name, source.needed - max(_size(part), _size(archive)), archive.parent)
    if not archive.exists():
        _fetch(source, part)
        algorithm, expected = ("sha1", source.sha1) if source.sha1 else ("sha256", source.sha256)
        with part.open("rb") as content:
            digest = hashlib.file_digest(content, algorithm).hexdigest()
        if expected and digest != expected:
            part.unlink()
            wrong = f"{source.url} came with the wrong checksum {digest} (expected {expected}) and was deleted"
            raise SoundFusionError(f"{source.name}: {wrong}: run the same command again")
        part.rename(archive)  # complete: an interrupted unpacking does not ask for it again
    return archive


def check_space(what: str, needed: int, folder: Path) -> None:
    """Raise SoundFusionError if the disk of a folder has less free than these bytes."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        lack = f"{what} needs about {needed / 1e9:.1f} GB in {folder}, and {free / 1e9:.1f} GB are free"
        raise SoundFusionError(f"{lack}: make room, or name another folder by SOUNDFUSION_DATA")


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _fetch(source: Source, part: Path) -> None:
    """Complete the file `part`."""
    for attempt in range(ATTEMPTS):
        try:
            return _fetch_rest(source, part)
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            problem, wait = error, min(2**attempt, 60)
        if attempt + 1 < ATTEMPTS:
            print(f"{source.name}: {problem}; trying again in {wait} s")
            time.sleep(wait)
    kept = f"{_size(part):,} bytes are kept: the same command goes on from there"
    raise SoundFusionError(f"{source.name}: {source.url} did not arrive in {ATTEMPTS} attempts; {problem}. {kept}")


def _fetch_rest(source: Source, part: Path) -> None:
    """One connection: append to `part` what it lacks. If the file has changed meanwhile, its checksum will be wrong."""
    have = _size(part)
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with requests.get(source.url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        status, length = response.status_code, response.headers.get("Content-Length")
        if status >= 500 or status == 429:
            raise requests.ConnectionError(f"the server answered {status} {response.reason}")
        if status == 416:  # there is no more: an earlier call brought all of it
            return
        if status not in (200, 206):
            raise SoundFusionError(f"{source.name}: {source.url}: the server answered {status} {response.reason}")
        have = have if status == 206 else 0  # else the server sends the whole file again
        total = have + int(length) if length else None
        bar = tqdm(desc=source.name, initial=have, total=total, unit="B", unit_scale=True, disable=None)
        with bar, part.open("ab" if have else "wb") as file:
            # the bytes as sent: some servers label a .tar.gz with a content encoding, and requests would unzip it
            for block in response.raw.stream(BLOCK, decode_content=False):
                bar.update(file.write(block))
                if file.tell() > source.needed:
                    break
    if _size(part) > source.needed:
        part.unlink()
        raise SoundFusionError(f"{source.name}: {source.url} has more than the {source.needed:,} bytes that it should")


def unpack(archive: Path, folder: Path) -> None:
    """Unpack into a folder aside, and rename it, or what it holds of that name, when complete."""
    aside = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(aside, ignore_errors=True)  # from a process that was killed
    try:
        # inside the folder, whatever the names; of a .zip, links come out as files
        shutil.unpack_archive(archive, aside, **({} if archive.suffix == ".zip" else {"filter": "data"}))
        inner = aside / folder.name
        (inner if inner.is_dir() else aside).rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
