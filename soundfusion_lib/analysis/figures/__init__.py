"""Figures of the study. Each function returns a matplotlib Figure whose axes name what they show and in which unit."""

from soundfusion_lib.analysis.figures.common import corpus_note
from soundfusion_lib.analysis.figures.data import clip, fusions, split_distribution, training_curves
from soundfusion_lib.analysis.figures.results import (
    accuracies,
    by_block,
    conclusions,
    confusion,
    cost,
    gains,
    grid_search,
    recalls,
    search,
    starts,
    width_scaling,
)

__all__ = ["accuracies", "by_block", "clip", "conclusions", "confusion", "corpus_note", "cost", "fusions", "gains"]
__all__ += ["grid_search", "recalls", "search", "split_distribution", "starts", "training_curves", "width_scaling"]
