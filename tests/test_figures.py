import io
import subprocess
import sys

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from soundfusion_lib.analysis import figures

LABELS = ["doom", "quake", "zelda"]


@pytest.fixture
def study():
    corpus = type("Corpus", (), {"label_name": "soundtrack", "name": "games", "synthetic": True, "labels": LABELS})
    yield type("Games", (), {"corpus": corpus})
    plt.close("all")


def accuracies(low, high):
    table = pd.DataFrame({"model": ["one", "two"]})
    for by in ("segment", "track"):
        table = table.assign(**{f"{by}_accuracy": 0.5, f"{by}_low": low, f"{by}_high": high})
    return table.assign(segment_reported=[0.4, np.nan])


@pytest.mark.parametrize("bounds", [(np.nan, np.nan), ([0.4, np.nan], [0.6, np.nan]), (0.5, 0.5), (0.5 + 1e-16, 1.0)])
def test_a_value_without_an_interval_is_a_point_alone(study, bounds):
    drawn = figures.accuracies(study, accuracies(*bounds))
    lines, marks = drawn.axes[0].collections
    assert len(lines.get_segments()) == np.isfinite(np.broadcast_to(bounds[0], 2)).sum()
    assert marks.get_offsets().tolist() == [[0.5, 0], [0.5, 1]]
    table = pd.DataFrame({"model": "one", "label": LABELS, "recall": [0.5, 1, np.nan], "low": np.nan, "high": np.nan})
    assert figures.recalls(study, table).axes[0].get_xlabel()


def test_titles_say_that_music_is_synthetic_and_the_label_no_genre(study):
    title = figures.accuracies(study, accuracies(0.4, 0.6)).get_suptitle()
    assert title == "Accuracy (games corpus, synthetic music, label: soundtrack)"


def test_confusion_counts_are_whole_and_light_where_they_are_low(study):
    matrix = pd.DataFrame([[1234, 0, 0], [0, 2.5, 2.5], [0, 0, 0]], LABELS, LABELS)
    axis = figures.confusion(study, "x", matrix, matrix).axes[0]
    assert [text.get_text() for text in axis.texts] == ["1234", "0", "0", "0", "2.5", "2.5", "0", "0", "0"]
    axis.figure.canvas.draw()
    full, empty, half = axis.collections[0].get_facecolors()[[0, 1, 4], :3].mean(axis=1)
    assert full < half < empty and empty > 0.9


def test_a_figure_drawn_again_is_the_same_to_the_byte_and_settings_stay(study):
    before, pictures = dict(matplotlib.rcParams), []
    for _ in range(2):
        picture = io.BytesIO()
        figures.accuracies(study, accuracies(0.4, 0.6)).savefig(picture, format="png")
        pictures.append(picture.getvalue())
    assert pictures[0] == pictures[1] and dict(matplotlib.rcParams) == before


def test_seaborn_is_imported_when_there_is_something_to_draw():
    code = "import sys, soundfusion_lib.analysis.figures; sys.exit('seaborn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
