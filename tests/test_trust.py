"""Nothing that a file says is run: no pickle, no eval, no shell; and names are shown as text."""

import ast
import os
import pickle

import pandas as pd
import pytest
import torch
from conftest import build

from soundfusion_lib.audio.segments import Segmenting, Segments
from soundfusion_lib.datasets.corpus import Corpus
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.models import build_model
from soundfusion_lib.models.vgg16 import load_imagenet
from soundfusion_lib.paths import PROJECT
from soundfusion_lib.training.features import features
from soundfusion_lib.training.loop import Training, fit

FILES = sorted(PROJECT.glob("soundfusion_lib/**/*.py")) + sorted(PROJECT.glob("tooling/*.py"))
RUNS_TEXT = {"eval", "exec", "compile", "os.system", "os.popen", "subprocess.getoutput"}
LOADS_PICKLES = {"joblib.load", "pd.read_pickle"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PROJECT)))
def test_no_code_loads_pickles_or_runs_text(file):
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = {getattr(node, "module", None) or "", *(name.name for name in node.names)}
            assert not modules & {"pickle", "cloudpickle", "dill", "shelve", "marshal"}
        if isinstance(node, ast.Call):
            options = {option.arg: ast.unparse(option.value) for option in node.keywords}
            called = ast.unparse(node.func)
            assert called not in RUNS_TEXT | LOADS_PICKLES and options.get("shell", "False") == "False"
            assert options.get("allow_pickle", "False") == "False"
            assert called != "torch.load" or options.get("weights_only") == "True"


class Trap(str):
    """Pickled, it makes a folder of this name when it is loaded."""

    def __reduce__(self):
        return os.mkdir, (str(self),)


def test_a_trap_in_a_checkpoint_in_weights_or_in_features_is_not_sprung(store, tmp_path, cpu):
    sprung = tmp_path / "sprung"
    model = build_model("resnet2d", 3, width=2, n_mels=32)
    segments = Segments(store, store.tracks.index[:6], ("mel",), Segmenting(1.0, 0.0), cpu)
    torch.save({"history": Trap(sprung)}, tmp_path / "checkpoint.pt")
    with pytest.warns(UserWarning, match="starts anew"):
        fit(model, segments, segments, Training(epochs=1), checkpoint=tmp_path / "checkpoint.pt", progress=False)
    torch.save({"features.0.weight": Trap(sprung)}, tmp_path / "vgg16.pth")
    with pytest.raises(SoundFusionError, match="cannot be read"):
        load_imagenet(build_model("vgg16", 3), tmp_path / "vgg16.pth")
    features(store, model, Segmenting(1.0), tmp_path, cpu, standardizes=False, progress=False)
    (file,) = (tmp_path / "features").glob("*.parquet")
    file.write_bytes(pickle.dumps(Trap(sprung)))
    with pytest.raises(ValueError, match="arquet"):
        features(store, model, Segmenting(1.0), tmp_path, cpu, standardizes=False, progress=False)
    assert not sprung.exists()
    pickle.loads(pickle.dumps(Trap(sprung)))  # as it would have been
    assert sprung.exists()


def test_a_track_with_a_tag_for_a_name_is_text_in_notebooks(corpus, tmp_path):
    name = "<script>alert(1)<&script>"
    (tmp_path / f"{name}.wav").write_bytes(corpus.file("low00").read_bytes())
    table = pd.DataFrame({"path": f"{name}.wav", "label": name, "group": name}, index=pd.Index([name], name="track"))
    store = build(Corpus("tags", tmp_path, table), tmp_path / "cache")
    assert list(store.tracks.index) == [name]
    shown = store.tracks._repr_html_()
    assert "<script" not in shown and "&lt;script&gt;alert(1)&lt;&amp;script&gt;" in shown
