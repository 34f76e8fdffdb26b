import ast
import json
import os
import re
import runpy
import subprocess
import sys
import time

import nbformat
import psutil
import pytest
from ipykernel.ipkernel import IPythonKernel
from jupyter_client.kernelspec import get_kernel_spec
from test_pool import assert_ended, family

from soundfusion_lib import check_parameters, notebooks, paths
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.study import profile as profiles

FILES = notebooks.notebook_files()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_notebooks_are_thin_and_executed(file):
    notebook = nbformat.read(file, as_version=4)
    nbformat.validate(notebook)
    assert notebook.cells[1].cell_type == "markdown" and notebook.cells[1].source.startswith("# ")
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert "parameters" in code[0].metadata.tags
    assert "\ncheck_parameters(In)\nstudy = Study(" in code[1].source
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    for cell in code:
        assert len(cell.source.splitlines()) <= 25
        assert not [
            node for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.FunctionDef | ast.ClassDef)
        ]
        assert all(output.output_type != "error" for output in cell.outputs)
    assert file.stat().st_size < 1_000_000


def test_each_notebook_links_to_those_before_and_after():
    lines = runpy.run_path(str(paths.PROJECT / "tooling" / "navigation.py"))["navigate"](FILES)
    assert lines[FILES[1]].startswith("← [1. The data](01_data.ipynb) · ")
    for file, line in lines.items():
        cells = nbformat.read(file, as_version=4).cells
        assert cells[0].source == cells[-1].source == line


def saved_by_jupyterlab(file) -> str:
    """What JupyterLab writes when it saves a notebook that it has opened: what its kernel says of itself is in it."""
    notebook = nbformat.read(file, as_version=nbformat.NO_CONVERT)
    spec = get_kernel_spec("python3")
    notebook.metadata.kernelspec = {"name": "python3", "display_name": spec.display_name, "language": spec.language}
    notebook.metadata.language_info = IPythonKernel.language_info
    return nbformat.writes(notebook, version=nbformat.NO_CONVERT) + "\n"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_opening_and_saving_a_notebook_leaves_it_as_it_is(file):
    def but_for_the_machine(text):
        return [line for line in text.splitlines() if not re.match(r' *"(display_name|version)": "', line)]

    assert but_for_the_machine(saved_by_jupyterlab(file)) == but_for_the_machine(file.read_text(encoding="utf-8"))


def test_an_executed_notebook_is_as_jupyterlab_saves_it(project):
    file = small_project(project, "1 + 1")
    notebook = nbformat.read(file, 4)
    notebook.metadata.kernelspec.display_name = get_kernel_spec("python3").display_name
    nbformat.write(notebook, file)
    ids = [cell.id for cell in notebook.cells]
    notebooks.reproduce()
    assert file.read_text(encoding="utf-8") == saved_by_jupyterlab(file)
    assert [cell.id for cell in nbformat.read(file, 4).cells] == ids


def test_sounds_stay_in_the_demo_s_notebooks_and_not_in_copies(project):
    file = small_project(project, "from IPython.display import Audio\n\nAudio([0.0, 0.5] * 100, rate=4000)")
    notebooks.reproduce()
    assert "data:audio" in file.read_text(encoding="utf-8")
    notebooks.reproduce("emotify")
    copy = (project / "results" / "emotify" / "notebooks" / file.name).read_text(encoding="utf-8")
    assert "data:audio" not in copy and "A sound, which is not kept" in copy


def test_papermill_by_hand_with_a_misspelt_parameter_runs_nothing(tmp_path):
    call = [sys.executable, "-m", "papermill", FILES[0].name, tmp_path / "out.ipynb", "-p", "profil", "fma_small"]
    folders = {name: str(tmp_path / name) for name in ("SOUNDFUSION_RESULTS", "SOUNDFUSION_DATA")}
    done = subprocess.run(call, cwd=FILES[0].parent, env=os.environ | folders, capture_output=True, text=True)
    assert done.returncode != 0
    assert "this notebook has no parameter 'profil'; there are: profile, device" in done.stderr
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.ipynb"]


def test_parameters_that_a_notebook_has_and_cells_that_papermill_did_not_write_pass():
    check_parameters(["", "profile = 'demo'", '# Parameters\nprofile = "mine.toml"\ndevice = "cpu"\n', "profil = 1"])
    with pytest.raises(SoundFusionError, match="no parameter 'devise'"):
        check_parameters(["", '# Parameters\nprofile = "demo"\ndevise = "cpu"\n'])


def small_project(root, *cells):
    """A project with one notebook of these cells after the parameters."""
    spec = {"name": "python3", "language": "python", "display_name": ""}
    notebook = nbformat.v4.new_notebook(metadata={"kernelspec": spec})
    parameters = nbformat.v4.new_code_cell('profile = "demo"\ndevice = "auto"', metadata={"tags": ["parameters"]})
    notebook.cells = [parameters, *map(nbformat.v4.new_code_cell, cells)]
    (root / "notebooks").mkdir()
    nbformat.write(notebook, root / "notebooks" / "01_small.ipynb")
    return root / "notebooks" / "01_small.ipynb"


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.setattr(notebooks, "PROJECT", tmp_path)
    monkeypatch.setenv("SOUNDFUSION_RESULTS", str(tmp_path / "results"))
    return tmp_path


def texts(file):
    return [output.text for cell in nbformat.read(file, 4).cells for output in cell.get("outputs", [])]


def test_demo_fills_the_notebooks_themselves_without_progress_bars(project):
    bar = "import sys; sys.stderr.write('\\r 50%|#| 1/2\\r100%|##| 2/2\\n'); _ = sys.stderr.write('kept\\n')"
    file = small_project(project, "print(profile, device)", bar)
    notebooks.reproduce()
    assert texts(file) == ["demo auto\n", "kept\n"]
    assert len(nbformat.read(file, 4).cells) == 3  # no cell injected
    first = file.read_bytes()
    notebooks.reproduce()
    assert file.read_bytes() == first  # executing again changes nothing
    assert (project / "results" / "demo" / "summary.json").exists()
    assert [entry.name for entry in file.parent.iterdir()] == ["01_small.ipynb"]


def test_another_profile_gets_copies_and_its_path_is_absolute(project, monkeypatch):
    source = small_project(project, "print(profile)")
    before = source.read_bytes()
    mine = project / "mine.toml"
    mine.write_text('[corpus]\nkind = "folder"\npath = "music"\n')
    monkeypatch.chdir(project)
    folder = notebooks.reproduce("mine.toml", "cpu")
    assert folder == project / "results" / "mine"
    copy = folder / "notebooks" / "01_small.ipynb"
    assert texts(copy) == [f"{mine}\n"]
    assert source.read_bytes() == before
    first = copy.read_bytes()
    notebooks.reproduce("mine.toml", "cpu")
    assert copy.read_bytes() == first


def test_the_demo_with_another_device_leaves_the_project_s_notebooks_alone(project):
    source = small_project(project, "print(device)")
    before = source.read_bytes()
    folder = notebooks.reproduce("demo", "cpu")
    copy = folder / "notebooks" / "01_small.ipynb"
    assert folder == project / "results" / "demo" and texts(copy) == ["cpu\n"]
    assert source.read_bytes() == before
    assert "parameters" in str([cell.metadata for cell in nbformat.read(copy, 4).cells])
    notebooks.reproduce()  # as it stands again: nothing of the other device is left in it
    assert texts(source) == ["auto\n"] and texts(copy) == ["cpu\n"]


def test_a_copy_of_the_demo_under_its_name_runs_nothing(project):
    source = small_project(project, "print(profile)")
    before = source.read_bytes()
    mine = project / "mine.toml"
    mine.write_bytes((profiles.BUILT_IN / "demo.toml").read_bytes())
    with pytest.raises(SoundFusionError, match="a built-in profile has this name"):
        notebooks.reproduce(str(mine))
    assert source.read_bytes() == before and not (project / "results").exists()


def test_the_wall_time_of_a_notebook_is_filed_with_what_it_filed_itself(project):
    code = "from soundfusion_lib.study.summary import edit_summary\nfrom soundfusion_lib.paths import results_dir\n"
    code += "with edit_summary(results_dir() / 'demo' / 'summary.json') as summary:\n"
    code += "    entry = {'seconds': 0.5, 'results': {}, 'runs': {}, 'device': 'x', 'commit': 'y'}\n"
    code += "    summary['notebooks'] = {'01_small': entry}\n"
    code += "    summary.update(corpus='c', tracks=1, left_out=0, seeds=[0], label='genre', synthetic=True)"
    small_project(project, code)
    folder = notebooks.reproduce("demo", "cpu")
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    entry = summary["notebooks"]["01_small"]
    assert entry["seconds"] == 0.5 and 0 < entry["wall_seconds"] <= summary["wall_seconds"] + 0.1
    assert (folder / "README.md").exists()


def test_a_failing_cell_is_named_and_leaves_the_notebook_as_it_was(project):
    file = small_project(project, "print('before')", "1 / 0", "print('never')")
    before = file.read_bytes()
    with pytest.raises(SoundFusionError, match="01_small.ipynb, cell 3: ZeroDivisionError.*\n.*01_small.failed.ipynb"):
        notebooks.reproduce()
    assert file.read_bytes() == before
    failed = file.with_name("01_small.failed.ipynb")
    outputs = [output for cell in nbformat.read(failed, 4).cells for output in cell.get("outputs", [])]
    assert {"before\n", "ZeroDivisionError"} <= {output.get("text") or output.get("ename") for output in outputs}
    assert not list(file.parent.glob(".*.running.ipynb"))
    assert notebooks.notebook_files() == [file]  # the next start does not run the copy
    file.write_bytes(before.replace(b"1 / 0", b"1 / 1"))
    notebooks.reproduce()
    assert not failed.exists()  # it speaks of a failure that is no more


def test_parameters_that_a_notebook_does_not_have_are_an_error(project):
    file = small_project(project)
    file.write_text(file.read_text().replace("device = ", "devise = "))
    with pytest.raises(SoundFusionError, match="tagged `parameters` lacks device"):
        notebooks.reproduce()


def test_only_some_notebooks(project):
    small_project(project)
    (project / "notebooks" / "02_more.ipynb").write_bytes((project / "notebooks" / "01_small.ipynb").read_bytes())
    assert [file.stem for file in notebooks.notebook_files(("02",))] == ["02_more"]
    with pytest.raises(SoundFusionError, match="there are: 01_small, 02_more"):
        notebooks.notebook_files(("2",))


def test_a_clone_is_needed(tmp_path, monkeypatch):
    monkeypatch.setattr(notebooks, "PROJECT", tmp_path)
    with pytest.raises(SoundFusionError, match="from a clone"):
        notebooks.reproduce()
    assert (paths.PROJECT / "notebooks").is_dir()


AT_WORK = """
import pathlib, time
from soundfusion_lib.pool import worker_pool

pool = worker_pool(2)
waiting = [pool.submit(time.sleep, 600) for _ in range(2)]
pathlib.Path("begun").touch()
time.sleep(600)
"""
REPRODUCE = """
import sys
from pathlib import Path
from soundfusion_lib import notebooks
from soundfusion_lib.errors import SoundFusionError

notebooks.PROJECT = Path(sys.argv[1])
try:
    notebooks.reproduce("demo", "cpu")
except SoundFusionError as error:
    print(error)
"""


@pytest.mark.parametrize("killed", ["reproduce", "the kernel"])
def test_a_killed_reproduce_or_kernel_leaves_no_process_behind(project, killed):
    small_project(project, AT_WORK)
    command = [sys.executable, "-c", REPRODUCE, str(project)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as started:
        while not (project / "notebooks" / "begun").exists() and started.poll() is None:
            time.sleep(0.1)
        first, *others = family(psutil.Process(started.pid))
        (kernel,) = [one for one in others if "ipykernel_launcher" in one.cmdline()]
        if killed == "reproduce":
            first.kill()
        else:
            others = kernel.children(recursive=True)
            kernel.kill()
        assert_ended(others)
        said, _ = started.communicate(timeout=60)
    assert len(others) >= 4  # resource tracker, server, two workers
    assert ("01_small.ipynb: its kernel was killed" in said) == (killed == "the kernel")
