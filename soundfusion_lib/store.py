"""Every track decoded once, into memory-mapped arrays that segments are slices of.

    <cache>/<corpus>-<hash of its audio>/<representation>/data.bin      all clips, one after the other, time-major
                                                          tracks.parquet  where each clip starts, or why it was left out
                                                          store.json      shape, dtype and spec
"""

import json
import os
import shutil
from collections import deque
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from filelock import FileLock
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from soundfusion_lib import processes
from soundfusion_lib.audio import UnusableAudio, decode
from soundfusion_lib.corpora.corpus import Corpus
from soundfusion_lib.device import fits
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.representations import Representation, to_dict

SHORTEST = 5.0  # seconds; one segment of the report


@dataclass(frozen=True)
class StoredArray:
    """One representation of every usable clip.

    Args:
        representation: its spec.
        folder: where it lies.
        tracks: one row a track of the corpus, indexed by track id: `start` and `frames` (in frames of `data`),
            `seconds`, `silence` (the value silence has in this clip) and `reason` (why it was left out; None if not).
    """

    representation: Representation
    folder: Path
    tracks: pd.DataFrame

    def __reduce__(self):  # another process maps the file itself
        return StoredArray, (self.representation, self.folder, self.tracks)

    @cached_property
    def data(self) -> np.ndarray:
        """All clips one after the other, (time, channels, bands), memory-mapped; writing to it leaves the file as it is."""
        spec = self.representation
        shape = (int(self.tracks["frames"].sum()), spec.channels, spec.bands)
        return np.memmap(self.folder / "data.bin", dtype=spec.dtype, mode="c", shape=shape)

    def tensor(self, device: torch.device) -> torch.Tensor:
        """`data` in the device's memory where it fits, else memory-mapped; moved there once, whoever asks."""
        if device.type == "cpu" or not fits(self.data.nbytes, device):
            return torch.from_numpy(self.data)
        if device not in self._moved:
            self._moved[device] = torch.from_numpy(self.data).to(device)
        return self._moved[device]

    @cached_property
    def _moved(self) -> dict[torch.device, torch.Tensor]:
        return {}

    def clip(self, track: str) -> np.ndarray:
        """One clip, (time, channels, bands): a view, in the units of the representation's spec."""
        row = self.tracks.loc[track]
        if row["reason"] is not None:
            raise SoundFusionError(f"track {track!r} was left out of the store: {row['reason']}")
        return self.data[row["start"] : row["start"] + row["frames"]]


class Store:
    """The decoded clips of a corpus in one or more representations."""

    def __init__(self, corpus: Corpus, arrays: dict[str, StoredArray]):
        self.corpus = corpus
        self.arrays = arrays  # by kind of representation: "waveform", "mel"

    @classmethod
    def build(
        cls,
        corpus: Corpus,
        representations: list[Representation],
        cache_dir: Path,
        *,
        shortest: float = SHORTEST,
        workers: int | None = None,
        progress: bool = True,
    ) -> "Store":
        """Open the store of a corpus, decoding first what is not there yet; each file is decoded once for all.

        A build that is interrupted goes on where it stopped. A clip that cannot be used is left out and reported
        (`left_out`), never replaced.

        Args:
            corpus: what to decode.
            representations: at most one of each kind.
            cache_dir: folder to keep the arrays in.
            shortest: shortest usable clip, in seconds.
            workers: processes that decode; all cores by default, which they share.
            progress: show a progress bar.

        Raises:
            SoundFusionError: no clip is usable, or a worker died.
        """
        root = Path(cache_dir) / f"{corpus.name}-{corpus.audio_id()}"
        folders = {spec: root / f"{spec.slug}-{shortest:g}s" for spec in representations}
        if not all(folder.is_dir() for folder in folders.values()):
            processes.refuse_in_import()
            root.mkdir(parents=True, exist_ok=True)
            with FileLock(root / "build.lock"):
                missing = {spec: folder for spec, folder in folders.items() if not folder.is_dir()}
                if missing:
                    _build(corpus, missing, root, shortest, workers, progress)
        arrays = {}
        for spec, folder in folders.items():
            tracks = pd.read_parquet(folder / "tracks.parquet")
            tracks["reason"] = tracks["reason"].astype(object).where(tracks["reason"].notna(), None)
            arrays[spec.kind] = StoredArray(spec, folder, tracks)
        store = cls(corpus, arrays)
        if store.tracks.empty:
            reasons = store.left_out["reason"].value_counts()
            raise SoundFusionError(
                f"corpus {corpus.name!r} at {corpus.root}: none of its {len(corpus.tracks)} clips is usable; "
                f"most often: {reasons.index[0]} ({reasons.iloc[0]} clips)"
            )
        return store

    @cached_property
    def content_id(self) -> str:
        """`Corpus.content_id` of what the store holds."""
        return self.corpus.content_id()

    @property
    def _index(self) -> pd.DataFrame:
        return next(iter(self.arrays.values())).tracks

    @property
    def tracks(self) -> pd.DataFrame:
        """The usable clips: the corpus's columns and `seconds`."""
        usable = self._index[self._index["reason"].isna()]
        return self.corpus.tracks.loc[usable.index].assign(seconds=usable["seconds"])

    @property
    def genres(self) -> list[str]:
        """The labels of the usable clips, in alphabetical order: a label's class index is its position here."""
        return sorted(self.tracks["genre"].unique())

    @property
    def left_out(self) -> pd.DataFrame:
        """The clips left out: `path`, `genre` and `reason`."""
        out = self._index[self._index["reason"].notna()]
        return self.corpus.tracks.loc[out.index, ["path", "genre"]].assign(reason=out["reason"])

    @property
    def bytes(self) -> int:
        """Size of all arrays."""
        return sum(array.data.nbytes for array in self.arrays.values())


def _represent(file: Path, specs: list[Representation], shortest: float) -> tuple[float, list[np.ndarray], list[float]] | str:
    """(seconds, and for each spec an array and what silence is in it), or the reason why the clip is left out."""
    try:
        samples, sample_rate = decode(file)
    except UnusableAudio as reason:
        return str(reason)
    seconds = len(samples) / sample_rate
    if seconds < shortest:
        return f"too short ({seconds:.1f} s of at least {shortest:g} s)"
    arrays = [spec.transform(samples, sample_rate) for spec in specs]
    return seconds, arrays, [spec.silence(array) for spec, array in zip(specs, arrays, strict=True)]


def _build(corpus, folders, root, shortest, workers, progress):
    specs = list(folders)
    partial_folder = root / ("+".join(folder.name for folder in folders.values()) + ".partial")
    partial_folder.mkdir(exist_ok=True)
    journal = partial_folder / "journal.jsonl"
    rows = _resume(journal, partial_folder, specs)
    todo = list(corpus.tracks.index[len(rows) :])
    files = [corpus.file(track) for track in todo]
    cores = os.cpu_count() or 1
    workers = min(workers or cores, max(1, len(todo)))
    work = partial(_represent, specs=specs, shortest=shortest)
    outputs = [open(partial_folder / f"{i}.bin", "ab") for i in range(len(specs))]
    bar = tqdm(
        total=len(rows) + len(todo), initial=len(rows), desc=f"decoding {corpus.name}", unit="clip", disable=not progress
    )
    try:
        with open(journal, "a", encoding="utf-8") as journal_file, bar:
            for track, result in zip(todo, _in_order(work, files, workers, max(1, cores // workers)), strict=True):
                rows.append(_append(result, specs, outputs))
                print(json.dumps([track, rows[-1]]), file=journal_file, flush=True)
                bar.update()
    finally:
        for output in outputs:
            output.close()
    for i, (spec, folder) in enumerate(folders.items()):
        _finish(corpus, spec, folder, partial_folder / f"{i}.bin", rows, i)
    shutil.rmtree(partial_folder)


def _append(result, specs, outputs):
    """Write one clip's arrays behind the others; its row of the journal."""
    if isinstance(result, str):
        return {"reason": result, "seconds": 0.0, "frames": [0] * len(specs), "silence": [0.0] * len(specs)}
    seconds, arrays, silence = result
    for array, output in zip(arrays, outputs, strict=True):
        output.write(array.data)
        output.flush()  # before the journal says that it is there
    return {"reason": None, "seconds": seconds, "frames": [len(array) for array in arrays], "silence": silence}


def _resume(journal, folder, specs):
    """Rows of the clips already done; what was written behind them is cut off."""
    rows = []
    if journal.exists():
        lines = journal.read_text(encoding="utf-8").splitlines(keepends=True)
        rows = [json.loads(line)[1] for line in lines if line.endswith("\n")]
        with open(journal, "w", encoding="utf-8") as file:
            file.writelines(line for line in lines if line.endswith("\n"))
    for i, spec in enumerate(specs):
        size = sum(row["frames"][i] for row in rows) * spec.channels * spec.bands * np.dtype(spec.dtype).itemsize
        path = folder / f"{i}.bin"
        path.touch()
        if path.stat().st_size < size:  # the machine went down before all was on disk
            journal.unlink()
            return _resume(journal, folder, specs)
        os.truncate(path, size)
    return rows


def _finish(corpus, spec, folder, data, rows, i):
    """Put one representation under its final name, whole."""
    table = pd.DataFrame(
        {
            "frames": [row["frames"][i] for row in rows],
            "seconds": [row["seconds"] for row in rows],
            "silence": [row["silence"][i] for row in rows],
            "reason": pd.Series([row["reason"] for row in rows], dtype=object),
        }
    ).set_index(corpus.tracks.index)
    table.insert(0, "start", table["frames"].cumsum() - table["frames"])
    aside = folder.with_name(folder.name + ".new")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    os.replace(data, aside / "data.bin")
    table.to_parquet(aside / "tracks.parquet")
    about = {"corpus": corpus.name, "representation": to_dict(spec), "dtype": spec.dtype, "layout": "time,channel,band"}
    (aside / "store.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    os.replace(aside, folder)


def _in_order(function, items, workers, threads):
    """Results in the order of the items, computed by processes, with a bounded number of them waiting."""
    if workers == 1 or len(items) < 4:  # starting processes would take longer
        with threadpool_limits(1):  # small matrix products, which come out the same as in the processes
            yield from map(function, items)
        return
    with processes.pool(workers, threads) as pool:
        waiting = deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > 4 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise SoundFusionError(
                "a process that decodes clips was killed (out of memory?); what it had finished is kept: "
                "start again, with fewer workers if it happens once more"
            ) from error
        finally:
            for future in waiting:
                future.cancel()
