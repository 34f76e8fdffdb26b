"""The training loop: `fit` goes through the epochs, `train_epoch` through the steps of one."""

import math
import os
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pandas as pd
import torch
from pydantic import StrictBool
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from soundfusion_lib.audio.segments import Segments
from soundfusion_lib.checks import Batch, Count, NotNegative, Positive, Share, checked
from soundfusion_lib.device import autocast
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.models import AudioClassifier
from soundfusion_lib.paths import writing
from soundfusion_lib.training.inference import log_probabilities

OPTIMIZERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
MEMORY_FORMAT = torch.channels_last  # which convolutions are faster in


@checked
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
            of the epoch of "lowest_loss" on the validation set, which a study takes instead where labels are unequal
            (accuracy is then that of the frequent ones), or of the "last": then patience has no effect.
        class_weights: each label counts alike in the loss, however many training segments it has.
    """

    epochs: Count = 60
    patience: Count = 10
    batch_size: Batch = 32
    learning_rate: Positive = 1e-4
    weight_decay: NotNegative = 0.0
    optimizer: Literal["adam", "adamw"] = "adam"
    schedule: Literal["constant", "one_cycle"] = "constant"
    averaging: Share = 0.0
    mixup: NotNegative = 0.0
    label_smoothing: Share = 0.0
    random_starts: StrictBool = False
    keep: Literal["best", "lowest_loss", "last"] = "best"
    class_weights: StrictBool = False


class Diverged(SoundFusionError):
    """The loss is no longer finite."""


class Fitted(NamedTuple):
    """What `fit` returns beside the trained model.

    Args:
        history: one row per epoch: epoch, train_loss, train_accuracy, validation_loss, validation_accuracy, seconds,
            core_seconds (CPU time, all cores together). Training figures are taken in training mode, as the epoch goes
            along; without validation segments the validation figures are NaN.
        best_epoch: the epoch whose weights the model has, from 1.
        log_probabilities: of the validation segments in that epoch, (segments, classes), on the device; None without.
    """

    history: pd.DataFrame
    best_epoch: int
    log_probabilities: torch.Tensor | None


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
) -> Fitted:
    """Train a model in place. It ends with the weights of the best (or last) epoch, in evaluation mode.

    On a CPU the same arguments give the same bits, also when training was interrupted and resumed. On CUDA they do not:
    cuDNN picks the fastest algorithm of each convolution by trial (`cudnn.benchmark`).

    Args:
        model: it is moved to the segments' device.
        validation: segments that choose the epoch; None where all tracks train and the last epoch is kept.
        seed: of the order of segments, dropout, augmentation and mixup.
        checkpoint: file that holds the state after every epoch; training resumes from it if it is there.
        on_epoch: called after each epoch with its row of the history; what it raises ends the training.
        description: title of the progress bar.

    Raises SoundFusionError if no validation set is there to choose the best epoch by, Diverged if the loss is no longer
    finite.
    """
    if validation is None and training.keep != "last":
        raise SoundFusionError(f'{description}: there is no validation set: set keep = "last" and the epochs it takes')
    torch.backends.cudnn.benchmark = True
    state = _state(model.to(train.device, memory_format=MEMORY_FORMAT), train, training)
    evaluated = state["averaged"].module if training.averaging else model
    history, best = _resume(checkpoint, state, train.device)
    bar = {"desc": description, "unit": "epoch", "leave": False, "disable": not progress}
    with tqdm(total=training.epochs, initial=len(history), **bar) as bar:
        while len(history) < training.epochs and len(history) - best["epoch"] < training.patience:
            epoch, began, busy = len(history) + 1, time.perf_counter(), time.process_time()
            train_loss, train_accuracy = train_epoch(state, train, training, seed=1_000_003 * seed + epoch)
            log_p, loss, accuracy = _validate(evaluated, validation, _class_weights(train, training))
            if not math.isfinite(train_loss + (0 if validation is None else loss)):
                raise Diverged(f"{description}: loss not finite in epoch {epoch}: use a lower learning rate")
            row = {"epoch": epoch, "train_loss": train_loss, "train_accuracy": train_accuracy}
            row |= {"validation_loss": loss, "validation_accuracy": accuracy}
            row |= {"seconds": time.perf_counter() - began, "core_seconds": time.process_time() - busy}
            history.append(row)
            score = (-loss, accuracy) if training.keep == "lowest_loss" else (accuracy, -loss)
            if training.keep == "last" or score > best["score"]:
                weights = {name: value.detach().cpu().clone() for name, value in evaluated.state_dict().items()}
                best = {"epoch": epoch, "score": score, "weights": weights, "log_p": log_p}
            _save(checkpoint, history, best, state)
            if on_epoch:
                on_epoch(row)
            bar.set_postfix(loss=f"{train_loss:.3f}", validation=f"{accuracy:.3f}")
            bar.update()
    model.load_state_dict(best["weights"])
    model.eval()
    return Fitted(pd.DataFrame(history), best["epoch"], best["log_p"])


def train_epoch(state: dict[str, Any], train: Segments, training: Training, seed: int) -> list[float]:
    """Train what `_state` gives for one epoch; returns its mean loss and its accuracy. Each epoch sets the seed anew:
    a resumed training needs no other random state."""
    torch.manual_seed(seed)
    order = torch.Generator().manual_seed(seed)
    model, optimizer, device = state["model"].train(), state["optimizer"], train.device
    loss_options = {"weight": _class_weights(train, training), "label_smoothing": training.label_smoothing}
    cross_entropy = partial(functional.cross_entropy, **loss_options)
    total, seen = torch.zeros(2, device=device), 0  # loss, right: read at the end, since reading waits for the device
    for inputs, targets in train.batches(training.batch_size, order, training.random_starts):
        optimizer.zero_grad()
        inputs, partners, share = _mixup(inputs, targets, training.mixup)
        with autocast(device):
            logits = model(*inputs)  # (N, classes)
        loss = share * cross_entropy(logits.float(), targets)
        if share < 1:
            loss += (1 - share) * cross_entropy(logits.float(), partners)
        loss.backward()
        optimizer.step()
        if "schedule" in state:
            state["schedule"].step()
        if "averaged" in state:
            state["averaged"].update_parameters(model)
        total += torch.stack([loss.detach() * len(targets), (logits.argmax(1) == targets).sum()])
        seen += len(targets)
    return (total / seen).tolist()


def _state(model: AudioClassifier, train: Segments, training: Training) -> dict[str, Any]:
    """All that changes from step to step, and that a checkpoint holds."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    options = {"lr": training.learning_rate, "weight_decay": training.weight_decay, "fused": train.device.type != "mps"}
    optimizer = OPTIMIZERS[training.optimizer](parameters, **options)
    state = {"model": model, "optimizer": optimizer}
    if training.schedule == "one_cycle":
        steps = training.epochs * len(train.batch_sizes(training.batch_size))
        state["schedule"] = torch.optim.lr_scheduler.OneCycleLR(optimizer, training.learning_rate, steps)
    if training.averaging:
        average = get_ema_multi_avg_fn(training.averaging)
        state["averaged"] = AveragedModel(model, multi_avg_fn=average, use_buffers=True)
    return state


def _class_weights(train: Segments, training: Training) -> torch.Tensor | None:
    """What a segment of each class counts in the loss, (classes,), on average 1; None where all count alike."""
    if not training.class_weights:
        return None
    counts = train.targets.bincount()  # every label is in the training set
    return len(train) / (len(counts) * counts)


def _validate(
    model: AudioClassifier, validation: Segments | None, weights: torch.Tensor | None
) -> tuple[torch.Tensor | None, float, float]:
    """Log-probabilities of the segments, (segments, classes), their mean loss and their accuracy."""
    if validation is None:
        return None, math.nan, math.nan
    log_p = log_probabilities(model, validation)
    loss = functional.nll_loss(log_p, validation.targets, weights).item()
    return log_p, loss, (log_p.argmax(1) == validation.targets).float().mean().item()


def _mixup(
    inputs: tuple[torch.Tensor, ...], targets: torch.Tensor, alpha: float
) -> tuple[tuple[torch.Tensor, ...], torch.Tensor, float]:
    """Mix each segment with a partner from the batch. Returns the inputs, (N, ...) each; the partners' targets, (N,);
    the share of the segment itself, at least a half, the same for the whole batch."""
    if not alpha:
        return inputs, targets, 1.0
    share = torch.distributions.Beta(alpha, alpha).sample().item()  # on the CPU, so that nothing waits for the device
    share = max(share, 1 - share)
    partner = torch.randperm(len(targets), device=targets.device)
    return tuple(share * x + (1 - share) * x[partner] for x in inputs), targets[partner], share


def _save(checkpoint: Path | None, history: list[dict], best: dict[str, Any], state: dict[str, Any]) -> None:
    if checkpoint:
        states = {name: part.state_dict() for name, part in state.items()}
        aside = checkpoint.with_name(checkpoint.name + ".new")
        with writing(checkpoint.parent, RuntimeError):  # torch raises it when the disk is full
            torch.save({"history": history, "best": best, **states}, aside)
            os.replace(aside, checkpoint)


def _resume(
    checkpoint: Path | None, state: dict[str, Any], device: torch.device
) -> tuple[list[dict[str, float]], dict[str, Any]]:
    """History and best epoch so far; what the checkpoint holds is loaded into `state`."""
    fresh = [], {"epoch": 0, "score": (-math.inf, -math.inf)}
    if not (checkpoint and checkpoint.exists()):
        return fresh
    try:
        saved = torch.load(checkpoint, map_location=device, weights_only=True)
    except OSError:
        raise
    except Exception as error:  # unpickling a damaged file may raise anything
        warnings.warn(f"{checkpoint} cannot be read ({type(error).__name__}): training starts anew", stacklevel=3)
        return fresh
    for name, part in state.items():
        part.load_state_dict(saved[name])
    return saved["history"], saved["best"]
