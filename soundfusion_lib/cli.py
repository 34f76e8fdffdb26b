"""The command `soundfusion`."""

import os
import sys
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


PATH = click.Path(path_type=Path, dir_okay=False)
profile_argument = click.argument("profile", default="demo")
device_option = click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1 or mps")
set_option = click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="KEY=VALUE",
    help="change a setting of the profile, e.g. training.epochs=3 (repeatable); results go to a folder of their own",
)


def _numbers(context, parameter, text):
    """The numbers in a text such as 1,2,4."""
    try:
        numbers = [int(number) for number in (text or "").split(",") if text]
    except ValueError:
        numbers = [0]
    if any(number < 1 for number in numbers):
        raise click.BadParameter("give numbers of 1 or more with commas between them, such as 1,2,4")
    return numbers


@click.group(cls=_Commands)
@click.version_option(package_name="soundfusion")
def main():
    """Music genre recognition from waveforms, mel spectrograms and their fusion.

    PROFILE is a built-in profile (demo, emotify, soundtracks, fma_small) or a TOML file of yours. Corpora, decoded
    clips and trained models are kept in data/ (or where SOUNDFUSION_DATA says), results in results/
    (SOUNDFUSION_RESULTS); these folders are relative to the project's, wherever the command is called.
    """


@main.command()
@click.argument(
    "what", type=click.Choice(["emotify", "fma_small", "fma_metadata", "gtzan", "soundtracks", "soundtracks_b"])
)
def download(what):
    """Fetch a corpus: emotify (363 MB), fma_small (7.2 GiB) and fma_metadata (342 MiB), or gtzan (1.2 GB).

    Or soundtracks of free games (876 MB) and others to pre-train on, soundtracks_b (276 MB), where there is apt.
    """
    from soundfusion_lib import datasets
    from soundfusion_lib.paths import data_dir

    if what.startswith("soundtracks"):
        folder = datasets.download_soundtracks(data_dir() / what, what)
    else:
        folder = datasets.download(what, data_dir() / what.split("_")[0])
    click.echo(f"{what} is in {folder}")


@main.command()
@profile_argument
@click.option("--strict", is_flag=True, help="end with exit status 1 where a clip is left out")
def prepare(profile, strict):
    """Decode every clip of PROFILE's corpus once, and report the clips left out, and copies that leak."""
    from soundfusion_lib.study.study import Study

    store = Study("prepare", profile, "cpu").decoded
    clips, out = store.tracks, store.left_out
    click.echo(
        f"{len(clips):,} clips, {clips['seconds'].sum() / 3600:.2f} hours, "
        f"{store.bytes / 1e9:.2f} GB in {next(iter(store.arrays.values())).folder.parent}"
    )
    click.echo(f"{len(out)} clips left out" + (":" if len(out) else ""))
    for track, row in out.iterrows():
        click.echo(f"  {track}  {row['path']}: {row['reason']}")
    for copies in store.copies:
        click.echo(f"leakage: {copies}; keep one of them")
    store.check_labels()
    if strict and len(out):
        sys.exit(1)


@main.command()
@profile_argument
@device_option
@click.option("--only", multiple=True, metavar="NOTEBOOK", help="run this notebook alone, e.g. 02 (may be repeated)")
@set_option
@click.option(
    "--scheduler",
    default="",
    envvar="SOUNDFUSION_SCHEDULER",
    metavar="ADDRESS",
    help="train on the workers of a Dask scheduler, e.g. tcp://host:8786; see `soundfusion worker`",
)
def reproduce(profile, device, only, changes, scheduler):
    """Run the notebooks on PROFILE; tables, figures and summary go to results/<profile>/.

    That trains every experiment of the report which the notebooks show; it says how many are left, and about how long
    they take, before it starts. `soundfusion train` trains one network.
    """
    from soundfusion_lib.notebooks import notebook_files
    from soundfusion_lib.notebooks import reproduce as run_notebooks
    from soundfusion_lib.study.changes import changed
    from soundfusion_lib.study.outlook import outlook

    notebooks = [file.stem for file in notebook_files(only)]
    profile = changed(profile, changes)
    click.echo(outlook(profile, notebooks, device), err=True)
    folder = run_notebooks(profile, device, only, scheduler)
    click.echo(f"tables, figures and summary are in {folder}")


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
@click.argument("profile")
@click.argument("network")
@set_option
@click.option("--all-clips", is_flag=True, help="train on all clips and test nothing: a network to use")
@device_option
def train(profile, network, changes, all_clips, device):
    """Train one NETWORK of PROFILE, with its seeds and in its folds, and say how accurate it is.

    NETWORK is an experiment's name, as `soundfusion status` and the tables show it (ResNet2D-small, SoundFusion-1,
    SimpleCNN), or a model alone (resnet2d). What is trained is found again by `reproduce`, `predict` and `export`.
    """
    from soundfusion_lib.study.changes import changed
    from soundfusion_lib.use.finding import experiment_named
    from soundfusion_lib.use.training import runs_table, train_network, verdict

    experiment_named(network, profile)  # raises before a file is written
    study, runs = train_network(changed(profile, changes), network, all_clips, device)
    click.echo(runs_table(runs).to_string(index=False))
    click.echo(f"{runs.experiment.name} on {study.profile.name}: {verdict(study, runs)}")


@main.command()
@click.argument("profile")
def keep(profile):
    """Keep what PROFILE's runs predicted in results/<profile>/runs, from where `adopt` brings it back elsewhere.

    Settings, learning curves and predictions; weights only of runs that others start from.
    """
    from soundfusion_lib.study.kept import keep as copy

    click.echo(f"{len(copy(profile))} runs are new among the results")


@main.command()
@click.argument("profile")
def adopt(profile):
    """Take the runs that are kept in results/<profile>/runs for trained, so that `reproduce` trains only the others.

    Tables and figures then come from what these runs predicted where they were trained. Without it, everything is
    trained anew on this machine.
    """
    from soundfusion_lib.study.kept import adopt as bring

    brought, refused = bring(profile)
    click.echo(f"{len(brought)} runs are adopted" + f", {len(refused)} refused" * bool(refused))


@main.command()
@profile_argument
def page(profile):
    """Gather PROFILE's tables and figures into one page, results/<profile>/README.md (reproduce does it too)."""
    from soundfusion_lib.analysis.results_page import write_page
    from soundfusion_lib.study.profile import load_profile

    click.echo(write_page(load_profile(profile).name))


@main.command()
@click.argument("folder", default="site", type=click.Path(path_type=Path))
def site(folder):
    """Write the study into FOLDER (site) as web pages: answer, tables, figures, executed notebooks, networks, sounds.

    It is made of what is in results/ and notebooks/, trains nothing, and opens from disk: FOLDER/index.html.
    """
    from soundfusion_lib.site.build import write_site

    click.echo(f"the site is {write_site(folder) / 'index.html'}")


@main.command()
@profile_argument
def status(profile):
    """List the runs on PROFILE's clips, those in training too, and what its notebooks have yet to train."""
    from soundfusion_lib.paths import runs_dir
    from soundfusion_lib.study.needs import needed_by
    from soundfusion_lib.study.plan import plan_of
    from soundfusion_lib.study.search import trials_left
    from soundfusion_lib.study.status import Look, NothingYet
    from soundfusion_lib.training.run import list_runs

    study = Look(profile)
    try:
        runs = list_runs(runs_dir(), study.decoded.content_id)
    except NothingYet as reason:
        return click.echo(str(reason))
    click.echo(runs.to_string(index=False) if len(runs) else f"no runs on corpus {study.corpus.name!r} yet")
    click.echo("\n" + plan_of(study, needed_by(study), measure=False).round(1).to_string(na_rep="unknown"))
    if trials := trials_left(study):
        click.echo(f"\nnot counted: {trials} trials of notebook 10's search")


@main.command()
@profile_argument
@click.option("--workers", callback=_numbers, metavar="1,2,4", help="simulate the schedule on so many workers")
def plan(profile, workers):
    """Say how many core-hours PROFILE's notebooks took and have left, and how long that is on this machine.

    Where no run of an experiment is done, a few of its steps are timed; of FMA, where it is not there yet, on noise in
    its place. With --workers: hours until all is done, which runs that wait for others make longer, and memory, on a
    CPU and on this machine's GPU.
    """
    from soundfusion_lib.pool import cores
    from soundfusion_lib.study.needs import needed_by
    from soundfusion_lib.study.plan import core_hours, plan_of
    from soundfusion_lib.study.schedule import schedules
    from soundfusion_lib.study.search import experiment_of, trials_left
    from soundfusion_lib.study.stand_in import NOISE, look

    study = look(profile)
    if study.corpus.name == NOISE:
        click.echo("FMA is not here: noise stands in for it, in as many clips\n")
    needed = needed_by(study)
    table = plan_of(study, needed)
    click.echo(table.round(1).to_string(na_rep="unknown"))
    hours = table.loc["all", "core_hours_left"] / cores()
    click.echo(f"\n{hours:.1f} hours are left on the {cores()} cores of this machine")
    if trials := trials_left(study):
        most = f"{trials * core_hours(study, experiment_of(study)):.1f} core-hours if none is stopped early"
        click.echo(f"not counted: {trials} trials of notebook 10's search, {most}")
    if workers:
        experiments = [one for own in needed.values() for one in own]
        click.echo("\n" + schedules(study, experiments, workers).round(1).to_string())


@main.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--model", help="an experiment's name (ResNet2D-small), a run's key or folder, or an exported folder")
@click.option("--profile", help="whose experiment --model is: a profile's name or TOML file; demo where none is named")
@click.option("--top", default=3, show_default=True, type=click.IntRange(1), help="how many labels to name")
@click.option("--csv", type=PATH, help="write a row a segment and label: file, start, end, label, probability")
@click.option("--json", type=PATH, help="write the same by file, with the labels at the top and errors")
@click.option("--plot", type=PATH, help="draw the probabilities along time above the spectrogram (of one file)")
@device_option
def predict(paths, model, profile, top, csv, json, plot, device):
    """Say what a trained network hears in PATHS, files of any length and folders of them.

    Without --model it is the one that comes with the project: classical, electronic, pop and rock. A name may hold its
    profile: demo/ResNet2D-small. A file that cannot be read has its reason in the table, and the exit status is 1.
    """
    from soundfusion_lib.use.predict import report
    from soundfusion_lib.use.recognizer import load_recognizer

    recognizer = load_recognizer(model, profile, device)
    click.echo(recognizer.describe(), err=True)
    table = report(paths, recognizer, top, csv, json, plot)
    failed = table["error"].notna()
    click.echo((table if failed.any() else table.drop(columns="error")).to_string(index=False, na_rep=""))
    if failed.any():
        sys.exit(1)


@main.command()
@click.argument("run")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--profile", default="demo", show_default=True, help="whose run it is: its name or its TOML file")
@click.option("--onnx/--no-onnx", default=True, show_default=True, help="write the ONNX graph, too")
def export(run, folder, profile, onnx):
    """Write the trained network of RUN into FOLDER: weights, config.json, model card and ONNX.

    RUN is an experiment's name (emotify/SoundFusion-2: the run on all clips where there is one, else that of the first
    fold), or the beginning of a run's key, or its folder. The model card has the experiment's accuracy by
    cross-validation.
    """
    from soundfusion_lib.use.export import export as write

    click.echo(f"the network is in {write(run, folder, profile, onnx)}")
