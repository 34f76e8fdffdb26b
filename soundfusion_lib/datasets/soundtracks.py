"""Soundtracks of free games, from Debian's packages: real music with artists to keep apart, for a machine without FMA.

The label is the soundtrack, not a genre. A soundtrack has few composers and one production, so telling soundtracks
apart is another task than telling genres apart, and an easier one.
"""

import os
import re
import shutil
import zipfile
import zlib
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from soundfusion_lib.audio.decode import encode_mp3, to_channels
from soundfusion_lib.datasets import debian
from soundfusion_lib.datasets.corpus import Corpus
from soundfusion_lib.datasets.download import alone, check_space
from soundfusion_lib.datasets.folder import SUFFIXES, folder
from soundfusion_lib.errors import SoundFusionError

CLIP = 30  # seconds
MARGIN = 1  # seconds left out at both ends of a recording
SHORTEST = CLIP + 2 * MARGIN  # seconds of a recording; what is shorter is mostly a sound effect
MOST = 80  # clips of a soundtrack
SILENCE = 10 ** (-50 / 20)  # RMS; a clip is near-silent if half its seconds are below
PACKS = (".pk3", ".pk4")  # zip files
COLUMNS = ("file_name", "genre", "artist", "source", "start", "licence", "package", "version")
# second versions of recordings that are there anyway: remasters of Warzone 2100, the guitar alone of Frets on Fire
SKIP = re.compile(r"_enhanced\.|/guitar\.ogg$")

# corpus -> soundtrack -> Debian packages; the first that apt knows is taken (distributions differ in versions)
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
class _Recording:
    file: Path
    source: str  # path in the package, with the pack as a folder
    seconds: float


def soundtracks(root, which="soundtracks") -> Corpus:
    """The corpus that `download_soundtracks` made at root; its groups are the recordings that clips were cut from."""
    metadata = Path(root) / "metadata.csv"
    if not metadata.is_file():
        raise SoundFusionError(f"{metadata} not found: `soundfusion download {which}` brings it")
    return replace(folder(root, "soundtrack"), name=which)


def download_soundtracks(root, which="soundtracks") -> Path:
    """Fetch soundtracks with apt (no root needed) and cut them into clips of 30 s; returns root.

    Of every recording (an audio file of at least 32 s), clips that do not overlap, at random places; of every
    soundtrack the same number, as many as the smallest allows up to 80, drawn in turn from its recordings.
    Near-silent clips are left out. The same packages always give the same clips.

    Args:
        root: folder that comes out, when complete: clips, their ``metadata.csv`` (``artist`` is the recording,
            ``source`` its path in the package, ``start`` in seconds, ``licence`` as the package's copyright file has
            it) and the copyright files. ``<root>.partial`` keeps the packages that arrived before an interruption.
        which: "soundtracks" (876 MB to fetch) or "soundtracks_b" (276 MB).

    Raises:
        SoundFusionError: unknown name, no apt, a package that apt does not know or cannot fetch, too little free
            space, another download of the same.
    """
    if which not in SOUNDTRACKS:
        raise SoundFusionError(f"no soundtracks are called {which!r}; there are {', '.join(SOUNDTRACKS)}")
    root = Path(root)
    if root.exists():
        print(f"{which}: {root} is there already, nothing to do")
        return root
    found = _locate(which)
    partial = root.with_name(root.name + ".partial")
    packages = partial / "packages"
    with alone(which, partial):
        for name in ("unpacked", "corpus"):  # from a process that was killed
            shutil.rmtree(partial / name, ignore_errors=True)
            (partial / name).mkdir(parents=True)
        packages.mkdir(exist_ok=True)
        size = sum(package.size for package in found.values())
        have = sum(file.stat().st_size for file in packages.iterdir())
        check_space(which, 3 * size - min(have, size), root.parent)  # the packages, their files, the clips
        debian.fetch(found.values(), packages)
        _cut(which, found, partial)
        (partial / "corpus").rename(root)
        shutil.rmtree(partial)
    return root


def _locate(which) -> dict[str, debian.Package]:
    """Soundtrack -> its package."""
    wanted = SOUNDTRACKS[which]
    known = debian.locate([package for packages in wanted.values() for package in packages])
    found = {}
    for name, packages in wanted.items():
        there = [known[package] for package in packages if package in known]
        if not there:
            raise SoundFusionError(
                f"{which}: apt knows no package {' or '.join(packages)}: run `apt-get update` as root; if that does "
                "not help, this distribution does not have it (Debian 12 does)"
            )
        found[name] = there[0]
    return found


def _cut(which, found, partial):
    """Fill partial/corpus from partial/packages."""
    corpus = partial / "corpus"
    (corpus / "copyright").mkdir()
    tables = []
    for name, package in found.items():
        unpacked = partial / "unpacked" / name
        debian.unpack(package, partial / "packages", unpacked)
        recordings = _find_recordings(unpacked)
        candidates = _draw(recordings, np.random.default_rng([0, zlib.crc32(name.encode())]))
        table = pd.DataFrame(_write_clips(candidates, corpus / name), columns=["source", "start"])
        if table.empty:
            raise SoundFusionError(f"{which}: {package.file} holds no music of {SHORTEST} s or more")
        top = os.path.commonpath([Path(recording.source).parent for recording in recordings])
        titles = [Path(source).relative_to(top).with_suffix("").as_posix() for source in table["source"]]
        table["artist"] = [f"{name}/{title}" for title in titles]
        table["file_name"] = [f"{name}/{number:03d}.mp3" for number in table.index]
        licence = _keep_licence(unpacked, package.name, corpus / "copyright")
        tables.append(table.assign(genre=name, licence=licence, package=package.name, version=package.version))
    count = min(map(len, tables))
    for table in tables:
        for file in table["file_name"][count:]:
            (corpus / file).unlink()
        print(f"{which}: {table['genre'][0]}: {count} clips from {table['artist'][:count].nunique()} recordings")
    table = pd.concat([table[:count] for table in tables])
    table.to_csv(corpus / "metadata.csv", columns=COLUMNS, index=False, float_format="%.2f")


def _keep_licence(unpacked, package, copies) -> str:
    """Copy the copyright file of a package; short names of the licences of its files, in the order found there.

    Nothing is guessed from a file that is not machine-readable (https://www.debian.org/doc/packaging-manuals/
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


def _find_recordings(unpacked) -> list[_Recording]:
    """The recordings of a package, packs opened in place, in alphabetical order."""
    for pack in [file for file in unpacked.rglob("*") if file.suffix.lower() in PACKS and not file.is_symlink()]:
        closed = pack.rename(f"{pack}.zip")
        with zipfile.ZipFile(closed) as archive:
            names = [name for name in archive.namelist() if Path(name).suffix.lower() in SUFFIXES]
            archive.extractall(pack, names)
        closed.unlink()
    found = []
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
        again = any(file.stem == other.file.stem and abs(seconds - other.seconds) < 1 for other in found)
        if seconds >= SHORTEST and not again:  # the same name and length: the same music in another format
            found.append(_Recording(file, source, seconds))
    return found


def _draw(recordings, rng) -> list[tuple[_Recording, float]]:
    """All clips that the recordings hold, as (recording, start in seconds): one of each, then a second of each, ..."""
    clips = []
    for recording in recordings:
        inside = recording.seconds - 2 * MARGIN
        number = int(inside // CLIP)
        starts = MARGIN + np.arange(number) * inside / number + rng.uniform(0, inside / number - CLIP, number)
        clips.append([(recording, float(start)) for start in rng.permutation(starts)])
    turns = zip_longest(*(clips[index] for index in rng.permutation(len(clips))))
    return [clip for turn in turns for clip in turn if clip]


def _write_clips(candidates, target) -> list[tuple[str, float]]:
    """Write the first MOST candidates that are not near-silent, as 000.mp3 and so on; source and start of each."""
    target.mkdir()
    written = []
    for recording, start in candidates:
        if len(written) == MOST:
            break
        with soundfile.SoundFile(recording.file) as file:
            rate = file.samplerate
            file.seek(int(start * rate))
            samples = file.read(CLIP * rate, dtype="float32", always_2d=True)  # (time, channels)
        if len(samples) < CLIP * rate or _near_silent(samples, rate):
            continue
        # MP3 and not FLAC: a sixth of the bytes (0.5 MB a clip), and as in FMA; half a second a clip
        mp3 = encode_mp3(to_channels(samples, min(2, samples.shape[1])).squeeze(), rate)
        (target / f"{len(written):03d}.mp3").write_bytes(mp3)
        written.append((recording.source, start))
    return written


def _near_silent(samples, rate) -> bool:
    """Whether the RMS of half the seconds of samples (time, channels) is below SILENCE."""
    power = np.square(samples[: len(samples) // rate * rate]).mean(1).reshape(-1, rate).mean(1)
    return bool(np.median(power) < SILENCE**2)
