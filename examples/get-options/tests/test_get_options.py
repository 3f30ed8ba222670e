# SPDX-License-Identifier: GPL-2.0-only
"""How many numbers get_options() says it has stored, and how many it has.

The module options_probe (kmod/) calls it when loaded, and shows both.
"""

import pytest

FIX = "lib/cmdline: Count no more numbers than the array holds"
CASE = "lib/cmdline: Test ranges that do not fit into the array"

RESULTS = "/sys/module/options_probe/parameters"


@pytest.fixture
def parse(guest, module):
    """Parse a list into an array with some room; return (counted, stored)."""

    def load_and_look(text, room):
        probe = module("options_probe")
        probe.load(list=text, room=room)
        results = tuple(int(guest.read(f"{RESULTS}/{name}")) for name in ("counted", "stored"))
        assert probe.unload() is None
        return results

    return load_and_look


@pytest.mark.parametrize(
    ("text", "room", "numbers"),
    [
        ("", 3, 0),
        ("7", 3, 1),
        ("1-3", 3, 3),
        ("1,3-5,9", 16, 5),
        # Too many numbers without a range, and one number too many with one: always fine.
        ("1,2,3,4,5", 3, 3),
        ("1-4", 3, 3),
    ],
)
def test_stored_numbers_are_counted(parse, text, room, numbers):
    assert parse(text, room) == (numbers, numbers)


@pytest.mark.fails_before(FIX)
@pytest.mark.parametrize("text", ["1-5", "1-999", "1,2-5", "1,2,3-5", "1-2,3-5", "1-5,9"])
def test_range_past_the_end_is_counted_as_far_as_stored(parse, text):
    assert parse(text, 3) == (3, 3)


def test_kunit_cases_pass(kunit):
    kunit("cmdline")


@pytest.mark.only_from(CASE)
def test_kunit_has_the_case_of_the_series(kunit):
    assert "cmdline_test_range_room" in [result.name for result in kunit("cmdline")]
