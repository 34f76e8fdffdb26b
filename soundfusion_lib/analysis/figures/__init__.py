"""Figures of the study. Each function returns a matplotlib Figure whose axes name what they show and in which unit."""

from soundfusion_lib.analysis.figures.costs import cost, search
from soundfusion_lib.analysis.figures.data import accuracies, clip, corpus_note, fusions, segments, split_distribution
from soundfusion_lib.analysis.figures.data import training_curves as training_curves
from soundfusion_lib.analysis.figures.results import (
    by_block,
    conclusions,
    confusion,
    gains,
    grid_search,
    performance,
    recalls,
    width_scaling,
)

__all__ = ["accuracies", "clip", "corpus_note", "segments", "split_distribution", "training_curves"]
__all__ += ["by_block", "conclusions", "confusion", "cost", "gains", "grid_search", "recalls"]
__all__ += ["fusions", "performance", "search", "width_scaling"]
