import threading
from dataclasses import replace

import numpy as np
import pytest
import torch

from soundfusion_lib.audio import segments as segments_module
from soundfusion_lib.audio.segments import Segmenting, Segments
from soundfusion_lib.audio.store import Store
from soundfusion_lib.errors import SoundFusionError


@pytest.mark.parametrize("seconds, count", [(30.0, 7), (27.5, 7), (27.49, 6), (5.0, 1), (4.99, 0), (600.0, 159)])
def test_number_of_segments(seconds, count):
    starts = Segmenting().starts(seconds)
    assert len(starts) == count
    assert Segmenting(30.0, None).starts(seconds).tolist() == [0]  # a whole clip, whatever its length
    if count:
        assert np.allclose(np.diff(starts), 3.75) and starts[-1] + 5 <= seconds + 1e-6


def of(store, cpu, kinds=("waveform", "mel"), segmenting=Segmenting(1.0, 0.25), tracks=None):
    return Segments(store, store.tracks.index if tracks is None else tracks, kinds, segmenting, cpu)


def test_segments_are_the_slices_of_their_tracks(store, cpu):
    batch = of(store, cpu)
    (waveform, mel), targets = next(batch.batches(len(batch)))
    assert waveform.shape == (len(batch), 1, 22_050) and mel.shape == (len(batch), 2, 32, 87)
    assert waveform.dtype == mel.dtype == torch.float32
    genres = store.labels
    for row in (0, 1, 17, len(batch) - 1):
        track, number, target = batch.table.loc[row, ["track", "segment", "target"]]
        assert genres[target] == store.tracks.loc[track, "label"] == genres[int(targets[row])]
        start = int(0.75 * number * 22_050)
        samples = store.arrays["waveform"].clip(track)[start : start + 22_050, 0, 0]
        np.testing.assert_array_equal(waveform[row, 0], samples / np.float32(32_768))
        frames = store.arrays["mel"].clip(track)[start // 256 : start // 256 + 87]
        np.testing.assert_array_equal(mel[row], frames.transpose(1, 2, 0).astype(np.float32))


def test_an_epoch_has_every_segment_once_and_a_seed_gives_its_order(store, cpu):
    batch = of(store, cpu, ("mel",))
    in_order = torch.cat([x[0] for x, _ in batch.batches(7)])
    assert len(in_order) == len(batch)
    orders = [torch.cat([x[0] for x, _ in batch.batches(7, torch.Generator().manual_seed(seed))]) for seed in (0, 0, 1)]
    assert torch.equal(orders[0], orders[1]) and not torch.equal(orders[0], orders[2])
    assert not torch.equal(orders[0], in_order)
    assert torch.allclose(orders[0].sum((1, 2, 3)).sort().values, in_order.sum((1, 2, 3)).sort().values)


def test_a_whole_clip_is_padded_with_its_own_silence_never_with_the_next_clip(store, cpu):
    batch = of(store, cpu, segmenting=Segmenting(4.4, None))
    (waveform, mel), _ = next(batch.batches(len(batch)))
    assert waveform.shape[2] == 97_020 and len(batch) == len(store.tracks)
    row = list(batch.table["track"]).index("low00")  # 4.0 s
    clip = store.arrays["mel"].clip("low00")
    tracks = "low00", "low03"
    samples = {track: store.arrays["waveform"].clip(track)[:, 0, 0] / np.float32(32_768) for track in tracks}
    np.testing.assert_array_equal(waveform[row, 0, : 4 * 22_050], samples["low00"])
    assert (waveform[row, 0, 4 * 22_050 :] == 0).all()
    np.testing.assert_array_equal(mel[row, :, :, : len(clip)], clip.transpose(1, 2, 0).astype(np.float32))
    assert torch.allclose(mel[row, :, :, len(clip) :], torch.tensor(float(clip.max()) - 80), atol=0.05)
    longest = list(batch.table["track"]).index("low03")  # 4.6 s: cut
    np.testing.assert_array_equal(waveform[longest, 0], samples["low03"][:97_020])


def test_arrays_move_together_or_stay_together_and_once(store, monkeypatch):
    """A device of the size of the larger array, by decree: each alone would fit, both do not."""
    sizes = [store.arrays[kind].data.nbytes for kind in ("waveform", "mel")]
    asked = []
    monkeypatch.setattr(segments_module, "fits", lambda size, _: asked.append(size) or size <= max(sizes))
    meta = torch.device("meta")
    unmoved = Store(store.corpus, {kind: replace(array) for kind, array in store.arrays.items()})
    stayed, moved, both = (of(unmoved, meta, kinds) for kinds in (("waveform", "mel"), ("mel",), ("waveform", "mel")))
    of(unmoved, meta)
    assert asked == [sum(sizes), sizes[1], sizes[0], 0]  # what is on the device already takes no more of it
    assert [windows.data.device.type for windows in stayed._windows + moved._windows] == ["cpu", "cpu", "meta"]
    for segments in (stayed, moved, both):
        for inputs, targets in segments.batches(16, torch.Generator().manual_seed(0)):
            assert {x.device for x in (*inputs, targets)} == {meta}


def test_a_thread_gathers_the_same_batches_so_far_ahead_and_none_when_the_loop_stops_early(store, cpu, monkeypatch):
    segments, begun, before = of(store, cpu), [], set(threading.enumerate())
    gather = segments._windows[0].gather
    monkeypatch.setattr(segments._windows[0], "gather", lambda *which: begun.append(which) or gather(*which))
    at_once, ahead = [], []
    for batches, segments.ahead in ((at_once, 0), (ahead, 2)):
        for number, batch in enumerate(segments.batches(8, torch.Generator().manual_seed(1), True), 1):
            batches.append(batch)
            assert number <= len(begun) <= number + segments.ahead
        begun.clear()
    assert len(at_once) == len(ahead) > 3
    for (inputs, targets), (same, also) in zip(at_once, ahead, strict=True):
        assert all(map(torch.equal, inputs, same)) and torch.equal(targets, also)
    stopped = segments.batches(8)
    next(stopped)
    assert set(threading.enumerate()) > before
    stopped.close()
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize("batch_size, sizes", [(8, [8, 9]), (16, [17]), (5, [5, 5, 5, 2]), (99, [17])])
def test_a_last_batch_of_one_segment_joins_the_one_before(store, cpu, batch_size, sizes):
    segments = of(store, cpu, ("mel",), Segmenting(1.0, None), store.tracks.index[:17])
    epoch = [targets for _, targets in segments.batches(batch_size, torch.Generator().manual_seed(1))]
    assert [len(targets) for targets in epoch] == sizes == segments.batch_sizes(batch_size)
    assert torch.equal(torch.cat(epoch).sort().values, segments.targets.sort().values)
    assert [len(x) for (x,), _ in segments.batches(batch_size)] == sizes


def test_random_starts_are_anywhere_in_the_track_and_the_same_moment_in_both_inputs(store, cpu):
    segmenting = Segmenting(1.0, 0.0)
    segments = of(store, cpu, ("waveform", "mel"), segmenting)
    room = torch.tensor(store.tracks.loc[segments.table["track"], "seconds"].to_numpy()) - segmenting.seconds
    shares = []
    for seed in range(40):
        share = torch.rand(len(segments), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        starts = [windows.random_start(share) - windows.clip for windows in segments._windows]
        wave, mel = (start / rate for start, rate in zip(starts, [22_050, 22_050 / 256], strict=True))
        assert (wave - mel).abs().max() < 0.025  # two frames: the first and the last are half outside the clip
        assert (wave >= 0).all() and (wave <= room + 1e-9).all()
        shares.append(wave / room)
    assert torch.stack(shares).mean().item() == pytest.approx(0.5, abs=0.03)
    anywhere, cut = (
        [x for (x, _), _ in segments.batches(9, torch.Generator().manual_seed(1), random)] for random in (True, False)
    )
    assert anywhere[0].shape == cut[0].shape and not torch.equal(anywhere[0], cut[0])


def test_statistics_are_those_of_all_segments_per_band(store, cpu):
    batch = of(store, cpu)
    (waveform, mel), _ = next(batch.batches(len(batch)))
    statistics = batch.statistics(batch_size=13)
    mean, std = statistics["mel"]
    assert mean.shape == std.shape == (32,)
    np.testing.assert_allclose(mean, mel.double().mean((0, 1, 3)), rtol=1e-5)
    np.testing.assert_allclose(std, mel.double().std((0, 1, 3), correction=0), rtol=1e-4)
    np.testing.assert_allclose(statistics["waveform"][1], waveform.double().std(correction=0), rtol=1e-4)


def test_impossible_segments_and_clips_without_a_segment_are_refused(store, cpu):
    for seconds, overlap in ((0, 0.25), (-1, 0.25), (5, 1.0), (5, -0.1)):
        with pytest.raises(SoundFusionError, match="Segmenting: (seconds|overlap) = .* must be"):
            Segmenting(seconds, overlap)
    with pytest.raises(SoundFusionError, match="holds a segment of 60"):
        of(store, cpu, segmenting=Segmenting(60.0))
