import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from conftest import SMALL_MEL
from threadpoolctl import threadpool_limits

from soundfusion_lib import store as store_module
from soundfusion_lib.audio import decode
from soundfusion_lib.corpora import Corpus
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.representations import Waveform
from soundfusion_lib.store import Store


def build(corpus, cache, specs=(Waveform(), SMALL_MEL), **options):
    return Store.build(corpus, list(specs), cache, **{"shortest": 1.0, "workers": 1, "progress": False, **options})


def test_every_clip_is_where_the_index_says(store, corpus):
    assert list(store.tracks.index) == list(corpus.tracks.index)
    assert store.left_out.empty
    for track in ("low00", "high03", "noise05"):
        samples, rate = decode(corpus.file(track))
        for spec in (Waveform(), SMALL_MEL):
            with threadpool_limits(1):  # as the store does: on more threads sums are added up in another order
                expected = spec.transform(samples, rate)
            np.testing.assert_array_equal(store.arrays[spec.kind].clip(track), expected)
    mono = store.arrays["mel"].clip("low05")
    np.testing.assert_array_equal(mono[:, 0], mono[:, 1])


def test_files_on_disk_are_exactly_the_arrays(store):
    for array in store.arrays.values():
        about = json.loads((array.folder / "store.json").read_text())
        assert about["dtype"] == array.data.dtype.name
        assert (array.folder / "data.bin").stat().st_size == array.data.nbytes
    assert not list(array.folder.parent.glob("*.partial"))


def test_one_decode_serves_all_representations_and_nothing_is_decoded_twice(corpus, tmp_path, monkeypatch):
    decoded = []
    monkeypatch.setattr(store_module, "decode", lambda file: decoded.append(file) or decode(file))
    build(corpus, tmp_path)
    assert len(decoded) == len(corpus.tracks)
    build(corpus, tmp_path)
    build(corpus, tmp_path, [SMALL_MEL])
    assert len(decoded) == len(corpus.tracks)
    build(corpus, tmp_path, [Waveform(8_000), SMALL_MEL])  # one of them is new
    assert len(decoded) == 2 * len(corpus.tracks)


def test_worker_processes_give_the_same_arrays(store, corpus, tmp_path):
    parallel = build(corpus, tmp_path, workers=2)
    for kind, array in store.arrays.items():
        np.testing.assert_array_equal(parallel.arrays[kind].data, array.data)
        pd.testing.assert_frame_equal(parallel.arrays[kind].tracks, array.tracks)


@pytest.fixture
def flawed(corpus, tmp_path) -> Corpus:
    """Two good clips among one of each fault."""
    root = tmp_path / "flawed"
    root.mkdir()
    (root / "good1.wav").write_bytes(corpus.file("low00").read_bytes())
    (root / "good2.wav").write_bytes(corpus.file("high00").read_bytes())
    (root / "garbage.mp3").write_bytes(b"this is no music " * 100)
    soundfile.write(root / "short.wav", np.zeros(11_025), 22_050)
    soundfile.write(root / "empty.wav", np.zeros(0), 22_050)
    names = ["garbage.mp3", "good1.wav", "missing.wav", "short.wav", "good2.wav", "empty.wav"]
    table = pd.DataFrame({"path": names, "genre": ["a", "b"] * 3, "artist": None}, index=[n.split(".")[0] for n in names])
    return Corpus("flawed", root, table)


def test_unusable_clips_are_left_out_and_reported_never_replaced(flawed, tmp_path):
    store = build(flawed, tmp_path / "cache")
    assert list(store.tracks.index) == ["good1", "good2"]
    reasons = store.left_out["reason"].to_dict()
    assert reasons.pop("garbage").startswith("cannot be decoded")
    assert reasons == {
        "missing": "file not found",
        "short": "too short (0.5 s of at least 1 s)",
        "empty": "holds no audio",
    }
    assert store.arrays["waveform"].data.shape[0] == 2 * 4 * 22_050
    with pytest.raises(SoundFusionError, match="short.*left out.*too short"):
        store.arrays["mel"].clip("short")


def test_a_corpus_without_a_usable_clip_is_refused(flawed, tmp_path):
    with pytest.raises(SoundFusionError, match="none of its 6 clips is usable"):
        build(flawed, tmp_path / "cache", shortest=60.0)


def test_another_file_size_or_spec_is_another_store(flawed, tmp_path):
    first = build(flawed, tmp_path / "cache")
    (flawed.root / "missing.wav").write_bytes((flawed.root / "good1.wav").read_bytes())
    second = build(flawed, tmp_path / "cache")
    assert len(second.tracks) == 3 and len(first.tracks) == 2


KILLED = """
import sys, time
import conftest_path, soundfusion_lib.store as module
from soundfusion_lib.store import Store
corpus, cache = conftest_path.corpus_of(sys.argv[1]), sys.argv[2]
decode, done = module.decode, 0
def slow(file):
    global done
    done += 1
    if done > 10:
        print("ten done", flush=True)
        time.sleep(60)
    return decode(file)
module.decode = slow
Store.build(corpus, conftest_path.SPECS, cache, shortest=1.0, workers=1, progress=False)
"""


def test_a_killed_build_goes_on_where_it_stopped(store, corpus, tmp_path, monkeypatch):
    helper = f"""
import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})
import pandas as pd
from conftest import SMALL_MEL
from threadpoolctl import threadpool_limits
from soundfusion_lib.corpora import Corpus
from soundfusion_lib.representations import Waveform
SPECS = [Waveform(), SMALL_MEL]
def corpus_of(root):
    return Corpus("tones", root, pd.read_pickle({str(tmp_path / "tracks.pickle")!r}))
"""
    (tmp_path / "conftest_path.py").write_text(helper)
    corpus.tracks.to_pickle(tmp_path / "tracks.pickle")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    cache = tmp_path / "cache"
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(corpus.root), str(cache)], env=environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ten done\n"
    process.kill()
    process.wait()
    [partial] = cache.glob("*/*.partial")
    assert not list(cache.glob("*/waveform-*s"))  # nothing under a final name
    with open(partial / "0.bin", "ab") as half_written:
        half_written.write(b"\1" * 999)
    with open(partial / "journal.jsonl", "a") as torn:
        torn.write('["low1')

    decoded = []
    monkeypatch.setattr(store_module, "decode", lambda file: decoded.append(file) or decode(file))
    resumed = build(corpus, cache)
    assert len(decoded) == len(corpus.tracks) - 10
    for kind, array in store.arrays.items():
        np.testing.assert_array_equal(resumed.arrays[kind].data, array.data)
    assert not partial.exists()


def test_arrays_shorter_than_their_journal_are_made_anew(store, corpus, tmp_path, monkeypatch):
    """As after a power cut: the journal reached the disk, the arrays did not."""

    def stop_after_five(file):
        if len(decoded) == 5:
            raise KeyboardInterrupt
        decoded.append(file)
        return decode(file)

    decoded = []
    monkeypatch.setattr(store_module, "decode", stop_after_five)
    with pytest.raises(KeyboardInterrupt):
        build(corpus, tmp_path)
    [partial] = tmp_path.glob("*/*.partial")
    os.truncate(partial / "1.bin", 100)
    monkeypatch.undo()
    rebuilt = build(corpus, tmp_path)
    np.testing.assert_array_equal(rebuilt.arrays["mel"].data, store.arrays["mel"].data)


def test_writing_to_a_clip_leaves_the_file_alone(corpus, tmp_path):
    first = build(corpus, tmp_path)
    before = int(first.arrays["waveform"].clip("low00")[100, 0, 0])
    first.arrays["waveform"].data[100] = before + 7
    assert int(build(corpus, tmp_path).arrays["waveform"].data[100, 0, 0]) == before


def test_a_script_without_a_main_guard_fails_instead_of_waiting_for_itself(corpus, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from soundfusion_lib.corpora import folder\n"
        "from soundfusion_lib.representations import Waveform\n"
        "from soundfusion_lib.store import Store\n"
        f"Store.build(folder({str(labelled(corpus, tmp_path))!r}), [Waveform()], {str(tmp_path / 'cache')!r}, shortest=1.0, workers=2)\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=120)
    assert done.returncode != 0 and 'under `if __name__ == "__main__":`' in done.stderr


def labelled(corpus: Corpus, tmp_path: Path) -> Path:
    """The corpus's files in a folder a label."""
    root = tmp_path / "labelled"
    for track, row in corpus.tracks.iterrows():
        (root / row["genre"]).mkdir(parents=True, exist_ok=True)
        (root / row["genre"] / f"{track}.wav").symlink_to(corpus.file(track))
    return root
