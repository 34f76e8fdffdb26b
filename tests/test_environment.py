"""pyproject.toml, requirements.lock and environment.yml say the same."""

import importlib.metadata
import re
import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
WANTED = [Requirement(text) for text in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["test"]]


def locked() -> list[Requirement]:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith(("#", " "))]


def test_lock_pins_everything_exactly_and_names_no_index():
    text = (ROOT / "requirements.lock").read_text()
    assert "uv pip compile --universal" in text.splitlines()[1]
    assert "http" not in re.sub(r"http(x|core)\b|httpx?-|aiohttp", "", text) and "index" not in text.replace("--no-emit-index-url", "")
    assert all([spec.operator for spec in pin.specifier] == ["=="] for pin in locked())


def test_lock_has_a_version_that_pyproject_allows_for_every_dependency():
    pins = {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in locked()}
    for requirement in WANTED:
        assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), requirement


def test_lock_is_for_linux_mac_and_windows():
    markers = " ".join(str(pin.marker) for pin in locked() if pin.marker)
    assert all(name in markers for name in ("linux", "darwin", "win32"))


def test_conda_environment_pins_the_same_versions():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    [pip] = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    assert "--constraint requirements.lock" in pip and "--editable ." in pip
    pins = {canonicalize_name(r.name): str(r.specifier) for r in map(Requirement, (line for line in pip if line[0] != "-"))}
    lock = {canonicalize_name(pin.name): str(pin.specifier) for pin in locked()}
    assert pins == {name: lock[name] for name in (canonicalize_name(r.name) for r in WANTED)}
    [python] = [entry for entry in environment["dependencies"] if str(entry).startswith("python=")]
    assert python.removeprefix("python=") in PROJECT["requires-python"]


def test_what_is_installed_is_what_is_locked():
    for pin in locked():
        if pin.marker is None or pin.marker.evaluate():
            assert pin.specifier.contains(importlib.metadata.version(pin.name)), pin
