"""What a frozen network makes of each clip: outputs of its stages, pooled, computed once and found again."""

import hashlib
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from soundfusion_lib.audio.segments import Segmenting, Segments
from soundfusion_lib.audio.store import Store
from soundfusion_lib.device import autocast
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.models import AudioClassifier
from soundfusion_lib.paths import lock, whole
from soundfusion_lib.training.inference import BATCH

FEATURES_REVISION = 2  # raise it when the same network and clip give other features
UNUSED = ("head.", "dense.")  # layers behind the last stage
LEVEL, SPREAD = -5.0, 21.0  # dB: about the mean and deviation of real music's spectrograms, of Emotify -5.6 and 20.6


@dataclass(frozen=True)
class Features:
    """Features of every usable track of a store.

    Args:
        blocks: by stage ("block 1" first), (tracks, 4 channels): mean and maximum of each channel over the picture or
            the time of a segment; of each of these mean and standard deviation over the track's segments. Of a stage
            that has neither, (tracks, 2 units): the same of each unit.
        core_seconds: that computing them took, when they were computed.
    """

    blocks: dict[str, np.ndarray]
    core_seconds: float


def features(
    store: Store,
    model: AudioClassifier,
    segmenting: Segmenting,
    cache_dir: Path,
    device: torch.device,
    *,
    standardizes: bool,
    name: str = "network",
    progress: bool = True,
) -> Features:
    """Features of the usable tracks, in their order; only clips that this network has not met are computed. Raises
    SoundFusionError where a clip is shorter than one segment.

    Args:
        store: holds the representations that the model takes.
        model: with its weights; it is put into evaluation mode.
        segmenting: how the model's inputs are cut; segments of features do not overlap.
        cache_dir: features lie in <cache_dir>/features, one file per network.
        standardizes: whether the network was trained on a corpus and standardises as it did there. Else it gets
            spectrograms less `LEVEL`, over `SPREAD`, as a network of pictures gets pixels on a fixed scale: features
            then depend on the clip alone, and know how loud it is.
        name: title of the progress bar.
    """
    if segmenting.overlap is not None:
        segmenting = replace(segmenting, overlap=0.0)
    file = Path(cache_dir) / "features" / f"{_key(store, model, segmenting)}.parquet"
    digests = store.arrays[model.inputs[0]].tracks.loc[store.tracks.index, "digest"]
    with lock(file.with_name(f"{file.name}.lock")):
        known = pd.read_parquet(file) if file.exists() else pd.DataFrame()
        if len(missing := digests[~digests.isin(known.index)].drop_duplicates()):
            segments = Segments(store, missing.index, model.inputs, segmenting, device)
            if len(short := missing.index.difference(segments.table["track"])):
                cure = f"[segmenting] seconds = {segmenting.seconds:g} in the profile leaves them out"
                raise SoundFusionError(f"{len(short)} clips, {short[0]!r} first, are too short for {name}: {cure}")
            known = pd.concat([known, _computed(model, segments, missing, standardizes, name, progress)])
            with whole(file) as aside:
                known.to_parquet(aside)
    table = known.loc[digests]
    seconds = table.pop("core_seconds").sum()
    return Features({block: np.stack(table[block]) for block in table}, float(seconds))


def _key(store: Store, model: AudioClassifier, segmenting: Segmenting) -> str:
    """Hash of the weights that features depend on, and of the representations."""
    specs = [store.arrays[kind].representation for kind in model.inputs]
    found = hashlib.sha256(repr((FEATURES_REVISION, type(model).__name__, specs, segmenting)).encode())
    for layer, values in sorted(model.state_dict().items()):
        if not layer.startswith(UNUSED):
            found.update(layer.encode() + values.cpu().contiguous().numpy().tobytes())
    return found.hexdigest()[:16]


def _computed(
    model: AudioClassifier, segments: Segments, digests: pd.Series, standardizes: bool, name: str, progress: bool
) -> pd.DataFrame:
    track = torch.from_numpy(digests.index.get_indexer(segments.table["track"]))  # of each segment
    count = len(segments.batch_sizes(BATCH))
    bar = tqdm(segments.batches(BATCH), f"features of {name}", count, leave=False, unit="batch", disable=not progress)
    began = time.process_time()
    outputs = pooled(model, (x for (x,), _ in bar), segments.device, standardizes)
    spent = (time.process_time() - began) / len(digests)
    table = {block: list(over_segments(values, track, len(digests))) for block, values in outputs.items()}
    return pd.DataFrame({**table, "core_seconds": spent}, index=digests.to_numpy(str))


@torch.inference_mode()
def pooled(
    model: AudioClassifier, batches: Iterable[torch.Tensor], device: torch.device, standardizes: bool
) -> dict[str, torch.Tensor]:
    """What each stage of the network makes of the segments in batches of its raw input: by stage, mean and maximum of
    each channel over the segment, or each unit, (segments, D). See `features`."""
    level, spread = (LEVEL, SPREAD) if "mel" in model.inputs and not standardizes else (0.0, 1.0)
    model = model.to(device, memory_format=torch.channels_last).eval()
    outputs: list[torch.Tensor] = []
    stages = model.stages()
    hooks = [stage.register_forward_hook(lambda _, __, output: outputs.append(output)) for stage in stages.values()]
    blocks: dict[str, list[torch.Tensor]] = {block: [] for block in stages}
    for x in batches:
        outputs.clear()
        with autocast(device):
            model.features((x - level) / spread)
        for block, output in zip(stages, outputs, strict=True):
            output = output.float()
            if output.ndim > 2:
                maps = output.flatten(2)  # (N, C, ...)
                output = torch.cat([maps.mean(2), maps.amax(2)], 1)
            blocks[block].append(output.cpu())
    for hook in hooks:
        hook.remove()
    return {block: torch.cat(values) for block, values in blocks.items()}


def over_segments(values: torch.Tensor, track: torch.Tensor, tracks: int) -> np.ndarray:
    """Mean and standard deviation over each track's segments: (segments, D) -> (tracks, 2 D)."""
    sums = torch.zeros(tracks, values.shape[1], dtype=torch.float64)
    count = torch.bincount(track, minlength=tracks)[:, None]
    mean = sums.index_add(0, track, values.double()) / count
    variance = sums.index_add(0, track, (values.double() - mean[track]).square()) / count
    return torch.cat([mean, variance.sqrt()], 1).float().numpy()
