# SPDX-License-Identifier: GPL-2.0-only
"""Values as JSON and back: one writer and one reader for every frozen dataclass.

A field is a key of the same name, unless ``field(metadata={"key": ...})`` names another one.  The
JSON Schemas in ``harness/results/schemas/`` describe what is written; a reader only checks what it
takes: keys that it does not know may have been added within a schema.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import types
import typing
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from harness.base.errors import SpecError

_T = TypeVar("_T")

_WORDS = {str: "a string", int: "a whole number", float: "a number", bool: "true or false"}


def to_plain(value: Any) -> Any:
    """Return *value* as JSON can hold it; numbers with a fraction are rounded to thousandths."""
    if dataclasses.is_dataclass(value):
        return {
            _key(field): to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)
        }
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, Mapping):
        return {key: to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    return value


def from_plain(kind: type[_T], value: object) -> _T:
    """Return the *kind* that :func:`to_plain` made *value* of.

    A key that is missing has its field's default.

    :raises ValueError: when it is none; it says where.
    """
    return typing.cast(_T, _read(kind, value, ""))


def write_file(path: Path, value: object) -> None:
    """Write *value*, as JSON holds it, to *path*, whole or not at all."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write *text* to *path*, whole or not at all."""
    making = path.with_name(f".{path.name}.new")
    making.write_text(text)
    making.replace(path)


def read_file(path: Path, kind: type[_T], schema: int | None) -> _T:
    """Read a *kind* from a file that says which schema it is of.

    :param schema: ``None`` when files of this kind do not say one.
    :raises SpecError: when it is missing, of another schema, or not what the harness writes.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if schema is not None and (not isinstance(data, dict) or "schema" not in data):
            raise ValueError("it does not say its schema")
        if schema is not None and data["schema"] != schema:
            raise SpecError(
                f"{path}: schema {data['schema']}, this harness reads {schema}",
                hint="another version of the harness wrote it: use that one, or run it again",
            )
        return from_plain(kind, data)
    except OSError as error:
        raise SpecError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise SpecError(f"{path}: not what the harness writes: {error}") from error


def _key(field: dataclasses.Field[Any]) -> str:
    return str(field.metadata.get("key", field.name))


@functools.cache
def _types(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _read(kind: Any, value: object, where: str) -> object:
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return value
    if origin in (types.UnionType, typing.Union):
        (own,) = (each for each in inner if each is not type(None))
        return None if value is None else _read(own, value, where)
    if dataclasses.is_dataclass(kind):
        return _read_fields(kind, value, where)
    if origin is tuple and isinstance(value, list):
        return tuple(_read(inner[0], item, f"{where}[{n}]") for n, item in enumerate(value))
    if origin in (Mapping, dict) and isinstance(value, dict):
        return {key: _read(inner[1], item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        if value in [member.value for member in kind]:
            return kind(value)
        raise ValueError(f"{_at(where)} {value!r} is none of {', '.join(kind)}")
    if kind is Path and isinstance(value, str):
        return Path(value)
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is kind:
        return value
    words = {tuple: "a list", dict: "an object", Mapping: "an object", Path: "a path"}
    wanted = words.get(origin or kind)
    raise ValueError(f"{_at(where)} {value!r} is not {wanted or _WORDS[kind]}")


def _read_fields(kind: Any, value: object, where: str) -> object:
    if not isinstance(value, dict):
        raise ValueError(f"{_at(where)} {value!r} is not an object")
    found = {}
    for field in dataclasses.fields(kind):
        key = _key(field)
        if key in value:
            found[field.name] = _read(_types(kind)[field.name], value[key], f"{where}.{key}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ValueError(f"{_at(where)} lacks {key!r}")
    return kind(**found)


def _at(where: str) -> str:
    return f"{where.removeprefix('.')}:" if where else "it"
