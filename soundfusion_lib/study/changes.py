"""A profile with some of its settings changed, as a file of its own: its results stand beside those of the profile."""

import hashlib
import json
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.paths import results_dir, whole
from soundfusion_lib.study.profile import CORPORA, built_in, parse_profile, read_profile

LONGEST = 80  # name of a profile, in characters


def changed(profile: str, changes: Sequence[str]) -> str:
    """A profile with changes, written to results/<its name>/profile.toml; the profile itself where there are none.

    It is called after what is changed (demo-training.epochs-3), unless a change gives it a name.

    Args:
        profile: see `load_profile`.
        changes: such as "training.epochs=3": a key with dots and a value as TOML writes it; a text needs no quotes. A
            relative path is relative to the working directory.

    Returns:
        What `load_profile` takes.

    Raises:
        SoundFusionError: a change is no key and value, or not allowed (the message lists what is).
    """
    if not changes:
        return profile
    content, path = read_profile(profile)
    _make_absolute(content, path.parent)
    values = dict(sorted(map(_parsed, changes)))
    for key, value in values.items():
        _put(content, key, value)
        if key.removesuffix(".path") in CORPORA:
            _make_absolute(content, Path.cwd())
    if "name" not in values:
        content["name"] = _name(content.get("name", path.stem), values)
    loaded = parse_profile(content, path)
    if loaded.name.casefold() in built_in():
        raise SoundFusionError(f"--set name={loaded.name}: a built-in profile has this name: give another")
    file = results_dir() / loaded.name / "profile.toml"
    with whole(file) as aside:
        aside.write_text(f"# {path.stem} with {', '.join(changes)}\n{_toml_file(content)}", encoding="utf-8")
    return str(file)


def _parsed(change: str) -> tuple[str, Any]:
    """Key and value of a change."""
    key, equals, text = change.partition("=")
    if not equals or not key.strip() or not text.strip():
        raise SoundFusionError(f"--set {change}: give a key and a value, such as training.epochs=3")
    try:
        return key.strip(), tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), text.strip()


def _put(content: dict[str, Any], key: str, value: Any) -> None:
    *tables, last = key.split(".")
    table = content
    for name in tables:
        table = table.setdefault(name, {})
        if not isinstance(table, dict):
            raise SoundFusionError(f"--set {key}: {name} is no table of the profile, but a value")
    table[last] = value


def _make_absolute(content: dict[str, Any], folder: Path) -> None:
    """The paths of corpora, which are relative to this folder."""
    for key in CORPORA:
        corpus = content.get(key)
        if isinstance(corpus, dict) and isinstance(corpus.get("path"), str):
            corpus["path"] = str((folder / Path(corpus["path"]).expanduser()).resolve())


def _name(base: str, values: dict[str, Any]) -> str:
    """A name that says what is changed, or, where that is too long or no name's characters, is told apart by a hash."""
    text = "-".join(f"{key}={value}" for key, value in values.items())
    words = re.sub(r"[^\w.-]", "-", text)
    name = f"{base}-{words}"
    if re.fullmatch(r"[\w.=-]*", text) and ".." not in name and not name.endswith(".") and len(name) <= LONGEST:
        return name
    digest = hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()[:8]
    short = re.sub(r"\.+", ".", re.sub("-+", "-", name))[: LONGEST - 9].strip("-.")
    return f"{short}-{digest}"


def _toml_file(content: dict[str, Any]) -> str:
    """A profile as TOML: its values, then its tables, with those in them inline."""
    tables = {key: value for key, value in content.items() if isinstance(value, dict)}
    values = {key: value for key, value in content.items() if key not in tables}
    return _lines(values) + "".join(f"\n[{key}]\n{_lines(table)}" for key, table in tables.items())


def _lines(table: dict[str, Any]) -> str:
    return "".join(f"{_key(key)} = {_inline(value)}\n" for key, value in table.items())


def _key(name: str) -> str:
    """Quoted where TOML asks for it, as in the names of experiments."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name, ensure_ascii=False)


def _inline(value: Any) -> str:
    """TOML's texts, numbers, booleans and lists are written as JSON's."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(key)} = {_inline(one)}" for key, one in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False)
