import json
import subprocess
import sys

import pytest

from soundfusion_lib.study.results import edit_summary, read_summary

WRITER = """
import sys
from pathlib import Path
from soundfusion_lib.study.results import edit_summary

for number in range(100):
    with edit_summary(Path(sys.argv[1])) as summary:
        summary.setdefault("notebooks", {})[f"{sys.argv[2]}{number}"] = {"seconds": number}
"""


def test_two_processes_that_write_at_once_keep_all_entries(tmp_path):
    file = tmp_path / "results" / "summary.json"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(file), name]) for name in "ab"]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    expected = {f"{name}{number}": {"seconds": number} for name in "ab" for number in range(100)}
    assert read_summary(file) == {"notebooks": expected}


def test_there_need_be_none_and_an_error_leaves_it_as_it_was(tmp_path):
    file = tmp_path / "summary.json"
    assert read_summary(file) == {}
    with edit_summary(file) as summary:
        summary["profile"] = "mine"
    with pytest.raises(ZeroDivisionError), edit_summary(file) as summary:
        summary["profile"] = 1 / 0
    assert json.loads(file.read_text(encoding="utf-8")) == {"profile": "mine"}
