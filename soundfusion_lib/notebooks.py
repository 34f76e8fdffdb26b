"""The notebooks in batch: papermill executes each in a fresh kernel, whole or not at all."""

import ast
import os
import sys
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

from soundfusion_lib import pool
from soundfusion_lib.analysis.page import write_page
from soundfusion_lib.device import choose_device
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.paths import PROJECT, lock, results_dir, writing
from soundfusion_lib.study import catalogue
from soundfusion_lib.study.profile import load_profile
from soundfusion_lib.study.results import edit_summary, read_summary
from soundfusion_lib.study.study import Study

DEFAULTS = {"profile": "demo", "device": "auto"}  # parameters of every notebook
FIRST = "01", "03"  # notebooks: data, and probes
SOUND = "data:audio"  # begins the address of a sound within a page


def check_parameters(inputs: list[str]) -> None:
    """Raise SoundFusionError for a parameter not in `DEFAULTS`: papermill only warns, and would run the defaults. The
    inputs are the cells run so far, IPython's `In`."""
    cells = [cell for cell in inputs if cell.startswith("# Parameters\n")]
    names = [statement.targets[0].id for cell in cells for statement in ast.parse(cell).body]
    if unknown := [name for name in names if name not in DEFAULTS]:
        raise SoundFusionError(f"this notebook has no parameter {unknown[0]!r}; there are: {', '.join(DEFAULTS)}")


def notebook_files(only: tuple[str, ...] = (), leave_out: Collection[str] = ()) -> list[Path]:
    """The numbered notebooks, in order; `only` those whose names begin so, else without notebook 10 where a profile
    leaves "search" out. Raises SoundFusionError if none begins so."""
    files = sorted((PROJECT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    for prefix in only or ("",):
        if not any(file.stem.startswith(prefix) for file in files):
            there = ", ".join(file.stem for file in files) or "none: run this from a clone of the project"
            raise SoundFusionError(f"no notebook begins with {prefix!r}; there are: {there}")
    if not only and "search" in leave_out:
        files = [file for file in files if not file.stem.startswith("10")]
    return [file for file in files if file.stem.startswith(only or "")]


def reproduce(
    profile: str = "demo", device: str = "auto", only: tuple[str, ...] = (), scheduler: str = "", kept: bool = False
) -> Path:
    """Execute the notebooks on a profile, one after the other: first the data and the probes, which take minutes.
    Returns the folder of the results. Raises SoundFusionError for a bad argument, a cell that failed, or a killed
    kernel (what was trained is kept). For the arguments see `Study` and `notebook_files`."""
    loaded = load_profile(profile)
    files = sorted(notebook_files(only, loaded.leave_out), key=lambda file: file.stem[:2] not in FIRST)
    choose_device(device)
    if profile.endswith(".toml"):
        profile = str(Path(profile).resolve())  # the kernels work in another folder
    parameters = {"profile": profile, "device": device}
    parameters = {name: value for name, value in parameters.items() if value != DEFAULTS[name]}
    folder = results_dir() / loaded.name
    told = {"SOUNDFUSION_SCHEDULER": scheduler, "SOUNDFUSION_KEPT": "1" * kept}  # the kernels inherit them
    inline = {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    os.environ.update(pool.environment() | inline | {name: value for name, value in told.items() if value})
    began = time.perf_counter()
    if scheduler:  # all runs at once, not one notebook's after the other's
        study = Study("cluster", profile, device, scheduler=scheduler, kept=kept)
        shown = catalogue.by_notebook(study)
        study.train(dict(enumerate(experiment for file in files for experiment in shown.get(file.stem, ()))))
    for number, file in enumerate(files, 1):
        print(f"[{number}/{len(files)}] {file.stem}, profile {loaded.name}", file=sys.stderr, flush=True)
        started = time.perf_counter()
        with writing(folder), lock(folder / f".{file.name}.lock"):  # another process may execute the same notebook
            _execute(file, folder / "notebooks" / file.name, parameters, loaded.corpus["kind"] == "demo")
        seconds = time.perf_counter() - started
        print(f"    {seconds:.0f} s", file=sys.stderr, flush=True)
        with edit_summary(folder / "summary.json") as summary:
            if entry := summary.get("notebooks", {}).get(file.stem):
                entry["wall_seconds"] = round(seconds, 1)  # with the start of its kernel
            summary["wall_seconds"] = round(time.perf_counter() - began, 1)
    if read_summary(folder / "summary.json").get("notebooks"):
        write_page(loaded.name)
    return folder


def _execute(source: Path, target: Path, parameters: dict[str, str], sounds: bool) -> None:
    """Run a notebook with these parameters; the target is written when all of it has run."""
    import nbformat  # here: a kernel imports this module, too, and needs none of these
    import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".{target.stem}.running.ipynb")
    failed = target.with_name(f"{target.stem}.failed.ipynb")
    try:
        papermill.execute_notebook(
            source,
            aside,
            parameters,
            kernel_name="python3",
            cwd=source.parent,
            progress_bar=False,  # of cells; those of the training, on stderr, say more
            stderr_file=sys.stderr,
            shutdown_kernel="immediate",  # ending in order takes torch seconds, and nothing is left to do
            extra_arguments=["--log-level=ERROR"],  # a kernel warns that it talks over TCP
            coalesce_streams=True,  # what is printed comes in pieces, others each time
        )
    except PapermillExecutionError as error:
        os.replace(aside, failed)
        kept = f"The notebook up to there is {failed}; what was trained is kept and found again."
        where = f"{source.name}, cell {error.exec_count}"
        raise SoundFusionError(f"{where}: {error.ename}: {error.evalue}\n{kept}") from error
    except DeadKernelError as error:
        killed = "its kernel was killed (out of memory?); what was trained is kept: start again"
        raise SoundFusionError(f"{source.name}: {killed}") from error
    notebook = nbformat.read(aside, as_version=4)
    _clean(notebook, sounds)
    nbformat.write(notebook, aside)
    os.replace(aside, target)
    failed.unlink(missing_ok=True)  # of an earlier call


def _clean(notebook: Any, sounds: bool) -> None:
    """Take out, in place, what differs between two executions: times, progress bars, the state of widgets. Without
    `sounds` also every sound: a copy may be given to others, and the music belongs to its artists."""
    kept = "kernelspec", "language_info"
    notebook.metadata = {key: notebook.metadata[key] for key in kept if key in notebook.metadata}
    for cell in notebook.cells:
        cell.metadata = {key: tags for key, tags in cell.metadata.items() if key == "tags" and tags}
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell.id = "injected-parameters"  # papermill draws another each time
        for output in cell.get("outputs", []):
            if output.get("name") == "stderr":  # a bar that is drawn again and again has one line here
                lines = output.text.splitlines(True)
                output.text = "".join(line for line in lines if "%|" not in line and line.strip())
            elif not sounds and SOUND in output.get("data", {}).get("text/html", ""):
                output.data = {"text/plain": "A sound, which is not kept in copies of the notebook."}
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("text") != ""]
