import io
import itertools
import subprocess
import sys

import matplotlib
import numpy as np
import pandas as pd
import pytest
from conftest import games
from matplotlib import pyplot as plt
from matplotlib.text import Text

from soundfusion_lib.analysis import figures

LABELS = ["doom", "quake", "zelda"]


@pytest.fixture
def study():
    yield type("Games", (), {"corpus": games(synthetic=True)})
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


def test_cells_that_no_one_ran_are_left_out_of_the_grid(study):
    rows = [(1.0, 2, 0.1), (1.0, 2, 0.2), (0.9, 2, 0.1), (1.0, 3, 0.2)]
    table = pd.DataFrame(rows, columns=["probability", "n_masks", "max_mask_fraction"])
    drawn = figures.grid_search(study, table.assign(best_validation_accuracy=0.5, reported=0.4))
    assert [sum(bool(text.get_text()) for text in axis.texts) for axis in drawn.axes[:4]] == [3, 1, 3, 1]
    assert [len(axis.get_xticks()) * len(axis.get_yticks()) for axis in drawn.axes[:4]] == [4] * 4


def test_every_model_whose_cost_is_known_is_named_once_and_apart(study):
    names = ["SVM", "nnet1", "nnet2", "SoundFusion-1", "probe"]
    table = pd.DataFrame({"model": names, "input": ["MFCC", "2D", "2D", "mix", "features"], "track_accuracy": 0.5})
    table = table.assign(track_low=0.4, track_high=0.6, core_minutes=[np.nan, 7, 7, 80, 2])
    axis = figures.cost(study, table).axes[0]
    axis.figure.canvas.draw()
    assert [text.get_text() for text in axis.texts] == names[1:]
    places = sorted(Text.get_window_extent(text).bounds[1::2] for text in axis.texts)  # without their lines
    assert all(low + height < above for (low, height), (above, _) in itertools.pairwise(places))
    assert axis.get_legend_handles_labels()[1] == ["2D", "mix", "features"] and axis.get_xscale() == "log"


def test_fusions_and_controls_are_sorted_by_what_they_gain(study):
    table = pd.DataFrame({"first": ["one", "two", "wide"], "second": "part", "kind": ["fusion", "fusion", "control"]})
    table = table.assign(difference=[-0.02, 0.03, 0.01], low=-0.1, high=0.1)
    axis = figures.gains(study, table).axes[0]
    assert [tick.get_text() for tick in axis.get_yticklabels()] == ["two\n- part", "wide\n- part", "one\n- part"]
    fusion, control = (axis.collections[number].get_offsets().tolist() for number in (1, 3))
    assert (fusion, control) == ([[0.03, 0], [-0.02, 2]], [[0.01, 1]])
    colors = [
        tuple(one.get_facecolor()[0] if number % 2 else one.get_color()[0])
        for number, one in enumerate(axis.collections)
    ]
    assert colors[0] == colors[1] != colors[2] == colors[3]


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


def test_networks_are_sorted_and_what_was_reported_elsewhere_has_a_panel_of_its_own(study):
    table = pd.DataFrame({"model": ["low", "high", "best"], "input": ["1D", "2D", "2D"], "track_low": 0.1})
    table = table.assign(track_accuracy=[0.3, 0.5, 0.6], track_high=0.9, track_reported=[0.4, 0.2, np.nan])
    ours, theirs = figures.performance(study, table).axes
    assert [tick.get_text() for tick in ours.get_yticklabels()] == ["best", "high", "low"]
    assert [tick.get_text() for tick in theirs.get_yticklabels()] == ["low", "high"]
    assert [marks.get_offsets().tolist() for marks in ours.collections[1::2]] == [[[0.3, 2]], [[0.6, 0], [0.5, 1]]]
    assert "FMA-small" in theirs.get_title() and "synthetic" in ours.get_title()


def test_a_line_for_each_start_in_a_panel_for_each_network(study):
    rows = [(network, weights, block) for network in ("a", "b") for weights in ("x", "y") for block in (1, 2)]
    table = pd.DataFrame(rows[:-2], columns=["network", "weights", "block"])  # b has one start
    one, two = figures.by_block(study, table.assign(track_accuracy=0.5, track_low=0.4, track_high=0.6)).axes
    assert one.get_legend_handles_labels()[1] == ["x", "y", "chance"] and one.get_title() == "a"
    assert [len(line.get_xdata()) for line in two.lines[:2]] == [2, 0]
