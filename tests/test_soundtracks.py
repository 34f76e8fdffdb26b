"""The soundtracks, from packages made here and an apt-get that copies them."""

import csv
import hashlib
import importlib
import itertools
import os
import shutil
import subprocess
import zipfile
from types import SimpleNamespace

import filelock
import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from soundfusion_lib import cli
from soundfusion_lib.datasets import debian, download_soundtracks, soundtracks
from soundfusion_lib.datasets.kinds import open_corpus
from soundfusion_lib.datasets.soundtracks import COLUMNS, SOUNDTRACKS, _near_silent
from soundfusion_lib.errors import SoundFusionError

module = importlib.import_module("soundfusion_lib.datasets.soundtracks")  # the package re-exports the function's name

pytestmark = pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="needs dpkg-deb")

RATE = 8000
APT = """#!/bin/sh
# apt-get download [--print-uris] [-o OPTION] PACKAGE..., from $DEBS
shift
if [ "$1" = --print-uris ]; then
    shift
    for name; do
        file=$(basename "$(ls "$DEBS/${name}_"*.deb 2>/dev/null)")
        if [ -z "$file" ]; then echo "E: Unable to locate package $name" >&2; failed=100; continue; fi
        if [ -f "$file" ]; then continue; fi
        echo "'http://deb/$file' $file $(stat -c %s "$DEBS/$file") SHA256:$(sha256sum "$DEBS/$file" | cut -c-64)"
    done
    exit $failed
fi
echo "$3" >>"$DEBS/fetched"
if [ -f "$DEBS/unreachable" ]; then echo "W: unsandboxed" >&2; echo "E: Failed to fetch $3" >&2; exit 100; fi
for file in "$DEBS/$3_"*.deb; do
    here=$(basename "$file")
    if [ -f "$here" ] && [ $(stat -c %s "$here") = $(stat -c %s "$file") ]; then exit 0; fi
    cp "$file" .
done
"""
MACHINE_READABLE = """Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/

Files: *
Copyright: somebody
License: GPL-2+

Files: music/d.ogg
 music/e.ogg
License: CC-BY-SA-3.0 or GPL-2+
 Its text.
 .
 License: no field, being indented

Files: debian/*
License: GPL-2+

License: Expat
 Nothing is under it.
"""
PROSE = "The packaging is licensed under the GPL, see /usr/share/common-licenses/GPL. The songs are mine.\n"


def sweep(seconds, base):
    """A tone of base + 5 t Hz, so that a clip tells where it was cut."""
    time = np.arange(int(seconds * RATE)) / RATE
    return (0.3 * np.sin(2 * np.pi * (base * time + 2.5 * time**2))).astype(np.float32)


def pitch(file):
    """Hz in the first second of a file."""
    samples, rate = soundfile.read(file)
    first = samples[rate // 10 : rate + rate // 10]
    return np.abs(np.fft.rfft(first * np.hanning(len(first)))).argmax()


def build(debs, name, version, files, copyright_text=None, links=None):
    """A .deb of files: path -> samples, or bytes."""
    tree = debs / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    control = f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: a <a@b.c>\nDescription: music\n"
    (tree / "DEBIAN" / "control").write_text(control)
    for path, content in files.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            (tree / path).write_bytes(content)
        else:
            soundfile.write(tree / path, content, RATE)
    if copyright_text:
        (tree / f"usr/share/doc/{name}").mkdir(parents=True)
        (tree / f"usr/share/doc/{name}/copyright").write_text(copyright_text)
    for link, target in (links or {}).items():
        (tree / link).symlink_to(target)
    target = debs / f"{name}_{version.replace(':', '%3a')}_all.deb"
    subprocess.run(["dpkg-deb", "--build", "-Znone", tree, target], check=True, capture_output=True)
    shutil.rmtree(tree)


def zipped(folder, files):
    for path, samples in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / path, samples, RATE)
    with zipfile.ZipFile(folder / "pack", "w") as pack:
        pack.writestr("readme.txt", "no music")
        for path in files:
            pack.write(folder / path, path)
    return (folder / "pack").read_bytes()


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    debs = tmp_path_factory.mktemp("debs")
    music = "usr/share/games/plain/music/"
    plain = {
        music + "a.ogg": sweep(95, 200),  # three clips
        music + "deep/b.ogg": sweep(65, 1000),  # two
        music + "c.flac": sweep(33, 2000),  # one
        music + "jump.ogg": sweep(31.9, 3000),  # none: an effect
        music + "a.wav": sweep(95, 200),  # a.ogg again
        music + "quiet.ogg": 0.001 * sweep(65, 3000),
        music + "broken.ogg": b"not audio",
    }
    build(debs, "plain-music", "1:2.0-1", plain, PROSE, links={music + "link.ogg": "a.ogg"})
    pack = zipped(
        tmp_path_factory.mktemp("pack"), {"music/d.ogg": sweep(125, 200), "music/d_enhanced.ogg": sweep(40, 3000)}
    )
    build(debs, "pack-data", "3-1", {"usr/share/games/pack/base/0music.pk3": pack}, MACHINE_READABLE)
    build(debs, "hush-music", "1", {"usr/loud.ogg": sweep(65, 200), "usr/hush.ogg": 0.001 * sweep(125, 200)})
    build(debs, "effects-data", "1", {"usr/share/boom.wav": sweep(3, 200)})
    return debs


MUSIC = {"plain": ("plain-2.2-music", "plain-music"), "pack": ("pack-data",)}


@pytest.fixture
def debs(built, tmp_path, monkeypatch):
    """Folder of the packages, of `fetched` (what was asked of apt-get) and of `unreachable`, which makes it fail."""
    folder = tmp_path / "debs"
    shutil.copytree(built, folder)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "apt-get").write_text(APT)
    (tmp_path / "bin" / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("DEBS", str(folder))
    return folder


@pytest.fixture(scope="session")
def made(built, tmp_path_factory):
    """The corpus of MUSIC."""
    bin = tmp_path_factory.mktemp("bin")
    (bin / "apt-get").write_text(APT)
    (bin / "apt-get").chmod(0o755)
    debs = shutil.copytree(built, tmp_path_factory.mktemp("made") / "debs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{bin}{os.pathsep}{os.environ['PATH']}")
        patch.setenv("DEBS", str(debs))
        return get(tmp_path_factory.mktemp("corpora") / "music")


def get(root, wanted=MUSIC):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SOUNDTRACKS, "music", wanted)
        return download_soundtracks(root, "music")


def one(*packages):
    """Two soundtracks: these packages, and pack-data."""
    return {"one": packages, "pack": ("pack-data",)}


def rows(root):
    with open(root / "metadata.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def content(root):
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*.*") if path.is_file()}


def fetched(debs):
    return (debs / "fetched").read_text().split() if (debs / "fetched").exists() else []


def test_every_soundtrack_has_as_many_clips_as_the_smallest(made):
    table = rows(made)
    assert tuple(table[0]) == COLUMNS
    assert [row["genre"] for row in table] == ["plain"] * 4 + ["pack"] * 4  # pack holds four, plain six
    expected = {f"{name}/00{number}.mp3" for name in ("plain", "pack") for number in range(4)}
    assert {row["file_name"] for row in table} == expected
    assert content(made).keys() == {*expected, "metadata.csv", "copyright/plain-music.txt", "copyright/pack-data.txt"}
    for row in table:
        assert abs(soundfile.info(made / row["file_name"]).duration - 30) < 0.2
    assert {path.name for path in made.parent.iterdir()} == {"music"}  # nothing else is left


def test_clips_are_spread_over_recordings_and_do_not_overlap(made):
    table = rows(made)
    assert [row["artist"] for row in table[4:]] == ["pack/d"] * 4
    # neither the effect, nor the quiet one, nor the undecodable one, nor a.ogg a second time
    artists = [row["artist"] for row in table[:4]]
    assert set(artists[:3]) == {"plain/a", "plain/deep/b", "plain/c"} and artists[3] in ("plain/a", "plain/deep/b")
    seconds = {"plain/a": 95, "plain/deep/b": 65, "plain/c": 33, "pack/d": 125}
    for artist, length in seconds.items():
        starts = sorted(float(row["start"]) for row in table if row["artist"] == artist)
        assert starts[0] >= 1 and starts[-1] <= length - 31
        assert all(second - first >= 29.99 for first, second in itertools.pairwise(starts))


def test_silence_makes_a_soundtrack_smaller_and_the_others_with_it(debs, tmp_path):
    """The other, which has five clips and is cut first, since hush-music might have six, gives three up again."""
    root = get(tmp_path / "music", one("hush-music"))
    assert [row["artist"] for row in rows(root)[:2]] == ["one/loud"] * 2
    clips = [f"{name}/00{number}.mp3" for name in ("one", "pack") for number in range(2)]
    assert [row["file_name"] for row in rows(root)] == clips
    assert {name for name in content(root) if name.endswith("mp3")} == set(clips)


def test_a_clip_is_what_its_row_says(made):
    base = {"plain/a": 200, "plain/deep/b": 1000, "plain/c": 2000, "pack/d": 200}
    for row in rows(made):
        middle = float(row["start"]) + 0.5  # the second that is listened to, give or take the encoder's delay
        assert pitch(made / row["file_name"]) == pytest.approx(base[row["artist"]] + 5 * middle, abs=4)


def test_metadata_names_source_licence_package_and_version(made):
    plain, pack = rows(made)[0], rows(made)[-1]
    assert plain["source"].startswith("usr/share/games/plain/music/")
    assert (plain["package"], plain["version"]) == ("plain-music", "1:2.0-1")
    assert plain["licence"] == "see copyright/plain-music.txt"
    assert (made / "copyright" / "plain-music.txt").read_text() == PROSE
    assert pack["source"] == "usr/share/games/pack/base/0music.pk3/music/d.ogg"
    assert (pack["package"], pack["version"]) == ("pack-data", "3-1")
    assert pack["licence"] == "GPL-2+; CC-BY-SA-3.0 or GPL-2+"


def test_read_back_as_a_corpus(made, tmp_path, monkeypatch):
    corpus = soundtracks(made, "music")
    assert (corpus.name, corpus.label_name, corpus.labels) == ("music", "soundtrack", ["pack", "plain"])
    assert len(corpus.tracks) == 8 and set(corpus.tracks["group"]) > {"pack/d", "plain/c"}
    assert all(corpus.file(track).is_file() for track in corpus.tracks.index)
    assert open_corpus({"kind": "soundtracks", "path": made}).label_name == "soundtrack"
    assert open_corpus({"kind": "soundtracks_b", "path": made}).name == "soundtracks_b"

    monkeypatch.setenv("SOUNDFUSION_DATA", str(tmp_path))
    for kind in ("soundtracks", "soundtracks_b"):
        with pytest.raises(SoundFusionError, match=f"{kind}/metadata.csv not found: `soundfusion download {kind}`"):
            open_corpus({"kind": kind})


def test_the_same_packages_give_the_same_clips(made, debs, tmp_path):
    assert content(get(tmp_path / "again")) == content(made)


def test_a_corpus_that_is_there_is_left_alone(made, debs, capsys):
    before = content(made)
    assert get(made) == made
    assert content(made) == before and fetched(debs) == []
    assert "already" in capsys.readouterr().out


def test_killed_while_fetching(made, debs, tmp_path, monkeypatch):
    root, run = tmp_path / "music", subprocess.run
    kept = tmp_path / "music.partial" / "packages"

    def interrupt(command, **options):
        if command[-1] == "pack-data" and "--print-uris" not in command:
            (kept / "pack-data_3-1_all.deb").write_bytes((debs / "pack-data_3-1_all.deb").read_bytes()[:1000])
            raise KeyboardInterrupt
        return run(command, **options)

    with monkeypatch.context() as patch:
        patch.setattr(debian.subprocess, "run", interrupt)
        with pytest.raises(KeyboardInterrupt):
            get(root)
    assert not root.exists()
    assert {file.name for file in kept.iterdir()} == {"plain-music_1%3a2.0-1_all.deb", "pack-data_3-1_all.deb"}
    assert content(get(root)) == content(made)
    assert fetched(debs) == ["plain-music", "pack-data"]  # the first was not fetched again
    assert not kept.parent.exists()


def test_killed_while_cutting(made, debs, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:

        def interrupt(samples, rate):
            raise KeyboardInterrupt

        patch.setattr(module, "encode_mp3", interrupt)
        with pytest.raises(KeyboardInterrupt):
            get(tmp_path / "music")
    assert not (tmp_path / "music").exists()
    (tmp_path / "music.partial" / "corpus" / "stale.mp3").touch()
    assert content(get(tmp_path / "music")) == content(made)
    assert fetched(debs) == ["plain-music", "pack-data"]


def test_a_kept_package_with_wrong_bytes_is_fetched_again(made, debs, tmp_path):
    kept = tmp_path / "music.partial" / "packages"
    kept.mkdir(parents=True)
    for file in debs.glob("p*.deb"):
        shutil.copy(file, kept)
    damaged = bytearray((kept / "pack-data_3-1_all.deb").read_bytes())
    damaged[5000] ^= 255
    (kept / "pack-data_3-1_all.deb").write_bytes(damaged)
    assert content(get(tmp_path / "music")) == content(made)
    assert fetched(debs) == ["pack-data"]


def test_a_fetch_that_fails_keeps_what_has_arrived(debs, tmp_path):
    (debs / "unreachable").touch()
    kept = tmp_path / "music.partial" / "packages"
    kept.mkdir(parents=True)
    shutil.copy(debs / "plain-music_1%3a2.0-1_all.deb", kept)
    with pytest.raises(SoundFusionError, match=r"fetch pack-data_3-1_all\.deb \(E: Failed to fetch pack-data\)"):
        get(tmp_path / "music")
    assert [file.name for file in kept.iterdir()] == ["plain-music_1%3a2.0-1_all.deb"]


def test_without_apt(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SoundFusionError, match="this system lacks apt-get and dpkg-deb, .* do it on Debian or Ubuntu"):
        get(tmp_path / "music")
    assert list(tmp_path.iterdir()) == []


def test_packages_that_apt_does_not_know(debs, tmp_path):
    with pytest.raises(SoundFusionError, match="no package lost-1.0 or lost-1.2: run `apt-get update`"):
        get(tmp_path / "music", one("lost-1.0", "lost-1.2"))
    with pytest.raises(SoundFusionError, match=r"knows none .*Unable to locate package lost.*`apt-get update`"):
        get(tmp_path / "music", {"lost": ("lost",)})
    assert {path.name for path in tmp_path.iterdir()} == {"debs", "bin"}


def test_a_package_without_music(debs, tmp_path):
    with pytest.raises(SoundFusionError, match=r"effects-data_1_all\.deb holds no music of 32 s"):
        get(tmp_path / "music", one("effects-data"))
    assert not (tmp_path / "music").exists()


def test_unknown_name_little_space_and_another_process(debs, tmp_path, monkeypatch):
    with pytest.raises(SoundFusionError, match="'soundtracks_c'; there are soundtracks, soundtracks_b"):
        download_soundtracks(tmp_path / "music", "soundtracks_c")
    lock = filelock.FileLock(tmp_path / "music.partial.lock")
    with lock, pytest.raises(SoundFusionError, match="another process"):
        get(tmp_path / "music")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(SoundFusionError, match="are free"):
        get(tmp_path / "music")
    assert fetched(debs) == []
    (tmp_path / "file").touch()
    with pytest.raises(SoundFusionError, match="cannot write"):
        get(tmp_path / "file" / "music")


def test_near_silence():
    loud, silent = np.full((RATE, 2), 0.1, np.float32), np.zeros((RATE, 2), np.float32)
    assert not _near_silent(np.concatenate([loud] * 16 + [silent] * 14), RATE)
    assert _near_silent(np.concatenate([loud] * 14 + [silent] * 16), RATE)
    assert _near_silent(0.02 * loud, RATE) and not _near_silent(0.04 * loud, RATE)  # -54 and -48 dB
    only_left = np.stack([loud[:, 0], silent[:, 0]], 1)
    assert not _near_silent(only_left, RATE)


def test_the_command(debs, tmp_path, monkeypatch):
    monkeypatch.setenv("SOUNDFUSION_DATA", str(tmp_path / "data"))
    monkeypatch.setitem(SOUNDTRACKS, "soundtracks_b", MUSIC)
    done = CliRunner().invoke(cli.main, ["download", "soundtracks_b"])
    assert done.exit_code == 0, done.output
    assert "pack: 4 clips from 1 recordings" in done.output and "left out: usr/share/games/plain" in done.output
    assert open_corpus({"kind": "soundtracks_b"}).labels == ["pack", "plain"]


def test_the_known_soundtracks():
    assert {which: len(table) for which, table in SOUNDTRACKS.items()} == {"soundtracks": 8, "soundtracks_b": 8}
    names = [name for table in SOUNDTRACKS.values() for packages in table.values() for name in packages]
    assert len(set(names)) == len(names)  # nothing is in both


def test_digests_are_checked(tmp_path):
    (tmp_path / "a_1_all.deb").write_bytes(b"abc")
    package = debian.Package("a_1_all.deb", "a", "1", 3, "sha512", hashlib.sha512(b"abc").hexdigest())
    debian.fetch([package], tmp_path)  # asks nothing of apt-get
