"""The notebooks of PROFILE, trained by workers in jobs of SLURM.

    python tooling/slurm.py emotify --jobs 4 --workers 8                          # CPU nodes, a worker a core
    python tooling/slurm.py fma_small --jobs 4 --directive=--gpus=1 --partition gpu    # a GPU a job
    python tooling/slurm.py fma_small --show                                      # a job's script; submits nothing

Run it where jobs can be submitted, in the project's environment, on the disk that the nodes share. Several workers in
a job with one GPU share it. When the jobs' time is up before all is trained, start it again: it goes on.
"""

import click
from dask_jobqueue import SLURMCluster

from soundfusion_lib.notebooks import reproduce
from soundfusion_lib.training.cluster import ENVIRONMENT, OPTIONS


@click.command(help=__doc__)
@click.argument("profile")
@click.option("--jobs", default=1, show_default=True, help="Jobs to submit.")
@click.option("--workers", default=1, show_default=True, help="Workers in a job, with a core each.")
@click.option("--memory", default="8GB", show_default=True, help="Memory of a job.")
@click.option("--time", default="24:00:00", show_default=True, help="Time limit of a job.")
@click.option("--partition", help="The queue.")
@click.option("--directive", multiple=True, help="Another line of #SBATCH (repeatable).")
@click.option("--show", is_flag=True, help="Print a job's script, and submit nothing.")
def main(
    profile: str,
    jobs: int,
    workers: int,
    memory: str,
    time: str,
    partition: str,
    directive: tuple[str, ...],
    show: bool,
) -> None:
    cluster = SLURMCluster(
        queue=partition,
        cores=workers,
        processes=workers,
        memory=memory,
        walltime=time,
        job_extra_directives=list(directive),
        job_script_prologue=[f"export {name}={value}" for name, value in ENVIRONMENT.items()],
        worker_extra_args=OPTIONS,
    )
    with cluster:
        if show:
            click.echo(cluster.job_script())
        else:
            cluster.scale(jobs=jobs)
            click.echo(f"tables, figures and summary are in {reproduce(profile, scheduler=cluster.scheduler_address)}")


if __name__ == "__main__":
    main()
