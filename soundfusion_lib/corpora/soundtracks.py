"""Soundtracks of free games, from Debian's packages: real music with artists to keep apart, for a machine without FMA.

The label is the soundtrack, not a genre. A soundtrack has few composers and one production, so telling soundtracks
apart is another task than telling genres apart, and an easier one.
"""

import os
import re
import shutil
import zipfile
import zlib
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from soundfusion_lib.audio import encode_mp3, to_channels
from soundfusion_lib.corpora import debian
from soundfusion_lib.corpora.corpus import Corpus
from soundfusion_lib.corpora.download import alone, check_space
from soundfusion_lib.corpora.folder import SUFFIXES, folder
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
    """The corpus that `download_soundtracks` made at root; its groups are the recordings that clips were cut from.

    Raises:
        SoundFusionError: it is not there; see `folder` for the rest.
    """
    metadata = Path(root) / "metadata.csv"
    if not metadata.is_file():
        raise SoundFusionError(f"{metadata} not found: `soundfusion download {which}` brings it")
    return folder(root, name=which, label="soundtrack")


def download_soundtracks(root, which="soundtracks") -> Path:
    """Fetch soundtracks with apt (no root needed) and cut them into clips of 30 s; returns root.

    Of every recording (an audio file of at least 32 s), clips that do not overlap, at random places; of every
    soundtrack the same number, as many as the smallest allows up to 80, drawn in turn from its recordings.
    Near-silent clips are left out. The same packages always give the same clips.

    The folder appears when complete. ``<root>.partial`` keeps the packages that have arrived before an interruption.

    Args:
        root: folder that comes out: clips, their ``metadata.csv`` (``artist`` is the recording, ``source`` its path
            in the package, ``start`` in seconds, ``licence`` the short names in the package's copyright file) and
            these files as ``copyright/<package>.txt``.
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
    recordings, candidates, licences = {}, {}, {}
    for name, package in found.items():
        unpacked = partial / "unpacked" / name
        debian.unpack(package, partial / "packages", unpacked)
        licences[name] = _keep_licence(unpacked, package.name, corpus / "copyright")
        recordings[name] = _find_recordings(unpacked)
        candidates[name] = _draw(recordings[name], np.random.default_rng([0, zlib.crc32(name.encode())]))
    count, clips = MOST, {}
    for name in sorted(candidates, key=lambda name: len(candidates[name])):
        clips[name] = _write_clips(candidates[name], count, corpus / name)
        count = min(count, len(clips[name]))
        if not count:
            raise SoundFusionError(f"{which}: {found[name].file} holds no music of {SHORTEST} s or more")

    rows = []
    for name, package in found.items():
        top = os.path.commonpath([Path(recording.source).parent for recording in recordings[name]])
        origin = licences[name], package.name, package.version
        for number, (recording, start) in enumerate(clips[name]):
            file = f"{name}/{number:03d}.mp3"
            if number < count:
                artist = f"{name}/{Path(recording.source).relative_to(top).with_suffix('').as_posix()}"
                rows.append([file, name, artist, recording.source, f"{start:.2f}", *origin])
            else:  # cut before a soundtrack turned out to have fewer
                (corpus / file).unlink()
        print(f"{which}: {name}: {count} clips from {len(recordings[name])} recordings")
    pd.DataFrame(rows, columns=COLUMNS).to_csv(corpus / "metadata.csv", index=False)


def _keep_licence(unpacked, package, copies) -> str:
    """The licences as one text; the copyright file is copied, and its copy named where it has no short names."""
    file = unpacked / "usr/share/doc" / package / "copyright"
    if not file.is_file():
        return "not in the package"
    copy = shutil.copyfile(file, copies / f"{package}.txt")
    return "; ".join(debian.licences(file)) or f"see copyright/{copy.name}"


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


def _write_clips(candidates, count, target) -> list[tuple[_Recording, float]]:
    """Write the first `count` candidates that are not near-silent, as 000.mp3 and so on; returns them."""
    target.mkdir()
    written = []
    for recording, start in candidates:
        if len(written) == count:
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
        written.append((recording, start))
    return written


def _near_silent(samples, rate) -> bool:
    """Whether the RMS of half the seconds of samples (time, channels) is below SILENCE."""
    power = np.square(samples[: len(samples) // rate * rate]).mean(1).reshape(-1, rate).mean(1)
    return bool(np.median(power) < SILENCE**2)
