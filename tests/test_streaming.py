"""A file read piece by piece has the very values of the whole."""

import subprocess
import sys
import tempfile

import numpy as np
import pytest
import soundfile

from soundfusion_lib.audio import decode as audio
from soundfusion_lib.audio import streaming
from soundfusion_lib.audio.decode import UnreadableFile, UnusableAudio, decode, stream
from soundfusion_lib.audio.representations import MelSpectrogram, Waveform
from soundfusion_lib.audio.streaming import streamed
from soundfusion_lib.errors import SoundFusionError

SPECS = [
    Waveform(),
    Waveform(44_100),
    MelSpectrogram(),
    MelSpectrogram(22_050, 1, 128),
    MelSpectrogram(22_050, 2, 16, n_fft=301, hop_length=450),  # an odd window, shorter than the hop
    MelSpectrogram(22_050, 1, 32, n_fft=1024, hop_length=2048, top_db=30),
]
FILES = {  # seconds, rate, channels, suffix
    "short": (0.004, 22_050, 1, "wav"),
    "mono": (3.1, 48_000, 1, "flac"),
    "stereo": (2.7, 44_100, 2, "mp3"),
    "many": (4.03, 11_025, 3, "wav"),
    "level": (3.0, 22_050, 2, "ogg"),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Sounds that get louder, so that the loudest value of all comes at the end."""
    folder, random = tmp_path_factory.mktemp("files"), np.random.default_rng(0)
    paths = {}
    for name, (seconds, rate, channels, suffix) in FILES.items():
        tones = np.sin(np.cumsum(random.uniform(0, 1, (int(seconds * rate), channels)), axis=0))
        paths[name] = folder / f"{name}.{suffix}"
        soundfile.write(paths[name], tones * np.linspace(0.01, 0.9, len(tones))[:, None], rate)
    return paths


@pytest.fixture
def small_pieces(monkeypatch):
    """Many borders in a short file."""
    monkeypatch.setattr(audio, "BLOCK", 5_003)
    monkeypatch.setattr(streaming, "CHUNK", 6_007)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.slug)
@pytest.mark.parametrize("name", FILES)
@pytest.mark.filterwarnings("ignore:At least one mel filterbank:UserWarning")
def test_pieces_are_the_whole_at_every_border(files, name, spec, small_pieces):
    samples, rate = decode(files[name])
    whole = spec.transform(samples, rate)
    with streamed(files[name], [spec]) as (seconds, (array,)):
        assert seconds == len(samples) / rate and array.frames == len(whole)
        pieces = [array.read(start, start + 7) for start in range(0, array.frames, 7)]
        assert array.silence == spec.silence(whole)
    assert np.concatenate(pieces).dtype == whole.dtype
    # the resampler and the transform of short pieces may round another last digit: 1 of 32,768, or float16's at 80 dB
    np.testing.assert_allclose(np.concatenate(pieces).astype(float), whole.astype(float), atol=1.01 * _digit(spec))


def _digit(spec) -> float:
    return 1.0 if spec.kind == "waveform" else float(np.spacing(np.float16(80)))


def test_all_representations_come_from_one_reading(files, small_pieces):
    with streamed(files["stereo"], SPECS[:4]) as (_, arrays):
        assert [array.spec for array in arrays] == SPECS[:4] and all(array.frames > 0 for array in arrays)


@pytest.mark.parametrize("name", FILES)
def test_a_stream_has_the_samples_of_the_file(files, name, small_pieces):
    blocks = list(stream(files[name]))
    assert {rate for _, rate in blocks} == {FILES[name][1]} and max(len(block) for block, _ in blocks) <= 5_003
    np.testing.assert_array_equal(np.concatenate([block for block, _ in blocks]), decode(files[name])[0])


def test_a_stream_gives_the_reasons_that_decoding_does(tmp_path, small_pieces):
    (tmp_path / "broken.mp3").write_bytes(b"nothing")
    soundfile.write(tmp_path / "empty.wav", np.zeros((0, 1)), 22_050)
    late = np.zeros(20_000, np.float32)
    late[-1] = np.nan
    soundfile.write(tmp_path / "nan.wav", late, 22_050, "FLOAT")
    reasons = {"none.wav": "file not found", "broken.mp3": "cannot be decoded", "empty.wav": "holds no audio"}
    for name, reason in {**reasons, "nan.wav": "not finite"}.items():
        with pytest.raises(UnusableAudio, match=reason) as caught:
            list(stream(tmp_path / name))
        assert isinstance(caught.value, UnreadableFile) == (name == "none.wav")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /dev/full")
def test_a_full_temporary_folder_is_said_to_be_full(files, monkeypatch):
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda: open("/dev/full", "r+b", 0))  # noqa: SIM115
    with (
        pytest.raises(SoundFusionError, match="does not take what is decoded.*set TMPDIR"),
        streamed(files["mono"], [Waveform()]),
    ):
        pass


PEAK = """
import resource, sys
from pathlib import Path
from soundfusion_lib.audio.representations import MelSpectrogram, Waveform
from soundfusion_lib.audio.streaming import streamed

def peak(file):
    with streamed(Path(file), [Waveform(), MelSpectrogram()]) as (_, arrays):
        for array in arrays:
            for start in range(0, array.frames, 10_000):
                array.read(start, start + 10_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)

before = peak(sys.argv[1])
print(peak(sys.argv[2]) - before)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such count")
def test_memory_does_not_grow_with_the_file(tmp_path):
    """Ten minutes are 200 MB of samples alone, and several times that on the way to a spectrogram."""
    noise = np.random.default_rng(0).normal(0, 0.1, (44_100 * 20, 2)).astype(np.float32)
    for name, times in (("short", 1), ("long", 30)):
        with soundfile.SoundFile(tmp_path / f"{name}.wav", "w", 44_100, 2) as file:
            for _ in range(times):
                file.write(noise)
    command = [sys.executable, "-c", PEAK, *(str(tmp_path / f"{name}.wav") for name in ("short", "long"))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float(done.stdout) < 60  # MiB
