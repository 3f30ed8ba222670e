# SPDX-License-Identifier: GPL-2.0-only
"""The tutorial, typed from its second part on as a reader types it.

It brings its kernel and series along, whatever else is under test; the first time it builds that
kernel at two positions.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from command_examples import ROOT, environment

from harness.run.pipeline import Pipeline

pytestmark = [pytest.mark.machinery, pytest.mark.profiles("default")]

DEADLINE_S = 3600.0
"""Seconds for all of it, the first build of a kernel included."""


def block(text: str, language: str) -> str:
    """Return the one block of the tutorial that is in a language."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", text, re.M | re.S)
    return str(found)


def test_tutorial_goes_as_it_says(pipeline: Pipeline, tmp_path: Path) -> None:
    text = (ROOT / "docs" / "tutorial.md").read_text().partition("## 2. ")[2]
    commands = re.findall(r"^\$ (.*)", text, re.M)
    assert [" ".join(typed.split()[:2]) for typed in commands] == [
        "harness init",
        "cd mysuite",
        "harness run",
        "harness run",
        "harness matrix",
    ]
    shutil.copy(ROOT / "examples" / "proc-dumpable" / "v1.mbx", tmp_path)
    (tmp_path / "kunit").write_text(block(text, "config"))
    (tmp_path / "fragments").write_text(block(text, "yaml"))
    (tmp_path / "test").write_text(block(text, "python"))
    # What the reader writes, where the text says so.
    commands.insert(2, "cp ../kunit kunit.config; cat ../fragments >>suite.yaml")
    commands.insert(4, "cp ../test tests/test_dumpable.py")
    done = subprocess.run(
        ["sh", "-ec", "\n".join(commands)],
        cwd=tmp_path,
        env=environment(tmp_path, pipeline.store.root),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=DEADLINE_S,
    )
    assert done.returncode == 0, done.stdout
    said = done.stdout
    assert said.count("2 passed in") >= 2, said
    assert re.search("2 of 2 cells, 8 tests(; from the cache: 2)?; nothing unexpected", said), said
    assert re.search(r"test_init_is_dumpable +failed +passed", said), said
