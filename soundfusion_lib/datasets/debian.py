"""Debian packages: found and fetched with apt-get download, unpacked with dpkg-deb; neither needs root."""

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from soundfusion_lib.errors import SoundFusionError


@dataclass(frozen=True)
class Package:
    """A package as apt knows it."""

    file: str  # name_version_architecture.deb
    name: str
    version: str  # 1:1.16.9-1 where the file's name has 1%3a1.16.9-1
    size: int  # bytes
    algorithm: str  # of the digest, as hashlib calls it
    digest: str


def locate(names: Iterable[str]) -> dict[str, Package]:
    """Name -> package, of those that apt knows."""
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise SoundFusionError(
            "this system lacks apt-get and dpkg-deb, which Debian's packages are fetched and unpacked with: do it on "
            "Debian or Ubuntu (a container will do) and copy the folder that comes out"
        )
    with tempfile.TemporaryDirectory() as empty:  # apt-get lists no package that lies in the working directory
        done = _run(["apt-get", "download", "--print-uris", *names], empty)
    lines = re.findall(r"^'\S+' (([^_]+)_([^_]+)_\S+\.deb) (\d+) (SHA\d+):([0-9a-f]+)", done.stdout, re.MULTILINE)
    if not lines:
        raise SoundFusionError(f"apt knows none of the packages ({_complaint(done)}): run `apt-get update` as root")
    return {
        name: Package(file, name, unquote(version), int(size), algorithm.lower(), digest)
        for file, name, version, size, algorithm, digest in lines
    }


def fetch(packages: Iterable[Package], kept: Path) -> None:
    """Every package into the folder `kept`; those that lie there, with the right bytes, are left alone."""
    for package in packages:
        file = kept / package.file
        if file.is_file() and file.stat().st_size >= package.size:
            with open(file, "rb") as content:
                if hashlib.file_digest(content, package.algorithm).hexdigest() == package.digest:
                    continue
            file.unlink()  # apt-get would take it for the right one; a shorter one it completes
        print(f"fetching {package.name} {package.version} ({package.size / 1e6:.0f} MB)", flush=True)
        done = _run(["apt-get", "download", "-o", "Acquire::Retries=3", package.name], kept)
        if done.returncode:
            raise SoundFusionError(
                f"apt-get could not fetch {package.file} ({_complaint(done)}). The packages that have arrived are "
                "kept: the same command goes on with the others, after `apt-get update` where apt's list is out of date"
            )


def unpack(package: Package, kept: Path, target: Path) -> None:
    """The files of a package in the folder `kept`, as they would lie below /, into a new folder."""
    done = _run(["dpkg-deb", "-x", package.file, target.resolve()], kept)
    if done.returncode:
        raise SoundFusionError(f"{package.file} cannot be unpacked: {_complaint(done)}")


def _run(command, folder) -> subprocess.CompletedProcess:
    return subprocess.run(command, cwd=folder, env={**os.environ, "LC_ALL": "C"}, capture_output=True, text=True)


def _complaint(done) -> str:
    """What a command that failed said, without warnings."""
    return " ".join(re.findall(r"^(?!W:).+", done.stderr, re.MULTILINE)) or f"exit status {done.returncode}"
