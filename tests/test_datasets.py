"""The readers of FMA, GTZAN, Emotify and folders, on tiny folders in their layouts."""

import csv
import unicodedata

import numpy as np
import pytest
import soundfile
from conftest import build, run_python
from mutagen.easyid3 import EasyID3
from mutagen.id3 import ID3, TPE1
from mutagen.wave import WAVE
from odd_audio import music

from soundfusion_lib.audio.decode import encode_mp3
from soundfusion_lib.audio.representations import Waveform
from soundfusion_lib.datasets import emotify, fma, folder, gtzan, open_corpus
from soundfusion_lib.datasets.gtzan import GENRES
from soundfusion_lib.errors import SoundFusionError

ROCK, POP = ("rock/a.wav", "rock/b.wav"), ("pop/c.wav", "pop/d.wav")


def audio(file):
    file.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(file, np.zeros(100, dtype=np.float32), 22050)
    return file


FMA_ROWS = [  # track id, artist id, split, subset, genre; the title has a line break, a comma and quotes, as FMA's have
    (2, 1, "training", "medium", "Hip-Hop"),
    (5, 1, "training", "small", "Hip-Hop"),
    (140, "", "validation", "small", "Folk"),
    (141, 54, "validation", "large", ""),
    (99134, 54, "training", "small", "Folk"),
    (155320, 9, "test", "small", "Rock"),
    (155321, 9, "test", "large", "Rock"),
]
FMA_HEADER = [("set", "split"), ("set", "subset"), ("track", "genre_top"), ("artist", "id"), ("track", "title")]


def make_fma(root, rows=FMA_ROWS, header=FMA_HEADER, index_row=True, clips=("small/000/000005", "small/155/155320")):
    (root / "fma_metadata").mkdir(parents=True)
    with open(root / "fma_metadata" / "tracks.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["", *(top for top, _ in header)])
        writer.writerow(["", *(name for _, name in header)])
        if index_row:
            writer.writerow(["track_id"] + [""] * len(header))
        for track, artist, split, subset, genre in rows:
            writer.writerow([track, split, subset, genre, artist, 'Song, the "Né"\nsecond line'][: len(header) + 1])
    for clip in clips:
        audio(root / f"fma_{clip}.wav").rename(root / f"fma_{clip}.mp3")
    return root


@pytest.mark.parametrize("index_row", [True, False])
def test_fma_small(tmp_path, index_row):
    corpus = fma(make_fma(tmp_path, index_row=index_row))
    assert (corpus.name, corpus.synthetic) == ("fma_small", False)
    assert corpus.tracks.index.tolist() == ["000005", "000140", "099134", "155320"]
    assert corpus.tracks["split"].tolist() == ["train", "validation", "train", "test"]
    assert corpus.tracks["group"].tolist() == ["1", None, "54", "9"]
    assert corpus.labels == ["Folk", "Hip-Hop", "Rock"]
    assert corpus.tracks.loc["099134", "path"] == "fma_small/099/099134.mp3"
    assert corpus.file("000005").is_file() and not corpus.file("000140").is_file()  # missing clips stay in the table


def test_fma_medium_holds_small_and_not_large(tmp_path):
    """As plain strings, "large" <= "medium" and "small" > "medium"."""
    corpus = fma(make_fma(tmp_path, clips=["medium/000/000002"]), "medium")
    assert corpus.tracks.index.tolist() == ["000002", "000005", "000140", "099134", "155320"]
    assert corpus.name == "fma_medium"


def test_fma_without_metadata_or_clips_or_with_a_foreign_table_says_what_to_run(tmp_path):
    with pytest.raises(SoundFusionError, match=r"tracks\.csv .*No such file.*: `soundfusion download fma_metadata`"):
        fma(tmp_path / "nothing")
    with pytest.raises(SoundFusionError, match="fma_small not found: `soundfusion download fma_small`"):
        fma(make_fma(tmp_path / "no clips", clips=[]))
    header = [("set", "split"), ("set", "subset"), ("track", "genre"), *FMA_HEADER[3:]]
    with pytest.raises(SoundFusionError, match=r"tracks\.csv .*\('track', 'genre_top'\)"):
        fma(make_fma(tmp_path / "foreign", header=header))
    (tmp_path / "foreign" / "fma_metadata" / "tracks.csv").write_bytes(b"\xff\xfe\x00PK\n")
    with pytest.raises(SoundFusionError, match=r"is not FMA's tracks\.csv .*`soundfusion download fma_metadata`"):
        fma(tmp_path / "foreign")
    with pytest.raises(SoundFusionError, match="track '000007' has no genre: mend its row"):
        fma(make_fma(tmp_path, [*FMA_ROWS, (7, 1, "training", "small", "")]))


def make_gtzan(root, per_genre, suffix=".wav", genres=("blues", "jazz")):
    for genre in genres:
        for number in range(per_genre):
            file = root / "genres" / genre / f"{genre}.{number:05d}{suffix}"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
    return root


def test_gtzan_fault_filtered(tmp_path):
    make_gtzan(tmp_path, 100, genres=GENRES)
    (tmp_path / "genres" / "jazz" / "jazz.00054.wav").unlink()
    (tmp_path / "genres" / "jazz" / "._jazz.00001.wav").touch()
    corpus = gtzan(tmp_path)
    assert corpus.tracks["split"].value_counts().to_dict() == {"train": 443, "test": 290, "validation": 197}
    assert corpus.labels == list(GENRES)
    assert corpus.tracks["group"].isna().all()
    assert corpus.tracks.loc["jazz.00054", "path"] == "genres/jazz/jazz.00054.wav"  # missing, but listed
    assert corpus.tracks.loc["blues.00012"].tolist() == ["genres/blues/blues.00012.wav", "blues", None, "test"]


@pytest.mark.parametrize("suffix", [".wav", ".mp3"])
def test_gtzan_in_layout_only(tmp_path, suffix):
    make_gtzan(tmp_path, 3, suffix)
    (tmp_path / "genres" / "blues" / "notes.txt").touch()
    corpus = gtzan(tmp_path, fault_filtered=False)
    assert corpus.tracks.index.tolist() == [f"{genre}.0000{n}" for genre in ("blues", "jazz") for n in range(3)]
    assert corpus.tracks.loc["jazz.00002", "path"] == f"genres/jazz/jazz.00002{suffix}"
    assert "split" not in corpus.tracks
    with pytest.raises(SoundFusionError, match="`soundfusion download gtzan`"):
        gtzan(tmp_path / "nothing", fault_filtered=False)


@pytest.fixture(scope="module")
def emotify_root(tmp_path_factory):
    """Two files of 4 s per genre, but for the second one of classical, which has 1.5 s."""
    root = tmp_path_factory.mktemp("emotify")
    artists = iter(["Anon Viols", "Magnatune Compilation", "Zilla", "Zilla", "  Brad  Sucks ", None, "Zilla", ""])
    for genre in ("classical", "electronic", "pop", "rock"):
        (root / "emotifymusic" / genre).mkdir(parents=True)
        for number in (1, 10):
            file = root / "emotifymusic" / genre / f"{number}.mp3"
            seconds = 1.5 if (genre, number) == ("classical", 10) else 4
            file.write_bytes(encode_mp3(music(44_100, seconds=seconds), 44_100))
            if (artist := next(artists)) is not None:
                tags = ID3()
                tags.add(TPE1(encoding=3, text=artist))
                tags.save(file)
    return root


def test_emotify(emotify_root):
    corpus = emotify(emotify_root)
    assert corpus.seconds == 30 and corpus.labels == ["classical", "electronic", "pop", "rock"]
    artists = corpus.tracks["group"].to_dict()
    nobody = ["classical/010", "pop/010", "rock/010"]  # a compilation, no tags at all, an empty one
    assert [artists.pop(track) for track in nobody] == [None] * 3
    assert [artists.pop(f"{genre}/001") for genre in corpus.labels] == ["Anon Viols", "Zilla", "Brad Sucks", "Zilla"]
    assert artists == {"electronic/010": "Zilla"}
    assert corpus.file("pop/010").name == "10.mp3"


def test_emotify_s_first_seconds_are_used_and_another_length_is_another_clip(emotify_root, tmp_path):
    short, long = (build(emotify(emotify_root, seconds), tmp_path) for seconds in (2.0, None))
    assert short.tracks["seconds"].drop("classical/010").eq(2).all()
    assert short.tracks.loc["classical/010", "seconds"] == pytest.approx(1.5, abs=0.1)
    assert long.tracks["seconds"].drop("classical/010").between(4, 4.1).all()
    assert short.content_id != long.content_id
    both = [store.arrays["waveform"].clip("rock/001")[:, 0, 0] for store in (short, long)]
    np.testing.assert_array_equal(both[0][:40_000], both[1][:40_000])
    assert len(both[0]) == 2 * Waveform().sample_rate < len(both[1])
    assert build(emotify(emotify_root, 2.0), tmp_path).content_id == short.content_id
    with pytest.raises(SoundFusionError, match="classical holds no clip.*soundfusion download emotify"):
        emotify(tmp_path)


def test_importing_the_readers_does_not_import_torch():
    code = "import sys, soundfusion_lib.datasets; sys.exit('torch' in sys.modules)"
    assert run_python("-c", code).returncode == 0


def test_folder_of_labels(tmp_path):
    root = tmp_path / "My music (2024)"
    for file in (*ROCK, "pop/disc 1/c.flac", "pop/disc 1/d.OGG"):
        audio(root / file)
    for ignored in ("pop/.hidden/e.wav", "pop/.f.wav", "g.wav", ".h/i.wav"):
        audio(root / ignored)
    (root / "pop" / "cover.jpg").touch()
    corpus = folder(root, label="style")
    assert (corpus.name, corpus.label_name) == ("My_music_2024", "style")
    assert corpus.tracks["path"].tolist() == ["pop/disc 1/c.flac", "pop/disc 1/d.OGG", *ROCK]
    assert corpus.tracks.index.tolist() == ["pop/disc 1/c", "pop/disc 1/d", "rock/a", "rock/b"]
    assert corpus.labels == ["pop", "rock"]
    assert corpus.tracks["group"].tolist() == ["disc 1", "disc 1", None, None]
    assert corpus.untried == "1 .wav, 1 .jpg"
    assert "split" not in corpus.tracks
    assert all(soundfile.info(corpus.file(track)).frames == 100 for track in corpus.tracks.index)


def test_artists_of_folders_are_those_of_tags_else_the_folder_below_the_label(tmp_path):
    files = {
        "rock/a.wav": " Ann \n B ",
        "rock/Künstler/1/b.wav": None,
        unicodedata.normalize("NFD", "pop/Künstler/c.wav"): None,
        "pop/Künstler/d.wav": "Ann B",
        "pop/Various Artists/e.wav": "various artists",
        "pop/f.wav": None,
    }
    for file, artist in files.items():
        tags = WAVE(audio(tmp_path / file))
        if artist:
            tags.add_tags()
            tags.tags.add(TPE1(text=artist))
            tags.save()
    tracks = folder(tmp_path).tracks
    artists = tracks["group"].set_axis(tracks.index.map(lambda track: track[-1])).to_dict()
    assert artists == {"a": "Ann B", "b": "Künstler", "c": "Künstler", "d": "Ann B", "e": None, "f": None}
    assert folder(tmp_path).artists_note.startswith(", artists of 2 of 6 tracks unknown: tracks of one artist may")
    mp3 = encode_mp3(np.sin(np.arange(44_100)), 44_100)
    (tmp_path / "pop" / "f.mp3").write_bytes(mp3)
    tags = EasyID3()
    tags["artist"] = "Ann B"
    tags.save(tmp_path / "pop" / "f.mp3")
    assert folder(tmp_path).tracks.loc["pop/f.mp3", "group"] == "Ann B"
    with_metadata(tmp_path, "file_name,genre\nrock/a.wav,rock\npop/f.mp3,pop\n", ())
    assert folder(tmp_path).tracks["group"].tolist() == ["Ann B", "Ann B"] and folder(tmp_path).artists_note == ""
    with_metadata(tmp_path, "file_name,genre,artist\nrock/a.wav,rock,\npop/f.mp3,pop,\n", ())
    note = ", artists unknown: tracks of one artist may be on both sides"
    assert folder(tmp_path).tracks["group"].tolist() == [None, None] and folder(tmp_path).artists_note == note


def test_folder_follows_links_and_keeps_suffixes_where_names_are_alike(tmp_path):
    for file in ("music/rock/a.wav", "elsewhere/c.wav", "elsewhere/c.flac"):
        audio(tmp_path / file)
    (tmp_path / "music" / "pop").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    tracks = folder(tmp_path / "music").tracks
    assert tracks.index.tolist() == tracks["path"].tolist() == ["pop/c.flac", "pop/c.wav", "rock/a.wav"]


def test_a_folder_without_audio_is_refused(tmp_path):
    with pytest.raises(SoundFusionError, match=r"no audio files.*\.mp3"):
        folder(tmp_path)


def with_metadata(root, text, files=(*ROCK, *POP), encoding="utf-8"):
    for file in files:
        audio(root / file)
    (root / "metadata.csv").write_bytes(text.encode(encoding))
    return root


def test_metadata(tmp_path):
    text = (
        "file_name,genre,artist,split,bpm\n"
        'rock/a.wav,"Rock, hard", Ann ,train,120\n'
        "\n"
        "rock/./b.wav,NA,,test,\n"
        'pop/c.wav,None,nan,validation,"two\nlines"\n'
        "pop/gone.wav,007,12,train,\n"
    )
    corpus = folder(with_metadata(tmp_path, text))
    assert corpus.tracks.index.tolist() == ["pop/c", "pop/gone", "rock/a", "rock/b"]  # not listed: pop/d.wav
    assert corpus.tracks["label"].tolist() == ["None", "007", "Rock, hard", "NA"]  # text, never a missing value
    assert corpus.tracks["group"].tolist() == ["nan", "12", "Ann", None]
    assert corpus.tracks["split"].tolist() == ["validation", "train", "train", "test"]
    assert corpus.file("rock/b").is_file() and not corpus.file("pop/gone").is_file()


def test_metadata_names_in_another_unicode_form_or_case_are_found_and_files_not_listed_are_counted(tmp_path):
    composed, apart = (unicodedata.normalize(form, "pop/Künstlerin.wav") for form in ("NFC", "NFD"))
    for name, file in ((composed, apart), (apart, composed)):
        root = tmp_path / unicodedata.name(name[5])
        with_metadata(root, f"file_name,genre\n{name},pop\nROCK/A.WAV,rock\npop/c.wav,pop\n", (file, *ROCK, *POP))
        (root / "pop" / "cover.jpg").touch()
        corpus = folder(root)
        assert corpus.tracks["path"].tolist() == sorted([file, "rock/a.wav", "pop/c.wav"])
        assert corpus.untried == "2 .wav, 1 .jpg"


def test_metadata_from_windows_and_in_another_encoding(tmp_path):
    text = "file_name,genre\r\nrock/a.wav,Röck\r\npop/c.wav,pop\r\n"
    corpus = folder(with_metadata(tmp_path, text, encoding="utf-8-sig"))
    assert corpus.labels == ["Röck", "pop"]
    assert corpus.tracks["group"].tolist() == [None, None] and "split" not in corpus.tracks
    with pytest.raises(SoundFusionError, match="cannot be read as CSV in UTF-8"):
        folder(with_metadata(tmp_path, text, encoding="latin-1"))


@pytest.mark.parametrize(
    "text, message",
    [
        ("name,genre\nrock/a.wav,rock\n", "needs the columns file_name and genre, and has name, genre"),
        ("", "No columns to parse"),
        ("file_name,genre\n", "holds no tracks"),
        ("file_name,genre\nrock/a.wav,rock\n\npop/c.wav, \n", "track 'pop/c' has no genre"),
        ("file_name,genre\nrock/a.wav,rock\npop/../rock/a.wav,pop\n", r"'rock/a\.wav' occurs more than once"),
        ("file_name,genre,split\nrock/a.wav,rock,\n", "'rock/a' has a split that is none of"),
    ],
)
def test_metadata_refusals(tmp_path, text, message):
    with pytest.raises(SoundFusionError, match=message):
        folder(with_metadata(tmp_path, text))


@pytest.mark.parametrize(
    "spec, message",
    [
        ({"kind": ["demo"]}, r'kind = \["demo"\]: must be one of demo, demo_gtzan, emotify, fma, gtzan, folder'),
        ({"kind": "folder"}, "corpus: needs path"),
        ({"kind": "fma", "subset": "large"}, "corpus: subset = \"large\": must be 'small' or 'medium'"),
    ],
)
def test_a_corpus_that_cannot_be_named_so(spec, message):
    with pytest.raises(SoundFusionError, match=message):
        open_corpus(spec)
