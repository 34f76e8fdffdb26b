"""The clips of a corpus in one representation, on disk: arrays one after the other, and a journal that is the index."""

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from soundfusion_lib.signals.representations import Representation, to_dict

STORE_REVISION = 2  # raise it when decoding or a transform gives other values, or the files here mean something else


@dataclass(frozen=True)
class Clip:
    """What is known of a file of some content, in one representation.

    Args:
        digest: of the file, see `digests.digest`.
        start, frames: where its array lies, in frames of the data.
        seconds: its length; 0 where it cannot be used.
        silence: the value that silence has in its array.
        reason: why it cannot be used; None where it can.
    """

    digest: str
    start: int = 0
    frames: int = 0
    seconds: float = 0.0
    silence: float = 0.0
    reason: str | None = None

    @property
    def end(self) -> int:
        return self.start + self.frames


class Pool:
    """A folder of clips, found by their digests. Clips are added, never changed or taken out: to do so, delete it.

    Whoever adds clips holds a lock; readers need none, as what they find is whole.

    Args:
        corpus_folder: where the pools of a corpus lie.
        representation: of all clips in it.
    """

    def __init__(self, corpus_folder: Path, representation: Representation):
        self.representation = representation
        self.folder = Path(corpus_folder) / f"{representation.slug}-r{STORE_REVISION}"
        self.data = self.folder / "data.bin"
        self.journal = self.folder / "clips.jsonl"

    @property
    def frame_bytes(self) -> int:
        """Size of one frame of the data."""
        spec = self.representation
        return spec.channels * spec.bands * np.dtype(spec.dtype).itemsize

    def read(self) -> dict[str, Clip]:
        """The clips, by their digests."""
        return self._whole()[0]

    def _whole(self) -> tuple[dict[str, Clip], int]:
        """The clips up to the first whose line or array is not all there, and the bytes of their lines.

        After an interruption that is the last, after a power cut any that had not reached the disk.
        """
        if not self.journal.exists():
            return {}, 0
        lines = self.journal.read_bytes().splitlines(keepends=True)
        # only now, as arrays come before their lines
        size = self.data.stat().st_size if self.data.exists() else 0
        clips, used = {}, 0
        for line in lines:
            try:
                clip = Clip(**json.loads(line)) if line.endswith(b"\n") else None
            except (ValueError, TypeError):
                clip = None
            if clip is None or clip.end * self.frame_bytes > size:
                break
            clips[clip.digest] = clip
            used += len(line)
        return clips, used

    def repair(self) -> dict[str, Clip]:
        """Make the folder ready for more clips: cut off what is behind the last whole one. Returns what `read` does."""
        self.folder.mkdir(parents=True, exist_ok=True)
        about = {"representation": to_dict(self.representation), "dtype": self.representation.dtype}
        text = json.dumps(about | {"layout": "time,channel,band"}, indent=2) + "\n"
        (self.folder / "store.json").write_text(text, encoding="utf-8", newline="\n")
        clips, used = self._whole()
        self._cut(self.data, max((clip.end for clip in clips.values()), default=0) * self.frame_bytes)
        self._cut(self.journal, used)
        return clips

    @staticmethod
    def _cut(file: Path, size: int) -> None:
        file.touch()
        if file.stat().st_size != size:
            os.truncate(file, size)

    def add(self, clip: Clip, array: np.ndarray | bytes) -> None:
        """Put a clip behind the others, wherever it says that it starts."""
        with open(self.data, "ab") as data:
            clip = replace(clip, start=data.tell() // self.frame_bytes)
            data.write(array)
        with open(self.journal, "ab") as journal:  # after its array: a clip in the journal is there
            journal.write(json.dumps(asdict(clip)).encode() + b"\n")

    def bytes_of(self, clip: Clip) -> bytes:
        """The array of a clip, as it lies on the disk."""
        with open(self.data, "rb") as data:
            data.seek(clip.start * self.frame_bytes)
            return data.read(clip.frames * self.frame_bytes)

    def adopt(self, digests: Iterable[str]) -> None:
        """Copy those of these clips that are missing here, and that another corpus of the same cache has."""
        missing = set(digests) - self.read().keys()
        for folder in sorted(self.folder.parent.parent.glob(f"*/{self.folder.name}")):
            other = Pool(folder.parent, self.representation)
            wanted = [clip for clip in other.read().values() if clip.digest in missing]
            for clip in wanted:
                self.add(clip, other.bytes_of(clip))
            missing -= {clip.digest for clip in wanted}
