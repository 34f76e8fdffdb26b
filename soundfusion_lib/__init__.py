"""SoundFusion: music genre recognition from waveforms, mel spectrograms and their fusion, as a reproducible study.

    from soundfusion_lib import Study

What a notebook or a script needs stands here by name, imported when it is asked for: the command's help needs no torch.
"""

import importlib
from typing import Any

_EXPORTS = {
    "SoundFusionError": "errors",
    "Study": "study.study",
    "build_model": "models",
    "check_parameters": "notebooks",
    "count_parameters": "models",
    "explore": "explorer.explore",
    "load_profile": "study.profile",
    "load_recognizer": "predict.recognizer",
    "load_run": "training.run",
    "open_corpus": "datasets",
    "summarize": "models",
}
__all__ = sorted(_EXPORTS)


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_EXPORTS[name]}"), name)
