"""The parameters of a notebook, as papermill gives them to it."""

import ast

from soundfusion_lib.errors import SoundFusionError

DEFAULTS = {"profile": "demo", "device": "auto"}


def check_parameters(inputs: list[str]) -> None:
    """Raise SoundFusionError for a parameter not in `DEFAULTS`: papermill only warns, and would run the defaults.

    Args:
        inputs: the cells run so far, IPython's `In`. Papermill's begins with the comment "# Parameters".
    """
    for cell in inputs:
        if cell.startswith("# Parameters\n"):
            for statement in ast.parse(cell).body:
                name = statement.targets[0].id
                if name not in DEFAULTS:
                    raise SoundFusionError(f"this notebook has no parameter {name!r}; there are: {', '.join(DEFAULTS)}")
