"""The command `soundfusion`."""

import os
import sys
from contextlib import suppress
from pathlib import Path

import click

from soundfusion_lib.errors import SoundFusionError

# torch takes seconds to import: each command imports what it needs


class _Commands(click.Group):
    """Prints a SoundFusionError as one message, without a traceback."""

    def invoke(self, context):
        try:
            return super().invoke(context)
        except SoundFusionError as error:
            raise click.ClickException(str(error)) from error


profile_argument = click.argument("profile", default="demo")
device_option = click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1 or mps")
set_help = "change a setting of the profile, e.g. training.epochs=3 (repeatable); results go to a folder of their own"
set_option = click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help=set_help)


@click.group(cls=_Commands)
@click.version_option(package_name="soundfusion")
def main():
    """Music genre recognition from waveforms, mel spectrograms and their fusion.

    PROFILE is a built-in profile (demo, emotify, soundtracks, fma_small) or a TOML file of yours. Corpora, decoded
    clips and trained models are kept in data/ (or where SOUNDFUSION_DATA says), results in results/
    (SOUNDFUSION_RESULTS); these folders are relative to the project's, wherever the command is called.
    """
    from soundfusion_lib.pool import environment

    os.environ.update(environment() | os.environ)  # before torch is imported, which asks how many threads it may have


@main.command()
@click.argument("what", type=click.Choice(["emotify", "fma_small", "fma_metadata", "gtzan", "musicnn"]))
def download(what):
    """Fetch a corpus: emotify (363 MB), fma_small (7.2 GiB) and fma_metadata (342 MiB), or gtzan (1.2 GB); or the
    weights of musicnn (29 MB), a network trained on the Million Song Dataset.

    Soundtracks of free games (876 MB) come by `python tooling/soundtracks.py`, where there is apt.
    """
    from soundfusion_lib.datasets import SOURCES
    from soundfusion_lib.datasets.download import download as fetch
    from soundfusion_lib.paths import data_dir

    if what == "musicnn":
        from soundfusion_lib.models.musicnn import download_musicnn

        return click.echo(f"{what} is in {download_musicnn()}")
    folder = fetch(SOURCES[what], data_dir() / what.split("_")[0])
    click.echo(f"{what} is in {folder}")


@main.command()
@profile_argument
@click.option("--strict", is_flag=True, help="end with exit status 1 where a clip is left out or cut short")
def prepare(profile, strict):
    """Decode every clip of PROFILE's corpus once, and report the clips left out, and copies that leak."""
    from soundfusion_lib.study.study import Study

    store = Study("prepare", profile, "cpu").decoded
    clips, out, cut = store.tracks, store.left_out, store.cut_short
    size = f"{store.bytes / 1e9:.2f} GB in {next(iter(store.arrays.values())).folder.parent}"
    click.echo(f"{len(clips):,} clips, {clips['seconds'].sum() / 3600:.2f} hours, {size}")
    for what, listed in (("left out", out), ("cut short, and used", cut)):
        click.echo(f"{len(listed)} clips {what}" + (":" if len(listed) else ""))
        for track, row in listed.iterrows():
            click.echo(f"  {track}  {row['path']}: {row['reason']}")
    if store.corpus.untried:
        click.echo(f"not tried: {store.corpus.untried}")
    for copies in store.copies:
        click.echo(f"leakage: {copies}; keep one of them")
    store.check_labels()
    if strict and len(out) + len(cut):
        sys.exit(1)


@main.command()
@profile_argument
@device_option
@click.option("--only", multiple=True, metavar="NOTEBOOK", help="run this notebook alone, e.g. 02 (repeatable)")
@set_option
@click.option("--kept", is_flag=True, help="take the runs that results/PROFILE keeps for trained")
@click.option("--scheduler", default="", envvar="SOUNDFUSION_SCHEDULER", help="train by Dask, e.g. tcp://host:8786")
def reproduce(profile, device, only, changes, kept, scheduler):
    """Run the notebooks on PROFILE; tables, figures, summary and executed notebooks go to results/<profile>/.

    That trains every experiment of the report that the notebooks show, except what the profile leaves out; before it
    starts it says how many are there, and how long the others take. `soundfusion train` trains one network.
    """
    from soundfusion_lib import notebooks
    from soundfusion_lib.study.catalogue import left_to_train
    from soundfusion_lib.study.profile import changed
    from soundfusion_lib.study.study import Study

    notebooks.notebook_files(only)  # raises before a file is written
    profile = changed(profile, changes)
    study = Study("status", profile, "cpu", kept=kept, dry=True)
    if left_out := ", ".join(study.profile.leave_out):
        click.echo(f"the profile leaves out, as it takes long: {left_out} (leave_out = [] runs everything)", err=True)
    names = [file.stem for file in notebooks.notebook_files(only, study.profile.leave_out)]
    click.echo(left_to_train(study, names), err=True)
    folder = notebooks.reproduce(profile, device, only, scheduler, kept)
    click.echo(f"tables, figures, summary and executed notebooks are in {folder}")


@main.command()
@click.argument("scheduler")
@click.option("--count", default=1, show_default=True, type=click.IntRange(1), help="one for each core, or GPU")
def worker(scheduler, count):
    """Train what a Dask SCHEDULER (tcp://host:8786) has to train, until it ends: see docs/cluster.md."""
    from soundfusion_lib.pool import environment
    from soundfusion_lib.training.parallel import connected

    with connected(scheduler):  # raises where none answers
        pass
    options = f"-m distributed.cli.dask_worker {scheduler} --nworkers {count} --nthreads 1 --memory-limit 0".split()
    os.execve(sys.executable, [sys.executable, *options], environment() | os.environ)  # no limit: clips are mapped


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
def init(folder):
    """Write mine.toml beside a FOLDER of music, with one folder per label or a metadata.csv, and say what is in it.

    It hears the first second of each file; `soundfusion prepare` decodes them whole.
    """
    from tqdm import tqdm

    from soundfusion_lib.audio.decode import unreadable
    from soundfusion_lib.checks import shown
    from soundfusion_lib.datasets import folder as read
    from soundfusion_lib.paths import whole
    from soundfusion_lib.predict.export import render

    folder = Path(os.path.abspath(folder))
    if (file := folder.parent / "mine.toml").exists():
        raise SoundFusionError(f"{file} is there already: go on with it, or remove it first")
    corpus = read(folder)
    reasons = {path: unreadable(folder / path) for path in tqdm(corpus.tracks["path"], "hearing", unit="file", delay=1)}
    for path, reason in reasons.items():
        if reason:
            click.echo(f"{path}: {reason}")
    if corpus.untried:
        click.echo(f"not tried: {corpus.untried}")
    heard = corpus.tracks[corpus.tracks["path"].map(reasons).isna()]
    found = heard.groupby("label").agg(files=("path", "size"), artists=("group", "nunique"))
    found = found.reindex(corpus.labels, fill_value=0)
    rare = list(found.index[found["files"] < 3])
    if len(found) - len(rare) < 2:
        counts = ", ".join(f"{label} {count}" for label, count in found["files"].items())
        raise SoundFusionError(
            f"{folder}: needs two labels of three files or more that can be decoded, and has {counts}"
        )
    used = heard[~heard["label"].isin(rare)]
    folds = 0 if "split" in used else int(found.drop(rare)["files"].clip(3, 5).min())
    described = {"path": shown(folder.name), "without": shown(rare) if rare else ""}
    text = render("mine.toml", described | {"folds": folds, "tracks": len(used)})
    with whole(file) as new:
        new.write_text(text, "utf-8")
    click.echo(found.replace({"artists": {0: "unknown"}}).to_string())
    if rare:
        click.echo(f"left out, as they have fewer than three files: {', '.join(rare)}")
    groups = used.groupby("label")["group"]
    if folds and (alone := [label for label, group in groups if group.notna().all() and group.nunique() == 1]):
        click.echo(f"one artist each, so not in training when tested: {', '.join(alone)} (add artists, or use without)")
    click.echo(f"{len(used)} files. {file} describes them; next: soundfusion train {os.path.relpath(file)} musicnn")


@main.command()
@click.argument("profile")
@click.argument("network")
@set_option
@click.option("--all-clips", is_flag=True, help="train on all clips and test nothing: a network to use")
@device_option
def train(profile, network, changes, all_clips, device):
    """Train NETWORK with PROFILE's seeds and folds, and print its accuracy.

    NETWORK is musicnn or vgg16-imagenet, a linear classifier on that pre-trained network: tested in minutes, and then
    fitted to all clips. Or it is an experiment's name, as tables show it (ResNet2D-small, SoundFusion-1). `predict` and
    `export` find it again. Or it is svm, a baseline that is tested alone.
    """
    from soundfusion_lib.analysis.baselines import SVM, baselines
    from soundfusion_lib.predict.export import CLASSIFIERS, evaluate, fit_classifier, render
    from soundfusion_lib.study.catalogue import experiment_named
    from soundfusion_lib.study.profile import changed
    from soundfusion_lib.study.study import Study

    study = Study("train", changed(profile, changes), device)
    on = f"on {study.profile.name}"
    if network.casefold() == "svm":
        click.echo(f"{network} {on}: {render('tested.txt', evaluate(baselines(study)[SVM], study))}", nl=False)
        return click.echo("It is a baseline: musicnn is what to predict with")
    if network.casefold() in CLASSIFIERS:
        config = fit_classifier(study, network.casefold())
        click.echo(f"{network} {on}: {render('tested.txt', config['evaluation'])}", nl=False)
        left_out = f" ({lost} are left out: `soundfusion prepare`)" if (lost := len(study.store.left_out)) else ""
        use = f"soundfusion predict --model {study.profile.name if changes else profile}/{network} song.mp3"
        return click.echo(f"It is fitted to all {config['tracks']['train']} clips{left_out} now: {use}")
    experiment = experiment_named(study, network)
    result = study.train(study.on_all_clips(experiment) if all_clips else experiment)
    for run in result.runs:
        seed, fold, seconds = run.experiment.seed, run.experiment.split.fold, run.info["seconds"]
        click.echo(f"{run.key} (seed {seed}, fold {fold}): {len(run.history)} epochs in {seconds:.1f} s")
    tested = "trained on all clips: none is left to test it\n"
    if not all_clips:
        tested = render("tested.txt", evaluate(result, study))
    click.echo(f"{experiment.name} {on}: {tested}", nl=False)


@main.command()
@profile_argument
@click.option("--kept", is_flag=True, help="count the runs committed in results/<profile>/runs, too")
def status(profile, kept):
    """Say how many runs of PROFILE's notebooks are there, and how long the others take."""
    from soundfusion_lib.study import catalogue
    from soundfusion_lib.study.study import NothingYet, Study

    study = Study("status", profile, "cpu", kept=kept, dry=True)
    with suppress(NothingYet):
        click.echo(catalogue.progress(study).round(2).to_string(index=False, na_rep="unknown"))
    click.echo(catalogue.left_to_train(study))


@main.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--model", help="an experiment's name (ResNet2D-small), a run's key or folder, or an exported folder")
@click.option("--top", default=3, show_default=True, type=click.IntRange(1), help="how many labels to name")
@click.option("--csv", type=click.Path(path_type=Path), help="write a row per segment and label: its probability")
@click.option("--plot", type=click.Path(path_type=Path), help="draw the probabilities of one file along time (.png)")
@device_option
def predict(paths, model, top, csv, plot, device):
    """Predict the labels of PATHS: audio files of any length, and folders of them.

    Without --model it is what comes with the project, for classical, electronic, pop and rock: a classifier on musicnn
    if `soundfusion download musicnn` has brought its weights, else a small network. A name holds its profile,
    emotify/SoundFusion-2 or mine.toml/SoundFusion-2; alone it is of demo. A file that cannot be used has its error in
    place of a label, and the exit status is 1.
    """
    from soundfusion_lib.datasets.folder import counted, files_in, is_audio
    from soundfusion_lib.paths import whole
    from soundfusion_lib.predict.recognizer import load_recognizer, timeline, write_csv

    for option, path in (("csv", csv), ("png", plot)):
        if path and path.suffix != f".{option}":
            raise SoundFusionError(f"{path}: give it a name that ends in .{option}, which is no recording's")
    recognizer = load_recognizer(model, device)
    click.echo(recognizer.describe(), err=True)
    if not model and "frozen" not in recognizer.about:
        click.echo("`soundfusion download musicnn` (29 MB) brings a classifier that is more often right", err=True)
    for folder in filter(Path.is_dir, paths):
        if untried := [file for file in files_in(folder) if not is_audio(file)]:
            click.echo(f"{folder}: not tried: {counted(untried)}", err=True)
    predictions = []
    for prediction in recognizer.predict(*paths):
        click.echo(prediction.in_words(top))
        predictions.append(prediction)
    if csv:
        write_csv(csv, predictions, recognizer.labels)
    if plot and (len(predictions) > 1 or predictions[0].error):
        raise SoundFusionError(f"--plot draws a single file that could be read, and there are {len(predictions)}")
    if plot:
        with whole(plot) as new:
            timeline(predictions[0], recognizer).savefig(new, dpi=120)
    if any(prediction.error for prediction in predictions):
        sys.exit(1)


@main.command()
@click.argument("model")
@click.argument("folder", type=click.Path(path_type=Path))
def export(model, folder):
    """Write a trained MODEL into FOLDER: weights, config.json and a model card.

    MODEL is a name, behind its profile's (mine.toml/musicnn, emotify/SoundFusion-2); of a network it is the run on all
    clips where there is one, else that of the first seed and fold. The card has the accuracy in cross-validation.
    """
    from soundfusion_lib.predict.export import export as write

    click.echo(f"{model} is in {write(model, folder)}")
