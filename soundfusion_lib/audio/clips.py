"""The clips of a corpus in one representation, on disk: arrays one after the other, and a journal that is the index."""

import json
import os
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from soundfusion_lib.audio.representations import Representation, to_dict

PART = ".part"  # a long clip on its way into the data
STORE_REVISION = 2  # raise it when decoding or a transform gives other values, or the files here mean something else


@dataclass(frozen=True)
class Clip:
    """What is known of a file of some content, in one representation: a line of the journal."""

    digest: str  # of the file, see `digests.digest`, and how much of it is used
    start: int = 0  # where its array lies, in frames of the data
    frames: int = 0
    seconds: float = 0.0  # its length; 0 where it cannot be used
    silence: float = 0.0  # the value that silence has in its array
    reason: str | None = None  # why it cannot be used

    def line(self) -> bytes:
        return json.dumps(asdict(self)).encode() + b"\n"


class Pool:
    """A folder of clips, found by their digests; they are added, never changed or taken out.

    Whoever adds clips holds a lock; readers need none, as what they find is whole.
    """

    def __init__(self, corpus_folder: Path, representation: Representation):
        self.representation = representation
        self.folder = Path(corpus_folder) / f"{representation.slug}-r{STORE_REVISION}"
        self.data = self.folder / "data.bin"
        self.journal = self.folder / "clips.jsonl"
        self.frame_bytes = representation.channels * representation.bands * np.dtype(representation.dtype).itemsize

    def read(self) -> dict[str, Clip]:
        """The clips by their digests, up to the first whose line or array is not all there: after an interruption the
        last, after a power cut any that had not reached the disk."""
        if not self.journal.exists():
            return {}
        *lines, _ = self.journal.read_bytes().split(b"\n")  # the last one is empty, or torn
        size = self.data.stat().st_size if self.data.exists() else 0  # only now: arrays come before their lines
        clips = {}
        for line in lines:
            try:
                clip = Clip(**json.loads(line))
            except ValueError:
                break
            if (clip.start + clip.frames) * self.frame_bytes > size:
                break
            clips[clip.digest] = clip
        return clips

    def prepare(self, digests: set[str]) -> None:
        """Make the folder ready for more clips: cut off what is behind the last whole one, and copy those of these
        that another corpus of the same cache has."""
        self.folder.mkdir(parents=True, exist_ok=True)
        spec = self.representation
        about = {"representation": to_dict(spec), "dtype": spec.dtype, "layout": "time,channel,band"}
        for part in self.folder.glob(f"*{PART}"):  # of a process that was killed
            part.unlink()
        (self.folder / "store.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8", newline="\n")
        clips = self.read()
        end = max((clip.start + clip.frames for clip in clips.values()), default=0)
        _cut(self.data, end * self.frame_bytes)
        _cut(self.journal, sum(len(clip.line()) for clip in clips.values()))
        wanted = digests - clips.keys()
        for folder in sorted(self.folder.parent.parent.glob(f"*/{self.folder.name}")):
            other = Pool(folder.parent, spec)
            for clip in other.read().values():
                if clip.digest in wanted:
                    wanted.remove(clip.digest)
                    size, offset = clip.frames * self.frame_bytes, clip.start * self.frame_bytes
                    self.add(clip, np.fromfile(other.data, np.uint8, size, offset=offset))

    def add(self, clip: Clip, array: np.ndarray | bytes | Path) -> None:
        """Put a clip behind the others, wherever it says that it starts; a long one is in a file, which is deleted."""
        with open(self.data, "ab") as data:
            clip = replace(clip, start=data.tell() // self.frame_bytes)
            if isinstance(array, Path):
                with open(array, "rb") as part:
                    shutil.copyfileobj(part, data)
                array.unlink()
            else:
                data.write(array)
        with open(self.journal, "ab") as journal:  # after its array: a clip in the journal is there
            journal.write(clip.line())


def _cut(file: Path, size: int) -> None:
    file.touch()
    if file.stat().st_size > size:
        os.truncate(file, size)
