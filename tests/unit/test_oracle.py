# SPDX-License-Identifier: GPL-2.0-only
"""What must have been handed over, as it follows from the journal of a race."""

from __future__ import annotations

from harness.liveupdate.oracle import MOST_ABSENT, Session, Wanted, wanted
from harness.results.schedule import Schedule

SCHEDULE = Schedule(
    seed=1,
    actors=(
        (
            ("session", "create", "s%a-%r"),
            ("memfd", "create", "d"),
            ("preserve", "s%a-%r", "1", "d"),
            ("session", "close", "s%a-%r"),
        ),
    )
    * 2,
)


def of(*records: str) -> Wanted:
    return wanted(SCHEDULE, [records])


def test_what_returned_must_be_there() -> None:
    found = of("4 0 ok", "4 1 ok", "4 2 ok")
    assert found == Wanted({"s0-4": Session(True, {"1": ("d", True)})}, ())


def test_what_was_under_way_may_be_there() -> None:
    assert of("4 0 begun").sessions == {"s0-4": Session(False)}
    assert of("4 0 ok", "4 2 begun").sessions == {"s0-4": Session(True, {"1": ("d", False)})}


def test_what_is_being_closed_may_be_there() -> None:
    found = of("4 0 ok", "4 2 ok", "4 3 begun")
    assert found == Wanted({"s0-4": Session(False, {"1": ("d", False)})}, ())


def test_what_was_closed_or_refused_must_not_be_there() -> None:
    found = of("4 0 ok", "4 2 ok", "4 3 ok", "5 0 failed", "5 2 failed", "5 3 failed")
    assert found == Wanted({}, ("s0-4", "s0-5"))


def test_each_actor_has_sessions_that_must_not_be_there() -> None:
    closed = [f"{n} {op} ok" for n in range(MOST_ABSENT) for op in (0, 3)]
    half = MOST_ABSENT // 2
    assert wanted(SCHEDULE, [closed, closed]).absent == tuple(
        f"s{actor}-{n}" for actor in (0, 1) for n in range(half, MOST_ABSENT)
    )


def test_name_that_is_used_again_is_the_later_session() -> None:
    found = wanted(SCHEDULE, [["0 0 ok", "0 3 ok", "0 0 ok", "0 2 failed"], ["0 0 ok"]])
    assert found == Wanted({"s0-0": Session(True), "s1-0": Session(True)}, ())
