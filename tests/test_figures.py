import io
import itertools
import subprocess
import sys
from types import SimpleNamespace

import matplotlib
import numpy as np
import pandas as pd
import pytest
from conftest import games
from matplotlib import pyplot as plt
from matplotlib.text import Text

from soundfusion_lib.analysis import figures
from soundfusion_lib.datasets import Corpus

LABELS = ["doom", "quake", "zelda"]
ODD = "Ba$$ & Drum <b>"


@pytest.fixture
def study():
    yield type("Games", (), {"corpus": games(synthetic=True)})
    plt.close("all")


def accuracies(low=0.4, high=0.6, models=("one", "two")):
    table = pd.DataFrame({"model": models, "input": ["1D", "2D"], "core_minutes": [7.0, 80.0]})
    for by in ("segment", "track"):
        table = table.assign(**{f"{by}_accuracy": 0.5, f"{by}_low": low, f"{by}_high": high})
    return table.assign(segment_reported=[0.4, np.nan], track_reported=[0.4, np.nan])


def group(runs=1):
    history = pd.DataFrame({"epoch": [1, 2]})
    for part, quantity in itertools.product(("train", "validation"), ("loss", "accuracy")):
        history[f"{part}_{quantity}"] = [0.3, 0.5]
    return SimpleNamespace(runs=[SimpleNamespace(history=history, info={"best_epoch": 2})] * runs)


@pytest.mark.parametrize("bounds", [(np.nan, np.nan), ([0.4, np.nan], [0.6, np.nan]), (0.5, 0.5), (0.5 + 1e-16, 1.0)])
def test_a_value_without_an_interval_is_a_point_alone(study, bounds):
    [(marks, _, (bars,))] = figures.accuracies(study, accuracies(*bounds).assign(input="1D")).axes[0].containers
    drawn = [bar for bar in bars.get_segments() if len(bar) == 2]
    assert len(drawn) == np.isfinite(np.broadcast_to(bounds[0], 2)).sum()
    assert marks.get_xydata().tolist() == [[0.5, 0], [0.5, 1]]


def test_networks_are_coloured_by_input_reported_ones_open_and_titles_say_what_music_and_runs_are_shown(study):
    figure = figures.accuracies(study, accuracies())
    assert figure.get_suptitle() == "Accuracy (games corpus, synthetic music, label: soundtrack)"
    titles = [figures.training_curves(study, {"x": group(runs)}).get_suptitle() for runs in (1, 2)]
    assert ["first seed and fold" in title for title in titles] == [False, True]
    axis = figure.axes[1]
    assert axis.get_legend_handles_labels()[1] == ["reported on FMA-small", "chance", "1D", "2D"]
    one, two = (marks.get_color() for marks, *_ in axis.containers)
    reported = next(line for line in axis.lines if line.get_label() == "reported on FMA-small")
    assert one != two and reported.get_markerfacecolor() == "none" and reported.get_xdata()[0] == 0.4


def test_confusion_counts_are_whole_and_light_where_they_are_low(study):
    matrix = pd.DataFrame([[1234, 0, 0], [0, 2.5, 2.5], [0, 0, 0]], LABELS, LABELS)
    axis = figures.confusion(study, "x", matrix, matrix).axes[0]
    assert [text.get_text() for text in axis.texts] == ["1,234", "0", "0", "0", "2.5", "2.5", "0", "0", "0"]
    axis.figure.canvas.draw()
    full, empty, half = axis.collections[0].get_facecolors()[[0, 1, 4], :3].mean(axis=1)
    assert full < half < empty and empty > 0.9


def test_cells_that_no_one_ran_are_left_out_of_the_grid(study):
    rows = [(1.0, 2, 0.1), (1.0, 2, 0.2), (0.9, 2, 0.1), (1.0, 3, 0.2)]
    table = pd.DataFrame(rows, columns=["probability", "n_masks", "max_mask_fraction"])
    drawn = figures.grid_search(study, table.assign(best_validation_accuracy=0.5, reported=0.4))
    assert [sum(bool(text.get_text()) for text in axis.texts) for axis in drawn.axes[:4]] == [3, 1, 3, 1]
    assert [len(axis.get_xticks()) * len(axis.get_yticks()) for axis in drawn.axes[:4]] == [4] * 4


def test_every_model_whose_cost_is_known_is_named_once_and_apart_and_so_are_decades(study):
    names = ["SVM", "nnet1", "nnet2", "SoundFusion-1", "probe"]
    table = pd.DataFrame({"model": names, "input": ["MFCC", "2D", "2D", "mix", "features"], "track_accuracy": 0.5})
    table = table.assign(track_low=0.4, track_high=0.6, core_minutes=[np.nan, 7, 7, 80, 2])
    axis = figures.cost(study, table).axes[0]
    axis.figure.canvas.draw()
    assert [text.get_text() for text in axis.texts] == ["probe", "nnet1", "nnet2", "SoundFusion-1"]
    places = sorted(Text.get_window_extent(text).bounds[1::2] for text in axis.texts)  # without their lines
    assert all(low + height < above for (low, height), (above, _) in itertools.pairwise(places))
    assert axis.get_legend_handles_labels()[1] == ["2D", "mix", "features"] and axis.get_xscale() == "log"
    table = accuracies(models=["a long name " * 4, "two"]).assign(core_minutes=[5e-4, 20.0])
    axis = figures.cost(study, table).axes[0]
    axis.figure.canvas.draw()
    boxes = [tick.get_window_extent() for tick in axis.get_xticklabels() if tick.get_text()]
    assert len(boxes) >= 4 and not any(box.overlaps(other) for box, other in itertools.pairwise(boxes))


def test_fusions_and_controls_are_sorted_by_what_they_gain(study):
    table = pd.DataFrame({"first": ["one", "two", "wide"], "second": "part", "kind": ["fusion", "fusion", "control"]})
    table = table.assign(difference=[-0.02, 0.03, 0.01], low=-0.1, high=0.1)
    axis = figures.gains(study, table).axes[0]
    assert [tick.get_text() for tick in axis.get_yticklabels()] == ["two\n- part", "wide\n- part", "one\n- part"]
    fusion, control = (marks for marks, *_ in axis.containers)
    assert fusion.get_xydata().tolist() == [[0.03, 0], [-0.02, 2]] and control.get_xydata().tolist() == [[0.01, 1]]
    assert fusion.get_color() != control.get_color()


def test_a_figure_drawn_again_is_the_same_to_the_byte_and_settings_stay(study):
    before, pictures = dict(matplotlib.rcParams), [io.BytesIO(), io.BytesIO()]
    for picture in pictures:
        figures.accuracies(study, accuracies()).savefig(picture, format="png")
    assert pictures[0].getvalue() == pictures[1].getvalue() and dict(matplotlib.rcParams) == before


def test_seaborn_is_imported_when_there_is_something_to_draw():
    code = "import sys, soundfusion_lib.analysis.figures; sys.exit('seaborn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_starts_have_a_panel_for_each_corpus_and_rows_in_the_order_of_the_first():
    here, there = accuracies(models=["b", "a"]), accuracies(models=["a", "c"])
    figure = figures.starts({"x": here.assign(source=["ImageNet", "random"]), "y": there.assign(source="random")})
    assert [axis.get_title() for axis in figure.axes] == ["x", "y"]
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == ["b", "a", "c"]
    assert [marks.get_ydata().tolist() for marks, *_ in figure.axes[1].containers] == [[1, 2]]


def odd_arguments(store):
    """By figure, its arguments: a corpus and networks whose names matplotlib would read as mathematics."""
    tracks = store.tracks.assign(label=ODD, split=["train", "test"] * (len(store.tracks) // 2))
    study = SimpleNamespace(corpus=Corpus(ODD, store.corpus.root, tracks, label_name=ODD), tracks=tracks)
    table, matrix = accuracies(models=[ODD, "two"]), pd.DataFrame([[2, 1], [0, 3]], [ODD, "two"], [ODD, "two"])
    interval = {"low": 0.0, "high": 0.2}
    between = {"difference": 0.1, "first": ODD, "second": ODD, "kind": "fusion", **interval}
    answer = {"question": ODD, "reported": 0.1, "answer": "yes", "reported_answer": "no"}
    answer = between | answer | {"first_epochs": 1, "second_epochs": 2}
    widths = {"model": ["resnet1d", "resnet2d"], "size": ODD, "parameters": [1e5, 1e6]}
    widths |= {"reported_parameters": [1e5, 1e6], "reported_accuracy": 0.5}
    grid = {"probability": 1.0, "n_masks": [1, 2], "max_mask_fraction": 0.1, "reported": 0.4}
    front = {"best_of_size": "yes", "best_of_time": ["no", "yes"], "parameters": [1e5, 3e5]}
    return {
        "accuracies": (study, table),
        "conclusions": (study, pd.DataFrame([answer])),
        "confusion": (study, ODD, matrix, matrix),
        "cost": (study, table.assign(**front), ("parameters", "core_minutes")),
        "gains": (study, pd.DataFrame([between])),
        "grid_search": (study, pd.DataFrame(grid).assign(best_validation_accuracy=0.5)),
        "split_distribution": (study,),
        "starts": ({ODD: table.assign(source=ODD), "two": table.assign(source="two")},),
        "training_curves": (study, {ODD: group()}),
        "width_scaling": (study, pd.DataFrame(widths).merge(table.assign(model=widths["model"]))),
    }


def test_labels_and_names_are_never_read_as_mathematics_and_axes_are_named(store):
    arguments = odd_arguments(store)
    defined = {name for name, value in vars(figures).items() if getattr(value, "__module__", "") == figures.__name__}
    assert set(arguments) == {name for name in defined if not name.startswith("_")}
    for name, values in arguments.items():
        figure = getattr(figures, name)(*values)
        figure.canvas.draw()  # raises where a text is read as a formula
        texts = [text for text in figure.findobj(Text) if "$" in text.get_text()]
        assert texts, name
        assert not any(text.get_parse_math() for text in texts), name
        assert not any("mathdefault" in text.get_text() for text in texts), name  # a power of ten, drawn as its source
        assert figure.get_suptitle() or figure.axes[0].get_title(), name
        assert figure.get_supxlabel() or any(axis.get_xlabel() for axis in figure.axes), name
        if name not in ("accuracies", "conclusions", "gains", "starts"):  # whose rows have names
            assert figure.get_supylabel() or any(axis.get_ylabel() for axis in figure.axes), name
        plt.close(figure)
