"""Soundtracks of free games, from Debian's packages: real music with artists to keep apart, for a machine without FMA.

The label is the soundtrack, not a genre. A soundtrack has few composers and one production, so telling soundtracks
apart is another task than telling genres apart, and an easier one.
"""

import csv
import os
import re
import shutil
import zipfile
import zlib
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import filelock
import numpy as np
import soundfile

from soundfusion_lib.audio import encode_mp3, to_channels
from soundfusion_lib.corpora import debian
from soundfusion_lib.corpora.corpus import Corpus
from soundfusion_lib.corpora.folder import SUFFIXES, folder
from soundfusion_lib.errors import SoundFusionError

CLIP = 30  # seconds
MARGIN = 1  # seconds left out at both ends of a recording
SHORTEST = CLIP + 2 * MARGIN  # seconds of a recording; what is shorter is mostly a sound effect
MOST = 80  # clips of a soundtrack
SILENCE = 10 ** (-50 / 20)  # RMS; a clip is near-silent if half its seconds are below
PACKS = (".pk3", ".pk4")  # zip files
COLUMNS = ("file_name", "genre", "artist", "source", "start", "licence", "package", "version")


@dataclass(frozen=True)
class Soundtrack:
    """Where a soundtrack comes from.

    Args:
        packages: Debian packages, the first that apt knows is taken (distributions differ in versions).
        skip: regular expression of files to leave out: second versions of recordings that are there anyway.
    """

    packages: tuple[str, ...]
    skip: str = r"(?!)"


_GUITAR = r"/guitar\.ogg$"  # Frets on Fire: the guitar alone, of the song beside it

SOUNDTRACKS = {
    "soundtracks": {
        "wesnoth": Soundtrack(("wesnoth-1.16-music", "wesnoth-1.18-music", "wesnoth-1.14-music")),
        "ufoai": Soundtrack(("ufoai-music",)),
        "nexuiz": Soundtrack(("nexuiz-music",)),
        "warzone2100": Soundtrack(("warzone2100-music",), r"_enhanced\."),
        "supertux": Soundtrack(("supertux-data",)),
        "colobot": Soundtrack(("colobot-common-sounds",)),
        "singularity": Soundtrack(("singularity-music",)),
        "marsshooter": Soundtrack(("marsshooter-data",)),
    },
    "soundtracks_b": {
        "planetblupi": Soundtrack(("planetblupi-music-ogg",)),
        "pushover": Soundtrack(("pushover-data",)),
        "drascula": Soundtrack(("drascula-music",)),
        "hyperrogue": Soundtrack(("hyperrogue-music",)),
        "muldjord": Soundtrack(("fretsonfire-songs-muldjord",), _GUITAR),
        "sectoid": Soundtrack(("fretsonfire-songs-sectoid",), _GUITAR),
        "amoebax": Soundtrack(("amoebax-data",)),
        "neverball": Soundtrack(("neverball-common",)),
    },
}


@dataclass(frozen=True)
class _Recording:
    file: Path
    source: str  # path in the package, with the pack as a folder
    seconds: float


def soundtracks(root, which="soundtracks") -> Corpus:
    """The corpus that `download_soundtracks` made at root.

    Returns:
        Corpus: its label is "soundtrack"; artist is the recording that a clip was cut from.

    Raises:
        SoundFusionError: it is not there; see `folder` for the rest.
    """
    if not (Path(root) / "metadata.csv").is_file():
        raise SoundFusionError(f"{Path(root) / 'metadata.csv'} not found: `soundfusion download {which}` brings it")
    return folder(root, name=which, label="soundtrack")


def download_soundtracks(root, which="soundtracks", seed=0, sources=SOUNDTRACKS) -> Path:
    """Fetch soundtracks with apt (no root needed) and cut them into clips of 30 s.

    Of every recording (an audio file of at least 32 s), clips that do not overlap, at random places; of every
    soundtrack the same number, as many as the smallest allows up to 80, drawn in turn from its recordings. The same
    packages and seed give the same clips. Near-silent clips are left out.

    The folder appears under its name only when complete. While in progress there is ``<root>.partial``; it keeps the
    packages that have arrived, and a call after an interruption goes on with the others.

    Args:
        root: folder that comes out: clips, their ``metadata.csv`` (``artist`` is the recording, ``source`` its path
            in the package, ``start`` in seconds, ``licence`` the short names in the package's copyright file) and
            these files as ``copyright/<package>.txt``.
        which: a name in sources: "soundtracks" (876 MB to fetch) or "soundtracks_b" (276 MB).
        seed: of the places and the draw.
        sources: name -> soundtrack -> Soundtrack.

    Returns:
        Path: root.

    Raises:
        SoundFusionError: unknown name, no apt, a package that apt does not know or cannot fetch, too little free
            space, a file that cannot be decoded, another download of the same.
    """
    if which not in sources:
        raise SoundFusionError(f"no soundtracks are called {which!r}; there are {', '.join(sources)}")
    root = Path(root)
    if root.exists():
        print(f"{which}: {root} is there already, nothing to do")
        return root
    partial = root.with_name(root.name + ".partial")
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        found = _locate(which, sources[which], root.parent)
        lock = filelock.FileLock(f"{partial}.lock", timeout=0)
        with lock:
            for name in ("unpacked", "corpus"):  # from a process that was killed
                shutil.rmtree(partial / name, ignore_errors=True)
                (partial / name).mkdir(parents=True)
            (partial / "packages").mkdir(exist_ok=True)
            _check_space(which, found.values(), partial)
            debian.fetch(found.values(), partial / "packages")
            _cut(which, sources[which], found, partial, seed)
            (partial / "corpus").rename(root)
            shutil.rmtree(partial)
        Path(lock.lock_file).unlink(missing_ok=True)
    except filelock.Timeout as error:
        raise SoundFusionError(f"{which}: another process is making {root} right now") from error
    except OSError as error:  # no permission, disk full
        raise SoundFusionError(f"{which}: cannot write to {root.parent}: {error}") from error
    return root


def _locate(which, wanted, parent) -> dict[str, debian.Package]:
    """Soundtrack -> its package."""
    known = debian.locate([name for soundtrack in wanted.values() for name in soundtrack.packages], parent)
    found = {}
    for name, soundtrack in wanted.items():
        found[name] = next((known[package] for package in soundtrack.packages if package in known), None)
        if found[name] is None:
            raise SoundFusionError(
                f"{which}: apt knows no package {' or '.join(soundtrack.packages)}: run `apt-get update` as root; if "
                "that does not help, this distribution does not have it (Debian 12 does)"
            )
    return found


def _check_space(which, found, partial):
    size = sum(package.size for package in found)
    have = sum(file.stat().st_size for file in (partial / "packages").iterdir())
    needed = 3 * size - min(have, size)  # the packages, their files, the clips
    free = shutil.disk_usage(partial).free
    if free < needed:
        raise SoundFusionError(
            f"{which} needs about {needed / 1e9:.1f} GB in {partial.parent} (packages, their files and clips), "
            f"{free / 1e9:.1f} GB are free"
        )


def _cut(which, wanted, found, partial, seed):
    """Fill partial/corpus from partial/packages."""
    corpus = partial / "corpus"
    (corpus / "copyright").mkdir()
    recordings, candidates, licences = {}, {}, {}
    for name, soundtrack in wanted.items():
        unpacked = partial / "unpacked" / name
        debian.unpack(found[name], partial / "packages", unpacked)
        licences[name] = _keep_licence(unpacked, found[name].name, corpus / "copyright")
        recordings[name] = _find_recordings(unpacked, soundtrack.skip)
        candidates[name] = _draw(recordings[name], np.random.default_rng([seed, zlib.crc32(name.encode())]))
    count = min(MOST, *map(len, candidates.values()))
    clips = {}
    for name in sorted(candidates, key=lambda name: len(candidates[name])):
        clips[name] = _write_clips(candidates[name], count, corpus / name)
        count = min(count, len(clips[name]))
        if not count:
            raise SoundFusionError(f"{which}: {found[name].file} holds no music of {SHORTEST} s or more")

    with open(corpus / "metadata.csv", "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        for name in wanted:
            for extra in range(count, len(clips[name])):
                (corpus / name / f"{extra:03d}.mp3").unlink()
            top = os.path.commonpath([Path(recording.source).parent for recording in recordings[name]])
            origin = licences[name], found[name].name, found[name].version
            for number, (recording, start) in enumerate(clips[name][:count]):
                artist = f"{name}/{Path(recording.source).relative_to(top).with_suffix('').as_posix()}"
                table.writerow([f"{name}/{number:03d}.mp3", name, artist, recording.source, f"{start:.2f}", *origin])
            hours = sum(recording.seconds for recording in recordings[name]) / 3600
            print(f"{which}: {name}: {count} clips from {len(recordings[name])} recordings, {hours:.2f} h")


def _keep_licence(unpacked, package, copies) -> str:
    """The licences as one text; the copyright file is copied, and its copy named where it has no short names."""
    file = unpacked / "usr/share/doc" / package / "copyright"
    if not file.is_file():
        return "not in the package"
    copy = shutil.copyfile(file, copies / f"{package}.txt")
    return "; ".join(debian.licences(file)) or f"see copyright/{copy.name}"


def _find_recordings(unpacked, skip) -> list[_Recording]:
    """The recordings of a package, packs opened in place, in alphabetical order."""
    for pack in [file for file in unpacked.rglob("*") if file.suffix.lower() in PACKS and not file.is_symlink()]:
        closed = pack.rename(f"{pack}.zip")
        try:
            with zipfile.ZipFile(closed) as archive:
                names = [name for name in archive.namelist() if Path(name).suffix.lower() in SUFFIXES]
                archive.extractall(pack, names)
        except zipfile.BadZipFile as error:
            raise SoundFusionError(f"{pack.relative_to(unpacked)} in a package cannot be opened: {error}") from error
        closed.unlink()
    found = []
    for file in sorted(unpacked.rglob("*")):
        source = file.relative_to(unpacked).as_posix()
        # a link gives a file of the package a second name
        if file.suffix.lower() not in SUFFIXES or file.is_symlink() or not file.is_file() or re.search(skip, source):
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


def _write_clips(candidates, count, target) -> list[tuple[_Recording, float]]:
    """Write the first `count` candidates that are not near-silent, as 000.mp3 and so on; returns them."""
    target.mkdir()
    written = []
    for recording, start in candidates:
        if len(written) == count:
            break
        try:
            with soundfile.SoundFile(recording.file) as file:
                rate = file.samplerate
                file.seek(int(start * rate))
                samples = file.read(CLIP * rate, dtype="float32", always_2d=True)  # (time, channels)
        except soundfile.LibsndfileError as error:
            raise SoundFusionError(f"{recording.source} cannot be decoded at {start:.0f} s: {error}") from error
        if len(samples) < CLIP * rate or _near_silent(samples, rate):
            continue
        # MP3 and not FLAC: a sixth of the bytes (0.5 MB a clip), and as in FMA; half a second a clip
        mp3 = encode_mp3(to_channels(samples, min(2, samples.shape[1])).squeeze(), rate)
        (target / f"{len(written):03d}.mp3").write_bytes(mp3)
        written.append((recording, start))
    return written


def _near_silent(samples, rate) -> bool:
    """Whether the RMS of half the seconds of samples (time, channels) is below SILENCE."""
    power = np.square(samples[: len(samples) // rate * rate]).mean(1).reshape(-1, rate).mean(1)
    return bool(np.median(power) < SILENCE**2)
