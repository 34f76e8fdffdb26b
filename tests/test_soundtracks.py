"""tooling/soundtracks.py, on packages made here and an apt-get that copies them."""

import itertools
import os
import shutil
import subprocess
import zipfile

import mp3
import numpy as np
import pandas as pd
import pytest
import soundfile
import soundtracks
from soundtracks import COLUMNS, SOUNDTRACKS, make_soundtracks

from soundfusion_lib.datasets import folder
from soundfusion_lib.errors import SoundFusionError

pytestmark = pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="needs dpkg-deb")

RATE = 8000
APT = """#!/bin/sh
# apt-get download [--print-uris] [-o OPTION] PACKAGE..., from $DEBS
shift
if [ "$1" = --print-uris ]; then
    shift
    for name; do
        file=$(basename "$(ls "$DEBS/${name}_"*.deb 2>/dev/null)")
        [ "$file" ] || { echo "E: Unable to locate package $name" >&2; continue; }
        echo "'http://deb/$file' $file $(stat -c %s "$DEBS/$file") SHA256:$(sha256sum "$DEBS/$file" | cut -c-64)"
    done
    exit
fi
if [ -f "$DEBS/unreachable" ]; then echo "E: Failed to fetch $3" >&2; exit 100; fi
cp "$DEBS/$3_"*.deb .
"""
LICENCES = "Files: *\nLicense: GPL-2+\n\nFiles: d.ogg\nLicense: CC-BY-SA-3.0\n Its text.\n\nLicense: Expat\n None.\n"
PROSE = "The packaging is licensed under the GPL. The songs are mine.\n"
MUSIC = {"plain": ("plain-2.2-music", "plain-music"), "pack": ("pack-data",)}


def sweep(seconds, base):
    """A tone of base + 5 t Hz, so that a clip tells where it was cut."""
    time = np.arange(int(seconds * RATE)) / RATE
    return (0.3 * np.sin(2 * np.pi * (base * time + 2.5 * time**2))).astype(np.float32)


def build(debs, name, version, files, copyright_text):
    """A .deb of files: path -> samples, or bytes."""
    tree = debs / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    control = f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: a <a@b.c>\nDescription: music\n"
    (tree / "DEBIAN" / "control").write_text(control)
    for path, content in {**files, f"usr/share/doc/{name}/copyright": copyright_text.encode()}.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            (tree / path).write_bytes(content)
        else:
            soundfile.write(tree / path, content, RATE)
    target = debs / f"{name}_{version.replace(':', '%3a')}_all.deb"
    subprocess.run(["dpkg-deb", "--build", "-Znone", tree, target], check=True, capture_output=True)
    shutil.rmtree(tree)


@pytest.fixture(scope="module")
def debs(tmp_path_factory):
    """Folder of the packages, which the apt-get on the PATH fetches from."""
    debs, bin = tmp_path_factory.mktemp("debs"), tmp_path_factory.mktemp("bin")
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
    soundfile.write(debs / "d.ogg", sweep(125, 200), RATE)
    with zipfile.ZipFile(debs / "pack", "w") as pack:
        pack.write(debs / "d.ogg", "music/d.ogg")
    build(debs, "plain-music", "1:2.0-1", plain, PROSE)
    build(debs, "pack-data", "3-1", {"usr/games/pack/0music.pk3": (debs / "pack").read_bytes()}, LICENCES)
    (bin / "apt-get").write_text(APT)
    (bin / "apt-get").chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{bin}{os.pathsep}{os.environ['PATH']}")
        patch.setenv("DEBS", str(debs))
        patch.setitem(SOUNDTRACKS, "soundtracks", MUSIC)
        patch.setattr(soundtracks, "require_lameenc", lambda: None)
        # the samples as they are, so that these tests need no lameenc
        patch.setattr(soundtracks, "encode_mp3", lambda samples, rate: np.float32(samples).tobytes())
        yield debs


@pytest.fixture(scope="module")
def made(debs, tmp_path_factory):
    root = tmp_path_factory.mktemp("corpora") / "soundtracks"
    make_soundtracks(root)
    return root


def content(root):
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*.*") if path.is_file()}


def test_every_soundtrack_has_as_many_clips_spread_over_its_recordings_and_metadata_say_where_from(made):
    table = pd.read_csv(made / "metadata.csv")
    assert tuple(table) == COLUMNS
    clips = [f"{name}/00{number}.mp3" for name in ("plain", "pack") for number in range(4)]  # plain would hold six
    assert list(table["file_name"]) == clips
    assert content(made).keys() == {*clips, "metadata.csv", "copyright/plain-music.txt", "copyright/pack-data.txt"}
    assert [path.name for path in made.parent.iterdir() if not path.name.endswith(".lock")] == ["soundtracks"]
    plain, pack = table.iloc[[0, -1]].itertuples()
    assert plain.source.startswith("usr/share/games/plain/music/") and (plain.genre, pack.genre) == ("plain", "pack")
    assert (plain.package, plain.version, plain.licence) == ("plain-music", "1:2.0-1", "see copyright/plain-music.txt")
    assert (made / "copyright" / "plain-music.txt").read_text() == PROSE
    assert pack.source == "usr/games/pack/0music.pk3/music/d.ogg" and pack.licence == "GPL-2+; CC-BY-SA-3.0"
    corpus = folder(made)
    assert (corpus.labels, corpus.tracks.index[0]) == (["pack", "plain"], "pack/000")
    # neither the effect, nor the quiet one, nor the undecodable one, nor a.ogg a second time
    assert {"plain/a", "plain/deep/b", "plain/c"} == set(table["artist"][:3]) and set(table["artist"][4:]) == {"pack/d"}
    for _, starts in table.sort_values("start").groupby("artist")["start"]:
        assert starts.min() >= 1 and all(second - first >= 29.99 for first, second in itertools.pairwise(starts))
    base = {"plain/a": 200, "plain/deep/b": 1000, "plain/c": 2000, "pack/d": 200}
    for row in table.itertuples():
        samples = np.frombuffer((made / row.file_name).read_bytes(), np.float32)
        pitch = np.abs(np.fft.rfft(samples[:RATE] * np.hanning(RATE))).argmax()  # Hz in the first second
        assert len(samples) == 30 * RATE and pitch == pytest.approx(base[row.artist] + 5 * (row.start + 0.5), abs=4)


def test_the_same_packages_give_the_same_bytes_after_an_interruption_too(made, debs, tmp_path, monkeypatch, capsys):
    root = tmp_path / "soundtracks"
    with monkeypatch.context() as patch:
        patch.setattr(soundtracks, "encode_mp3", lambda samples, rate: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            make_soundtracks(root)
    kept = tmp_path / "soundtracks.partial" / "packages"
    assert not root.exists() and len(list(kept.iterdir())) == 2
    damaged = kept / "pack-data_3-1_all.deb"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    capsys.readouterr()
    make_soundtracks(root)
    assert content(root) == content(made) and not kept.exists()
    assert capsys.readouterr().out.count("fetching") == 1  # the damaged one
    make_soundtracks(root)
    assert "already" in capsys.readouterr().out


def test_what_is_missing_is_said(debs, tmp_path, monkeypatch):
    root = tmp_path / "soundtracks"
    (debs / "unreachable").touch()
    with pytest.raises(SoundFusionError, match=r"fetch plain-music_\S+ \(E: Failed to fetch plain-music\)"):
        make_soundtracks(root)
    (debs / "unreachable").unlink()
    monkeypatch.setitem(SOUNDTRACKS, "soundtracks", {"lost": ("lost-1.0", "lost-1.2")})
    with pytest.raises(SoundFusionError, match="no package lost-1.0 or lost-1.2 .*Unable to locate.*`apt-get update`"):
        make_soundtracks(root)
    monkeypatch.setattr(mp3, "version", lambda name: "1.8.0")
    with pytest.raises(SoundFusionError, match=r"needs lameenc 1.9.0 \(1.8.0\): pip install lameenc==1.9.0"):
        mp3.encode_mp3(np.zeros(10), RATE)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SoundFusionError, match="apt-get and dpkg-deb are missing here: .*Debian or Ubuntu"):
        make_soundtracks(root)
