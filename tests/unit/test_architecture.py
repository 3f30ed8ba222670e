# SPDX-License-Identifier: GPL-2.0-only
"""The import rules of docs/architecture.md, held against the code."""

from __future__ import annotations

import ast
import graphlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "harness"
FILES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
    for path in sorted(PACKAGE.rglob("*.py"))
    if path.stem != "__init__"
}
MODULES = sorted(name for name in FILES if "." in name)
FOLDERS = sorted({name.partition(".")[0] for name in MODULES})

LINES = 400
"""A module that is longer has more than one subject."""


def may_import() -> dict[str, set[str]]:
    """Read who may import whom from the block that the document marks for this test."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    block = re.search(r"<!-- folders -->\n```\n(.*?)```", text, re.S)
    assert block is not None
    rules: dict[str, set[str]] = {}
    for line in block.group(1).splitlines():
        folder, _, used = line.partition("#")[0].partition(":")
        rules[folder.strip()] = set(used.split())
    return rules


def folder_of(module: str) -> str:
    return module.partition(".")[0]


def imports(module: str) -> set[str]:
    named: set[str] = set()
    for node in ast.walk(ast.parse(FILES[module].read_text())):
        if isinstance(node, ast.ImportFrom):
            named.add(str(node.module))
            named |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            named |= {alias.name for alias in node.names}
    return {name.removeprefix("harness.") for name in named} & FILES.keys()


def test_every_folder_has_a_rule() -> None:
    assert sorted(may_import()) == FOLDERS


def test_folder_rules_make_no_cycle() -> None:
    graphlib.TopologicalSorter(may_import()).prepare()


@pytest.mark.parametrize("module", MODULES)
def test_imports_between_folders_run_one_way(module: str) -> None:
    allowed = may_import()[folder_of(module)] | {folder_of(module)}
    for used in sorted(imports(module)):
        assert folder_of(used) in allowed, f"harness.{module} may not import {used}"


@pytest.mark.parametrize("folder", FOLDERS)
def test_imports_inside_a_folder_make_no_cycle(folder: str) -> None:
    inside = [module for module in MODULES if folder_of(module) == folder]
    graphlib.TopologicalSorter({name: imports(name) & set(inside) for name in inside}).prepare()


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_folder_says_what_it_is_for(folder: str) -> None:
    text = ast.get_docstring(ast.parse((PACKAGE / folder / "__init__.py").read_text()))
    assert text is not None
    assert len(text.splitlines()) <= 4


def test_harness_never_imports_tests() -> None:
    for path in FILES.values():
        text = path.read_text()
        assert not re.search(r"^\s*(from|import) tests\b", text, re.M)


def test_only_command_runs_programs() -> None:
    for module, path in FILES.items():
        text = path.read_text()
        starts = re.search(r"\b(import subprocess|os\.system|os\.popen|pexpect\.spawn)\b", text)
        assert starts is None or module == "base.command", f"harness.{module} runs programs itself"


SUBJECT = {"luo", "liveupdate", "kho", "memfd", "flb"}
"""Words of the shipped suite; the framework has none of them, not even in an example."""


def parts_of(line: str) -> set[str]:
    """Return the words of a line, and the parts of its identifiers, in small letters."""
    return {part for word in re.findall(r"\w+", line.lower()) for part in word.split("_")}


@pytest.mark.parametrize(
    ("line", "known"),
    [
        ("LUO_FILE = 1", True),
        ('"luo-agent"', True),
        ("from harness.liveupdate import x", True),
        ("make_memfd(kho)", True),
        ("fluorine, khorasan, a bluetooth memfds", False),
    ],
)
def test_words_of_the_subject_are_known(line: str, known: bool) -> None:
    assert bool(parts_of(line) & SUBJECT) is known


def test_framework_does_not_know_what_is_under_test() -> None:
    own = PACKAGE / "liveupdate"
    files = [
        path
        for path in sorted(PACKAGE.rglob("*"))
        if path.is_file()
        and not path.is_relative_to(own)
        and not {"__pycache__", "_data"} & set(path.parts)
    ]
    said = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in files
        for number, line in enumerate(path.read_text().splitlines(), 1)
        # The distribution has a name.
        if parts_of(line) & SUBJECT and path != PACKAGE / "__init__.py"
    ]
    assert said == []


def test_framework_never_imports_the_subject() -> None:
    importing = {
        module for module in MODULES for used in imports(module) if folder_of(used) == "liveupdate"
    }
    assert {folder_of(module) for module in importing} <= {"liveupdate"}
