"""fit(): train a classifier, by the report's recipe or a newer one; interrupted, it goes on at the last epoch."""

import copy
import math
import os
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from soundfusion_lib import settings
from soundfusion_lib.audio.segments import Segments
from soundfusion_lib.device import autocast, keep_freed_memory
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.models import AudioClassifier
from soundfusion_lib.paths import writing
from soundfusion_lib.training.inference import log_probabilities

OPTIMIZERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
MEMORY_FORMAT = torch.channels_last  # which convolutions are faster in


@dataclass(frozen=True)
class Training:
    """How to train; the defaults are the report's recipe.

    Args:
        epochs: at most so many.
        patience: stop after so many epochs without a better one.
        batch_size: segments.
        learning_rate, weight_decay: of the optimizer.
        optimizer: "adam" (Kingma and Ba, 2015) or "adamw" (Loshchilov and Hutter, 2019).
        schedule: "constant", or "one_cycle": the learning rate rises for three tenths of the steps and then falls to
            nothing (Smith and Topin, "Super-convergence", 2018).
        averaging: share that the averaged weights, which are then validated and kept, keep of themselves at each step;
            0.99 for some hundred steps (Polyak and Juditsky, 1992; as in Tarvainen and Valpola, 2017). 0: none.
        mixup: alpha of the Beta distribution by which two segments are mixed (Zhang et al., ICLR 2018). 0: none.
        label_smoothing: share of the target that all classes get alike (Szegedy et al., CVPR 2016).
        random_starts: segments to learn from begin anywhere in their track, anew in each epoch.
        keep: the weights of the "best" epoch (of highest validation accuracy, of lowest validation loss among equals),
            or of the "last": then patience has no effect.
    """

    epochs: int = 60
    patience: int = 10
    batch_size: int = 32
    learning_rate: float = 1e-4
    weight_decay: float = 0.0
    optimizer: str = "adam"
    schedule: str = "constant"
    averaging: float = 0.0
    mixup: float = 0.0
    label_smoothing: float = 0.0
    random_starts: bool = False
    keep: str = "best"

    def __post_init__(self):
        settings.check(vars(self), "Training:")


class Diverged(SoundFusionError):
    """The loss is no longer finite."""


def fit(
    model: AudioClassifier,
    train: Segments,
    validation: Segments | None,
    training: Training,
    *,
    seed: int = 0,
    checkpoint: Path | None = None,
    on_epoch: Callable[[dict[str, float]], None] | None = None,
    description: str = "training",
    progress: bool = True,
) -> tuple[pd.DataFrame, int, torch.Tensor | None]:
    """Train a model in place; it ends with the weights of the epoch that is kept, in evaluation mode.

    Args:
        model: on any device; it is moved to the segments'.
        train: segments to learn from. Their loss and accuracy are taken in training mode, as the epoch goes along.
        validation: segments to choose the epoch by; None where all train, and the last epoch is kept.
        training: how.
        seed: of the order of the segments, the dropout and the augmentation.
        checkpoint: file to keep the state in after every epoch, and to go on from if it is there and can be read.
        on_epoch: called after each epoch with its row; what it raises ends the training.
        description, progress: title of the progress bar, and whether to show it.

    Returns:
        One row an epoch: epoch, train_loss, train_accuracy, validation_loss, validation_accuracy, seconds,
            core_seconds (of all cores together, which what else runs there does not lengthen); the epoch kept, from 1;
            and its log-probabilities of the validation segments, (segments, classes), on the device (without any, NaN
            and None).

    Raises:
        SoundFusionError: there is one segment to learn from, or none to choose the best epoch by; Diverged: the loss
            is no longer finite.
    """
    if len(train) < 2:
        raise SoundFusionError(f"{description}: the training part is a single segment: add tracks, or cut them shorter")
    if validation is None and training.keep == "best":
        raise SoundFusionError(f'{description}: no part validates: set keep = "last", and as many epochs as it takes')
    if train.device.type == "cpu":
        keep_freed_memory()
    torch.backends.cudnn.benchmark = True  # shorter steps, for the last digits of what a seed gives
    parts = _parts(model.to(train.device, memory_format=MEMORY_FORMAT), train, training)
    validated = parts["averaged"].module if training.averaging else model
    history, best = _resume(checkpoint, parts, train.device)
    look = {"desc": description, "unit": "epoch", "leave": False, "disable": not progress}
    with tqdm(total=training.epochs, initial=len(history), **look) as bar:
        while len(history) < training.epochs and len(history) - best["epoch"] < training.patience:
            epoch, began, busy = len(history) + 1, time.perf_counter(), time.process_time()
            train_loss, train_accuracy = _learn(parts, train, training, 1_000_003 * seed + epoch)
            log_p, loss, accuracy = _validate(validated, validation)
            if not math.isfinite(train_loss + (0 if validation is None else loss)):
                raise Diverged(f"{description}: loss not finite in epoch {epoch}: use a lower learning rate")
            row = {"epoch": epoch, "train_loss": train_loss, "train_accuracy": train_accuracy}
            row |= {"validation_loss": loss, "validation_accuracy": accuracy}
            row |= {"seconds": time.perf_counter() - began, "core_seconds": time.process_time() - busy}
            history.append(row)
            if training.keep == "last" or (accuracy, -loss) > best["score"]:
                weights = {name: value.detach().cpu().clone() for name, value in validated.state_dict().items()}
                best = {"epoch": epoch, "score": (accuracy, -loss), "weights": weights, "log_p": log_p}
            _save(checkpoint, history, best, parts)
            known = {} if validation is None else {"validation": f"{accuracy:.3f}"}
            bar.set_postfix(loss=f"{train_loss:.3f}", **known)
            bar.update()
            if on_epoch:
                on_epoch(row)
    model.load_state_dict(best["weights"])
    model.eval()
    return pd.DataFrame(history), best["epoch"], best["log_p"]


def _parts(model: AudioClassifier, train: Segments, training: Training) -> dict[str, Any]:
    """What changes from step to step: model, optimizer, and schedule and averaged model where the recipe has them."""
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    options = {"lr": training.learning_rate, "weight_decay": training.weight_decay, "fused": train.device.type != "mps"}
    optimizer = OPTIMIZERS[training.optimizer](learning, **options)
    parts = {"model": model, "optimizer": optimizer}
    if training.schedule == "one_cycle":
        steps = training.epochs * len(train.batch_sizes(training.batch_size))
        parts["schedule"] = torch.optim.lr_scheduler.OneCycleLR(optimizer, training.learning_rate, steps)
    if training.averaging:
        average = get_ema_multi_avg_fn(training.averaging)
        parts["averaged"] = AveragedModel(model, multi_avg_fn=average, use_buffers=True)
    return parts


def _learn(parts: dict[str, Any], train: Segments, training: Training, seed: int) -> list[float]:
    """One epoch: its mean loss and its accuracy."""
    torch.manual_seed(seed)  # anew in each epoch: a resumed run needs no other random state
    order = torch.Generator().manual_seed(seed)
    model, optimizer, device = parts["model"].train(), parts["optimizer"], train.device
    cross_entropy = partial(functional.cross_entropy, label_smoothing=training.label_smoothing)
    total, seen = torch.zeros(2, device=device), 0  # loss, right: read at the end, since reading waits for the device
    for inputs, targets in train.batches(training.batch_size, order, training.random_starts):
        optimizer.zero_grad()
        inputs, others, share = _mixed(inputs, targets, training.mixup)
        with autocast(device):
            logits = model(*inputs)  # (N, classes)
        loss = share * cross_entropy(logits.float(), targets)
        if share < 1:
            loss += (1 - share) * cross_entropy(logits.float(), others)
        loss.backward()
        optimizer.step()
        if "schedule" in parts:
            parts["schedule"].step()
        if "averaged" in parts:
            parts["averaged"].update_parameters(model)
        total += torch.stack([loss.detach() * len(targets), (logits.argmax(1) == targets).sum()])
        seen += len(targets)
    return (total / seen).tolist()


def _validate(model: AudioClassifier, validation: Segments | None) -> tuple[torch.Tensor | None, float, float]:
    """Log-probabilities of the segments, (segments, classes), their mean loss and their accuracy."""
    if validation is None:
        return None, math.nan, math.nan
    log_p = log_probabilities(model, validation)
    loss = functional.nll_loss(log_p, validation.targets).item()
    return log_p, loss, (log_p.argmax(1) == validation.targets).float().mean().item()


def _mixed(
    inputs: tuple[torch.Tensor, ...], targets: torch.Tensor, alpha: float
) -> tuple[tuple[torch.Tensor, ...], torch.Tensor, float]:
    """Each segment mixed with another of the batch: the inputs, (N, ...) each; the others' targets, (N,); and the share
    of the segment itself, at least a half, one for the whole batch."""
    if not alpha:
        return inputs, targets, 1.0
    share = torch.distributions.Beta(alpha, alpha).sample().item()  # on the CPU, so that nothing waits for the device
    share = max(share, 1 - share)
    other = torch.randperm(len(targets), device=targets.device)
    return tuple(share * x + (1 - share) * x[other] for x in inputs), targets[other], share


def _save(checkpoint: Path | None, history: list[dict], best: dict[str, Any], parts: dict[str, Any]) -> None:
    if checkpoint:
        state = {name: part.state_dict() for name, part in parts.items()}
        aside = checkpoint.with_name(checkpoint.name + ".new")
        with writing(checkpoint.parent, RuntimeError):  # which is what torch makes of a full disk
            torch.save({"history": history, "best": best, **state}, aside)
            os.replace(aside, checkpoint)


def _resume(
    checkpoint: Path | None, parts: dict[str, Any], device: torch.device
) -> tuple[list[dict[str, float]], dict[str, Any]]:
    """History and the epoch kept so far; the parts get the state that was saved with them."""
    begun = [], {"epoch": 0, "score": (-math.inf, -math.inf)}
    if not (checkpoint and checkpoint.exists()):
        return begun
    untouched = {name: copy.deepcopy(part.state_dict()) for name, part in parts.items()}
    try:
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        for name, part in parts.items():
            part.load_state_dict(state[name])
        history, best = state["history"], state["best"]
    except OSError:
        raise
    except Exception as error:  # what unpickling a damaged file raises may be anything
        warnings.warn(f"{checkpoint} cannot be read ({type(error).__name__}): training begins anew", stacklevel=3)
        for name, part in parts.items():
            part.load_state_dict(untouched[name])
        return begun
    # a fused step goes through a parameter and its state as they lie in memory, which may be otherwise now
    for parameter, values in parts["optimizer"].state.items():
        for name, value in values.items():
            if value.shape == parameter.shape:
                values[name] = torch.empty_like(parameter).copy_(value)
    return history, best
