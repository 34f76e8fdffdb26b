"""Download and unpack FMA-small, FMA's metadata, GTZAN, and Emotify's music.

requests carries the bytes; the resuming is here because neither pooch nor torch.hub resumes, and 7 GiB get cut off.
"""

import hashlib
import json
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import filelock
import requests
import urllib3
from tqdm import tqdm

from soundfusion_lib.datasets import archives
from soundfusion_lib.errors import SoundFusionError

ATTEMPTS = 10  # connections made in one call, whatever ends them
TIMEOUT = (15, 60)  # seconds to connect, and to wait for the next bytes
BLOCK = 1 << 16  # bytes; a cut connection loses at most one block


@dataclass(frozen=True)
class Source:
    """An archive on the web, .zip or .tar.gz, with one folder at its top, which has the archive's name."""

    url: str
    needed: int  # bytes of the archive and of its files, roughly; neither may be more
    sha1: str = ""  # of the archive; empty where nobody has published one, or the server tells a SHA-256 with the file
    holds: str = ""  # a folder in the folder: an archive with this one at its top will do too


SOURCES = {
    "fma_small": Source(
        url="https://os.unil.cloud.switch.ch/fma/fma_small.zip",
        needed=15_500_000_000,
        sha1="ade154f733639d52e35e32f5593efe5be76c6d70",
    ),
    "fma_metadata": Source(
        url="https://os.unil.cloud.switch.ch/fma/fma_metadata.zip",
        needed=2_400_000_000,
        sha1="f0df49ffe5f2a6008d7dc83c6915b31835dfe733",
    ),
    "gtzan": Source(  # the checksum in torchaudio is of the original archive, not of this copy, whose server tells one
        url="https://huggingface.co/datasets/marsyas/gtzan/resolve/main/data/genres.tar.gz",
        needed=2_700_000_000,
    ),
    "emotify": Source(
        url="http://www2.projects.science.uu.nl/memotion/emotifydata/emotifymusic.zip",
        needed=760_000_000,
        holds="classical",
    ),
}


def download(what, root) -> Path:
    """Bring one of SOURCES into the folder root; after an interruption, the same call goes on where it stopped.

    Returns the unpacked folder, which appears when it is complete.

    Raises:
        SoundFusionError: unknown name, no connection after all attempts, too little free space, wrong length or
            checksum, an archive that cannot be unpacked or holds more than it should, another download of the same.
    """
    if what not in SOURCES:
        raise SoundFusionError(f"nothing to download is called {what!r}; there is {', '.join(SOURCES)}")
    source = SOURCES[what]
    archive = source.url.rsplit("/", 1)[-1]
    target = Path(root) / archive.split(".")[0]
    if target.exists():
        print(f"{what}: {target} is there already, nothing to do")
        return target
    part = Path(root) / f"{archive}.part"
    with alone(what, part):
        check_space(what, source.needed - _size(part), part.parent)
        _fetch(what, source, part)
        _check_digest(what, source, part)
        _unpack(what, source, part, target)
        _discard(part)
    print(f"{what}: unpacked to {target}; deleted the archive")
    return target


@contextmanager
def alone(what: str, made: Path) -> Iterator[None]:
    """One process at a time makes this file or folder; what the disk refuses is said as a SoundFusionError."""
    lock = filelock.FileLock(f"{made}.lock", timeout=0)
    try:
        made.parent.mkdir(parents=True, exist_ok=True)
        with lock:
            yield
        Path(lock.lock_file).unlink(missing_ok=True)
    except filelock.Timeout as error:
        raise SoundFusionError(f"{what}: another process is making {made} right now") from error
    except OSError as error:  # no permission, disk full
        raise SoundFusionError(f"{what}: cannot write to {made.parent}: {error}") from error


def check_space(what: str, needed: int, folder: Path) -> None:
    """Raise SoundFusionError if the disk of a folder has less free than these bytes."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise SoundFusionError(
            f"{what} needs about {needed / 1e9:.1f} GB in {folder} while it is made, {free / 1e9:.1f} GB are free"
        )


def _fetch(what, source, part):
    """Complete ``part``, over as many connections as it takes, up to ATTEMPTS."""
    for attempt in range(ATTEMPTS):
        try:
            problem = _fetch_rest(what, source, part)
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            problem = f"{type(error).__name__} ({error})"
        if problem is None:
            return
        if attempt + 1 < ATTEMPTS:
            wait = min(2**attempt, 60)
            print(f"{what}: {problem}; trying again in {wait} s")
            time.sleep(wait)
    raise SoundFusionError(
        f"{what}: {source.url} did not arrive in {ATTEMPTS} attempts; the last: {problem}. {_size(part):,} bytes are "
        "kept: the same command goes on from there"
    )


def _fetch_rest(what, source, part) -> str | None:
    """One connection: append to ``part`` what it lacks. Returns what went wrong, None when complete."""
    url = source.url
    have, version, total = _kept(part)
    if have and have == total:
        return None
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": version}
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        status, answer = response.status_code, response.headers
        if status >= 500 or status in (408, 429):
            return f"the server answered {status} {response.reason}"
        if status not in (200, 206, 416):
            raise SoundFusionError(f"{what}: {url}: the server answered {status} {response.reason}")
        # If-Range takes a strong ETag, else the date (RFC 9110, 13.1.5), which a 206 may omit
        etag = answer.get("ETag", "W/")
        sent = answer.get("Last-Modified") if etag.startswith("W/") else etag
        if status == 200:
            if have:
                print(f"{what}: the server sends the whole file again: it has changed, or it cannot resume")
            have, version = 0, sent
        elif sent not in (None, version) or not answer.get("Content-Range", "").startswith(f"bytes {have}-"):
            _discard(part)
            return f"the server has no rest of the same version ({status}), starting over"
        total = have + int(answer["Content-Length"]) if "Content-Length" in answer else None
        if (total or 0) > source.needed:
            raise SoundFusionError(f"{what}: {url} is {total:,} bytes long, and should be below {source.needed:,}")
        told = [answer.headers.get("X-Linked-ETag", "").strip('"') for answer in [*response.history, response]]
        sha256 = next((tag for tag in told if re.fullmatch("[0-9a-f]{64}", tag)), "")  # as Hugging Face has it
        bar = tqdm(desc=what, initial=have, total=total, unit="B", unit_scale=True, disable=None)
        state = {"version": version, "total": total, "sha256": sha256}
        with bar, part.open("ab" if have else "wb") as file:
            _state(part).write_text(json.dumps(state), encoding="utf-8")
            # the bytes as sent: some servers label a .tar.gz with a content encoding, and requests would unzip it
            for block in response.raw.stream(BLOCK, decode_content=False):
                bar.update(file.write(block))
                if file.tell() > source.needed:
                    break
    if _size(part) > source.needed:
        _discard(part)
        raise SoundFusionError(f"{what}: {url} does not end after the {source.needed:,} bytes that it should be below")
    return None if total in (None, _size(part)) else f"got {_size(part):,} of {total:,} bytes"


def _kept(part) -> tuple[int, str | None, int | None]:
    """Bytes of ``part``, the version and length of the whole; 0 bytes where it is not known what they are a part of."""
    try:
        state = json.loads(_state(part).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):  # ValueError: the process was killed while writing it
        return 0, None, None
    return (_size(part) if state["version"] else 0), state["version"], state["total"]


def _state(part) -> Path:
    return part.with_name(part.name + ".json")


def _size(file) -> int:
    return file.stat().st_size if file.exists() else 0


def _discard(part):
    part.unlink(missing_ok=True)
    _state(part).unlink(missing_ok=True)


def _check_digest(what, source, part):
    state = json.loads(_state(part).read_text(encoding="utf-8"))
    algorithm, expected = ("sha1", source.sha1) if source.sha1 else ("sha256", state.get("sha256"))
    with part.open("rb") as file:
        digest = hashlib.file_digest(file, algorithm).hexdigest()
    if not expected:
        print(f"{what}: no checksum is published for {source.url}, so it was not verified; its SHA-256 is {digest}")
    elif digest != expected:
        _discard(part)
        raise SoundFusionError(
            f"{what}: {source.url} came with the wrong checksum and was deleted: {digest}, expected {expected}"
        )


def _unpack(what, source, part, target):
    """Into a folder aside, renamed when complete. Anything wrong leaves nothing behind."""
    aside = target.with_name(target.name + ".partial")
    shutil.rmtree(aside, ignore_errors=True)  # from a process that was killed
    aside.mkdir()
    try:
        (archives.extract_zip if source.url.endswith(".zip") else archives.extract_tar)(part, aside, source.needed)
        top = aside if source.holds and (aside / source.holds).is_dir() else aside / target.name
        if not top.is_dir():
            raise archives.BadArchive(f"it has no folder {target.name}")
        top.rename(target)
    except archives.DAMAGED as error:
        _discard(part)
        raise SoundFusionError(f"{what}: {source.url} cannot be unpacked and was deleted: {error}") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
