"""MP3s to both representations: this library against decoding alone, torchaudio and librosa.

    python benchmarks/prepare.py                   # 240 synthetic clips of 30 s
    python benchmarks/prepare.py --folder MUSIC    # the audio files in a folder
    python benchmarks/prepare.py --shares          # where the core time of one clip goes, step by step

Every method has as many processes with one thread each, started and warm before its time is taken. Peers decode each
file once, as we do, and save each clip's two arrays as .npy. librosa is measured where it is installed (pip install
librosa).
"""

import multiprocessing
import os
import shutil
import tempfile
import threading
import time
from collections import deque
from functools import partial
from pathlib import Path

import click
import numpy as np
import pandas as pd
import psutil
import torch
from common import record
from torchaudio import functional, transforms

from soundfusion_lib.audio.clips import ClipFolder, Job, _represent, digest
from soundfusion_lib.audio.decode import UnusableAudio, decode, encode_mp3, resample, to_channels
from soundfusion_lib.audio.representations import (
    BLOCK,
    MelSpectrogram,
    Representation,
    Waveform,
    _mel_filters,
    represent,
)
from soundfusion_lib.audio.store import SHORTEST, Store
from soundfusion_lib.datasets import folder as folder_corpus
from soundfusion_lib.datasets.corpus import Corpus
from soundfusion_lib.datasets.demo import demo
from soundfusion_lib.pool import cores, worker_pool

MEL = MelSpectrogram()
WAVEFORM = Waveform()


def decode_only(target: Path, file: Path) -> None:
    decode(file)


def with_torchaudio(target: Path, file: Path) -> None:
    """The usual pipeline. torchaudio.load needs FFmpeg since 2.9, so the decoder is ours, which is as fast."""
    samples, rate = decode(file)
    stereo = torch.from_numpy(samples.T)
    if not hasattr(with_torchaudio, "mel"):
        with_torchaudio.mel = torch.nn.Sequential(
            transforms.MelSpectrogram(MEL.sample_rate, MEL.n_fft, hop_length=MEL.hop_length, n_mels=MEL.n_mels),
            transforms.AmplitudeToDB("power", MEL.top_db),
        )
        with_torchaudio.resample = transforms.Resample(44_100, WAVEFORM.sample_rate)
    mono = stereo.mean(0, keepdim=True)
    waveform = (
        with_torchaudio.resample(mono) if rate == 44_100 else functional.resample(mono, rate, WAVEFORM.sample_rate)
    )
    stereo = stereo if rate == MEL.sample_rate else functional.resample(stereo, rate, MEL.sample_rate)
    np.save(target / f"{file.stem}.waveform.npy", waveform.numpy())
    np.save(target / f"{file.stem}.mel.npy", with_torchaudio.mel(stereo).numpy())


def with_librosa(target: Path, file: Path) -> None:
    import librosa

    stereo, rate = librosa.load(file, sr=None, mono=False)
    waveform = librosa.resample(librosa.to_mono(stereo), orig_sr=rate, target_sr=WAVEFORM.sample_rate)
    if rate != MEL.sample_rate:
        stereo = librosa.resample(stereo, orig_sr=rate, target_sr=MEL.sample_rate)
    power = librosa.feature.melspectrogram(
        y=stereo, sr=MEL.sample_rate, n_fft=MEL.n_fft, hop_length=MEL.hop_length, n_mels=MEL.n_mels, htk=True, norm=None
    )
    np.save(target / f"{file.stem}.waveform.npy", waveform)
    np.save(target / f"{file.stem}.mel.npy", librosa.power_to_db(power, top_db=80))


class Peak:
    """Peak of resident memory of a worker while the block runs, in MiB: each worker's own, and with what it shares."""

    def __enter__(self):
        self.resident = self.own = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self):
        while not self._stop.wait(0.2):
            for process in psutil.Process().children(recursive=True):
                try:
                    if process.ppid() == os.getpid() and "forkserver" in multiprocessing.get_all_start_methods():
                        continue  # the server that workers are forked from
                    memory = process.memory_full_info()
                except psutil.Error:
                    continue
                self.resident = max(self.resident, memory.rss / 2**20)
                self.own = max(self.own, memory.uss / 2**20)

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()


def peer(function, files: list[Path], workers: int, scratch: Path) -> tuple[float, Peak]:
    """Seconds that the processes take over all files, and their peak memory."""
    target = scratch / function.__name__
    target.mkdir()
    with worker_pool(workers) as pool:
        list(pool.map(partial(function, target), files[: 4 * workers]))  # imports, filters, caches
        with Peak() as peak:
            began = time.perf_counter()
            list(pool.map(partial(function, target), files))
            seconds = time.perf_counter() - began
    shutil.rmtree(target)
    return seconds, peak


def ours(corpus: Corpus, specs: list[Representation], workers: int, scratch: Path) -> tuple[float, Peak]:
    """As `peer`, of Store.build; forking its processes is part of its time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1 if workers == 1 else threads)  # one worker is this process
    with Peak() as peak:
        began = time.perf_counter()
        Store.build(corpus, specs, scratch / "store", workers=workers, progress=False)
        seconds = time.perf_counter() - began
    torch.set_num_threads(threads)
    shutil.rmtree(scratch / "store")
    return seconds, peak


def shares(file: Path, scratch: Path, repeats: int) -> pd.DataFrame:
    """Core milliseconds of the steps of one clip on one thread, the least of so many repeats, and their ratio to
    decoding. What a step is a part of comes before it, without indentation."""
    samples, rate = decode(file)
    mono, window, half = to_channels(samples, 1), torch.hann_window(MEL.n_fft), MEL.n_fft // 2
    frames = torch.from_numpy(np.pad(samples, ((half, half), (0, 0)), "reflect")).T.unfold(1, MEL.n_fft, MEL.hop_length)
    blocks = [block for channel in frames for block in channel.split(BLOCK)]
    spectra = [torch.fft.rfft(block * window).numpy() for block in blocks]
    powers = [spectrum.real**2 + spectrum.imag**2 for spectrum in spectra]
    filters = _mel_filters(MEL.sample_rate, MEL.n_mels, MEL.n_fft)

    folders = [ClipFolder(scratch / "store", spec) for spec in (WAVEFORM, MEL)]
    for folder in folders:
        folder.prepare()

    def whole() -> None:
        for array in represent(file, [WAVEFORM, MEL], scratch)[1]:
            array.path.unlink()

    def stored() -> None:
        for folder, clip in zip(folders, _represent(scratch, Job(file, "", None, folders)), strict=True):
            folder.add(*clip)

    steps = {
        "decoding": partial(decode, file),
        "waveform": partial(WAVEFORM.transform, samples, rate),
        "  resampling": partial(resample, mono, rate, WAVEFORM.sample_rate),
        "spectrogram": partial(MEL.transform, samples, rate),
        "  Fourier transforms": lambda: deque((torch.fft.rfft(block * window) for block in blocks), 0),  # keeps none
        "  power": lambda: deque((np.add(out := s.real**2, s.imag**2, out=out) for s in spectra), 0),
        "  mel filters": lambda: deque((filters @ power.T for power in powers), 0),
        "all, with two files": whole,
        "all, in the store": stored,
        "digest": partial(digest, file),
    }
    times = {name: [] for name in steps}
    for _ in range(repeats):
        for name, step in steps.items():
            began = time.process_time()
            step()
            times[name].append(1000 * (time.process_time() - began))
    least = pd.Series(times).map(min)
    return pd.DataFrame(
        {"step": least.index, "core ms": least.values, "times decoding": (least / least.iloc[0]).values}
    )


def long_demo(folder: Path, clips: int) -> Corpus:
    """So many MP3s of 30 s in stereo at 44.1 kHz: tracks of the demo, one after the other."""
    folder.mkdir()
    corpus = demo()
    good = corpus.tracks.query("split != 'train'")["label"]  # all of them in stereo at 44.1 kHz
    sounds = [(decode(corpus.file(track))[0], label) for track, label in good.items()]
    rows = {}
    for clip in range(clips):
        step = 1 + clip // len(sounds)  # no two clips are equal: the library would decode one of them
        parts = [sounds[(clip + step * number) % len(sounds)][0] for number in range(9)]
        (folder / f"{clip:05d}.mp3").write_bytes(encode_mp3(np.concatenate(parts)[: 30 * 44_100], 44_100))
        rows[f"{clip:05d}"] = {"path": f"{clip:05d}.mp3", "label": sounds[clip % len(sounds)][1], "group": None}
    return Corpus("demo", folder, pd.DataFrame.from_dict(rows, orient="index"), synthetic=True)


@click.command(help=__doc__)
@click.option(
    "--folder", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Music instead of synthetic clips."
)
@click.option("--clips", default=240, show_default=True, help="Number of synthetic clips of 30 s.")
@click.option("--processes", "workers", default=cores(), show_default=True)
@click.option("--repeats", default=3, show_default=True, help="The best of so many is taken.")
@click.option("--shares", "stepwise", is_flag=True, help="Of one clip, step by step, with the workers' variables.")
def main(folder: Path | None, clips: int, workers: int, repeats: int, stepwise: bool) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        corpus = folder_corpus(folder) if folder else long_demo(scratch / "demo", 1 if stepwise else clips)
        if stepwise:
            with worker_pool(1) as pool:
                table = pool.submit(shares, corpus.file(corpus.tracks.index[0]), scratch, 10 * repeats).result()
            return record("prepare_shares", table)
        good = [track for track in corpus.tracks.index if _usable(corpus.file(track))]
        corpus = Corpus(corpus.name, corpus.root, corpus.tracks.loc[good], corpus.label_name, synthetic=not folder)
        files = [corpus.file(track) for track in good]
        methods = {
            "decoding alone (floor)": partial(peer, decode_only, files),
            "this library": partial(ours, corpus, [WAVEFORM, MEL]),
        }
        methods["torchaudio"] = partial(peer, with_torchaudio, files)
        try:
            import librosa  # noqa: F401

            methods["librosa"] = partial(peer, with_librosa, files)
        except ImportError:
            click.echo("librosa is not installed, and left out", err=True)
        cases = [(name, run, workers) for name, run in methods.items()]
        cases += [("this library, waveform alone", partial(ours, corpus, [WAVEFORM]), workers)]
        cases += [("this library, spectrogram alone", partial(ours, corpus, [MEL]), workers)]
        cases += [("this library, one process", methods["this library"], 1)] if workers > 1 else []
        times = {name: [] for name, _, _ in cases}
        for _ in range(repeats):  # interleaved, so that all see the same noise
            for name, run, count in cases:
                times[name].append(run(count, scratch))
    floor = min(seconds for seconds, _ in times["decoding alone (floor)"])
    own = min(seconds for seconds, _ in times["this library"])
    rows = []
    for name, _, count in cases:
        seconds = min(seconds for seconds, _ in times[name])
        rows.append(
            {
                "method": name,
                "processes": count,
                "seconds": seconds,
                "clips per second": len(files) / seconds,
                "times the floor": seconds / floor,
                "times this library": seconds / own,
                "peak MiB per worker": max(peak.resident for _, peak in times[name])
                or float("nan"),  # one needs no worker
                "of it its own": max(peak.own for _, peak in times[name]) or float("nan"),
            }
        )
    record("prepare", pd.DataFrame(rows), clips=len(files), source="synthetic" if folder is None else "music")


def _usable(file: Path) -> bool:
    try:
        samples, rate = decode(file)
    except UnusableAudio:
        return False
    return len(samples) / rate >= SHORTEST


if __name__ == "__main__":
    main()
