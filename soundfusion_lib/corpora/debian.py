"""Debian packages: found and fetched with apt-get download, unpacked with dpkg-deb; neither needs root."""

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from soundfusion_lib.errors import SoundFusionError


@dataclass(frozen=True)
class Package:
    """A package as apt knows it."""

    file: str  # name_version_architecture.deb
    size: int  # bytes
    algorithm: str  # of the digest, as hashlib calls it
    digest: str

    @property
    def name(self) -> str:
        return self.file.split("_")[0]

    @property
    def version(self) -> str:
        return unquote(self.file.split("_")[1])  # the file's name has 1%3a1.16.9-1 for 1:1.16.9-1


def locate(names: Iterable[str], empty: Path) -> dict[str, Package]:
    """Name -> package, of those that apt knows.

    Args:
        names: of packages.
        empty: a folder without packages: apt-get leaves out those that lie in the working directory.

    Raises:
        SoundFusionError: no apt-get or no dpkg-deb; apt-get lists nothing.
    """
    missing = [program for program in ("apt-get", "dpkg-deb") if not shutil.which(program)]
    if missing:
        raise SoundFusionError(
            f"this system lacks {' and '.join(missing)}, which Debian's packages are fetched and unpacked with: do it "
            "on Debian or Ubuntu (a container will do) and copy the folder that comes out"
        )
    done = _run(["apt-get", "download", "--print-uris", *names], empty)  # lists the others where it lacks one
    found = re.findall(r"^'\S+' (\S+\.deb) (\d+) (SHA\d+):([0-9a-f]+)", done.stdout, re.MULTILINE)
    packages = [Package(file, int(size), algorithm.lower(), digest) for file, size, algorithm, digest in found]
    if not packages:
        raise SoundFusionError(f"apt knows none of the packages ({_complaint(done)}): run `apt-get update` as root")
    return {package.name: package for package in packages}


def fetch(packages: Iterable[Package], kept: Path):
    """Every package into the folder `kept`; those that lie there, with the right bytes, are left alone.

    Raises:
        SoundFusionError: apt-get could not fetch one.
    """
    for package in packages:
        if _intact(package, kept):
            continue
        if _size(kept / package.file) >= package.size:  # apt-get would take it for the right one
            (kept / package.file).unlink()
        print(f"fetching {package.name} {package.version} ({package.size / 1e6:.0f} MB)", flush=True)
        done = _run(["apt-get", "download", "-o", "Acquire::Retries=3", package.name], kept)
        if done.returncode or not _intact(package, kept):
            raise SoundFusionError(
                f"apt-get could not fetch {package.file} ({_complaint(done)}). The packages that have arrived are "
                "kept: the same command goes on with the others, after `apt-get update` where apt's list is out of date"
            )


def unpack(package: Package, kept: Path, target: Path):
    """The files of a package in the folder `kept`, as they would lie below /, into a new folder.

    Raises:
        SoundFusionError: they cannot be unpacked.
    """
    done = _run(["dpkg-deb", "-x", str((kept / package.file).resolve()), str(target.resolve())], kept)
    if done.returncode:
        raise SoundFusionError(f"{package.file} cannot be unpacked: {_complaint(done)}")


def licences(copyright_file: Path) -> list[str]:
    """Short names of the licences of a package's files, in the order of its copyright file.

    Empty where there is no such file or it is not machine-readable (https://www.debian.org/doc/packaging-manuals/
    copyright-format/1.0/): its prose also speaks of the licence of the packaging, so nothing is guessed from it.
    """
    if not copyright_file.is_file():
        return []
    text = copyright_file.read_text(encoding="utf-8", errors="replace")
    paragraphs = [part for part in re.split(r"\n\s*\n", text) if re.search(r"^Files:", part, re.MULTILINE)]
    names = [name.strip() for part in paragraphs for name in re.findall(r"^License:(.+)$", part, re.MULTILINE)]
    return list(dict.fromkeys(names))


def _run(command, folder) -> subprocess.CompletedProcess:
    environment = {**os.environ, "LC_ALL": "C"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def _complaint(done) -> str:
    """What a command that failed said, without warnings."""
    lines = [line for line in done.stderr.splitlines() if line and not line.startswith("W:")]
    return " ".join(lines) or f"exit status {done.returncode}"


def _size(file) -> int:
    return file.stat().st_size if file.is_file() else 0


def _intact(package, kept) -> bool:
    if _size(kept / package.file) != package.size:
        return False
    with open(kept / package.file, "rb") as file:
        return hashlib.file_digest(file, package.algorithm).hexdigest() == package.digest
