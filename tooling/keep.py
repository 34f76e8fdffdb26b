"""Keep the runs of a profile's notebooks among the results, where `--kept` finds them.

    python tooling/keep.py emotify

It takes the runs that results/<profile>/summary.json names, what they start from, and those that are kept already, and
writes all of them to results/<profile>/runs. Weights are kept only of runs that another run, or a probe of other music,
starts from; of seeds that [seeds_of] adds to the profile's they are not, since no probe takes these.
"""

import click

from soundfusion_lib.paths import results_dir, runs_dir
from soundfusion_lib.study import protocol
from soundfusion_lib.study.study import Study
from soundfusion_lib.study.summary import read_summary
from soundfusion_lib.training.run import ABOUT, find_run, keep_runs, read_json


@click.command()
@click.argument("profile")
def keep(profile: str) -> None:
    """Keep the runs of PROFILE's notebooks in results/<profile>/runs."""
    study = Study("keep", profile, "cpu", kept=True, dry=True)
    folder = results_dir() / study.profile.name
    about = folder / "runs" / "runs.json"
    content_ids = {key: run["content_id"] for key, run in read_json(about).items()} if about.is_file() else {}
    shown = {key for entry in read_summary(folder / "summary.json")["notebooks"].values() for key in entry["runs"]}
    runs = {key: find_run(key, runs_dir(), folder / "runs") for key in shown | content_ids.keys()}
    first = [run.experiment for run in runs.values() if run.experiment.seed in study.profile.seeds]
    starts = {key for experiment in first for key in experiment.starts_from}
    starts |= {study.variants(experiment)[0].start.run for experiment in protocol.fine_tuned(study).values()}
    runs |= {key: find_run(key, runs_dir(), folder / "runs") for key in starts - runs.keys()}
    for key in runs.keys() - content_ids.keys():
        content_ids[key] = read_json(runs_dir() / key / ABOUT)["content_id"]
    keep_runs(runs.values(), content_ids, folder / "runs", {key for key in starts if runs[key].weights_file})
    click.echo(f"{len(runs)} runs are kept in {folder / 'runs'}")


if __name__ == "__main__":
    keep()
