# SPDX-License-Identifier: GPL-2.0-only
"""What nobody sane sends: ioctls by chance, and damaged data from the previous kernel.

The kernel refuses with an errno, or lives with it; whatever it does, it does not crash.  As races,
these follow from a seed: ``--seed N`` shows others, ``--races SECONDS`` goes on with further ones.
"""

from __future__ import annotations

import json
import random
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import handed_over
import pytest
from ioctls import FINISH, PRESERVE_FD, RETRIEVE_FD, draw_ioctl, is_refused
from prepared import flbs_unless_counted, module_memfd_and_flb

from harness.base.errors import KernelCrash
from harness.guest.machine import Machine
from harness.guest.race import RaceResult, run_race
from harness.liveupdate.fixtures import UpdatedMachine
from harness.liveupdate.module import CONTROL, TestModule, luo_test
from harness.liveupdate.update import LiveUpdate, Memfd
from harness.plugin.races import Races
from harness.results.schedule import Operation, Phrase, Schedule

HAS_FIELDS = pytest.mark.without_feature("handover-in-blocks")

WILD = 0x5A5A_5A5A_5000
"""An address that no machine has."""

VALUES = {"0": 0, "1": 1, "max": 2**64 - 1, "wild": WILD}
TEXTS = {"empty": b"\0", "max": b"\xff", "endless": b"C"}
STRINGS = ("session.name", "file.compatible", "flb.name")
NUMBERS = (
    "sessions.count",
    "session.files",
    "session.count",
    "file.data",
    "file.token",
    "flbs.pgcnt",
    "flbs.count",
    "flb.data",
    "flb.count",
    "memfd.pos",
    "memfd.size",
    "memfd.nr_folios",
    "memfd.folios.first",
    "memfd.folios.total_pages",
    "memfd.folios.flags",
    "memfd.folios.order",
    "chunk.next",
    "chunk.phys",
    "folio.pfn",
    "folio.index",
)
DAMAGES = tuple(
    (field, value)
    for fields, values in ((NUMBERS, VALUES), (STRINGS, TEXTS))
    for field in fields
    for value in values
    if (field, value) not in (("flb.data", "max"), ("flb.data", "wild"))
)
"""What the FLB's data is, only the test module says, and it does not look."""

EACH = 3
"""Damages of one seed; each has a machine of its own."""

KEPT = Path(__file__).parents[1] / "data" / "handed-over.json"
"""Damages that were found to end the kernel, or to make it complain."""

FOUND_BEFORE = [(each["field"], each["value"]) for each in json.loads(KEPT.read_text())]

SHAPE = ("--size", "4096")

TAKE_EVERYTHING: Phrase = (
    ("put", CONTROL, "flb incoming 0"),
    *(
        words
        for session, tokens in (("first", (1, 2)), ("second", (3,)))
        for words in (
            ("session", "retrieve", session),
            *(
                words
                for token in tokens
                for words in (
                    ("retrieve", session, str(token), f"f{token}"),
                    ("read", f"f{token}", "--length", "16"),
                    ("close", f"f{token}"),
                )
            ),
            ("session", "finish", session),
            ("session", "close", session),
        )
    ),
    ("session", "create", "mine"),
    ("memfd", "create", "mine", *SHAPE),
    ("preserve", "mine", "1", "mine"),
    ("session", "close", "mine"),
    ("check", "mine", *SHAPE),
)
"""All that :func:`module_memfd_and_flb` hands over, and then one's own."""


def take_damaged(update: LiveUpdate, field: str, value: str) -> RaceResult:
    """Overwrite a field of what was handed over, and ask for everything; all may be refused."""
    machine = update.machine
    # Machines that are no clones of one have it in other places.
    place = handed_over.fields(machine)[field]
    handed_over.write(machine, place.at, bytes_of(field, value, place.length))
    luo_test(machine).load(flbs=1, verbose=0)
    schedule = Schedule(seed=0, actors=(TAKE_EVERYTHING,), rounds=1, time_ms=30_000)
    result = run_race(machine, schedule)
    assert result.done("check") == 1
    return result


def bytes_of(field: str, value: str, length: int) -> bytes:
    """Return what a damaged field holds."""
    if field in STRINGS:
        return TEXTS[value] * length
    return VALUES[value].to_bytes(8, "little")[:length]


def of_seeds(races: Races, damages: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Yield the damages of the seeds, one after the other and then again."""
    for seed in races.seeds():
        for number in range(seed * EACH, (seed + 1) * EACH):
            field, value = damages[number % len(damages)]
            print(f"seed {seed}: {field} is {value}")
            yield field, value


@pytest.mark.both_ends
@HAS_FIELDS
def test_damaged_hand_over_is_refused_or_lived_with(
    updated_machine: UpdatedMachine, races: Races
) -> None:
    rest = [each for each in DAMAGES if each not in FOUND_BEFORE]
    for field, value in of_seeds(races, rest):
        with updated_machine(module_memfd_and_flb) as update:
            take_damaged(update, field, value)


@pytest.mark.both_ends
@HAS_FIELDS
@pytest.mark.beyond(
    reason="the kernel trusts what its predecessor hands over; the cover letter says nothing of it",
    weight="low",
)
def test_damages_found_before_are_refused_or_lived_with(
    updated_machine: UpdatedMachine, races: Races
) -> None:
    died = []
    for field, value in of_seeds(races, FOUND_BEFORE):
        with updated_machine(module_memfd_and_flb) as update:
            try:
                take_damaged(update, field, value)
            except (KernelCrash, AssertionError) as error:
                died.append(f"{field} is {value}: {error}")
    assert not died, "; ".join(died)


# -- ioctls ----------------------------------------------------------------------------------

HELD = ("held-0", "held-1", "held-2")
FILES: Phrase = tuple(
    words
    for n in range(4)
    for words in (
        ("memfd", "create", f"m{n}", *SHAPE),
        ("open", f"n{n}", "/dev/null"),
    )
)
"""What descriptors by chance may be."""

ACTORS, OPERATIONS = 3, 30


def ioctls(
    races: Races, seed: int, *, without: Collection[int], first: Sequence[Operation]
) -> Schedule:
    """Return actors that make ioctls by chance, after *first*."""
    chance = random.Random(seed)  # noqa: S311 - it must come again
    actors = [
        tuple(draw_ioctl(chance, HELD, without) for _ in range(OPERATIONS)) for _ in range(ACTORS)
    ]
    return races.schedule(seed, actors, jitter_us=0, first=(*FILES, *first))


def check_answers(result: RaceResult) -> None:
    """Check that what has to be refused was, and that not everything was."""
    wrong = [words for words, count in result.counts.items() if is_refused(words) and count["ok"]]
    assert not wrong, f"accepted: {wrong}"
    assert any(count["ok"] for count in result.counts.values())


@pytest.mark.both_ends
def test_ioctls_by_chance(machine: Machine, module: TestModule, races: Races) -> None:
    module.load(flbs=1, verbose=0)
    idle = module.refcount()
    for seed in races.seeds():
        sessions = tuple(("session", "create", name) for name in HELD)
        schedule = ioctls(races, seed, without=(RETRIEVE_FD, FINISH), first=sessions)
        check_answers(run_race(machine, schedule))
        counters = module.counters()
        assert counters["violation"] == 0
        assert counters["handler0.preserve"] == counters["handler0.unpreserve"]
        assert module.refcount() == idle


def sessions_for_ioctls(update: LiveUpdate) -> None:
    """Sessions with a file of the module and a memfd each; some that nobody holds."""
    luo_test(update.machine).load(flbs=flbs_unless_counted(update.machine))
    names = (*HELD, *(f"f-{n}" for n in range(10)))
    update.preserve_memfds(*(Memfd(name, size=4096, session=name, token=1) for name in names))
    for name in names:
        update.machine.must("open", f"n-{name}", "/dev/null")
        update.machine.must("preserve", name, 2, f"n-{name}")


@pytest.mark.both_ends
def test_ioctls_by_chance_on_what_was_handed_over(
    updated_machine: UpdatedMachine, races: Races
) -> None:
    for seed in races.seeds():
        with updated_machine(sessions_for_ioctls) as update:
            machine, module = update.machine, luo_test(update.machine)
            module.load(flbs=flbs_unless_counted(machine), verbose=0)
            sessions = tuple(("session", "retrieve", name) for name in HELD)
            schedule = ioctls(races, seed, without=(PRESERVE_FD,), first=sessions)
            check_answers(run_race(machine, schedule))
            counters = module.counters()
            assert counters["violation"] == counters["mismatch.file"] == 0


# What the ioctls by chance have found; the two tests above leave it out.

BOTH_WAYS = pytest.mark.beyond(
    reason="the cover letter says nothing of sessions that are used in the wrong direction",
    weight="medium",
)


@BOTH_WAYS
@pytest.mark.both_ends
def test_file_of_this_kernel_is_not_retrieved(machine: Machine) -> None:
    machine.must("memfd", "create", "data", *SHAPE)
    machine.must("session", "create", "own")
    machine.must("preserve", "own", 1, "data")
    assert not machine.agent("retrieve", "own", 1, "back")["ok"], "it is retrieved before an update"


@BOTH_WAYS
@pytest.mark.both_ends
def test_session_of_this_kernel_is_not_finished(machine: Machine) -> None:
    machine.must("memfd", "create", "data", *SHAPE)
    machine.must("session", "create", "own")
    machine.must("preserve", "own", 1, "data")
    assert not machine.agent("session", "finish", "own")["ok"], "it is finished before an update"


@BOTH_WAYS
@pytest.mark.both_ends
def test_session_that_came_takes_no_files(updated_machine: UpdatedMachine) -> None:
    with updated_machine(sessions_for_ioctls) as update:
        machine = update.machine
        luo_test(machine).load(flbs=flbs_unless_counted(machine))
        machine.must("session", "retrieve", HELD[0])
        machine.must("memfd", "create", "data", *SHAPE)
        answer = machine.agent("preserve", HELD[0], 9, "data")
        machine.agent("session", "finish", HELD[0])
        assert not answer["ok"], "it takes a file that nobody hands over"
