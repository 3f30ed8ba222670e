# SPDX-License-Identifier: GPL-2.0-only
"""Python modules that a suite names: looked for where Python looks, and beside its file."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from harness.base.errors import SpecError
from harness.base.strict_yaml import Section


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectSpec:
    """A value in a Python module that a suite names as ``module:NAME``.

    :param root: the suite's directory.
    :param place: file and line that name it, with the key.
    """

    module: str
    name: str
    root: Path
    place: str

    def load(self) -> object:
        """Import the module, and return the value.

        :raises SpecError: naming file and line, when the module does not load or lacks it.
        """
        make_importable(self.root)
        try:
            return getattr(importlib.import_module(self.module), self.name)
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
            raise SpecError(f"{self.place}: {self.module}:{self.name}: {said}") from error


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


def read_objects(top: Section, key: str, root: Path) -> dict[str, ObjectSpec]:
    """Return the values that a suite names in the mapping *key*: name there -> value.

    Nothing is imported yet.

    :raises SpecError: naming file and line, on what is not written ``module:NAME``, and when there
        is no such module.
    """
    if key not in top:
        return {}
    found = {}
    with top.section(key) as section:
        for own in section.keys():  # noqa: SIM118 - a Section is no dict
            text = section.value(own, str)
            match = re.fullmatch(r"(?P<module>[\w.]+):(?P<name>[A-Za-z_]\w*)", text)
            if match is None:
                raise section.error(own, f"{key}: {text!r} is not written module:NAME")
            if module_file(root, match["module"]) is None:
                raise section.error(own, f"{key}: there is no module {match['module']!r}")
            found[own] = ObjectSpec(**match.groupdict(), root=root, place=section.place(own))
    return found
