"""The model card of an exported network.

Its form is that of Mitchell et al., "Model Cards for Model Reporting", FAT* 2019.
"""

from typing import Any

import pandas as pd

DATA = {
    "emotify": (
        "[Emotify](http://www2.projects.science.uu.nl/memotion/emotifydata/) (Aljanaki, Wiering and Veltkamp, 2016): "
        "400 excerpts of Magnatune's catalogue, 100 each of classical, electronic, pop and rock; their first 30 s. The "
        "music belongs to its artists and to Magnatune, which licenses it for non-commercial use; none of it is in "
        "this folder. See the dataset's page and magnatune.com before you use the weights commercially.",
        "Four genres, of one label's Western music. Pop and rock overlap by design: most clips of both are "
        'tagged "Alternative Rock". Anything else (jazz, hip-hop, speech, silence) is given one of the four all the '
        "same, often with high probability: the network has no way to say that it is none of them.",
    ),
    "fma": (
        "[FMA](https://github.com/mdeff/fma) (Defferrard et al., ISMIR 2017): clips of 30 s under Creative Commons "
        "licences, one each, given in its metadata.",
        "Genres are those that artists chose for their own tracks.",
    ),
    "soundtracks": (
        "Soundtracks of free games out of Debian's packages, under the free licences that these give.",
        "The label is the soundtrack, not a genre: on other music it says which of these games it sounds like.",
    ),
}
OTHER = ("A corpus of the user's own.", "On music unlike this corpus nothing is known of it.")
SYNTHETIC = (
    "**Synthetic music**, made by a program in this project.",
    "It has never heard music: what it says of real recordings means nothing.",
)


def model_card(config: dict[str, Any]) -> str:
    """The card, Markdown, from what config.json says."""
    data, limits = SYNTHETIC if config["synthetic"] else DATA.get(config["corpus"].partition("_")[0], OTHER)
    sections = {
        "Model": _model(config),
        "Use": _use(config),
        "Training data": f"{data} {_parts(config)}",
        "Accuracy": _accuracy(config),
        "Limits": limits,
    }
    text = "\n\n".join(f"## {title}\n\n{content}" for title, content in sections.items())
    return f"# {config['name']}, trained on {config['corpus']}\n\n{text}\n"


def _model(config: dict[str, Any]) -> str:
    experiment = config["experiment"]
    cut, training = experiment["segmenting"], experiment["training"]
    heard = f"segments of {cut['seconds']:g} s"
    if cut["overlap"] is not None:
        heard += f", {cut['overlap']:.0%} of each in common with the next"
    recipe = f"{training['optimizer']}, rate {training['learning_rate']:g}, the {training['keep']} epoch kept"
    return (
        f"`{experiment['model']}` of soundfusion_lib, {config['parameters']:,} parameters, on "
        f"{' and '.join(_input(spec) for spec in experiment['representations'])}; {heard}. Trained for at most "
        f"{training['epochs']} epochs ({recipe}), seed {experiment['seed']}, on {config['finished'][:10]}, commit "
        f"{config['commit']}, run {config['run']}. MIT licence, as the code's; the settings are in `config.json`."
    )


def _input(spec: dict[str, Any]) -> str:
    if spec["kind"] == "waveform":
        return f"the waveform (mono, {spec['sample_rate']:,} Hz)"
    channels = "stereo" if spec["channels"] == 2 else "mono"
    return f"the mel spectrogram ({channels}, {spec['sample_rate']:,} Hz, {spec['n_mels']} bands)"


def _use(config: dict[str, Any]) -> str:
    return (
        f"It gives each segment a probability of {len(config['labels'])} labels ({config['label']}): "
        f"{', '.join(config['labels'])}. A file is given the label that most of its segments are. For teaching and "
        "research, not for decisions about artists or listeners.\n\n"
        "```\nsoundfusion predict --model FOLDER song.mp3\n```\n\n"
        "```python\nfrom soundfusion_lib import load_recognizer\n\n"
        'load_recognizer("FOLDER").probabilities("song.mp3")  # a row a segment\n```'
    ) + (_graph(config["onnx"], len(config["labels"])) if config["onnx"] else "")


def _graph(onnx: dict[str, Any], labels: int) -> str:
    inputs = "; ".join(
        f"`{name}` ({', '.join(map(str, one['shape']))}), {one['what']}" for name, one in onnx["inputs"].items()
    )
    return (
        f"\n\n`{onnx['file']}` is the same network for onnxruntime and others: {inputs} -> `probabilities` (segments, "
        f"{labels}). {onnx['note']}"
    )


def _parts(config: dict[str, Any]) -> str:
    tracks, split = config["tracks"], config["experiment"]["split"]
    if split["scheme"] == "all":
        return f"This network is trained on all {tracks['train']:,} clips; none is left to test it by."
    fold = "the official split" if split["scheme"] == "official" else f"fold {split['fold'] + 1} of {split['folds']}"
    return (
        f"This network is trained on the {tracks['train']:,} clips of the training part of {fold} "
        f"({tracks['validation']:,} validate, {tracks['test']:,} test)."
    )


def _accuracy(config: dict[str, Any]) -> str:
    """By vote, with its interval, and of each label."""
    found = config["evaluation"]
    if not found:
        return "Not known: the experiment has not been run with a part to test by."
    folds = "the official test part"
    if found["scheme"] != "official":
        folds = f"{found['folds'][0]} of {found['folds'][1]} folds by artist"
    several = len(found["seeds"]) > 1
    drawn, whose_tracks = "artists", f" of {found['artists']:,} artists"
    if not found["artists"]:
        drawn, whose_tracks = "tracks", ", whose artists are not known"
    seeds = f"seed{'s' * several} {', '.join(map(str, found['seeds']))}"
    whose = "Of"
    if config["experiment"]["split"]["scheme"] == "all":
        whose = "This network itself has no clips left to be tested on; the number is that of"
    rows = [f"| {row['label']} | {row['tracks']} | {with_bounds(row['recall'], row)} |" for row in found["recalls"]]
    return (
        f"**{with_bounds(found['accuracy'], found)}** of tracks are given their label, by vote of their segments; "
        f"chance is {1 / len(config['labels']):.3f}. {whose} the same experiment on {drawn} that were not heard in "
        f"training: {folds}, {found['tracks']:,} tracks{whose_tracks}, {seeds} (runs {', '.join(found['runs'])}). In "
        f"brackets: 95 % intervals, by a bootstrap over {drawn}"
        f"{' and seeds' * several}.\n\n"
        f"| {config['label']} | tracks | recall [95 %] |\n|---|---|---|\n" + "\n".join(rows)
    )


def with_bounds(value: float, bounds: dict[str, Any]) -> str:
    """A share with its interval: 0.618 [0.537, 0.696]."""
    return f"{value:.3f} [{'one artist' if pd.isna(bounds['low']) else '{low:.3f}, {high:.3f}'.format(**bounds)}]"
