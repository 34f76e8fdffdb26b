import ast
import json
import os
import re
import runpy
import subprocess
import sys
import time
from unittest.mock import patch

import nbformat
import psutil
import pytest
from ipykernel.ipkernel import IPythonKernel
from jupyter_client.kernelspec import get_kernel_spec
from test_pool import assert_ended, family

from soundfusion_lib import SoundFusionError, check_parameters, notebooks, paths
from soundfusion_lib.pool import environment

FILES = notebooks.notebook_files()
PROBLEM = "a function, a class or a cell longer than a screen: that belongs into the library"


def saved_by_jupyterlab(file) -> str:
    """What JupyterLab writes when it saves a notebook that it has opened: what its kernel says of itself is in it."""
    notebook = nbformat.read(file, as_version=nbformat.NO_CONVERT)
    spec = get_kernel_spec("python3")
    notebook.metadata.kernelspec = {"name": "python3", "display_name": spec.display_name, "language": spec.language}
    notebook.metadata.language_info = IPythonKernel.language_info
    return nbformat.writes(notebook, version=nbformat.NO_CONVERT) + "\n"


def but_for_the_machine(text: str) -> list[str]:
    return [line for line in text.splitlines() if not re.match(r' *"(display_name|version)": "', line)]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_notebooks_are_thin_executed_and_as_jupyterlab_saves_them(file):
    notebook = nbformat.read(file, as_version=4)
    nbformat.validate(notebook)
    assert notebook.cells[1].cell_type == "markdown" and notebook.cells[1].source.startswith("# ")
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert "parameters" in code[0].metadata.tags and "%pip install -e .." in code[0].source  # where it is missing
    assert "\ncheck_parameters(In)\nstudy = Study(" in code[1].source
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    for cell in code:
        nodes = list(ast.walk(ast.parse(cell.source)))
        assert len(cell.source.splitlines()) <= 25, PROBLEM
        assert not any(isinstance(node, ast.FunctionDef | ast.ClassDef) for node in nodes), PROBLEM
        assert all(output.output_type != "error" for output in cell.outputs)
    assert file.stat().st_size < 1_000_000
    by_hand = [cell.source for cell in code if cell.id.startswith("by-hand")]  # is held to the library
    assert any("assert" in source for source in by_hand) or file.stem > "09"
    assert but_for_the_machine(saved_by_jupyterlab(file)) == but_for_the_machine(file.read_text(encoding="utf-8"))


def test_each_notebook_links_to_those_before_and_after():
    lines = runpy.run_path(str(paths.PROJECT / "tooling" / "navigation.py"))["navigate"](FILES)
    assert lines[FILES[1]].startswith("← [1. The data](01_data.ipynb) · ")
    for file, line in lines.items():
        cells = nbformat.read(file, as_version=4).cells
        assert cells[0].source == cells[-1].source == line


def small_project(root, *cells):
    """A project with one notebook of these cells after the parameters."""
    spec = {"name": "python3", "language": "python", "display_name": get_kernel_spec("python3").display_name}
    notebook = nbformat.v4.new_notebook(metadata={"kernelspec": spec})
    parameters = nbformat.v4.new_code_cell('profile = "demo"\ndevice = "auto"', metadata={"tags": ["parameters"]})
    notebook.cells = [parameters, *map(nbformat.v4.new_code_cell, cells)]
    (root / "notebooks").mkdir()
    nbformat.write(notebook, root / "notebooks" / "01_small.ipynb")
    return root / "notebooks" / "01_small.ipynb"


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.setattr(notebooks, "PROJECT", tmp_path)
    with patch.dict(os.environ, SOUNDFUSION_RESULTS=str(tmp_path / "results")):  # and what it sets for its kernels
        yield tmp_path


def copy_of(file, profile="demo"):
    return file.parents[1] / "results" / profile / "notebooks" / file.name


def texts(file):
    return [output.text for cell in nbformat.read(file, 4).cells for output in cell.get("outputs", [])]


TOLD = "import os; print(profile, device, *map(os.environ.get, ('SOUNDFUSION_KEPT', 'SOUNDFUSION_SCHEDULER')))"


def test_the_executed_copy_is_in_results_and_the_same_each_time(project):
    pieces = "import time\nfor word in 'a', 'b': print(word, flush=True); time.sleep(0.3)"
    bar = "import sys; sys.stderr.write('\\r 50%|#| 1/2\\r100%|##| 2/2\\n'); _ = sys.stderr.write('kept\\n')"
    file = small_project(project, TOLD, pieces, bar)
    before = file.read_bytes()
    notebooks.reproduce()
    copy = copy_of(file)
    assert texts(copy) == ["demo auto None None\n", "a\nb\n", "kept\n"]  # in one piece; no progress bars
    assert [cell.id for cell in nbformat.read(copy, 4).cells] == [cell.id for cell in nbformat.read(file, 4).cells]
    assert copy.read_text(encoding="utf-8") == saved_by_jupyterlab(copy)
    first = copy.read_bytes()
    notebooks.reproduce()
    assert copy.read_bytes() == first and file.read_bytes() == before
    assert os.listdir(file.parent) == os.listdir(copy.parent) == [file.name]


def test_what_kernels_are_told_and_that_the_profile_s_path_is_absolute(project, monkeypatch):
    source = small_project(project, TOLD, "print(os.environ['OMP_NUM_THREADS'])")
    mine = project / "mine.toml"
    mine.write_text('[corpus]\nkind = "folder"\npath = "music"\n')
    monkeypatch.chdir(project)
    folder = notebooks.reproduce("mine.toml", "cpu", kept=True, scheduler="tcp://127.0.0.1:1")
    assert folder == project / "results" / "mine"
    assert texts(copy_of(source, "mine")) == [f"{mine} cpu 1 tcp://127.0.0.1:1\n", "1\n"]


def test_sounds_of_synthetic_music_stay_and_those_of_others_do_not(project):
    file = small_project(project, "from IPython.display import Audio\n\nAudio([0.0, 0.5] * 100, rate=4000)")
    notebooks.reproduce()
    notebooks.reproduce("emotify")
    demo, emotify = (copy_of(file, profile).read_text(encoding="utf-8") for profile in ("demo", "emotify"))
    assert "data:audio" in demo
    assert "data:audio" not in emotify and "A sound, which is not kept" in emotify


def test_papermill_by_hand_with_a_misspelt_parameter_runs_nothing(tmp_path):
    call = [sys.executable, "-m", "papermill", FILES[0].name, tmp_path / "out.ipynb", "-p", "profil", "fma_small"]
    folders = {name: str(tmp_path / name) for name in ("SOUNDFUSION_RESULTS", "SOUNDFUSION_DATA")}
    done = subprocess.run(call, cwd=FILES[0].parent, env=os.environ | folders, capture_output=True, text=True)
    assert done.returncode != 0 and os.listdir(tmp_path) == ["out.ipynb"]
    assert "this notebook has no parameter 'profil'; there are: profile, device" in done.stderr
    check_parameters(["", "profile = 'demo'", '# Parameters\nprofile = "mine.toml"\ndevice = "cpu"\n', "profil = 1"])


def test_the_kernel_that_make_installs_has_the_environment_and_the_advice(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    runpy.run_path(str(paths.PROJECT / "tooling" / "kernel.py"), run_name="__main__")
    spec = json.loads((tmp_path / "share/jupyter/kernels/python3/kernel.json").read_text(encoding="utf-8"))
    assert spec["env"] == {**environment(), "PYTHONSTARTUP": str(paths.PROJECT / "tooling" / "startup.py")}


def test_the_wall_time_of_a_notebook_is_filed_with_what_it_filed_itself(project):
    code = "from soundfusion_lib.study.results import edit_summary\nfrom soundfusion_lib.paths import results_dir\n"
    code += "with edit_summary(results_dir() / 'demo' / 'summary.json') as summary:\n"
    code += "    entry = {'seconds': 0.5, 'results': {}, 'runs': {}, 'device': 'x', 'commit': 'y'}\n"
    code += "    summary['notebooks'] = {'01_small': entry}\n"
    code += "    summary.update(corpus='c', tracks=1, left_out=0, seeds=[0], label='genre', synthetic=True)"
    small_project(project, code)
    folder = notebooks.reproduce()
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    entry = summary["notebooks"]["01_small"]
    assert entry["seconds"] == 0.5 and 0 < entry["wall_seconds"] <= summary["wall_seconds"] + 0.1
    assert (folder / "README.md").exists()


def test_a_failing_cell_is_named_says_which_to_run_first_and_leaves_the_copy_as_it_was(project, monkeypatch):
    monkeypatch.setenv("PYTHONSTARTUP", str(paths.PROJECT / "tooling" / "startup.py"))  # as the kernel's specification
    file = small_project(project, "print('before')", "study.tracks", "print('never')")
    before, copy = file.read_bytes(), copy_of(file)
    with pytest.raises(SoundFusionError, match="01_small.ipynb, cell 3: NameError.*\n.*01_small.failed.ipynb"):
        notebooks.reproduce()
    failed = copy.with_name("01_small.failed.ipynb")
    outputs = [output for cell in nbformat.read(failed, 4).cells for output in cell.get("outputs", [])]
    assert {"before\n", "NameError"} <= {output.get("text") or output.get("ename") for output in outputs}
    assert "Run those first: menu Run, Run All Above Selected Cell." in failed.read_text(encoding="utf-8")
    assert [entry.name for entry in copy.parent.iterdir()] == [failed.name] and file.read_bytes() == before
    file.write_bytes(before.replace(b"study.tracks", b"profile"))
    notebooks.reproduce()
    assert [entry.name for entry in copy.parent.iterdir()] == [copy.name]  # the failure is no more


def test_of_a_clone_data_and_probes_come_first_and_notebook_10_where_the_profile_has_it(project, monkeypatch):
    with pytest.raises(SoundFusionError, match="from a clone"):
        notebooks.reproduce()
    first = small_project(project)
    for name in ("02_more", "03_probes", "10_search"):
        first.with_stem(name).write_bytes(first.read_bytes())
    assert [file.stem for file in notebooks.notebook_files(("02",))] == ["02_more"]
    with pytest.raises(SoundFusionError, match="there are: 01_small, 02_more, 03_probes"):
        notebooks.notebook_files(("2",))
    executed = []
    monkeypatch.setattr(notebooks, "_execute", lambda source, *_: executed.append(source.stem[:2]))
    mine = project / "mine.toml"
    mine.write_text('[corpus]\nkind = "folder"\npath = "music"\n')
    cases = ("demo", (), ["01", "03", "02", "10"]), (str(mine), (), ["01", "03", "02"]), (str(mine), ("10",), ["10"])
    for profile, only, order in cases:
        executed.clear()
        notebooks.reproduce(profile, only=only)
        assert executed == order


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
from soundfusion_lib import cli, notebooks

notebooks.PROJECT = Path(sys.argv.pop())
cli.main()
"""


@pytest.mark.parametrize("killed", ["reproduce", "the kernel"])
def test_a_killed_reproduce_or_kernel_leaves_no_process_behind(project, killed):
    small_project(project, AT_WORK)
    command = [sys.executable, "-c", REPRODUCE, "reproduce", "demo", "--device", "cpu", str(project)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as started:
        while not (project / "notebooks" / "begun").exists() and started.poll() is None:
            time.sleep(0.1)
        first, *others = family(psutil.Process(started.pid))
        (kernel,) = [process for process in others if "ipykernel_launcher" in process.cmdline()]
        if killed == "reproduce":
            first.kill()
        else:
            others = kernel.children(recursive=True)
            kernel.kill()
        assert_ended(others)
        _, said = started.communicate(timeout=60)
    assert len(others) >= 4  # resource tracker, server, two workers
    assert ("01_small.ipynb: its kernel was killed" in said) == (killed == "the kernel")
