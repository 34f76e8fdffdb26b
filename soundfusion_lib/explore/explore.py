"""A study to click through, or a picture of it where nobody is there to click."""

from collections.abc import Mapping

from IPython import get_ipython
from IPython.display import Image

from soundfusion_lib.explore import pictures
from soundfusion_lib.explore.explorer import Explorer
from soundfusion_lib.explore.judgements import Judgements
from soundfusion_lib.study.study import Study
from soundfusion_lib.training.result import Result


def explore(study: Study, runs: Mapping[str, Result] | None = None) -> Explorer | Image:
    """The study's clips, to choose, to hear and to see; with runs also what these hear in clips that they did not train
    on, chosen by label, by a cell of a confusion matrix, or because every network is wrong on them.

    Where nobody looks at the notebook while it runs (papermill, nbval) it is a picture of one clip, which is saved as a
    figure of the study: of the first that every network is wrong on, or else the first.

    Args:
        runs: by the network's name; what they predicted is read from their files.
    """
    judgements = Judgements(runs) if runs else None
    track, network = study.tracks.index[0], None
    if judgements:
        track, network = [*judgements.missed, *judgements.labels.index][0], judgements.best
    still = study.save_figure(
        pictures.clip(study, track, judgements, network),
        f"{study.notebook[:2]}_explore",
        pictures.described(study, track, judgements),
    )
    return Explorer(study, judgements, still) if someone_looks() else still


def someone_looks() -> bool:
    """Whether a person's front end asked for the cell that runs: JupyterLab and its like name the cell, papermill and
    nbval do not."""
    kernel = getattr(get_ipython(), "kernel", None)
    return kernel is not None and "cellId" in kernel.get_parent().get("metadata", {})
