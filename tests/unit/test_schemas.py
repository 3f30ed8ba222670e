# SPDX-License-Identifier: GPL-2.0-only
"""The JSON Schemas themselves: each is one, is strict, and says what everything in it is.

That they describe what is written is tested where it is made.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from schemas import FILES, complaints, read

OPTIONAL = {
    "bench": {"target", "met", "error"},
    "plan": {"build", "results"},
}
"""Keys that are not always there."""


def objects(schema: object, where: str = "$") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every schema of an object that has keys of its own, and where it is."""
    if isinstance(schema, dict):
        if schema.get("type") == "object" and "properties" in schema:
            yield where, schema
        for key, item in schema.items():
            yield from objects(item, f"{where}.{key}")
    elif isinstance(schema, list):
        for number, item in enumerate(schema):
            yield from objects(item, f"{where}[{number}]")


def test_there_are_schemas() -> None:
    assert FILES


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_schema_is_one_with_a_title_and_a_description(path: Path) -> None:
    schema = read(path)
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["title"]
    assert schema["description"].endswith(".")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_schema_asks_for_every_key_and_allows_no_other(path: Path) -> None:
    for where, schema in objects(read(path)):
        assert schema["additionalProperties"] is False, where
        left_out = schema["properties"].keys() - set(schema["required"])
        assert left_out <= OPTIONAL.get(path.name.partition(".")[0], set()), where


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_schema_says_what_each_key_is(path: Path) -> None:
    whole = read(path)
    for where, schema in objects(whole):
        if "/count" in json.dumps(schema["properties"]):
            continue  # numbers that their names say
        for key, item in schema["properties"].items():
            own = item.get("$ref", "").startswith("#/$defs/")
            named = whole["$defs"][item["$ref"].rpartition("/")[2]] if own else {}
            says = (named | item).get("description") or "const" in item
            assert says or item["$ref"].startswith("results."), f"{where}.{key}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_value_that_is_wrong_is_noticed(path: Path) -> None:
    name = path.name.partition(".")[0]
    assert complaints(name, "none")
    assert complaints(name, {"unheard_of": {}})
    assert complaints(name, [{}])
