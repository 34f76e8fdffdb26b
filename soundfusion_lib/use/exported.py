"""A trained network apart from its run: a folder that loads without a corpus or a store.

model.safetensors   its weights, and the statistics that its inputs are standardised with
config.json         its labels, its experiment (network, representations, segments), what it was trained on
README.md           the model card
model.onnx          where asked for, see `onnx_graph`
"""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file

from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.models import AudioClassifier
from soundfusion_lib.training.experiment import Experiment
from soundfusion_lib.training.run import checksum

CONFIG, WEIGHTS = "config.json", "model.safetensors"
FORMAT = 1  # of config.json; raise it when what is there means something else


def is_exported(folder: Path) -> bool:
    """Whether a folder holds an exported network, not a run."""
    return (Path(folder) / CONFIG).is_file()


def load(folder: Path) -> tuple[AudioClassifier, Experiment, dict[str, Any]]:
    """The network in evaluation mode, on the CPU; what was trained; all that config.json says.

    Raises:
        SoundFusionError: a file is missing, damaged, or made by a newer version.
    """
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        if config["format"] > FORMAT:
            raise SoundFusionError(f"{folder / CONFIG} is of a newer version of this library: bring it up to date")
        experiment = Experiment.from_dict(config["experiment"])
        if checksum(folder / WEIGHTS) != config["checksums"][WEIGHTS]:
            raise SoundFusionError(f"{folder / WEIGHTS} is not the file that {CONFIG} names: export it again")
        model = experiment.build(len(config["labels"]))
        model.load_weights(load_file(folder / WEIGHTS), str(folder / WEIGHTS))
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise SoundFusionError(
            f"{folder} holds no network that can be loaded ({type(error).__name__}: {error}): export it again"
        ) from error
    return model.eval(), experiment, config
