# SPDX-License-Identifier: GPL-2.0-only
"""Values become JSON and are read back; what is not as it should be is named."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest

from harness.base.errors import SpecError
from harness.results.form import from_plain, read_file, to_plain, write_file


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    start: int = field(metadata={"key": "from"})
    colour: Colour | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    seconds: float
    file: Path
    parts: tuple[Part, ...]
    named: Mapping[str, bool]
    extras: Mapping[str, tuple[Mapping[str, Any], ...]]


WHOLE = Whole(
    seconds=1.5,
    file=Path("a/b"),
    parts=(Part(start=1, colour=Colour.RED), Part(start=2)),
    named={"x": True},
    extras={"k": ({"any": [1, None]},)},
)
PLAIN = {
    "seconds": 1.5,
    "file": "a/b",
    "parts": [{"from": 1, "colour": "red"}, {"from": 2, "colour": None}],
    "named": {"x": True},
    "extras": {"k": [{"any": [1, None]}]},
}


def test_value_becomes_json_and_comes_back() -> None:
    assert to_plain(WHOLE) == PLAIN
    assert from_plain(Whole, json.loads(json.dumps(PLAIN))) == WHOLE


def test_numbers_are_rounded() -> None:
    assert to_plain({"s": [1.23456]}) == {"s": [1.235]}


def test_whole_number_stands_for_one_with_a_fraction() -> None:
    assert from_plain(Whole, PLAIN | {"seconds": 2}).seconds == 2.0


def test_key_that_is_missing_has_its_default() -> None:
    assert from_plain(Part, {"from": 3}) == Part(start=3)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seconds": "1"}, "seconds: '1' is not a number"),
        ({"seconds": True}, "seconds: True is not a number"),
        ({"file": None}, "file: None is not a path"),
        ({"parts": {}}, "parts: {} is not a list"),
        ({"parts": [{"from": 1.5}]}, "parts[0].from: 1.5 is not a whole number"),
        ({"parts": [{}]}, "parts[0]: lacks 'from'"),
        ({"parts": [3]}, "parts[0]: 3 is not an object"),
        ({"parts": [{"from": 1, "colour": "blue"}]}, "parts[0].colour: 'blue' is none of red"),
        ({"parts": [{"from": 1, "colour": []}]}, "parts[0].colour: [] is none of red"),
        ({"named": {"x": 1}}, "named.x: 1 is not true or false"),
        ({"named": []}, "named: [] is not an object"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)) as caught:
        from_plain(Whole, PLAIN | change)
    assert str(caught.value) == said


def test_file_is_written_and_read(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_file(path, {"schema": 7, **to_plain(WHOLE)})
    assert read_file(path, Whole, 7) == WHOLE
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"schema": 6}', "schema 6, this harness reads 7"),
        ('{"schema": 7}', "not what the harness writes: it lacks 'seconds'"),
        ("{}", "it does not say its schema"),
        ("[]", "it does not say its schema"),
        ("{", "not what the harness writes"),
    ],
)
def test_other_file_is_refused_by_name(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(SpecError) as caught:
        read_file(path, Whole, 7)
    assert caught.value.message.startswith(f"{path}: ")
    assert said in caught.value.message
