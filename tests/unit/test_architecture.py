# SPDX-License-Identifier: GPL-2.0-only
"""The import rules of docs/architecture.md, held against the code."""

from __future__ import annotations

import ast
import graphlib
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.base.arch import ARCHITECTURES

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "harness"
FILES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
    for path in sorted(PACKAGE.rglob("*.py"))
    if path.stem != "__init__"
}
MODULES = sorted(name for name in FILES if "." in name)
FOLDERS = sorted({name.partition(".")[0] for name in MODULES})

MODULE_LINES = 400
"""A module that is longer has more than one subject."""

FUNCTION_LINES = 60
"""A function that is longer does more than one thing; its docstring is not counted."""

PARAMETERS = 8
"""A function that takes more lacks a word for what some of them are together."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


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


MEASURED = [
    path
    for folder in ("harness", "benchmarks")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if "_data" not in path.parts
]


def lines_of(function: Function) -> int:
    """Return how many lines a function has from ``def`` on, without its docstring."""
    doc = function.body[0] if ast.get_docstring(function) is not None else None
    without = (doc.end_lineno or 0) - doc.lineno + 1 if doc is not None else 0
    return (function.end_lineno or 0) - function.lineno + 1 - without


def parameters_of(function: Function) -> int:
    """Return how many parameters a function has besides ``self`` and ``cls``."""
    found = function.args.posonlyargs + function.args.args + function.args.kwonlyargs
    return sum(parameter.arg not in ("self", "cls") for parameter in found)


def test_functions_are_measured_without_docstring_and_self() -> None:
    (found,) = ast.parse(
        'class A:\n    def f(self, a, *, b):\n        """Do.\n\n        So.\n        """\n'
        "        return a\n"
    ).body
    assert isinstance(found, ast.ClassDef)
    (function,) = found.body
    assert isinstance(function, ast.FunctionDef)
    assert (lines_of(function), parameters_of(function)) == (2, 2)


def test_no_module_is_too_long() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in MEASURED
        if (lines := len(path.read_text().splitlines())) > MODULE_LINES
    }
    assert long == {}


@pytest.mark.parametrize(
    ("measure", "most"),
    [(lines_of, FUNCTION_LINES), (parameters_of, PARAMETERS)],
    ids=["lines", "parameters"],
)
def test_no_function_is_too_large(measure: Callable[[Function], int], most: int) -> None:
    large = {
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}": found
        for path in MEASURED
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, Function) and (found := measure(node)) > most
    }
    assert large == {}


def test_only_one_module_has_timeouts() -> None:
    """A literal number of seconds would be a second owner."""
    elsewhere = re.compile(r"\btimeout(_s)?(: float)? ?= ?[\d.]*[1-9]")
    owners = {
        f"harness.{module}: {match.group()}"
        for module, path in FILES.items()
        if module != "base.timeouts"
        for match in elsewhere.finditer(path.read_text())
    }
    assert owners == set()


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


ARCHITECTURE_NAMES = {
    *("x86", "x86_64", "x86-64", "amd64", "i386", "arm64", "aarch64", "arm", "riscv64"),
    *(value for arch in ARCHITECTURES.values() for value in (arch.name, arch.kernel, arch.debian)),
}


def asks_for_architecture(text: str) -> list[str]:
    """Return what in a module's text could tell one architecture from another."""
    found = []
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Constant(value=str(word)) if word in ARCHITECTURE_NAMES:
                found.append(repr(word))
            case ast.Attribute(value=ast.Name(id="platform"), attr=asked):
                found.append(f"platform.{asked}")
            case ast.ImportFrom(module="harness.base.arch", names=names):
                found += [
                    alias.name for alias in names if re.fullmatch(r"[A-Z0-9_]+_?\d+", alias.name)
                ]
    return found


@pytest.mark.parametrize(
    "text",
    [
        "if arch.name == 'x86_64': boot()",
        "match kernel:\n    case 'arm64': boot()",
        "table = {'aarch64': 1}",
        "if platform.machine() == host: boot()",
        "from harness.base.arch import X86_64",
    ],
)
def test_question_for_the_architecture_is_known(text: str) -> None:
    assert asks_for_architecture(text) != []


def test_what_differs_by_architecture_is_data_in_one_place() -> None:
    tests = sorted((ROOT / "tests" / "guest").glob("*.py"))
    asking = {
        f"{path.relative_to(ROOT)}: {', '.join(found)}"
        for path in {*FILES.values(), *MEASURED, *tests} - {FILES["base.arch"]}
        if (found := asks_for_architecture(path.read_text()))
    }
    assert asking == set()


BY_ARCHITECTURE = re.compile(r"\b(__(x86_64|i386|amd64|aarch64|arm)__|CONFIG_(X86|ARM)(_?64)?)\b")


@pytest.mark.parametrize("text", ["#ifdef __x86_64__", "#if defined(CONFIG_ARM64)"])
def test_question_of_c_code_for_the_architecture_is_known(text: str) -> None:
    assert BY_ARCHITECTURE.search(text)


def test_c_code_is_the_same_for_every_architecture() -> None:
    places = ("harness", "images", "tests", "examples")
    files = [path for place in places for path in sorted((ROOT / place).rglob("*.[ch]"))]
    assert len(files) > 20
    assert [path for path in files if BY_ARCHITECTURE.search(path.read_text())] == []
