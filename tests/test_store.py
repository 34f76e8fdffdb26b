import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import SMALL_MEL, SPECS, TESTS_TOO, build, run_python
from threadpoolctl import threadpool_limits

from soundfusion_lib.audio import clips as clips_module
from soundfusion_lib.audio import decode as decode_module
from soundfusion_lib.audio import representations
from soundfusion_lib.audio.clips import STORE_REVISION, ClipFolder, digests
from soundfusion_lib.audio.decode import decode, encode_mp3, stream
from soundfusion_lib.audio.representations import Waveform
from soundfusion_lib.datasets import Corpus
from soundfusion_lib.errors import SoundFusionError


def assert_same_files(store, expected, names=("data.bin",)):
    for kind, array in expected.arrays.items():
        for name in names:
            assert (store.arrays[kind].folder / name).read_bytes() == (array.folder / name).read_bytes()


def mono(file: Path) -> np.ndarray:
    """A file's waveform as the store has it."""
    return Waveform().transform(*decode(file))[:, 0, 0]


def stored(store, track: str) -> np.ndarray:
    return store.arrays["waveform"].clip(track)[:, 0, 0]


@pytest.fixture
def decoded(monkeypatch) -> list[str]:
    """Names of the files decoded by this process."""
    names, note = [], lambda file, seconds: names.append(file.name) or stream(file, seconds)
    monkeypatch.setattr(representations, "stream", note)
    return names


@pytest.fixture
def few(corpus, tmp_path) -> Corpus:
    """A copy of four clips, two of each of two labels."""
    tracks = ["high00", "high01", "low00", "low01"]
    root = tmp_path / "few"
    root.mkdir()
    for track in tracks:
        shutil.copyfile(corpus.file(track), root / f"{track}.wav")
    return Corpus("few", root, corpus.tracks.loc[tracks])


def test_every_clip_is_where_the_journal_says_and_the_files_hold_nothing_else(store, corpus):
    assert list(store.tracks.index) == list(corpus.tracks.index) and store.left_out.empty
    for track in ("low00", "high03", "noise05"):
        samples, rate = decode(corpus.file(track))
        for spec in SPECS:
            with threadpool_limits(1):  # as the store does: on more threads sums are added up in another order
                expected = spec.transform(samples, rate)
            np.testing.assert_array_equal(store.arrays[spec.kind].clip(track), expected)
    mel = store.arrays["mel"].clip("low05")  # of a mono file
    np.testing.assert_array_equal(mel[:, 0], mel[:, 1])
    for array in store.arrays.values():
        assert (array.folder / "data.bin").stat().st_size == array.data.nbytes
    assert store.bytes == sum(array.data.nbytes for array in store.arrays.values())
    with pytest.raises(ValueError, match="read-only"):
        store.arrays["waveform"].clip("low00")[100] += 7


def test_one_decode_serves_all_representations_and_nothing_is_decoded_twice(corpus, tmp_path, decoded):
    assert build(corpus, tmp_path, decode=False) is None
    build(corpus, tmp_path, [SMALL_MEL])
    assert len(decoded) == len(corpus.tracks)
    opened = build(corpus, tmp_path, [SMALL_MEL], decode=False)
    assert build(corpus, tmp_path).content_id == opened.content_id
    build(corpus, tmp_path)
    assert len(decoded) == 2 * len(corpus.tracks)
    build(corpus, tmp_path, [Waveform(8_000), SMALL_MEL])  # one of them is new
    assert len(decoded) == 3 * len(corpus.tracks)
    mel = ClipFolder(tmp_path / corpus.name, SMALL_MEL)
    assert len(mel.journal.read_bytes().splitlines()) == len(corpus.tracks)


def test_worker_processes_give_the_same_arrays(store, corpus, tmp_path):
    parallel = build(corpus, tmp_path, workers=2)
    assert_same_files(parallel, store)
    for kind, array in store.arrays.items():
        pd.testing.assert_frame_equal(parallel.arrays[kind].tracks, array.tracks)


def test_labels_that_lost_all_their_clips_are_refused_with_the_reason(few, tmp_path):
    build(few, tmp_path / "cache").check_labels()
    for track in ("low00", "low01"):
        few.file(track).write_bytes(b"this is no music " * 100)
    store = build(few, tmp_path / "cache")
    assert store.labels == ["high"]
    with pytest.raises(SoundFusionError, match="none of the 2 clips of genre 'low' is usable.*cannot be decoded"):
        store.check_labels()
    alone = Corpus(few.name, few.root, few.tracks[few.tracks["label"] == "high"])
    with pytest.raises(SoundFusionError, match="only one genre"):
        build(alone, tmp_path / "cache").check_labels()


def test_an_array_sent_to_another_process_maps_the_same_file(few, corpus, tmp_path):
    array = build(few, tmp_path / "cache").arrays["mel"]
    clip = array.clip("low01").copy()
    text = pickle.dumps(array)
    assert len(text) < 10_000
    shutil.copyfile(corpus.file("noise00"), few.root / "noise00.wav")
    build(Corpus(few.name, few.root, corpus.tracks.loc[["high00", "noise00"]]), tmp_path / "cache")  # the file grows
    np.testing.assert_array_equal(pickle.loads(text).clip("low01"), clip)


def test_a_file_replaced_by_one_of_the_same_size_is_another_clip(few, corpus, tmp_path, decoded):
    before = build(few, tmp_path / "cache")
    times = few.file("high01").stat()
    shutil.copyfile(corpus.file("noise01"), few.file("high01"))
    if sys.platform != "win32":  # where a change of the times themselves leaves no trace
        os.utime(few.file("high01"), ns=(times.st_atime_ns, times.st_mtime_ns))
    assert few.file("high01").stat().st_size == times.st_size
    decoded.clear()
    after = build(few, tmp_path / "cache")
    assert decoded == ["high01.wav"]
    np.testing.assert_array_equal(stored(after, "high01"), mono(corpus.file("noise01")))
    np.testing.assert_array_equal(stored(after, "low00"), stored(before, "low00"))
    assert after.content_id != before.content_id


def test_files_are_hashed_once_unless_they_change(few, tmp_path, monkeypatch):
    file = few.file("low00")
    old, times = digests([file], tmp_path), file.stat()
    file.write_bytes(file.read_bytes()[::-1])
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    new = digests([file], tmp_path)
    assert new != old
    with monkeypatch.context() as patch:
        patch.setattr(clips_module, "digest", None)
        assert digests([file], tmp_path) == new
    (tmp_path / "digests.json").write_text("{")
    assert digests([file], tmp_path) == new


def test_one_file_more_is_the_only_one_decoded(few, corpus, tmp_path, decoded):
    before = build(few, tmp_path / "cache")
    shutil.copyfile(corpus.file("low02"), few.root / "low02.wav")
    more = Corpus(few.name, few.root, corpus.tracks.loc[[*few.tracks.index, "low02"]])
    decoded.clear()
    after = build(more, tmp_path / "cache")
    assert decoded == ["low02.wav"]
    for track in more.tracks.index:
        np.testing.assert_array_equal(stored(after, track), mono(corpus.file(track)))
    fewer = build(few, tmp_path / "cache")
    assert fewer.content_id == before.content_id != after.content_id


def test_music_moved_listed_in_another_order_or_held_to_a_length_is_not_decoded_again(few, tmp_path, decoded):
    before = build(few, tmp_path / "cache")
    decoded.clear()
    other = build(Corpus(few.name, few.root, few.tracks[::-1]), tmp_path / "cache")
    pd.testing.assert_frame_equal(other.tracks, before.tracks)
    after = build(Corpus(few.name, few.root.rename(tmp_path / "moved"), few.tracks), tmp_path / "cache")
    assert before.content_id == other.content_id == after.content_id
    longer = build(after.corpus, tmp_path / "cache", shortest=4.1)
    assert decoded == [] and list(longer.tracks.index) == ["high01", "low01"]
    assert longer.left_out["reason"].unique().tolist() == ["too short (4.0 s of at least 4.1 s)"]
    assert longer.content_id != before.content_id


def test_the_content_id_is_of_the_usable_tracks(few, tmp_path):
    def content(tracks=few.tracks, **options):
        return build(Corpus(few.name, few.root, tracks), tmp_path / "cache", **options).content_id

    listed = few.tracks.copy()
    listed.loc["gone"] = ["gone.wav", "low", None]
    assert content() == content(listed) == content(few.tracks.assign(notes="something"))
    changed = few.tracks.assign(group=[None, *few.tracks["group"][1:]])
    assert len({content(), content(few.tracks.assign(label=["low", "low", "high", "high"])), content(changed)}) == 3
    assert content(few.tracks.assign(split="train")) not in (content(), content(few.tracks.assign(split="test")))
    assert content(few.tracks[1:]) != content()


def test_two_tracks_with_the_same_bytes_are_one_clip(few, tmp_path, decoded):
    shutil.copyfile(few.file("low00"), few.file("low01"))
    store = build(few, tmp_path / "cache")
    assert decoded == ["high00.wav", "high01.wav", "low01.wav"]
    np.testing.assert_array_equal(store.arrays["mel"].clip("low01"), store.arrays["mel"].clip("low00"))


def test_a_suffix_that_libsndfile_goes_by_is_of_what_a_file_holds(tmp_path, monkeypatch):
    """It finds the first frame of an MP3 behind other bytes only where the name ends in .mp3. FFmpeg finds it anyway,
    in values of its own."""
    monkeypatch.setattr(decode_module, "_by_ffmpeg", lambda *_: ())
    mp3 = bytes(500) + encode_mp3(np.sin(np.arange(3 * 44_100) / 20), 44_100)
    for name in ("a.bin", "b.MP3"):
        (tmp_path / name).write_bytes(mp3)
    tracks = pd.DataFrame({"path": ["a.bin", "b.MP3"], "label": ["x", "y"], "group": None}, index=["a", "b"])
    store = build(Corpus("mp3", tmp_path, tracks), tmp_path / "cache")
    assert list(store.tracks.index) == ["b"] and list(store.left_out.index) == ["a"]


def test_another_revision_of_the_store_is_not_used(few, tmp_path, decoded, monkeypatch):
    before = build(few, tmp_path / "cache").content_id
    for module in ("clips", "store"):
        monkeypatch.setattr(f"soundfusion_lib.audio.{module}.STORE_REVISION", STORE_REVISION + 1)
    assert build(few, tmp_path / "cache").content_id != before and len(decoded) == 8


def test_a_file_that_cannot_be_read_for_now_is_tried_again(few, tmp_path):
    file = few.file("low01")
    away = file.rename(file.with_suffix(".away"))
    assert build(few, tmp_path / "cache").left_out["reason"].to_dict() == {"low01": "file not found"}
    away.rename(file)
    assert build(few, tmp_path / "cache", decode=False) is None
    store = build(few, tmp_path / "cache")
    assert store.left_out.empty
    np.testing.assert_array_equal(stored(store, "low01"), mono(file))


SCRIPT = """
import sys, time
import pandas as pd
from conftest import build
from soundfusion_lib.audio import representations
from soundfusion_lib.datasets import Corpus

root, table, cache, stop_after = sys.argv[1:]
stream, done = representations.stream, 0

def stopping(file, seconds):
    global done
    if done == int(stop_after):
        print("stopped", flush=True)
        time.sleep(60)
    done += 1
    return stream(file, seconds)

representations.stream = stopping
build(Corpus("tones", root, pd.read_pickle(table)), cache)
"""


def start_building(corpus: Corpus, cache: Path, stop_after: int = -1) -> subprocess.Popen:
    """A process that builds the corpus's store, and that says so and waits once it has decoded so many clips."""
    table = cache.parent / "tracks.pickle"
    corpus.tracks.to_pickle(table)
    command = [sys.executable, "-c", SCRIPT, str(corpus.root), str(table), str(cache), str(stop_after)]
    return subprocess.Popen(command, env=TESTS_TOO, stdout=subprocess.PIPE, text=True)


def test_a_killed_build_goes_on_where_it_stopped(store, corpus, tmp_path, decoded):
    cache = tmp_path / "cache"
    with start_building(corpus, cache, stop_after=10) as process:
        assert process.stdout.readline() == "stopped\n"
        process.kill()
    with open(ClipFolder(cache / "tones", Waveform()).data, "ab") as half_written:
        half_written.write(b"\1" * 999)
    with open(ClipFolder(cache / "tones", SMALL_MEL).journal, "a") as torn:
        torn.write('{"digest": "ab')
    resumed = build(corpus, cache)
    assert len(decoded) == len(corpus.tracks) - 10
    assert_same_files(resumed, store, ["data.bin", "clips.jsonl"])


def test_processes_that_build_at_once_share_the_work(store, corpus, tmp_path):
    for process in [start_building(corpus, tmp_path / "cache") for _ in range(2)]:
        assert process.wait() == 0
        process.stdout.close()
    assert_same_files(build(corpus, tmp_path / "cache", decode=False), store)


def test_arrays_shorter_than_their_journal_are_made_anew(store, corpus, tmp_path, decoded):
    """As after a power cut: the journal reached the disk, the arrays did not."""
    mel = build(corpus, tmp_path).arrays["mel"]
    third = corpus.tracks.index[2]
    os.truncate(mel.folder / "data.bin", mel.tracks.loc[third, "start"] * 2 * 2 * 32 + 100)
    decoded.clear()
    rebuilt = build(corpus, tmp_path)
    assert len(decoded) == len(corpus.tracks) - 2
    assert_same_files(rebuilt, store)


def test_a_script_without_a_main_guard_fails_instead_of_waiting_for_itself(few, tmp_path):
    few.tracks.to_pickle(tmp_path / "tracks")
    script = tmp_path / "script.py"
    imports = "import pandas as pd\nfrom conftest import build\nfrom soundfusion_lib.datasets import Corpus\n"
    script.write_text(f"{imports}build(Corpus('few', 'few', pd.read_pickle('tracks')), 'cache', workers=2)\n")
    done = run_python(script, cwd=tmp_path)
    assert done.returncode != 0 and 'under `if __name__ == "__main__":`' in done.stderr
