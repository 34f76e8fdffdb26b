"""pyproject.toml, requirements.lock, environment.yml, CITATION.cff, the Makefile and the CI workflow say the same."""

import importlib.metadata
import re
import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from soundfusion_lib.cli import main

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
WANTED = [Requirement(text) for text in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["test"]]


def locked() -> list[Requirement]:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith(("#", " "))]


def test_lock_pins_all_exactly_names_no_index_and_has_a_version_that_pyproject_allows_for_every_dependency():
    text = (ROOT / "requirements.lock").read_text()
    assert "//" not in text and "index" not in text.replace("--no-emit-index-url", "")
    assert all([spec.operator for spec in pin.specifier] == ["=="] for pin in locked())
    assert all(name in text for name in ("sys_platform == 'linux'", "'darwin'", "'win32'"))
    pins = {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in locked()}
    for requirement in WANTED:
        assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), requirement


def test_conda_environment_pins_the_same_versions():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    [pip] = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    assert "--constraint requirements.lock" in pip and "--editable ." in pip
    pinned = [Requirement(line) for line in pip if line[0] != "-"]
    pins = {canonicalize_name(pin.name): str(pin.specifier) for pin in pinned}
    lock = {canonicalize_name(pin.name): str(pin.specifier) for pin in locked()}
    assert pins == {name: lock[name] for name in (canonicalize_name(r.name) for r in WANTED)}
    [python] = [entry for entry in environment["dependencies"] if str(entry).startswith("python=")]
    assert python.removeprefix("python=") in PROJECT["requires-python"]


def test_what_is_installed_is_what_is_locked():
    for pin in locked():
        if pin.marker is None or pin.marker.evaluate():
            assert pin.specifier.contains(importlib.metadata.version(pin.name)), pin


def test_the_citation_is_whole_and_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()  # what the format, 1.2.0, requires
    assert (citation["version"], citation["license"]) == (PROJECT["version"], PROJECT["license"])


def test_ci_calls_the_makefile_s_targets_or_does_as_they_do_on_pythons_that_the_project_takes():
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]
    commands = {name: [step["run"] for step in job["steps"] if "run" in step] for name, job in jobs.items()}
    assert commands["lint"] + commands["linux"] == ["make lint", "make test", "make reproduce"]
    versions = jobs["linux"]["strategy"]["matrix"]["python"]
    versions += [step["with"]["python-version"] for step in jobs["windows"]["steps"] if "with" in step]
    assert all(SpecifierSet(PROJECT["requires-python"]).contains(f"{version}.9") for version in versions)
    *installs, tests, study = commands["windows"]
    makefile = re.findall(r"\$\(BIN\)/python (-m pip .*)", (ROOT / "Makefile").read_text())
    assert [call.removeprefix("python ") for call in installs] == [call.replace(" --quiet", "") for call in makefile]
    assert tests == "python -m pytest tests"
    program, name, *options = study.split()
    assert program in PROJECT["scripts"] and name in main.commands
    main.commands[name].make_context(name, options)  # complains of an option that the command does not have
