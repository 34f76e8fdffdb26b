"""Soundtracks of free games from Debian's packages, as a folder corpus: real music, quick to get, with recordings to
keep apart.

    python tooling/soundtracks.py [soundtracks|soundtracks_b]

It fetches 876 MB (soundtracks_b: 276 MB) with apt-get, which needs no root, and cuts clips of 30 s into a folder of the
data folder (``data``, or SOUNDFUSION_DATA). The same packages give the same bytes. It needs Debian or Ubuntu, and
lameenc 1.9.0. The label is the soundtrack, not a genre: a soundtrack has few composers and one production, so telling
soundtracks apart is easier than telling genres apart.
"""

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pandas as pd
import soundfile
from mp3 import encode_mp3, require_lameenc

from soundfusion_lib.datasets.download import check_space
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.paths import data_dir, lock, writing

CLIP = 30  # seconds
MARGIN = 1  # seconds left out at both ends of a recording
SHORTEST = CLIP + 2 * MARGIN  # seconds of a recording; what is shorter is mostly a sound effect
MOST = 80  # clips of a soundtrack
SILENCE = 10 ** (-50 / 20)  # RMS; a clip is near-silent if half of its seconds are below
SUFFIXES = (".flac", ".mp3", ".oga", ".ogg", ".opus", ".wav")
PACKS = (".pk3", ".pk4")  # zip files
COLUMNS = ("file_name", "genre", "artist", "source", "start", "licence", "package", "version")
# second versions of recordings that are there anyway: remasters of Warzone 2100, the guitar alone of Frets on Fire
SKIP = re.compile(r"_enhanced\.|/guitar\.ogg$")

# corpus -> soundtrack -> Debian packages; we take the first that apt knows, since distributions differ in versions
SOUNDTRACKS = {
    "soundtracks": {
        "wesnoth": ("wesnoth-1.16-music", "wesnoth-1.18-music", "wesnoth-1.14-music"),
        "ufoai": ("ufoai-music",),
        "nexuiz": ("nexuiz-music",),
        "warzone2100": ("warzone2100-music",),
        "supertux": ("supertux-data",),
        "colobot": ("colobot-common-sounds",),
        "singularity": ("singularity-music",),
        "marsshooter": ("marsshooter-data",),
    },
    "soundtracks_b": {
        "planetblupi": ("planetblupi-music-ogg",),
        "pushover": ("pushover-data",),
        "drascula": ("drascula-music",),
        "hyperrogue": ("hyperrogue-music",),
        "muldjord": ("fretsonfire-songs-muldjord",),
        "sectoid": ("fretsonfire-songs-sectoid",),
        "amoebax": ("amoebax-data",),
        "neverball": ("neverball-common",),
    },
}


@dataclass(frozen=True)
class Package:
    """A Debian package as apt knows it."""

    file: str  # name_version_architecture.deb
    name: str
    version: str  # 1:1.16.9-1 where the file's name has 1%3a1.16.9-1
    size: int  # bytes
    algorithm: str  # of the digest, as hashlib calls it
    digest: str


@dataclass(frozen=True)
class Recording:
    """An audio file of a package."""

    file: Path
    source: str  # path in the package, with a pack as a folder
    seconds: float


def make_soundtracks(root: Path, which: str = "soundtracks") -> None:
    """Fetch the packages of `which` and cut their music into clips below `root`.

    Of every recording (an audio file of at least 32 s) we take clips that do not overlap, at random places; of every
    soundtrack the same number, as many as the smallest allows up to 80, drawn in turn from its recordings. Near-silent
    clips are left out.

    Args:
        root: folder that appears when it is complete: clips, copyright files, and ``metadata.csv``, where ``artist`` is
            the recording, ``source`` its path in the package, ``start`` in seconds, and ``licence`` what the package's
            copyright file says. ``<root>.partial`` keeps packages that arrived before an interruption.

    Raises:
        SoundFusionError: no apt, a package that apt does not know or cannot fetch, no lameenc, too little free space,
            a disk that refuses.
    """
    if root.exists():
        print(f"{which}: {root} is there already, nothing to do")
        return
    require_lameenc()
    packages = locate(which)
    partial = root.with_name(root.name + ".partial")
    with writing(root.parent), lock(root.with_name(f".{partial.name}.lock")):
        for name in ("unpacked", "corpus"):  # from a process that was killed
            shutil.rmtree(partial / name, ignore_errors=True)
            (partial / name).mkdir(parents=True)
        kept = partial / "packages"
        kept.mkdir(exist_ok=True)
        size = sum(package.size for package in packages.values())
        have = sum(file.stat().st_size for file in kept.iterdir())
        check_space(which, 3 * size - min(have, size), root.parent)  # the packages, their files, the clips
        for package in packages.values():
            fetch(package, kept)
        cut(packages, partial)
        (partial / "corpus").rename(root)
        shutil.rmtree(partial)


def locate(which: str) -> dict[str, Package]:
    """The package of each soundtrack, as apt-get describes it."""
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise SoundFusionError(
            "apt-get and dpkg-deb are missing here: run this on Debian or Ubuntu (a container will do) and copy the "
            "folder that comes out"
        )
    names = [package for packages in SOUNDTRACKS[which].values() for package in packages]
    with tempfile.TemporaryDirectory() as empty:  # apt-get lists no package that lies in the working directory
        done = run(["apt-get", "download", "--print-uris", *names], empty)
    known = {}
    for file, name, version, size, algorithm, digest in re.findall(
        r"^'\S+' (([^_]+)_([^_]+)_\S+\.deb) (\d+) (SHA\d+):([0-9a-f]+)", done.stdout, re.MULTILINE
    ):
        known[name] = Package(file, name, unquote(version), int(size), algorithm.lower(), digest)
    packages = {}
    for soundtrack, names in SOUNDTRACKS[which].items():
        there = [known[name] for name in names if name in known]
        if not there:
            raise SoundFusionError(
                f"apt knows no package {' or '.join(names)} ({complaint(done)}): run `apt-get update` as root; if that "
                "does not help, this distribution lacks it (Debian 12 has it)"
            )
        packages[soundtrack] = there[0]
    return packages


def fetch(package: Package, kept: Path) -> None:
    """Bring a package into the folder `kept`, unless it lies there with the right bytes."""
    file = kept / package.file
    if file.is_file() and file.stat().st_size >= package.size:
        with open(file, "rb") as content:
            if hashlib.file_digest(content, package.algorithm).hexdigest() == package.digest:
                return
        file.unlink()  # apt-get would take it for the right one; a shorter one it completes
    print(f"fetching {package.name} {package.version} ({package.size / 1e6:.0f} MB)", flush=True)
    done = run(["apt-get", "download", "-o", "Acquire::Retries=3", package.name], kept)
    if done.returncode:
        raise SoundFusionError(
            f"apt-get could not fetch {package.file} ({complaint(done)}). Packages that have arrived are kept: run the "
            "same command again, after `apt-get update` where apt's list is out of date"
        )


def run(command: list, folder: Path | str) -> subprocess.CompletedProcess:
    """Run a command in a folder, with its messages in English."""
    return subprocess.run(command, cwd=folder, env={**os.environ, "LC_ALL": "C"}, capture_output=True, text=True)


def complaint(done: subprocess.CompletedProcess) -> str:
    """What a command that failed said, without warnings."""
    return " ".join(re.findall(r"^(?!W:).+", done.stderr, re.MULTILINE)) or f"exit status {done.returncode}"


def cut(packages: dict[str, Package], partial: Path) -> None:
    """Fill partial/corpus from partial/packages."""
    corpus, tables = partial / "corpus", []
    (corpus / "copyright").mkdir()
    for name, package in packages.items():
        unpacked = partial / "unpacked" / name
        done = run(["dpkg-deb", "-x", package.file, unpacked.resolve()], partial / "packages")
        if done.returncode:
            raise SoundFusionError(f"{package.file} cannot be unpacked: {complaint(done)}")
        recordings = find_recordings(unpacked)
        clips = draw(recordings, np.random.default_rng([0, zlib.crc32(name.encode())]))
        table = pd.DataFrame(write_clips(clips, corpus / name), columns=["source", "start"])
        if table.empty:
            raise SoundFusionError(f"{package.file} holds no music of {SHORTEST} s or more")
        top = os.path.commonpath([Path(recording.source).parent for recording in recordings])
        titles = [Path(source).relative_to(top).with_suffix("").as_posix() for source in table["source"]]
        table["artist"] = [f"{name}/{title}" for title in titles]
        table["file_name"] = [f"{name}/{number:03d}.mp3" for number in table.index]
        licence = keep_licence(unpacked, package.name, corpus / "copyright")
        tables.append(table.assign(genre=name, licence=licence, package=package.name, version=package.version))
    count = min(map(len, tables))
    for table in tables:
        for file in table["file_name"][count:]:
            (corpus / file).unlink()
        print(f"{table['genre'][0]}: {count} clips from {table['artist'][:count].nunique()} recordings")
    table = pd.concat([table[:count] for table in tables])
    table.to_csv(corpus / "metadata.csv", columns=COLUMNS, index=False, float_format="%.2f")


def keep_licence(unpacked: Path, package: str, copies: Path) -> str:
    """Copy the copyright file of a package; return the short names of its files' licences, in the file's order.

    We guess nothing from a file that is not machine-readable (https://www.debian.org/doc/packaging-manuals/
    copyright-format/1.0/): its prose also speaks of the licence of the packaging.
    """
    file = unpacked / "usr/share/doc" / package / "copyright"
    if not file.is_file():
        return "not in the package"
    copy = shutil.copyfile(file, copies / f"{package}.txt")
    paragraphs = re.split(r"\n\s*\n", copy.read_text(encoding="utf-8", errors="replace"))
    of_files = [part for part in paragraphs if re.search(r"^Files:", part, re.MULTILINE)]
    names = [name.strip() for part in of_files for name in re.findall(r"^License:(.+)$", part, re.MULTILINE)]
    return "; ".join(dict.fromkeys(names)) or f"see copyright/{copy.name}"


def find_recordings(unpacked: Path) -> list[Recording]:
    """The recordings of a package in alphabetical order; packs are opened in place."""
    for pack in [file for file in unpacked.rglob("*") if file.suffix.lower() in PACKS and not file.is_symlink()]:
        closed = pack.rename(f"{pack}.zip")
        with zipfile.ZipFile(closed) as archive:
            archive.extractall(pack, [name for name in archive.namelist() if Path(name).suffix.lower() in SUFFIXES])
        closed.unlink()
    recordings: list[Recording] = []
    for file in sorted(unpacked.rglob("*")):
        source = file.relative_to(unpacked).as_posix()
        # a link gives a file of the package a second name
        if file.suffix.lower() not in SUFFIXES or file.is_symlink() or not file.is_file() or SKIP.search(source):
            continue
        try:
            seconds = soundfile.info(file).duration
        except soundfile.LibsndfileError as error:
            print(f"left out: {source} ({error.error_string})")
            continue
        # the same name and length: the same music in another format
        repeated = any(file.stem == known.file.stem and abs(seconds - known.seconds) < 1 for known in recordings)
        if seconds >= SHORTEST and not repeated:
            recordings.append(Recording(file, source, seconds))
    return recordings


def draw(recordings: list[Recording], rng: np.random.Generator) -> list[tuple[Recording, float]]:
    """All clips that the recordings hold, as (recording, start in seconds): one of each, then a second of each, ..."""
    clips = []
    for recording in recordings:
        inside = recording.seconds - 2 * MARGIN
        number = int(inside // CLIP)
        starts = MARGIN + np.arange(number) * inside / number + rng.uniform(0, inside / number - CLIP, number)
        clips.append([(recording, float(start)) for start in rng.permutation(starts)])
    turns = zip_longest(*(clips[index] for index in rng.permutation(len(clips))))
    return [clip for turn in turns for clip in turn if clip]


def write_clips(clips: Iterable[tuple[Recording, float]], folder: Path) -> list[tuple[str, float]]:
    """Write the first MOST clips that are not near-silent, as 000.mp3 and so on; return source and start of each."""
    folder.mkdir()
    written = []
    for recording, start in clips:
        if len(written) == MOST:
            break
        with soundfile.SoundFile(recording.file) as file:
            rate = file.samplerate
            file.seek(int(start * rate))
            samples = file.read(CLIP * rate, dtype="float32", always_2d=True)  # (time, channels)
        if len(samples) < CLIP * rate or near_silent(samples, rate):
            continue
        # MP3 and not FLAC: a sixth of the bytes (0.5 MB per clip), and as in FMA
        mp3 = encode_mp3(samples[:, :2].squeeze(), rate)
        (folder / f"{len(written):03d}.mp3").write_bytes(mp3)
        written.append((recording.source, start))
    return written


def near_silent(samples: np.ndarray, rate: int) -> bool:
    """Whether the RMS of half of the seconds of samples (time, channels) is below SILENCE."""
    power = np.square(samples[: len(samples) // rate * rate]).mean(1).reshape(-1, rate).mean(1)
    return bool(np.median(power) < SILENCE**2)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", nargs="?", choices=SOUNDTRACKS, default="soundtracks")
    which = parser.parse_args().which
    try:
        make_soundtracks(data_dir() / which, which)
    except SoundFusionError as error:
        sys.exit(f"Error: {error}")
