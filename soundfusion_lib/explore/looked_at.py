"""What a network looked at in clips that it gets right and in clips that it gets wrong, as one figure."""

import matplotlib.pyplot as plt
from IPython.display import Image, Markdown
from matplotlib.figure import Figure

from soundfusion_lib.analysis.figures.data import corpus_note, themed
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.explore import grad_cam
from soundfusion_lib.explore.judgements import Judgements
from soundfusion_lib.explore.pictures import TEXT, WIDTH, Heat, spectrogram
from soundfusion_lib.study.study import Study
from soundfusion_lib.training.result import Result

CLIPS = 2  # right, and as many wrong


def looked_at(study: Study, group: Result) -> Image | Markdown:
    """Grad-CAM of the clips that a network is surest of, two that it is right on and two that it is not: for the label
    that it gives, and for the true one or, where these are the same, the next one. Saved as a figure; a sentence where
    there is nothing to see.
    """
    name = group.experiment.name
    if not grad_cam.looks_at_spectrograms(group.experiment):
        return Markdown(f"*No picture of what {name} looked at: it gets no spectrogram.*")
    judgements = Judgements({name: group})
    try:
        rows = {track: _heats(study, judgements, name, track) for track in _surest(judgements, name)}
    except SoundFusionError as error:
        return Markdown(f"*No picture of what {name} looked at: {error}*")
    caption = f"What {name} looked at (Grad-CAM), in clips that it is right on and in clips that it is not"
    return study.save_figure(_figure(study, name, rows), f"{study.notebook[:2]}_grad_cam", caption)


def heat(study: Study, judgements: Judgements, network: str, track: str, label: str) -> Heat:
    """What speaks for a label to the run of a network that predicted a clip; raises SoundFusionError where the run's
    weights are not kept."""
    run = judgements.run(network, track)
    target = run.info["genres"].index(label)
    return Heat(label, grad_cam.of_clip(run.model(), run.experiment, study.store, track, target))


def _surest(judgements: Judgements, network: str) -> list[str]:
    """The tested clips of the highest mean probability of the label given: right ones, then wrong ones."""
    votes = judgements.votes.drop_duplicates("track").set_index("track")
    sure = {track: judgements.of_clip(network, track)[said].mean() for track, said in votes["predicted"].items()}
    votes = votes.assign(sure=sure).sort_values("sure", ascending=False, kind="stable")
    right = votes["true"] == votes["predicted"]
    return [*votes.index[right][:CLIPS], *votes.index[~right][:CLIPS]]


def _heats(study: Study, judgements: Judgements, network: str, track: str) -> list[Heat]:
    given, true = judgements.labels.loc[track, network], study.tracks.loc[track, "label"]
    following = judgements.of_clip(network, track).mean().drop(given).idxmax()
    other = true if true != given else following
    return [heat(study, judgements, network, track, label) for label in (given, other)]


@themed
def _figure(study: Study, network: str, rows: dict[str, list[Heat]]) -> Figure:
    figure, axes = plt.subplots(len(rows), 3, figsize=(WIDTH, 1.05 * len(rows) + 0.8), sharey=True, squeeze=False)
    longest = study.tracks.loc[list(rows), "seconds"].max()
    for row, (track, heats) in zip(axes, rows.items(), strict=True):
        true = study.tracks.loc[track, "label"]
        verdict = "right" if heats[0].label == true else "wrong"
        titles = f"{track}: {true}", f"{verdict}: for {heats[0].label}", f"for {heats[1].label}"
        for axis, own, title in zip(row, [None, *heats], titles, strict=True):
            spectrogram(axis, study, track, own)
            axis.set_title(title, loc="left", **TEXT)
            axis.set(xlabel="time in s", xlim=(0, longest))
            axis.label_outer()
    figure.suptitle(f"{network}: what speaks for a label ({corpus_note(study)})", **TEXT)
    return figure
