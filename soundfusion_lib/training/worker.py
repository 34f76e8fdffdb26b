"""What a worker of a Dask cluster does: it trains a run in its own data folder, and gives the whole of it back.

Where its data folder is the one of whoever asks, on a disk that both see, nothing is sent. Elsewhere it says what it
lacks, gets that once, keeps it, and sends the run.
"""

import hashlib
import os
import shutil
import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock

import pandas as pd

from soundfusion_lib.audio.store import Store, StoredArray
from soundfusion_lib.device import choose_device
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.models.vgg16 import imagenet_file
from soundfusion_lib.paths import data_dir, lock, runs_dir
from soundfusion_lib.training.experiment import Experiment
from soundfusion_lib.training.provenance import versions
from soundfusion_lib.training.run import INFO, checksum, damage
from soundfusion_lib.training.train import train_a_while, train_or_find

_training = Lock()
_stores: dict[tuple[str, ...], Store] = {}  # the last one, whose clips a GPU may hold


@dataclass(frozen=True)
class Order:
    """A run that a worker is to train.

    Args:
        experiment: what to train, by its split as `Study.variants` gives it.
        store: of the clips, its folders as the machine that asks sees them.
        data: the data folder of that machine.
        mark: name of a file in its folder of runs: a worker that sees it in its own has the same one.
        needs: places of what the run takes, see `needs`.
        device: see `choose_device`.
        versions: of the packages there.
        checkpoint, until: of a trial that trains up to an epoch, no run: place of its checkpoint, and that epoch.
    """

    experiment: Experiment
    store: Store
    data: Path
    mark: str
    needs: tuple[str, ...]
    device: str
    versions: dict[str, str]
    checkpoint: str = ""
    until: int = 0


@dataclass(frozen=True)
class Outcome:
    """What a worker answers.

    Args:
        key: of the run.
        worker: its address.
        lacks: places of what it has to be sent first; the run is trained if there are none.
        trained: whether the run was trained just now, not found.
        files: of the run, by their names; None where it is trained on a disk that both see.
        history: epochs of a trial.
    """

    key: str
    worker: str
    lacks: tuple[str, ...] = ()
    trained: bool = False
    files: dict[str, bytes] | None = None
    history: pd.DataFrame | None = None


def order(experiment: Experiment, store: Store, mark: str, device: str, checkpoint: str = "", until: int = 0) -> Order:
    """The order for a run, or for a trial; see `Order`."""
    store = Store(store.corpus, _arrays(experiment, store))
    needed = tuple(needs(experiment, store))
    return Order(experiment, store, data_dir(), mark, needed, device, versions(), checkpoint, until)


def needs(experiment: Experiment, store: Store) -> dict[str, Path]:
    """What a run takes beside the library: each file or folder here, by its place in a worker's data folder."""
    found = {_place(array): array.folder for array in _arrays(experiment, store).values()}
    found |= {f"runs/{key}": runs_dir() / key for key in experiment.starts_from}
    if "imagenet" in experiment.start and (file := imagenet_file()):
        found[file.name] = file
    return found


def train_here(order: Order, parts: list[Outcome]) -> Outcome:
    """Train a run, or find it already done; `parts` are what the tasks gave that train what it starts from.

    Raises:
        SoundFusionError: this worker runs several tasks at once, or has other versions or other weights of ImageNet;
            see also `train_or_find`.
    """
    from distributed import get_worker

    address = get_worker().address
    if not _training.acquire(blocking=False):
        raise SoundFusionError(
            f"worker {address} trains two runs at once in one process, which would share their random numbers: start "
            "it with `soundfusion worker`, and more of them with --count"
        )
    try:
        return _train(order, parts, address)
    finally:
        _training.release()


def _train(order: Order, parts: list[Outcome], address: str) -> Outcome:
    _check_versions(order, address)
    experiment, key = order.experiment, order.experiment.key(order.store.content_id)
    shared = (runs_dir() / order.mark).is_file()
    if not shared:
        for part in parts:
            keep_run(part)
        lacks = tuple(place for place in order.needs if not is_here(place))
        if lacks:
            return Outcome(key, address, lacks)
    _check_imagenet(experiment, address)
    store = _store_here(order, shared)
    device = choose_device(order.device)
    if order.until:
        history = train_a_while(experiment, store, data_dir() / order.checkpoint, device, order.until)
        return Outcome(key, address, history=history)
    run = train_or_find(experiment, store, runs_dir(), device, progress=False)
    if shared:
        return Outcome(key, address, trained=run.trained)
    files = {name: (run.folder / name).read_bytes() for name in [*run.info["checksums"], INFO]}
    return Outcome(key, address, trained=run.trained, files=files)


def _check_versions(order: Order, address: str) -> None:
    """Raise SoundFusionError where other versions would give other numbers."""
    own = versions()
    for package, version in order.versions.items():
        if own[package] != version:
            raise SoundFusionError(
                f"worker {address} has {package} {own[package]}, and {version} is what asks it to train: give it the "
                "same environment (requirements.lock)"
            )


def _check_imagenet(experiment: Experiment, address: str) -> None:
    """Raise SoundFusionError where the weights that would be loaded here are not those that the experiment names."""
    if "imagenet" in experiment.start:
        file = imagenet_file()
        found = checksum(file)[:12] if file else "torchvision"
        if found != experiment.start["imagenet"]:
            raise SoundFusionError(f"worker {address} has other weights of ImageNet in {data_dir()}: take them away")


def _arrays(experiment: Experiment, store: Store) -> dict[str, StoredArray]:
    return {spec.kind: store.arrays[spec.kind] for spec in experiment.representations if spec.kind in store.arrays}


def _place(array: StoredArray) -> str:
    """Where a worker keeps an array that it was sent: another one where clips lie otherwise in it."""
    layout = array.tracks[["digest", "start", "frames"]].to_csv()
    return f"sent/{hashlib.sha256((array.folder.name + layout).encode()).hexdigest()[:16]}"


def _store_here(order: Order, shared: bool) -> Store:
    """The store with its arrays where they are here."""
    found = _arrays(order.experiment, order.store)
    places = {kind: _place(array) for kind, array in found.items()}
    name = order.store.content_id, *places.values()
    if name not in _stores:
        if shared:
            places = {kind: array.folder.relative_to(order.data) for kind, array in found.items()}
        arrays = {kind: replace(array, folder=data_dir() / places[kind]) for kind, array in found.items()}
        _stores.clear()
        _stores[name] = Store(order.store.corpus, arrays)
    return _stores[name]


def is_here(place: str) -> bool:
    """Whether something has been sent to the data folder of this worker, or was there before."""
    return (data_dir() / place).exists()


def receive(place: str, offset: int, content: bytes) -> None:
    """Write a piece of a file in this worker's data folder; the first one begins it anew."""
    file = data_dir() / place
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file, "r+b" if offset else "wb") as opened:
        opened.seek(offset)
        opened.write(content)


def discard(place: str) -> None:
    """Remove a folder of this worker's data folder, with what is in it."""
    shutil.rmtree(data_dir() / place, ignore_errors=True)


def rename(aside: str, place: str) -> None:
    """Put what was received whole into its place."""
    if not is_here(place):
        (data_dir() / place).parent.mkdir(parents=True, exist_ok=True)
        os.replace(data_dir() / aside, data_dir() / place)


def keep_run(outcome: Outcome) -> None:
    """Write a run that was sent to where runs are kept, whole or not at all; nothing where it is there.

    Raises:
        SoundFusionError: it arrives damaged.
    """
    final = runs_dir() / outcome.key
    if outcome.files is None:
        return
    with lock(final.with_suffix(".lock")):
        if final.is_dir():
            return
        aside = data_dir() / "sent" / f"{outcome.key}-{uuid.uuid4().hex}"
        aside.mkdir(parents=True)
        for name, content in outcome.files.items():
            (aside / name).write_bytes(content)
        if fault := damage(aside):
            raise SoundFusionError(
                f"run {outcome.key} of worker {outcome.worker} arrives damaged ({fault}): start again"
            )
        os.replace(aside, final)
