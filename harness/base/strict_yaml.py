# SPDX-License-Identifier: GPL-2.0-only
"""YAML, read strictly.

An unknown key, a missing one or a value of the wrong type is an error that names file and line.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from harness.base.errors import SpecError
from harness.base.text import first_line


class Section:
    """A YAML mapping that knows where it came from and which of its keys were asked for.

    Use as a context manager: leaving it without an error refuses keys nobody asked for.
    """

    def __init__(self, node: yaml.MappingNode, file: Path, name: str) -> None:
        self._file = file
        self._name = name
        self.line: int = node.start_mark.line + 1
        self._nodes: dict[str, tuple[int, yaml.Node]] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            text = str(key.value)
            if text in self._nodes:
                raise SpecError(f"{file}:{line}: key {text!r} stands twice in {name}")
            self._nodes[text] = (line, value)
        self._asked: set[str] = set()

    def __enter__(self) -> Section:
        return self

    def __exit__(self, kind: object, value: object, trace: object) -> None:
        if kind is None:
            self._refuse_unknown()

    def keys(self) -> tuple[str, ...]:
        """Return all keys in their order in the file."""
        return tuple(self._nodes)

    def __contains__(self, key: str) -> bool:
        """Return whether the mapping has *key*; it does not count as asked for."""
        return key in self._nodes

    def error(self, key: str, message: str, *, hint: str | None = None) -> SpecError:
        """Return an error that names this file and the line of *key*."""
        return SpecError(f"{self.place(key)}: {message}", hint=hint)

    def place(self, key: str) -> str:
        """Return file and line of *key*; of the mapping, when it has none such."""
        line = self._nodes[key][0] if key in self._nodes else self.line
        return f"{self._file}:{line}"

    def value(self, key: str, kind: type | tuple[type, ...], default: Any = ...) -> Any:
        """Return a plain value of type *kind*; *default* when the key is absent.

        :raises SpecError: when the key is required and absent, or of another type.
        """
        self._asked.add(key)
        if key not in self._nodes:
            if default is ...:
                raise SpecError(f"{self._file}:{self.line}: {self._name} lacks the key {key!r}")
            return default
        line, node = self._nodes[key]
        found = _construct(node)
        if not isinstance(found, kind) or (isinstance(found, bool) and kind is not bool):
            wanted = " or ".join(k.__name__ for k in (kind if isinstance(kind, tuple) else (kind,)))
            raise SpecError(
                f"{self._file}:{line}: {key} in {self._name} must be {wanted}, "
                f"not {type(found).__name__}"
            )
        return found

    def texts(self, key: str, default: Any = ...) -> tuple[str, ...]:
        """Return a list of strings as a tuple."""
        found = self.value(key, list, default)
        if found is default:
            return tuple(default)
        if not all(isinstance(item, str) for item in found):
            raise self.error(key, f"{key} in {self._name} must hold strings only")
        return tuple(found)

    def pattern(self, key: str, default: Any = ...) -> str:
        """Return a regular expression.

        :raises SpecError: when it is none.
        """
        found: str = self.value(key, str, default)
        self._check_patterns(key, found)
        return found

    def patterns(self, key: str, default: Any = ...) -> tuple[str, ...]:
        """Return a list of regular expressions as a tuple.

        :raises SpecError: when one of them is none.
        """
        found = self.texts(key, default)
        self._check_patterns(key, *found)
        return found

    def pattern_mapping(self, key: str, default: Any = ...) -> dict[str, str]:
        """Return a mapping of names to regular expressions.

        :raises SpecError: when one of them is none.
        """
        found = self.mapping(key, default)
        self._check_patterns(key, *found.values())
        return found

    def _check_patterns(self, key: str, *patterns: str) -> None:
        for pattern in patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                raise self.error(
                    key, f"{key}: {pattern!r} is no regular expression: {error}"
                ) from error

    def mapping(self, key: str, default: Any = ...) -> dict[str, str]:
        """Return a mapping of strings to strings."""
        found = self.value(key, dict, default)
        if not all(isinstance(k, str) and isinstance(v, str) for k, v in found.items()):
            raise self.error(key, f"{key} in {self._name} must map strings to strings")
        return dict(found)

    def section(self, key: str) -> Section:
        """Return the mapping below *key*."""
        self.value(key, dict)
        node = self._nodes[key][1]
        assert isinstance(node, yaml.MappingNode)  # noqa: S101 - value() has checked it
        return Section(node, self._file, f"{self._name}.{key}" if self._name else key)

    def sections(self, key: str) -> tuple[Section, ...]:
        """Return the mappings of the list below *key*; none when the key is absent.

        :raises SpecError: when it is something else than a list of mappings.
        """
        if not self.value(key, list, []):
            return ()
        node = self._nodes[key][1]
        assert isinstance(node, yaml.SequenceNode)  # noqa: S101 - value() has checked it
        for item in node.value:
            if not isinstance(item, yaml.MappingNode):
                raise self.error(key, f"{key} in {self._name} must be a list of mappings")
        return tuple(Section(item, self._file, f"{self._name}.{key}") for item in node.value)

    def _refuse_unknown(self) -> None:
        for key in self._nodes:
            if key not in self._asked:
                known = ", ".join(sorted(self._asked))
                raise self.error(
                    key, f"unknown key {key!r} in {self._name}", hint=f"known: {known}"
                )


def _construct(node: yaml.Node) -> Any:
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_object(node, deep=True)
    except (yaml.YAMLError, ValueError, KeyError, RecursionError) as error:
        mark, why = node.start_mark, str(error)
        if isinstance(error, yaml.MarkedYAMLError):
            mark, why = error.problem_mark or mark, str(error.problem)
        raise SpecError(f"{mark.name}:{mark.line + 1}: not valid YAML: {why}") from error
    finally:
        loader.dispose()


def _compose(file: Path) -> yaml.Node | None:
    try:
        loader = yaml.SafeLoader(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SpecError(f"cannot read {file}: {error.strerror}") from error
    except (ValueError, yaml.YAMLError) as error:
        raise SpecError(f"cannot read {file}: {first_line(str(error))}") from error
    loader.name = str(file)  # which marks have
    try:
        return loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise SpecError(f"{file}:{line}: not valid YAML: {error.problem}") from error
    finally:
        loader.dispose()


def read_yaml_list(file: Path, name: str) -> tuple[Section, ...]:
    """Read the list of mappings that *file* holds.

    :raises SpecError: when the file is missing, is not YAML, or holds something else.
    """
    node = _compose(file)
    if node is None:
        return ()
    if not isinstance(node, yaml.SequenceNode) or not all(
        isinstance(item, yaml.MappingNode) for item in node.value
    ):
        raise SpecError(f"{file}:1: {name} must be a list of mappings")
    return tuple(Section(item, file, name) for item in node.value)


def read_yaml(file: Path, name: str) -> Section:
    """Read the mapping that *file* holds; *name* is what error messages call it.

    :raises SpecError: when the file is missing, is not YAML, or is not a mapping.
    """
    node = _compose(file)
    if not isinstance(node, yaml.MappingNode):
        raise SpecError(f"{file}:1: {name} must be a mapping")
    return Section(node, file, name)
