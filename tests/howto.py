# SPDX-License-Identifier: GPL-2.0-only
"""What the how-tos show besides commands, made into suites that can be run.

``tests/unit/test_howto.py`` looks at what they hold, ``tests/project/test_howto.py`` runs them.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

_EXAMPLE = ROOT / "examples" / "get-options"

_HEAD = """\
name: get-options
kernel: 7.0.13
fragments: [get-options.config]
tests: tests
"""
"""Of the example's name, so that its object tree is used."""

OF_THE_SHIPPED_SUITE = ("tests", "races")
"""How-tos whose tests need what the shipped suite brings."""


def snippets(name: str, language: str) -> list[str]:
    """Return what a how-to shows in a language; files with a name in their first line: ``""``."""
    text = (ROOT / "docs" / "howto" / f"{name}.md").read_text()
    found = [
        block
        for kind, block in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.M | re.S)
        if kind == language
    ]
    return [block for block in found if language or re.match(r"# \S+\n", block)]


def names() -> list[str]:
    """Return the how-tos that show tests."""
    every = sorted(path.stem for path in (ROOT / "docs" / "howto").glob("*.md"))
    return [name for name in every if snippets(name, "python")]


def write_tests(name: str, file: Path) -> Path:
    """Write the tests of a how-to; those of several blocks go into one file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n\n".join(snippets(name, "python")))
    return file


def write_suite(directory: Path) -> Path:
    """Write a suite of everything that the other how-tos show."""
    shutil.copytree(_EXAMPLE / "kmod", directory / "kmod")
    (directory / "kmod" / "options_probe.c").rename(directory / "kmod" / "probe.c")
    shutil.copy(_EXAMPLE / "get-options.config", directory)
    parts = [_HEAD]
    for path in sorted((ROOT / "docs" / "howto").glob("*.md")):
        name = path.stem
        parts += snippets(name, "yaml")
        for text in snippets(name, ""):
            (directory / text[2:].partition("\n")[0]).write_text(text)
        for text in snippets(name, "c"):
            (directory / re.findall(r"\w+\.c", text)[0]).write_text(text)
        if name in names() and name not in OF_THE_SHIPPED_SUITE:
            write_tests(name, directory / "tests" / f"test_{name.replace('-', '_')}.py")
    (directory / "suite.yaml").write_text("".join(parts))
    return directory
