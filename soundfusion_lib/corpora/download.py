"""Download and unpack FMA-small, FMA's metadata, GTZAN, and Emotify's music.

requests carries the bytes; the resuming is here because neither pooch nor torch.hub resumes, and 7 GiB get cut off.
"""

import gzip
import hashlib
import json
import shutil
import stat
import tarfile
import time
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

import filelock
import requests
import urllib3
from tqdm import tqdm

from soundfusion_lib.corpora.emotify import GENRES as EMOTIFY_GENRES
from soundfusion_lib.errors import SoundFusionError

ATTEMPTS = 10  # connections made in one call, whatever ends them
BACKOFF = 1.0  # seconds before the second attempt; doubles up to a minute
TIMEOUT = (15, 60)  # seconds to connect, and to wait for the next bytes
BLOCK = 1 << 16  # bytes; a cut connection loses at most one block


@dataclass(frozen=True)
class Source:
    """An archive on the web."""

    url: str  # its last part is the archive's name
    checksum: str | None  # "sha1:..." or "sha256:..." of the archive; None where nobody has published one
    size: int | None  # bytes of the archive, for the check of free space; None where unknown
    unpacked: int  # bytes of its files, roughly, for the same
    kind: str  # "zip" or "tar.gz"
    folder: str  # the folder at the archive's top, and the one that comes out
    holds: tuple[
        str, ...
    ] = ()  # folders in it: an archive that has them at its top, and not in that folder, will do too


SOURCES = {
    "fma_small": Source(
        url="https://os.unil.cloud.switch.ch/fma/fma_small.zip",
        checksum="sha1:ade154f733639d52e35e32f5593efe5be76c6d70",
        size=7_679_594_875,
        unpacked=7_800_000_000,
        kind="zip",
        folder="fma_small",
    ),
    "fma_metadata": Source(
        url="https://os.unil.cloud.switch.ch/fma/fma_metadata.zip",
        checksum="sha1:f0df49ffe5f2a6008d7dc83c6915b31835dfe733",
        size=358_412_441,
        unpacked=2_000_000_000,
        kind="zip",
        folder="fma_metadata",
    ),
    "gtzan": Source(  # the checksum in torchaudio is of the original archive, not of this copy
        url="https://huggingface.co/datasets/marsyas/gtzan/resolve/main/data/genres.tar.gz",
        checksum=None,
        size=None,
        unpacked=1_400_000_000,
        kind="tar.gz",
        folder="genres",
    ),
    "emotify": Source(
        url="http://www2.projects.science.uu.nl/memotion/emotifydata/emotifymusic.zip",
        checksum=None,
        size=363_000_000,
        unpacked=390_000_000,
        kind="zip",
        folder="emotifymusic",
        holds=EMOTIFY_GENRES,
    ),
}


class _BadArchive(Exception):
    """What came is not what the source should hold."""


def download(what, root, progress=True, sources=SOURCES) -> Path:
    """Bring one source to ``root/<its folder>``; a call after an interruption goes on where the last one stopped.

    While in progress, root holds ``<archive>.part``; the archive is deleted once unpacked. The folder appears
    under its name only when complete.

    Args:
        what: a name in sources: "fma_small", "fma_metadata", "gtzan" or "emotify".
        root: folder, made if it is not there.
        progress: whether to show progress bars.
        sources: name -> Source.

    Returns:
        Path: the unpacked folder.

    Raises:
        SoundFusionError: unknown name, no connection after all attempts, too little free space, wrong checksum, an
            archive that cannot be unpacked or has members outside its folder, another download of the same.
    """
    if what not in sources:
        raise SoundFusionError(f"nothing to download is called {what!r}; there is {', '.join(sources)}")
    source = sources[what]
    target = Path(root) / source.folder
    if target.exists():
        print(f"{what}: {target} is there already, nothing to do")
        return target
    part = Path(root) / (source.url.rsplit("/", 1)[-1] + ".part")
    try:
        Path(root).mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(f"{part}.lock", timeout=0)
        with lock:
            _check_space(what, source, part)
            _fetch(what, source.url, part, progress)
            _check_digest(what, source, part)
            _unpack(what, source, part, progress)
            _discard(part)
        Path(lock.lock_file).unlink(missing_ok=True)
    except filelock.Timeout as error:
        raise SoundFusionError(f"{what}: another process is downloading it to {root} right now") from error
    except OSError as error:  # no permission, disk full
        raise SoundFusionError(f"{what}: cannot write to {root}: {error}") from error
    print(f"{what}: unpacked to {target}; deleted the archive")
    return target


def _check_space(what, source, part):
    have = part.stat().st_size if part.exists() else 0
    needed = max(0, (source.size or 0) - have) + source.unpacked
    free = shutil.disk_usage(part.parent).free
    if free < needed:
        raise SoundFusionError(
            f"{what} needs about {needed / 1e9:.1f} GB in {part.parent} (archive and unpacked files), "
            f"{free / 1e9:.1f} GB are free"
        )


def _fetch(what, url, part, progress):
    """Complete ``part``, over as many connections as it takes, up to ATTEMPTS."""
    problem = None
    for attempt in range(ATTEMPTS):
        if attempt:
            wait = min(BACKOFF * 2 ** (attempt - 1), 60)
            print(f"{what}: {problem}; trying again in {wait:g} s")
            time.sleep(wait)
        try:
            problem = _fetch_rest(what, url, part, progress)
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            problem = f"{type(error).__name__} ({error})"
        if problem is None:
            return
    kept = part.stat().st_size if part.exists() else 0
    raise SoundFusionError(
        f"{what}: {url} did not arrive in {ATTEMPTS} attempts; the last: {problem}. {kept:,} bytes are kept: "
        "the same command goes on from there"
    )


def _fetch_rest(what, url, part, progress) -> str | None:
    """One connection: append to ``part`` what it lacks. Returns what went wrong, None when complete."""
    # the rest can only be appended to bytes of the same version, so the part's version is kept beside it
    state = _read_state(part)
    have = part.stat().st_size if part.exists() and state.get("url") == url and state.get("version") else 0
    if have and have == state.get("total"):
        return None
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": state["version"]}
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        status = response.status_code
        if status >= 500 or status in (408, 429):
            return f"the server answered {status} {response.reason}"
        if status not in (200, 206, 416):
            raise SoundFusionError(f"{what}: {url}: the server answered {status} {response.reason}")
        rest = bool(have) and _is_rest(response, have, state["version"])
        if status != 200 and not rest:
            _discard(part)
            return f"the server has no rest of the same version ({status}), starting over"
        if have and not rest:
            print(f"{what}: the server sends the whole file again: it has changed, or it cannot resume")
            have = 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else None
        version = state["version"] if rest else _version(response)
        bar = tqdm(desc=what, initial=have, total=total, unit="B", unit_scale=True, disable=not progress)
        with bar, part.open("ab" if have else "wb") as file:
            about = json.dumps({"url": url, "version": version, "total": total})
            _state(part).write_text(about, encoding="utf-8", newline="\n")
            # the bytes as sent: some servers label a .tar.gz with a content encoding, and requests would unzip it
            for block in response.raw.stream(BLOCK, decode_content=False):
                bar.update(file.write(block))
    size = part.stat().st_size
    return None if total in (None, size) else f"got {size:,} of {total:,} bytes"


def _version(response) -> str | None:
    """What If-Range may hold: a strong ETag, else the date (RFC 9110, 13.1.5)."""
    etag = response.headers.get("ETag", "W/")
    return response.headers.get("Last-Modified") if etag.startswith("W/") else etag


def _is_rest(response, have, version) -> bool:
    starts = response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
    return response.status_code == 206 and starts and _version(response) in (None, version)  # 206 may omit the date


def _state(part) -> Path:
    return part.with_name(part.name + ".json")


def _read_state(part) -> dict:
    try:
        return json.loads(_state(part).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):  # ValueError: the process was killed while writing it
        return {}


def _discard(part):
    part.unlink(missing_ok=True)
    _state(part).unlink(missing_ok=True)


def _check_digest(what, source, part):
    algorithm, _, expected = (source.checksum or "sha256:").partition(":")
    with part.open("rb") as file:
        digest = hashlib.file_digest(file, algorithm).hexdigest()
    if not expected:
        print(f"{what}: no checksum is published for {source.url}, so it was not verified; its SHA-256 is {digest}")
    elif digest != expected:
        _discard(part)
        raise SoundFusionError(
            f"{what}: {source.url} came with the wrong checksum and was deleted: "
            f"{algorithm} {digest}, expected {expected}"
        )


def _unpack(what, source, part, progress):
    """Into a folder aside, renamed when complete. Anything wrong leaves nothing behind."""
    target = part.parent / source.folder
    aside = target.with_name(source.folder + ".partial")
    shutil.rmtree(aside, ignore_errors=True)  # from a process that was killed
    aside.mkdir()
    try:
        if source.kind == "zip":
            with zipfile.ZipFile(part) as archive:
                for member in archive.infolist():
                    _check_member(member.filename, stat.S_ISLNK(member.external_attr >> 16))
                for member in tqdm(archive.infolist(), desc=f"unpack {what}", disable=not progress):
                    archive.extract(member, aside)
        else:
            with tarfile.open(part, "r:gz") as archive:
                archive.extractall(aside, filter=_tar_filter)
        top = aside / source.folder
        if not top.is_dir() and source.holds and all((aside / name).is_dir() for name in source.holds):
            top = aside
        if not top.is_dir():
            raise _BadArchive(f"it has no folder {source.folder}")
        top.rename(target)
    except (_BadArchive, zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        _discard(part)
        raise SoundFusionError(f"{what}: {source.url} cannot be unpacked and was deleted: {error}") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _tar_filter(member, destination):
    _check_member(member.name, member.issym() or member.islnk())
    return tarfile.data_filter(member, destination)  # refuses devices too, and resets owners and modes


def _check_member(name, is_link):
    path = PureWindowsPath(name)  # also reads /, and knows drive letters
    if is_link or path.drive or path.root or ".." in path.parts:
        raise _BadArchive(f"its member {name!r} is a link or lies outside the archive's folder")
