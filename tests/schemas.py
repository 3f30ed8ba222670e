# SPDX-License-Identifier: GPL-2.0-only
"""Holds what the harness writes against the JSON Schemas that it comes with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry, Resource

PACKAGE = Path(__file__).resolve().parents[1] / "harness"

FILES = [
    *sorted((PACKAGE / "results" / "schemas").glob("*.schema.json")),
    *sorted((PACKAGE / "liveupdate" / "schemas").glob("*.schema.json")),
]


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


_REGISTRY: Registry[Any] = Registry().with_resources(
    (path.name, Resource.from_contents(read(path))) for path in FILES
)


def complaints(name: str, value: object) -> list[str]:
    """Return what is wrong with *value*, one line each: where, and what.

    :param name: the schema's file without its suffixes, such as ``results``.
    """
    # As it is read from a file: no tuples, and keys are strings.
    written = json.loads(json.dumps(value))
    schema = {"$ref": f"{name}.schema.json"}
    found = Draft202012Validator(schema, registry=_REGISTRY).iter_errors(written)
    return sorted(f"{error.json_path}: {error.message}" for error in found)
