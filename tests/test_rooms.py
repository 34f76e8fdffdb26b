"""The library's rooms: nothing imports against the arrow, and no module is long."""

import ast
from pathlib import Path

import pytest

LIBRARY = Path(__file__).parents[1] / "soundfusion_lib"
ARROW = ["datasets", "audio", "models", "training", "study", "analysis"]  # each may import those before it
BESIDE = ["device", "errors", "paths", "pool", "checks"]  # which every room may import
AFTER = sorted({file.parent.name for file in LIBRARY.glob("*/__init__.py")} - set(ARROW))  # these may import all those
TOP = ["notebooks"]  # a module, not a room, which they may import too
FILES = sorted(LIBRARY.glob("**/*.py"))


def imported(file: Path) -> set[str]:
    """Rooms and modules of the library that a file imports, also inside its functions."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "soundfusion_lib":
            names |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("soundfusion_lib."):
            names.add(node.module.split(".")[1])
    return names


@pytest.mark.parametrize("room", [*BESIDE, *ARROW, *AFTER])
def test_nothing_imports_against_the_arrow_and_what_stands_beside_the_rooms_imports_none(room):
    before = [] if room in BESIDE else ARROW[: ARROW.index(room)] if room in ARROW else ARROW + TOP
    allowed = {room, *BESIDE, *before}
    files = [file for file in FILES if file.relative_to(LIBRARY).with_suffix("").parts[0] == room]
    assert files and {str(file): names for file in files if (names := imported(file) - allowed)} == {}


def test_every_module_is_short():
    lengths = {str(file.relative_to(LIBRARY)): len(file.read_text(encoding="utf-8").splitlines()) for file in FILES}
    assert not {name: length for name, length in lengths.items() if length > 310}
