# SPDX-License-Identifier: GPL-2.0-only
"""Races by schedules: many processes at once, on one kernel and across a live update.

``--seed N`` shows others, ``--races SECONDS`` goes on with further ones, and ``harness minimize``
cuts down one that fails.  The module lets its callbacks wait (``delay``), so that whoever races
with one of them has the time.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from prepared import flbs_unless_counted

from harness.base.errors import KexecRefused
from harness.guest.kexec import load_next
from harness.guest.machine import Machine
from harness.guest.module import MODULES_PATH
from harness.guest.race import JOURNAL_BYTES, run_race, start_race
from harness.kernel.build import KernelBuild
from harness.liveupdate.fixtures import UpdatedMachine
from harness.liveupdate.module import CONTROL, TestModule, luo_test
from harness.liveupdate.oracle import missing, wanted
from harness.liveupdate.update import LiveUpdate, Memfd
from harness.plugin.races import Races
from harness.results.schedule import Operation, Phrase

ABORTED = ("fail-nth", "1", "reboot", "kexec-try")
"""A live update that gets no memory at its very end, after everything was frozen.

With ``handover-in-blocks`` it needs none there, and is done.
"""

SHAPE = ("--size", "8192", "--seed", "7")
ROOM = 63
SESSIONS = 40
ROUNDS = 3
"""Of a race that is lost each time: a kernel with the bug prints for each of them."""


def memfd_in(name: str) -> Phrase:
    """A session with a memfd, made and closed again."""
    session, file = f"{name}%a-%r", f"{name}%a"
    return (
        ("session", "create", session),
        ("memfd", "create", file, *SHAPE),
        ("preserve", session, "1", file),
        ("close", file),
        ("session", "close", session),
    )


DEVICE: Phrase = (
    ("open", "device%a", "/dev/liveupdate"),
    ("raw", ".device", "0xba00", "00"),
    ("raw", ".device", "0xba41", "ff", "read-only"),
    ("close", "device%a"),
)
FILES: Phrase = (
    ("memfd", "create", "loose%a", *SHAPE, "--seal", "grow"),
    ("write", "loose%a", "other"),
    ("close", "loose%a"),
)
OF_MODULE: Phrase = (
    ("open", "null%a", "/dev/null"),
    ("session", "create", "n%a-%r"),
    ("preserve", "n%a-%r", "1", "null%a"),
    ("raw", "n%a-%r", "0xba40", "00"),
    ("session", "close", "n%a-%r"),
    ("close", "null%a"),
)
REGISTRATION: Phrase = (("put", CONTROL, "unregister all"), ("put", CONTROL, "register all"))
LOOK_UP: Phrase = (("put", CONTROL, "flb outgoing 0"), ("put", CONTROL, "flb incoming 1"))


def unloading(flbs: int) -> Phrase:
    """The module goes, and comes again."""
    words = f"handlers=2 flbs={flbs} verbose=0 delay=100"
    return (("rmmod", "luo_test"), ("insmod", f"{MODULES_PATH}/luo_test.ko", words))


@pytest.mark.both_ends
def test_everything_at_once(
    machine: Machine, module: TestModule, kernel: KernelBuild, races: Races
) -> None:
    counted = "flb-get-outgoing-takes-reference" in kernel.features
    flbs = 0 if counted else 2
    phrases = [memfd_in("a"), DEVICE, FILES, OF_MODULE, OF_MODULE, unloading(flbs)]
    if not counted:  # test_flb.py has what becomes of an FLB that goes while it is in use
        phrases += [REGISTRATION, LOOK_UP]
    if "handover-in-blocks" not in kernel.features:
        phrases.append((ABORTED,))
    module.load(handlers=2, flbs=flbs, verbose=0, delay=100)
    load_next(machine, kernel)
    for seed in races.seeds():
        schedule = races.schedule(seed, phrases, actors=6, operations=12)
        result = run_race(machine, schedule)
        assert sum(count["ok"] for count in result.counts.values()) > 0
    if not module.loaded:
        module.load()
    counters = module.counters()
    assert (counters["violation"], counters["files.open"]) == (0, 0)
    assert counters["handler0.preserve"] == counters["handler0.unpreserve"]
    assert module.control("unregister all").error is None
    assert module.refcount() == 0


@pytest.mark.both_ends
@pytest.mark.feature("flb-get-outgoing-takes-reference")
@pytest.mark.beyond(
    reason="this series counts no references of FLBs; 7.2.13 and 7.3.4 count one below nothing",
    weight="high",
)
def test_flbs_of_files_that_come_and_go_are_counted_right(
    machine: Machine, module: TestModule, races: Races
) -> None:
    module.load(handlers=2, flbs=2, verbose=0, delay=100)
    for seed in races.seeds():
        schedule = races.schedule(
            seed, [OF_MODULE, OF_MODULE, unloading(2)], actors=6, operations=12
        )
        run_race(machine, schedule)
    if not module.loaded:
        module.load()
    counters = module.counters()
    assert counters["handler0.preserve"] == counters["handler0.unpreserve"]


@pytest.mark.fails_without(
    "handler-stays-loaded", "KernelCrash", splat="BUG: |Oops|Kernel panic|KASAN: "
)
def test_module_stays_while_its_files_are_let_go(
    machine: Machine, module: TestModule, races: Races
) -> None:
    # Its callback takes its time, and must not be unloaded meanwhile.
    for seed in races.seeds():
        for _ in range(ROUNDS):
            module.load(verbose=0, delay=100_000)
            schedule = races.schedule(
                seed,
                [
                    (("session", "close", "s"),),
                    (("pause", "5000"), ("rmmod", "luo_test")),
                ],
                first=(
                    ("open", "null", "/dev/null"),
                    ("session", "create", "s"),
                    ("preserve", "s", "1", "null"),
                ),
                rounds=1,
                time_ms=30000,
            )
            assert run_race(machine, schedule).done("session", "close") == 1
            if module.loaded:
                counters = module.counters()
                assert counters["handler0.unpreserve"] == 1
                module.let_go()
                assert module.unload() is None


def sessions_to_race_for(update: LiveUpdate) -> None:
    """Sessions with a memfd and a file of the module's each, which are not retrieved yet."""
    machine = update.machine
    luo_test(machine).load(flbs=flbs_unless_counted(machine))
    update.preserve_memfds(
        *(Memfd(f"m{n}", size=8192, seed=7, session=f"r-{n}", token=1) for n in range(SESSIONS))
    )
    commands = [
        words
        for n in range(SESSIONS)
        for words in (("open", f"n{n}", "/dev/null"), ("preserve", f"r-{n}", 2, f"n{n}"))
    ]
    machine.must_all(commands, timeout_s=30)


RETRIEVE: Phrase = (
    ("retrieve", "r-%r", "1", "m%a"),
    ("retrieve", "r-%r", "2", "n%a"),
    ("close", "m%a"),
    ("close", "n%a"),
)


@pytest.mark.both_ends
def test_retrieve_against_finish_close_and_rmmod(
    updated_machine: UpdatedMachine, races: Races
) -> None:
    for seed in races.seeds():
        with updated_machine(sessions_to_race_for) as update:
            machine, module = update.machine, luo_test(update.machine)
            module.load(flbs=flbs_unless_counted(machine), verbose=0, delay=200)
            schedule = races.schedule(
                seed,
                [
                    RETRIEVE,
                    RETRIEVE,
                    (("session", "finish", "r-%r"),),
                    (("session", "close", "r-%r"),),
                    (("rmmod", "luo_test"),),
                ],
                jitter_us=300,
                first=(("session", "retrieve", "r-%r"),),
                rounds=SESSIONS,
                time_ms=60000,
            )
            assert run_race(machine, schedule).rounds == SESSIONS
            if module.loaded:
                counters = module.counters()
                assert counters["violation"] == counters["mismatch.file"] == 0
                assert counters["handler0.finish"] == SESSIONS
                module.let_go()
                assert module.refcount() == 0


@pytest.mark.both_ends
@pytest.mark.profiles("debug", "tags")
@pytest.mark.fails_without(
    "retrieve-holds-sessions",
    "use-after-free|invalid-access|mutex_destroy",
    splat="KASAN: (slab-use-after-free|invalid-access)|at mutex_destroy",
)
def test_session_retrieved_while_it_is_closed(
    updated_machine: UpdatedMachine, races: Races
) -> None:
    # Closing it finishes its files, and the module's takes its time: who comes meanwhile finds the
    # session, and waits for its lock.
    for seed in races.seeds():
        with updated_machine(sessions_to_race_for) as update:
            machine, module = update.machine, luo_test(update.machine)
            module.load(flbs=flbs_unless_counted(machine), verbose=0, delay=100_000)
            schedule = races.schedule(
                seed,
                [
                    (("session", "close", "r-%r"),),
                    (("pause", "10000"), ("session", "retrieve", "r-%r", "again")),
                ],
                first=(("session", "retrieve", "r-%r"),),
                rounds=ROUNDS,
                time_ms=60000,
            )
            result = run_race(machine, schedule)
            assert result.done("session", "close") == ROUNDS
            assert result.done("session", "retrieve") == 0


@pytest.mark.both_ends
def test_registration_while_files_are_deserialized(
    updated_machine: UpdatedMachine, races: Races
) -> None:
    for seed in races.seeds():
        with updated_machine(sessions_to_race_for) as update:
            machine, module = update.machine, luo_test(update.machine)
            module.load(handlers=2, flbs=flbs_unless_counted(machine), verbose=0)
            other = tuple(
                ("put", CONTROL, f"{verb} handler 1") for verb in ("unregister", "register")
            )
            schedule = races.schedule(
                seed,
                [(("session", "retrieve", "r-0"), ("retrieve", "r-0", "2", "n0")), other * 8],
                rounds=1,
                time_ms=30000,
            )
            run_race(machine, schedule)
            for number in range(1, SESSIONS):
                machine.must("session", "retrieve", f"r-{number}")
                machine.must("retrieve", f"r-{number}", 1, f"m{number}")
                machine.must("check", f"m{number}", *SHAPE)
            assert module.counters()["violation"] == 0


LOST = "across the update|second kernel died"


@pytest.mark.both_ends
@pytest.mark.fails_without(
    "reboot-holds-sessions", LOST, splat="KASAN: use-after-free", sometimes=True
)
def test_two_updates_in_a_row_under_load(
    machine: Machine, live_update: Callable[..., LiveUpdate], races: Races
) -> None:
    for seed in races.seeds():
        for turn in (0, 1):
            schedule = races.schedule(
                seed + 1000 * turn,
                [memfd_in("a"), memfd_in("b"), FILES, DEVICE],
                actors=5,
                operations=5,
                time_ms=60000,
            )
            update = live_update(machine)
            machine.must("memfd", "create", "journal", "--size", JOURNAL_BYTES)
            update.preserve("journal", session="journal")
            update.load()
            start_race(machine, schedule, journal="journal")
            machine.must("pause", 300_000)
            update.go()
            try:
                update.retrieve()
            except AssertionError as error:
                raise AssertionError(f"across the update: {error}") from error
            answers = [
                machine.must("race", "journal", "journal", n) for n in range(len(schedule.actors))
            ]
            assert all(answer["begun"] for answer in answers)
            want = wanted(schedule, [answer["records"] for answer in answers])
            wrong = missing(machine, want, SHAPE)
            assert not wrong, f"across the update: {'; '.join(wrong)}"
            update.finish()
            machine.must("close", "journal")


# -- what locks callbacks are called under -----------------------------------------------------


LISTS = "luo_register_rwlock"
SESSION = "&session->mutex"
OUTGOING = "&private->outgoing.lock"
INCOMING = "&private->incoming.lock"
LOCKS = {
    "before": {
        "handler0: can_preserve": SESSION,
        "handler0: preserve": SESSION,
        "handler0: unpreserve": SESSION,
        "handler0: freeze": SESSION,
        "handler0: unfreeze": SESSION,
        "flb0: preserve": OUTGOING,
        "flb0: unpreserve": OUTGOING,
    },
    "after": {
        "handler0: retrieve": SESSION,
        "handler0: can_finish": SESSION,
        "handler0: finish": SESSION,
        "flb0: retrieve": INCOMING,
        "flb0: finish": INCOMING,
    },
}
"""One kernel's callbacks each: a lock that is held around each call."""


def held_in_callbacks(log: str) -> dict[str, list[set[str]]]:
    """Return what lockdep says is held, call by call of each callback (``show_locks=1``)."""
    lines = r"((?:.*(?: held by | #\d+: ).*\n)+)"
    found: dict[str, list[set[str]]] = {}
    for callback, said in re.findall(r"luo_test: (.+) with these locks:\n" + lines, log):
        found.setdefault(callback, []).append(set(re.findall(r" #\d+: \S+ \((.+?)\)\{", said)))
    return found


def assert_held(log: str, wanted: dict[str, str]) -> None:
    """Each of the callbacks was called, and the lock was held each time."""
    held = held_in_callbacks(log)
    assert {name: name in held for name in wanted} == dict.fromkeys(wanted, True)
    without = [name for name, lock in wanted.items() if not all(lock in one for one in held[name])]
    assert without == []


def preserve_for_a_moment(machine: Machine) -> None:
    """Preserve a file of the module, and take that back with its session."""
    machine.must("session", "create", "gone")
    machine.must("open", "gone", "/dev/null")
    machine.must("preserve", "gone", 1, "gone")
    machine.must("session", "close", "gone")


@pytest.mark.both_ends
@pytest.mark.fresh_machine
@pytest.mark.profiles("debug")
@pytest.mark.without_feature("handover-in-blocks")
def test_callbacks_are_called_under_locks(
    machine: Machine, module: TestModule, live_update: Callable[..., LiveUpdate]
) -> None:
    module.load(handlers=2, flbs=1, show_locks=1)
    update = live_update(machine)
    preserve_for_a_moment(machine)
    for name in ("early", "kept"):
        machine.must("open", name, "/dev/null")
    machine.must("open", "refuses", "/dev/zero")
    # Frozen before the one that refuses: in another session, and in the same one.
    machine.must("session", "create", "early")
    machine.must("preserve", "early", 1, "early")
    update.preserve("kept")
    machine.must("preserve", update.default_session, 99, "refuses")
    module.fail("handler1.freeze", "EBUSY")
    update.load()
    with pytest.raises(KexecRefused):
        update.go()
    assert_held(machine.guest.dmesg(), LOCKS["before"])
    machine.must("session", "close", "early")
    update.go()
    module.load(handlers=2, flbs=1, show_locks=1)
    update.retrieve()
    assert module.control("flb incoming 0").error is None
    machine.must("session", "finish", update.default_session)
    assert_held(machine.guest.dmesg(), LOCKS["after"])


LIST_DEL = "__list_del_entry_valid_or_report"
"""What each ``list_del()`` calls first (``DEBUG_LIST``)."""


def has_to_wait(
    machine: Machine,
    races: Races,
    stalled: str,
    what: Operation,
    other: Operation,
    *,
    of: str = "",
    first: Phrase = (),
) -> str:
    """Return what *other* comes to that begins while *what* is amid something.

    :param stalled: the function of the kernel that *what* is in by then, for a second.
    :param of: what is in the name of the function that calls it.
    :param first: what opens the files that they share.
    :raises AssertionError: when *other* does not wait for the end of that.
    """
    begun, over = (("put", CONTROL, f"stall {word}") for word in ("begun", "over"))
    schedule = races.schedule(
        0,
        [(("put", CONTROL, f"stall call {stalled} 1000 {of}"), what), (begun, other, over)],
        first=first,
        rounds=1,
        time_ms=30_000,
    )
    result = run_race(machine, schedule)
    assert result.done(*begun) == 1, f"{' '.join(what)} does not come to {stalled}"
    assert result.done(*over) == 1, f"{' '.join(other)} does not wait for {' '.join(what)}"
    (came_to,) = result.counts[other]
    return came_to


@pytest.mark.both_ends
@pytest.mark.profiles("debug")
@pytest.mark.without_feature("flb-get-takes-reference")
def test_files_are_counted_while_nobody_looks_their_flb_up(
    updated_machine: UpdatedMachine, races: Races
) -> None:
    # How many files need it is read there.
    with updated_machine(sessions_to_race_for) as update:
        luo_test(update.machine).load(flbs=1)
        came_to = has_to_wait(
            update.machine,
            races,
            "luo_test_flb_retrieve",
            ("put", CONTROL, "flb incoming 0"),
            ("session", "finish", "r-0"),
            first=(("session", "retrieve", "r-0"),),
        )
        assert came_to == "ok"


@pytest.mark.both_ends
@pytest.mark.profiles("debug")
def test_session_is_not_made_while_a_reboot_goes_through_them(
    machine: Machine, module: TestModule, kernel: KernelBuild, races: Races
) -> None:
    module.load()
    machine.must("open", "null", "/dev/null")
    machine.must("session", "create", "s")
    machine.must("preserve", "s", 1, "null")
    load_next(machine, kernel)
    module.fail("handler0.freeze", "EBUSY")
    made = ("session", "create", "late")
    assert has_to_wait(machine, races, "luo_test_freeze", ("kexec-try",), made) == "ok"


@pytest.mark.both_ends
@pytest.mark.profiles("debug")
def test_session_is_not_found_while_it_is_removed(
    updated_machine: UpdatedMachine, races: Races
) -> None:
    with updated_machine(sessions_to_race_for) as update:
        machine = update.machine
        luo_test(machine).load(flbs=flbs_unless_counted(machine))
        came_to = has_to_wait(
            machine,
            races,
            LIST_DEL,
            ("session", "close", "r-0"),
            ("session", "retrieve", "r-0", "again"),
            of="luo_session",
            first=(("session", "retrieve", "r-0"), ("session", "finish", "r-0")),
        )
        assert came_to == "ENOENT"


@pytest.mark.both_ends
@pytest.mark.profiles("debug")
def test_memfd_is_not_written_while_it_is_let_go(
    machine: Machine, module: TestModule, races: Races
) -> None:
    module.load()
    came_to = has_to_wait(
        machine,
        races,
        "kho_unpreserve_vmalloc",
        ("session", "close", "s"),
        ("write", "data", "other"),
        first=(
            ("memfd", "create", "data", *SHAPE),
            ("session", "create", "s"),
            ("preserve", "s", "1", "data"),
        ),
    )
    assert came_to == "ok"


@pytest.mark.both_ends
@pytest.mark.profiles("debug")
@pytest.mark.without_feature("handover-in-blocks")
def test_reboot_waits_for_an_flb_that_goes(
    machine: Machine, module: TestModule, kernel: KernelBuild, races: Races
) -> None:
    module.load(flbs=1)
    load_next(machine, kernel)
    gone = ("put", CONTROL, "unregister flb 0")
    assert has_to_wait(machine, races, LIST_DEL, gone, ABORTED, of="_flb") == "EAGAIN"


# -- what patches 3 and 4 bring ---------------------------------------------------------------


@pytest.mark.profiles("debug")
@pytest.mark.fails_before(3)
def test_search_for_a_handler_holds_the_lock(
    machine: Machine, module: TestModule, kernel_log: Callable[[], str]
) -> None:
    module.load(show_locks=1)
    preserve_for_a_moment(machine)
    held = held_in_callbacks(kernel_log())
    assert "handler0: preserve" in held, "the file was not preserved"
    assert all(LISTS in locks for locks in held["handler0: can_preserve"]), (
        "the list of handlers is searched without its lock"
    )


@pytest.mark.profiles("debug")
@pytest.mark.fails_before(6)
def test_registration_waits_for_who_searches_the_handlers(
    machine: Machine, module: TestModule, races: Races
) -> None:
    # Before patch 6 it does not wait either, but is refused: there is a session.
    module.load(handlers=2)
    module.control("unregister handler 1")
    came_to = has_to_wait(
        machine,
        races,
        "luo_test_can_preserve",
        ("preserve", "s", "1", "null"),
        ("put", CONTROL, "register handler 1"),
        first=(("open", "null", "/dev/null"), ("session", "create", "s")),
    )
    assert came_to == "ok"


@pytest.mark.profiles("debug")
@pytest.mark.fails_before(4)
def test_flbs_are_walked_under_the_lock(machine: Machine, module: TestModule) -> None:
    module.load(flbs=1, show_locks=1)
    preserve_for_a_moment(machine)
    assert_held(machine.guest.dmesg(), {"flb0: preserve": LISTS, "flb0: unpreserve": LISTS})


@pytest.mark.fails_before(4)
@pytest.mark.splat(r"WARNING: .*\bliveupdate_register_flb\b")
@pytest.mark.beyond(
    reason="the cover letter says nothing of FLBs for handlers that are not registered",
    weight="low",
)
def test_flb_is_refused_by_a_handler_that_has_gone(module: TestModule) -> None:
    module.load(handlers=1, flbs=1)
    assert module.control("unregister all").error is None
    assert module.control("force flb 0").error == "EINVAL"


@pytest.mark.without_feature("handover-in-blocks")
@pytest.mark.fails_before(4, sometimes=True)
def test_flbs_go_while_a_reboot_serializes_them(
    boot_machine: Callable[..., Machine], kernel: KernelBuild, races: Races
) -> None:
    # An own machine: before patch 4 a processor of it stays in the kernel for good.
    with boot_machine() as machine:
        module = luo_test(machine)
        module.load(flbs=ROOM, register=0, verbose=0)
        load_next(machine, kernel)
        for seed in races.seeds():
            schedule = races.schedule(
                seed,
                [(ABORTED,) * 4, (("put", CONTROL, "unregister all"),)],
                first=REGISTRATION,  # which begins with taking back what is left
                rounds=2000,
                time_ms=4000,
                jitter_us=300,
            )
            run_race(machine, schedule, grace_s=2)
