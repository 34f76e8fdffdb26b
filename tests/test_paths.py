import os

from conftest import run_python

from soundfusion_lib.paths import PROJECT, data_dir, results_dir


def test_relative_folders_are_the_project_s_in_the_command_and_in_the_kernels(tmp_path):
    environment = {**os.environ, "SOUNDFUSION_DATA": "here/data", "SOUNDFUSION_RESULTS": "here/results"}
    code = "from soundfusion_lib.paths import data_dir, results_dir; print(data_dir(), results_dir(), sep='\\n')"
    for folder in (tmp_path, PROJECT / "notebooks"):
        said = run_python("-c", code, cwd=folder, env=environment).stdout
        assert said.splitlines() == [str(PROJECT / "here" / kind) for kind in ("data", "results")]


def test_folders_given_whole_or_in_the_home_folder(tmp_path, monkeypatch):
    for name, folder in (("SOUNDFUSION_DATA", data_dir), ("SOUNDFUSION_RESULTS", results_dir)):
        monkeypatch.setenv(name, str(tmp_path / "whole"))
        assert folder() == (tmp_path / "whole").resolve()
        monkeypatch.setenv(name, "~/mine")
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("USERPROFILE", str(tmp_path))
        assert folder() == (tmp_path / "mine").resolve()
