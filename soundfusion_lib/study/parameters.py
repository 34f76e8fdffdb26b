"""The parameters of a notebook, as papermill gives them to it."""

import ast

from soundfusion_lib.errors import SoundFusionError

DEFAULTS = {"profile": "demo", "device": "auto"}


def check_parameters(inputs: list[str]) -> None:
    """Refuse a parameter that a notebook does not have: papermill only warns, and would run the defaults.

    Args:
        inputs: the cells run so far, IPython's `In`. Papermill's begins with the comment "# Parameters".

    Raises:
        SoundFusionError: it sets another name than those of `DEFAULTS`.
    """
    for cell in inputs:
        if cell.startswith("# Parameters\n"):
            given = [target.id for statement in ast.parse(cell).body for target in statement.targets]
            unknown = [name for name in given if name not in DEFAULTS]
            if unknown:
                raise SoundFusionError(
                    f"this notebook has no parameter {unknown[0]!r}; there are: {', '.join(DEFAULTS)}"
                )
