# SPDX-License-Identifier: GPL-2.0-only
"""Python modules that a suite names: looked for where Python looks, and beside its file."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from harness.base.strict_yaml import Section


def make_importable(root: Path) -> None:
    """Let Python find modules in a suite's directory, after all others."""
    if str(root) not in sys.path:
        sys.path.append(str(root))


def module_file(root: Path, name: str) -> Path | None:
    """Return the file of a Python module, looked for in *root* and where Python looks.

    :returns: ``None`` when there is no such module, or it is in no file.
    """
    path = root.joinpath(*name.split("."))
    for file in (path.with_suffix(".py"), path / "__init__.py"):
        if file.is_file():
            return file
    try:
        found = importlib.util.find_spec(name)
    except ImportError:
        return None
    return Path(found.origin) if found is not None and found.origin is not None else None


def read_plugins(top: Section, root: Path) -> tuple[str, ...]:
    """Return the plugins that a suite names.

    :raises SpecError: naming file and line, when one of them is no module.
    """
    names = top.texts("plugins", ())
    for name in names:
        if module_file(root, name) is None:
            raise top.error("plugins", f"plugins: there is no module {name!r}")
    return names
