# SPDX-License-Identifier: GPL-2.0-only
"""The import rules of docs/architecture.md, held against the code."""

from __future__ import annotations

import ast
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
MODULES = sorted(FILES)


def layers() -> list[tuple[str, ...]]:
    """Read the layers, lowest first, from the block that the document marks for this test."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    block = re.search(r"<!-- import layers -->\n```\n(.*?)```", text, re.S)
    assert block is not None
    return [
        tuple(re.split(r"[,\s]+", line.partition("#")[0].strip()))
        for line in block.group(1).splitlines()
        if line.strip()
    ]


def siblings() -> set[tuple[str, str]]:
    """Read the pairs within a layer that may use each other: ``a -> b``."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    block = re.search(r"<!-- siblings -->\n```\n(.*?)```", text, re.S)
    assert block is not None
    pairs = (re.fullmatch(r"([\w.]+) -> ([\w.]+).*", line) for line in block.group(1).splitlines())
    return {(m.group(1), m.group(2)) for m in pairs if m is not None}


def imports(module: str) -> set[str]:
    named: set[str] = set()
    for node in ast.walk(ast.parse(FILES[module].read_text())):
        if isinstance(node, ast.ImportFrom):
            named.add(str(node.module))
            named |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            named |= {alias.name for alias in node.names}
    return {name.removeprefix("harness.") for name in named} & FILES.keys()


def test_every_module_has_one_layer() -> None:
    listed = [name for layer in layers() for name in layer]
    assert sorted(listed) == MODULES


@pytest.mark.parametrize("module", MODULES)
def test_imports_run_one_way(module: str) -> None:
    order = {name: level for level, layer in enumerate(layers()) for name in layer}
    allowed = siblings()
    for used in sorted(imports(module)):
        below = order[used] < order[module]
        assert below or (module, used) in allowed, f"harness.{module} may not import {used}"


def test_siblings_make_no_cycle() -> None:
    edges = siblings()
    order = {name: level for level, layer in enumerate(layers()) for name in layer}
    for user, used in edges:
        assert order[user] == order[used], f"{user} -> {used} is no pair of siblings"
        reached, todo = set(), [used]
        while todo:
            name = todo.pop()
            assert name != user, f"{user} -> {used} closes a cycle"
            if name not in reached:
                reached.add(name)
                todo += [b for a, b in edges if a == name]


def test_harness_never_imports_tests() -> None:
    for path in FILES.values():
        text = path.read_text()
        assert not re.search(r"^\s*(from|import) tests\b", text, re.M)


def test_only_command_runs_programs() -> None:
    for module, path in FILES.items():
        text = path.read_text()
        starts = re.search(r"\b(import subprocess|os\.system|os\.popen|pexpect\.spawn)\b", text)
        assert starts is None or module == "command", f"harness.{module} runs programs itself"
