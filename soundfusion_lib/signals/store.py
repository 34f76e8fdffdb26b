"""Every track decoded once, into memory-mapped arrays that segments are slices of.

    <cache>/<corpus>/<representation>-r2/data.bin      all clips, one after the other, time-major
                                         clips.jsonl   a line a clip: its digest, where it starts, why it is unusable
                                         store.json    dtype, layout and spec
    <cache>/digests.sqlite                             the digests of the files

A clip is found by the digest of its file, wherever that lies: of a corpus that has changed, only the files whose bytes
are new are decoded.
"""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from soundfusion_lib import processes
from soundfusion_lib.audio import UnreadableFile
from soundfusion_lib.corpora.corpus import Corpus
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.signals.clips import STORE_REVISION, Clip, Pool
from soundfusion_lib.signals.decoding import CUT, Files, decode_missing
from soundfusion_lib.signals.digests import digests
from soundfusion_lib.signals.representations import Representation

SHORTEST = 5.0  # seconds; one segment of the report


@dataclass(frozen=True)
class StoredArray:
    """One representation of every usable clip.

    Args:
        representation: its spec.
        folder: where it lies.
        tracks: one row a track of the corpus, indexed by track id: `digest` (of its file; None where that cannot be
            read), `start` and `frames` (in frames of `data`), `seconds`, `silence` (the value silence has in this
            clip) and `reason` (why it was left out; None if not).
    """

    representation: Representation
    folder: Path
    tracks: pd.DataFrame

    def __reduce__(self):  # another process maps the file itself
        return StoredArray, (self.representation, self.folder, self.tracks)

    @cached_property
    def data(self) -> np.ndarray:
        """Clips one after the other, (time, channels, bands), memory-mapped; writing to it leaves the file as it is.

        It ends with the last clip of this corpus; clips that the corpus no longer has may lie between.
        """
        spec = self.representation
        shape = (int((self.tracks["start"] + self.tracks["frames"]).max()), spec.channels, spec.bands)
        return np.memmap(self.folder / "data.bin", dtype=spec.dtype, mode="c", shape=shape)

    def tensor(self, device: torch.device) -> torch.Tensor:
        """`data` in the device's memory, on a CPU memory-mapped; moved there once, whoever asks."""
        if device.type == "cpu":
            return torch.from_numpy(self.data)
        if device not in self._moved:
            self._moved[device] = torch.from_numpy(self.data).to(device)
        return self._moved[device]

    def missing_bytes(self, device: torch.device) -> int:
        """What `tensor` would add to the device's memory."""
        return 0 if device in self._moved else self.data.nbytes

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
        (`left_out`), never replaced. What is wrong with a file's content is remembered; a file that cannot be read is
        tried again by the next build.

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
        files = _files(corpus, cache_dir, progress)
        pools = [Pool(Path(cache_dir) / corpus.name, spec) for spec in representations]
        found = [pool.read() for pool in pools]
        if _lacking(files, found):
            processes.refuse_in_import()
            files |= decode_missing(corpus, files, pools, workers, progress)
            found = [pool.read() for pool in pools]
        return cls._of(corpus, files, pools, found, shortest)

    @classmethod
    def open(
        cls, corpus: Corpus, representations: list[Representation], cache_dir: Path, *, shortest: float = SHORTEST
    ) -> "Store | None":
        """As `build`, but None where there is something to decode."""
        files = _files(corpus, cache_dir, progress=False)
        pools = [Pool(Path(cache_dir) / corpus.name, spec) for spec in representations]
        found = [pool.read() for pool in pools]
        return None if _lacking(files, found) else cls._of(corpus, files, pools, found, shortest)

    @classmethod
    def _of(
        cls, corpus: Corpus, files: Files, pools: list[Pool], found: list[dict[str, Clip]], shortest: float
    ) -> "Store":
        known = [[clips.get(file, Clip("")) for file in files.values()] for clips in found]
        reasons = [_reason(file, clips, shortest) for file, *clips in zip(files.values(), *known, strict=True)]
        common = {
            "digest": pd.Series([file if isinstance(file, str) else None for file in files.values()], dtype=object),
            "reason": pd.Series(reasons, dtype=object),
        }
        arrays = {}
        for pool, clips in zip(pools, known, strict=True):
            own = {name: [getattr(clip, name) for clip in clips] for name in ("start", "frames", "seconds", "silence")}
            tracks = pd.DataFrame(own | common).set_index(corpus.tracks.index)
            arrays[pool.representation.kind] = StoredArray(pool.representation, pool.folder, tracks)
        store = cls(corpus, arrays)
        if store.tracks.empty:
            raise SoundFusionError(
                f"corpus {corpus.name!r} at {corpus.root}: none of its {len(corpus.tracks)} clips is usable; "
                f"most often: {_commonest(store.left_out)}"
            )
        return store

    def check_labels(self) -> None:
        """See that there is something to learn.

        Raises:
            SoundFusionError: a label has no usable clip, or there are fewer than two labels.
        """
        corpus, label = self.corpus, self.corpus.label_name
        where = f"corpus {corpus.name!r} at {corpus.root}"
        out = self.left_out
        for genre in [genre for genre in corpus.labels if genre not in self.labels]:
            lost = out[out["label"] == genre]
            raise SoundFusionError(
                f"{where}: none of the {len(lost)} clips of {label} {genre!r} is usable; most often: "
                f"{_commonest(lost)}. Give it clips that are, or take the {label} out of the corpus"
            )
        if len(self.labels) < 2:
            raise SoundFusionError(f"{where}: only one {label} ({self.labels[0]!r}); there is nothing to tell apart")

    @cached_property
    def content_id(self) -> str:
        """Hash of what a result depends on: of each usable track its id, what its file holds, label, artist and split.

        The corpus's name, where its files lie and what was left out are not in it.
        """
        columns = self.tracks.reindex(columns=["label", "group", "split"]).astype(object)
        columns = columns.where(columns.notna(), None).assign(digest=self._index["digest"])
        text = json.dumps([STORE_REVISION, sorted(columns.itertuples(name=None))])
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def _index(self) -> pd.DataFrame:
        return next(iter(self.arrays.values())).tracks

    @property
    def tracks(self) -> pd.DataFrame:
        """The usable clips: the corpus's columns and `seconds`."""
        usable = self._index[self._index["reason"].isna()]
        return self.corpus.tracks.loc[usable.index].assign(seconds=usable["seconds"])

    @property
    def labels(self) -> list[str]:
        """The labels of the usable clips, in alphabetical order: a label's class index is its position here."""
        return sorted(self.tracks["label"].unique())

    @property
    def left_out(self) -> pd.DataFrame:
        """The clips left out: `path`, `label` and `reason`."""
        out = self._index[self._index["reason"].notna()]
        return self.corpus.tracks.loc[out.index, ["path", "label"]].assign(reason=out["reason"])

    @property
    def bytes(self) -> int:
        """Size of the usable clips' arrays; tracks whose files are the same have one in common."""
        size = 0
        for array in self.arrays.values():
            frames = array.tracks[array.tracks["reason"].isna()].drop_duplicates("digest")["frames"]
            size += int(frames.sum()) * array.data[:1].nbytes
        return size


def _files(corpus: Corpus, cache_dir: Path, progress: bool) -> Files:
    paths = [Path(corpus.root) / path for path in corpus.tracks["path"]]
    found = digests(paths, cache_dir, progress)
    if corpus.seconds is not None:  # another cut of the same file is another clip
        found = [f"{file}{CUT}{corpus.seconds:g}s" if isinstance(file, str) else file for file in found]
    return dict(zip(corpus.tracks.index, found, strict=True))


def _lacking(files: Files, found: list[dict[str, Clip]]) -> bool:
    return any(isinstance(file, str) and file not in clips for file in files.values() for clips in found)


def _reason(file: str | UnreadableFile, clips: list[Clip], shortest: float) -> str | None:
    """Why a track is left out; None if it is not."""
    if isinstance(file, UnreadableFile):
        return str(file)
    reasons = [clip.reason for clip in clips if clip.reason]
    if not reasons and clips[0].seconds < shortest:
        reasons = [f"too short ({clips[0].seconds:.1f} s of at least {shortest:g} s)"]
    return reasons[0] if reasons else None


def _commonest(left_out: pd.DataFrame) -> str:
    reasons = left_out["reason"].value_counts()
    return f"{reasons.index[0]} ({reasons.iloc[0]} clips)"
