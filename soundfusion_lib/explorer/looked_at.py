"""Where a network looked, in clips that it gets right and in clips that it gets wrong."""

import matplotlib.pyplot as plt
from IPython.display import Image, Markdown
from matplotlib.figure import Figure

from soundfusion_lib.analysis.figures.common import corpus_note, themed, titled
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.explorer import grad_cam
from soundfusion_lib.explorer.judgements import Judgements
from soundfusion_lib.explorer.pictures import Heat, spectrogram
from soundfusion_lib.study.study import Study
from soundfusion_lib.training.result import RunGroup

CLIPS = 2  # right, and as many wrong


def looked_at(study: Study, group: RunGroup) -> Image | Markdown:
    """Grad-CAM of the clips that a network is surest of, two right and two wrong: for the label that it gives, and for
    the true one or, where these are the same, the next one. A saved figure; a sentence if it cannot be drawn.
    """
    name = group.experiment.name
    judgements = Judgements({name: group})
    votes = judgements.votes.drop_duplicates("track").set_index("track")
    sure = {track: judgements.of_clip(name, track)[label].mean() for track, label in votes["predicted"].items()}
    votes = votes.assign(sure=sure).sort_values("sure", ascending=False, kind="stable")
    right = votes["true"] == votes["predicted"]
    try:
        if not grad_cam.looks_at_spectrograms(group.experiment):
            raise SoundFusionError("it gets no spectrogram")
        chosen = [*votes.index[right][:CLIPS], *votes.index[~right][:CLIPS]]
        heats = {track: _heats(study, judgements, name, track) for track in chosen}
    except SoundFusionError as error:
        return Markdown(f"*No picture of where {name} looked: {error}*")
    caption = f"Where {name} looked (Grad-CAM), in clips that it gets right and in clips that it gets wrong"
    return study.save_figure(_figure(study, name, heats), f"{study.notebook[:2]}_grad_cam", caption)


def heat(study: Study, judgements: Judgements, network: str, track: str, label: str) -> Heat:
    """What speaks for a label to the run that predicted a clip; raises SoundFusionError if its weights are not kept."""
    run = judgements.run(network, track)
    target = run.info["genres"].index(label)
    return Heat(label, grad_cam.of_clip(run.model(), run.experiment, study.store, track, target))


def _heats(study: Study, judgements: Judgements, network: str, track: str) -> list[Heat]:
    given, true = judgements.labels.loc[track, network], study.tracks.loc[track, "label"]
    second = judgements.of_clip(network, track).mean().drop(given).idxmax()
    return [heat(study, judgements, network, track, label) for label in (given, true if true != given else second)]


@themed
def _figure(study: Study, network: str, heats: dict[str, list[Heat]]) -> Figure:
    figure, axes = plt.subplots(len(heats), 3, figsize=(9, 1.05 * len(heats) + 0.8), sharey=True, squeeze=False)
    for row, (track, (given, other)) in zip(axes, heats.items(), strict=True):
        true = study.tracks.loc[track, "label"]
        verdict = "right" if given.label == true else "wrong"
        titles = f"{track}: {true}", f"{verdict}: for {given.label}", f"for {other.label}"
        for axis, shown, title in zip(row, (None, given, other), titles, strict=True):
            spectrogram(axis, study, track, shown)
            axis.set_title(title, loc="left")
            axis.set(xlabel="time in s", xlim=(0, study.tracks.loc[list(heats), "seconds"].max()))
            axis.label_outer()
    return titled(figure, f"{network}: what speaks for a label ({corpus_note(study)})")
