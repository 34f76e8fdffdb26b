import ast
import json

import nbformat
import pytest

from soundfusion_lib import notebooks, paths
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.study import profiles

FILES = notebooks.notebook_files()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_notebooks_are_thin_and_executed(file):
    notebook = nbformat.read(file, as_version=4)
    nbformat.validate(notebook)
    assert notebook.cells[0].cell_type == "markdown" and notebook.cells[0].source.startswith("# ")
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert "parameters" in code[0].metadata.tags
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    for cell in code:
        assert len(cell.source.splitlines()) <= 25
        assert not [node for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.FunctionDef | ast.ClassDef)]
        assert all(output.output_type != "error" for output in cell.outputs)
    assert file.stat().st_size < 1_000_000


def small_project(root, *cells):
    """A project with one notebook of these cells after the parameters."""
    notebook = nbformat.v4.new_notebook(metadata={"kernelspec": {"name": "python3", "language": "python", "display_name": ""}})
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
    assert texts(folder / "notebooks" / "01_small.ipynb") == [f"{mine}\n"]
    assert source.read_bytes() == before


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
