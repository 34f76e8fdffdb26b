"""Keep the runs of a profile's notebooks among the results, where `--kept` finds them.

    python tooling/keep.py emotify

It takes the runs that results/<profile>/summary.json names, what they start from, and those that are kept already, and
writes all of them to results/<profile>/runs, with the predictions of baselines and probes. Weights are kept only of
runs that another run, or a probe of other music, starts from; of seeds that [seeds_of] adds to the profile's they are
not, since no probe takes these.
"""

import json
import shutil
from collections.abc import Collection, Iterable
from pathlib import Path

import click
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from soundfusion_lib.analysis.baselines import KEPT as CLASSIFIERS
from soundfusion_lib.analysis.baselines import find_or_fit
from soundfusion_lib.paths import results_dir, runs_dir, whole
from soundfusion_lib.study import protocol
from soundfusion_lib.study.results import read_summary
from soundfusion_lib.study.study import Study
from soundfusion_lib.training.inference import probability_columns
from soundfusion_lib.training.run import ABOUT, KEPT, Run, find_run, read_json


def keep_runs(runs: Iterable[Run], content_ids: dict[str, str], folder: Path, weights: Collection[str]) -> None:
    """Write runs to where `kept_run` finds them, in place of those that are there.

    Args:
        content_ids: by key, the tracks that a run was trained on, see `Store.content_id`.
        weights: keys of the runs whose weights are kept, too.
    """
    runs = sorted(runs, key=lambda run: run.key)
    folder.mkdir(parents=True, exist_ok=True)
    about = {
        run.key: {
            "content_id": content_ids[run.key],
            "experiment": run.experiment.to_dict(),
            "info": {name: value for name, value in run.info.items() if name != "checksums"},
        }
        for run in runs
    }
    tables = [run.history for run in runs], [run.read_predictions() for run in runs]
    for name, frames in zip(KEPT[1:], tables, strict=True):
        with whole(folder / name) as aside:
            _write_rows({run.key: frame for run, frame in zip(runs, frames, strict=True)}, aside)
    for run in runs:
        if run.key in weights and run.weights_file != folder / f"{run.key}.safetensors":
            shutil.copyfile(run.weights_file, folder / f"{run.key}.safetensors")
    lines = (f"{json.dumps(key)}: {json.dumps(content)}" for key, content in about.items())
    with whole(folder / KEPT[0]) as aside:
        aside.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def _write_rows(frames: dict[str, pd.DataFrame], file: Path) -> None:
    """Frames with their keys as a column `run`, one row group per run, so that one run is read without the others."""
    tables = {key: pa.Table.from_pandas(frame.assign(run=key), preserve_index=False) for key, frame in frames.items()}
    schema = pa.unify_schemas([table.schema.remove_metadata() for table in tables.values()])
    floats = [field.name for field in schema if pa.types.is_floating(field.type)]
    packing = {"use_dictionary": ["run", "track", "part"], "use_byte_stream_split": floats, "compression_level": 19}
    with pq.ParquetWriter(file, schema, compression="zstd", **packing) as writer:
        for table in tables.values():
            columns = [
                table[field.name].cast(field.type)
                if field.name in table.column_names
                else pa.nulls(len(table), field.type)
                for field in schema
            ]
            writer.write_table(pa.table(columns, schema=schema))


@click.command()
@click.argument("profile")
def main(profile: str) -> None:
    """Keep the runs of PROFILE's notebooks in results/<profile>/runs."""
    study = Study("keep", profile, "cpu", kept=True, dry=True)
    folder = results_dir() / study.profile.name
    about = folder / "runs" / "runs.json"
    content_ids = {key: run["content_id"] for key, run in read_json(about).items()} if about.is_file() else {}
    entries = read_summary(folder / "summary.json")["notebooks"].values()
    shown = {key for entry in entries for key in entry["runs"]}
    runs = {key: find_run(key, runs_dir(), folder / "runs") for key in shown | content_ids.keys()}
    first = [run.experiment for run in runs.values() if run.experiment.seed in study.profile.seeds]
    starts = {key for experiment in first for key in experiment.starts_from}
    starts |= {study.variants(experiment)[0].start.run for experiment in protocol.fine_tuned(study).values()}
    runs |= {key: find_run(key, runs_dir(), folder / "runs") for key in starts - runs.keys()}
    for key in runs.keys() - content_ids.keys():
        content_ids[key] = read_json(runs_dir() / key / ABOUT)["content_id"]
    keep_runs(runs.values(), content_ids, folder / "runs", {key for key in starts if runs[key].weights_file})
    keys = sorted({key for entry in entries for key in entry["classifiers"]})
    fitted = {key: find_or_fit(study, key) for key in keys}
    fitted = {key: frame.astype(dict.fromkeys(probability_columns(frame), "float32")) for key, frame in fitted.items()}
    with whole(folder / "runs" / CLASSIFIERS) as aside:
        _write_rows(fitted, aside)
    click.echo(f"{len(runs)} runs and {len(keys)} classifiers are kept in {folder / 'runs'}")


if __name__ == "__main__":
    main()
