"""Unpacking archives that may not be what they should: nothing leaves the folder, and nothing fills disk or memory."""

import gzip
import os
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from tqdm import tqdm

MEMBERS = 20_000  # of an archive; FMA's have 8,000
LARGEST_READ = 1 << 23  # bytes of an archive read at once: the list of so many members


class BadArchive(Exception):
    """An archive that is not what it should be; the message says why."""


# what the modules raise; RuntimeError where a member is encrypted, ValueError where a name is no text
DAMAGED = (
    *(BadArchive, zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error),
    *(EOFError, RuntimeError, ValueError),
)


def extract_zip(archive: Path, folder: Path, most: int) -> None:
    """Unpack a .zip into a folder; raises one of DAMAGED, also where its files have more than `most` bytes together."""
    with archive.open("rb") as file, zipfile.ZipFile(_Sparing(file)) as opened:
        members = list(_modest(opened.infolist(), "file_size", most))  # all are looked at before one is unpacked
        for member in tqdm(members, desc=f"unpack {archive.name}", disable=None):
            opened.extract(member, folder)  # inside the folder, whatever its name; a link as a file


def extract_tar(archive: Path, folder: Path, most: int) -> None:
    """Unpack a .tar.gz, as `extract_zip`; links and names that lead out of the folder are refused."""
    with gzip.open(archive) as file, tarfile.open(fileobj=_Sparing(file), mode="r:") as opened:
        for member in list(_modest(opened, "size", most)):
            opened.extract(member, folder, filter="data")


def _modest(members: Iterable, size: str, most: int) -> Iterator:
    """The members of an archive, as long as they are not too many, nor their files too large: a member is looked at
    before its bytes are read."""
    total = 0
    for count, member in enumerate(members, 1):
        total += getattr(member, size)
        if count > MEMBERS:
            raise BadArchive(f"it holds more than {MEMBERS:,} files")
        if total > most:
            raise BadArchive(f"it unpacks to more than the {most:,} bytes that it should")
        yield member


class _Sparing:
    """A file that refuses to be read in large pieces, which the list of a million members is, or a name of 1 TB."""

    def __init__(self, file: BinaryIO):
        self._file = file

    def read(self, size: int = -1) -> bytes:
        if size < 0:
            position = self._file.tell()
            size = self._file.seek(0, os.SEEK_END) - position
            self._file.seek(position)
        if size > LARGEST_READ:
            raise BadArchive(f"{size:,} bytes of it would have to be read at once")
        return self._file.read(size)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)
