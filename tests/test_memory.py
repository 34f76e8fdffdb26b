"""What training and predicting take of the memory, however large the store is."""

import sys

import psutil
import pytest
from conftest import run_python

# A store in a file with holes, which takes no room on the disk: its clips lie far apart.
LARGE = """
import resource, sys
from pathlib import Path

import numpy as np, pandas as pd, torch
from soundfusion_lib.datasets import Corpus
from soundfusion_lib.models import build_model
from soundfusion_lib.audio.representations import MelSpectrogram
from soundfusion_lib.audio.segments import Segmenting, Segments
from soundfusion_lib.audio.store import Store, StoredArray
from soundfusion_lib.training.loop import Training, fit
from soundfusion_lib.training.inference import log_probabilities

folder, size, private = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
spec, count = MelSpectrogram(22_050, 2, 32, 512, 256), 40
frames, frame_bytes = spec.frames(10.0), 2 * 32 * 2
starts = np.linspace(0, size // frame_bytes - frames, count).astype(int)
with open(folder / "data.bin", "wb") as data:
    for start in starts:
        data.seek(int(start) * frame_bytes)
        data.write(np.random.default_rng(start).normal(-40, 10, (frames, 2, 32)).astype(np.float16).tobytes())
index = pd.Index([str(number) for number in range(count)])
tracks = pd.DataFrame({"path": index, "label": ["a", "b"] * (count // 2), "group": None}, index)
clips = pd.DataFrame({"digest": index, "start": starts, "frames": frames, "seconds": 10.0, "silence": 0.0}, index)
store = Store(Corpus("large", folder, tracks), {"mel": StoredArray(spec, folder, clips.assign(reason=None))})

now = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmData"))
limit = int(now.split()[1]) * 1024 + private
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
segments = Segments(store, index, ("mel",), Segmenting(2.0, 0.0), torch.device("cpu"))
model = build_model("resnet2d", 2, width=2, n_mels=32)
model.set_statistics(segments.statistics())
history, _, _ = fit(model, segments, None, Training(epochs=1, keep="last"), progress=False)
print(len(segments), log_probabilities(model, segments).shape[0], store.arrays["mel"].data.nbytes)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not limit a process's own memory")
def test_a_store_larger_than_the_memory_trains_in_a_few_hundred_megabytes(tmp_path):
    size = 2 * (psutil.virtual_memory().total + psutil.swap_memory().total)
    done = run_python("-c", LARGE, tmp_path, size, 512 * 2**20)
    assert done.returncode == 0, done.stderr[-2000:]
    trained, predicted, stored = map(int, done.stdout.split())
    assert trained == predicted == 200 and stored > 0.99 * size
