"""Every track decoded once, into memory-mapped arrays that segments are slices of.

    <cache>/<corpus>/<representation>-r2/data.bin      all clips, one after the other, time-major
                                         clips.jsonl   one line per clip: its digest, its start, why it is unusable
    <cache>/digests.json                               the digests of the files

A clip is found by the digest of its file: of a corpus that has changed, only the files whose bytes are new are decoded.
"""

import hashlib
import json
import shutil
import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from soundfusion_lib.audio.clips import STORE_REVISION, Clip, ClipFolder, Job, digests, represent_all
from soundfusion_lib.audio.decode import UnreadableFile
from soundfusion_lib.audio.representations import Representation
from soundfusion_lib.datasets.corpus import Corpus
from soundfusion_lib.datasets.splits import groups_of
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.paths import lock, writing
from soundfusion_lib.pool import refuse_in_import

SHORTEST = 5.0  # seconds; one segment of the report
PARTS = "parts-"  # begins the name of a folder of arrays on their way into the data


@dataclass(frozen=True)
class StoredArray:
    """One representation of every usable clip."""

    representation: Representation
    folder: Path
    tracks: pd.DataFrame  # by track id, all of the corpus: the columns are `Clip`'s, `reason` is why it is left out

    def __reduce__(self):  # another process maps the file itself
        return StoredArray, (self.representation, self.folder, self.tracks)

    @cached_property
    def data(self) -> np.ndarray:
        """Clips one after the other, (time, channels, bands), memory-mapped and read-only: a private copy to write to
        would count as memory used."""
        spec, frames = self.representation, int((self.tracks["start"] + self.tracks["frames"]).max())
        return np.memmap(self.folder / "data.bin", spec.dtype, "r", shape=(frames, spec.channels, spec.bands))

    @cached_property
    def tensors(self) -> dict[torch.device, torch.Tensor]:
        """`data` in the memories of the devices that `tensor` moved it to."""
        return {}

    def tensor(self, device: torch.device) -> torch.Tensor:
        """`data` in the device's memory, on a CPU memory-mapped; moved there once, whoever asks."""
        if device not in self.tensors:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # that it must not be written to, which nothing does
                self.tensors[device] = torch.from_numpy(self.data).to(device)
        return self.tensors[device]

    def clip(self, track: str) -> np.ndarray:
        """One clip, (time, channels, bands): a view, in the units of the representation's spec."""
        row = self.tracks.loc[track]
        return self.data[row["start"] : row["start"] + row["frames"]]


class Store:
    """The decoded clips of a corpus in one or more representations, by their kinds: "waveform", "mel"."""

    def __init__(self, corpus: Corpus, arrays: dict[str, StoredArray]):
        self.corpus = corpus
        self.arrays = arrays
        first, *others = (array.tracks for array in arrays.values())  # digest, seconds and stated are the same in all
        self._clips = first.copy()
        for tracks in others:  # a clip that is silence in one of them is left out of all
            self._clips["reason"] = self._clips["reason"].where(self._clips["reason"].notna(), tracks["reason"])

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
        decode: bool = True,
    ) -> "Store | None":
        """Open the store of a corpus, decoding first what is not there yet; an interrupted build goes on.

        A clip that cannot be used is listed in `left_out`, never replaced. A file that cannot be read is tried again by
        the next build. Raises SoundFusionError if no clip is usable, or for a full disk.

        Args:
            representations: at most one of each kind.
            shortest: shortest usable clip, in seconds.
            workers: processes that decode; as many as cores by default.
            decode: False returns None where there is something to decode.
        """
        paths = [Path(corpus.root) / path for path in corpus.tracks["path"]]
        cut = "" if corpus.seconds is None else f" first {corpus.seconds:g}s"
        contents = digests(paths, cache_dir, progress)
        keys = [content + cut if isinstance(content, str) else content for content in contents]
        folders = [ClipFolder(Path(cache_dir) / corpus.name, spec) for spec in representations]
        files = {key: path for key, path in zip(keys, paths, strict=True) if isinstance(key, str)}
        if _jobs(files, corpus.seconds, folders):
            if not decode:
                return None
            with writing(Path(cache_dir)):
                failed = _decode(files, corpus, folders, workers, progress)
            keys = [failed.get(key, key) for key in keys]
        arrays = {}
        for folder in folders:
            stored = folder.read()
            clips = [stored.get(key) or Clip("", reason=str(key)) for key in keys]
            tracks = pd.DataFrame(map(vars, clips), corpus.tracks.index)
            short = tracks["reason"].isna() & (tracks["seconds"] < shortest)
            lengths = _lengths(tracks[short])
            tracks.loc[short, "reason"] = [f"too short ({length} of at least {shortest:g} s)" for length in lengths]
            arrays[folder.representation.kind] = StoredArray(folder.representation, folder.folder, tracks)
        store = cls(corpus, arrays)
        if store.tracks.empty:
            reason = store.left_out["reason"].mode()[0]
            lost = f"none of its {len(corpus.tracks)} clips is usable; most often: {reason}"
            raise SoundFusionError(f"corpus {corpus.name!r} at {corpus.root}: {lost}")
        return store

    def check_labels(self) -> None:
        """Raise SoundFusionError if a label has no usable clip, or there are fewer than two labels."""
        kind, labels = self.corpus.label_name, self.labels
        where = f"corpus {self.corpus.name!r} at {self.corpus.root}"
        for label, lost in self.left_out.query("label not in @labels").groupby("label"):
            why = f"none of the {len(lost)} clips of {kind} {label!r} is usable; most often: {lost['reason'].mode()[0]}"
            raise SoundFusionError(f"{where}: {why}. Give it clips that are, or take the {kind} out of the corpus")
        if len(labels) < 2:
            raise SoundFusionError(f"{where}: only one {kind} ({labels[0]!r}); there is nothing to tell apart")

    @cached_property
    def content_id(self) -> str:
        """Hash of what a result depends on: each usable track's id, content, label, group and split."""
        columns = self.tracks.reindex(columns=["label", "group", "split"]).astype(object)
        columns = columns.where(columns.notna(), None).assign(digest=self._clips["digest"])
        text = json.dumps([STORE_REVISION, sorted(columns.itertuples(name=None))])
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def tracks(self) -> pd.DataFrame:
        """The usable clips: the corpus's columns and `seconds`."""
        usable = self._clips[self._clips["reason"].isna()]
        return self.corpus.tracks.loc[usable.index].assign(seconds=usable["seconds"])

    @property
    def labels(self) -> list[str]:
        """The labels of the usable clips, in alphabetical order: a label's class index is its position here."""
        return sorted(self.tracks["label"].unique())

    @property
    def left_out(self) -> pd.DataFrame:
        """The clips left out: `path`, `label` and `reason`."""
        reasons = self._clips["reason"].dropna()
        return self.corpus.tracks.loc[reasons.index, ["path", "label"]].assign(reason=reasons)

    @cached_property
    def targets(self) -> np.ndarray:
        """The class of each usable track, its label's place in `labels`, (tracks,)."""
        return np.searchsorted(self.labels, self.tracks["label"].to_numpy(str))

    @property
    def cut_short(self) -> pd.DataFrame:
        """The usable clips of files that state more than a second more than they hold: `path`, `label` and `reason`."""
        clips = self._clips[self._clips["reason"].isna() & (self._clips["stated"] > 0)]
        return self.corpus.tracks.loc[clips.index, ["path", "label"]].assign(reason=_lengths(clips))

    @property
    def copies(self) -> list[str]:
        """A sentence for each file that several usable tracks hold, where that leaks: under two labels, or not surely
        on one side of a split."""
        tracks, sentences = self.tracks.assign(group=groups_of(self.tracks)), []
        content = self._clips["digest"][tracks.index]
        for _, same in tracks[content.duplicated(keep=False)].groupby(content):
            apart = [side for side in ("label", "split" if "split" in same else "group") if same[side].nunique() > 1]
            if apart:
                side = apart[0].replace("label", self.corpus.label_name)
                sentences.append(f"{' and '.join(same.index)} hold the same bytes, and are not of one {side}")
        return sentences

    @property
    def bytes(self) -> int:
        """Size of the arrays on disk."""
        return sum((array.folder / "data.bin").stat().st_size for array in self.arrays.values())


def _lengths(clips: pd.DataFrame) -> list[str]:
    stated = [f" of {stated:.1f}" if stated else "" for stated in clips["stated"]]
    return [f"{seconds:.1f}{of} s" for seconds, of in zip(clips["seconds"], stated, strict=True)]


def _jobs(files: dict[str, Path], seconds: float | None, folders: list[ClipFolder]) -> list[Job]:
    """What is left to decode of these files, by their clips' digests."""
    stored = [(folder, folder.read()) for folder in folders]
    lacking = {digest: [folder for folder, clips in stored if digest not in clips] for digest in files}
    return [Job(files[digest], digest, seconds, folders) for digest, folders in lacking.items() if folders]


def _decode(
    files: dict[str, Path], corpus: Corpus, folders: list[ClipFolder], workers: int | None, progress: bool
) -> dict[str, UnreadableFile]:
    """Decode what is left, one process at a time; by digest, why a file cannot be read now."""
    refuse_in_import()  # it would wait for the lock
    corpus_folder = folders[0].folder.parent
    with lock(corpus_folder / "build.lock"):
        for folder in folders:
            folder.prepare()
        for parts in corpus_folder.glob(f"{PARTS}*"):  # of a process that was killed
            shutil.rmtree(parts)
        jobs, failed = _jobs(files, corpus.seconds, folders), {}
        with TemporaryDirectory(prefix=PARTS, dir=corpus_folder, ignore_cleanup_errors=True) as parts:
            results = represent_all(jobs, Path(parts), workers)
            bar = tqdm(results, f"decoding {corpus.name}", len(jobs), unit="clip", disable=not progress)
            for job, result in zip(jobs, bar, strict=True):
                if isinstance(result, UnreadableFile):
                    failed[job.digest] = result
                    continue
                for folder, (clip, array) in zip(job.folders, result, strict=True):
                    folder.add(clip, array)
    return failed
