# SPDX-License-Identifier: GPL-2.0-only
"""Many CPUs at once: the first use of an FLB, and registrations among preserved files.

The module's threads do it (``tests/kmod/race.c``), one on each CPU.  What goes wrong shows in the
kernel log, best with the profiles debug and kcsan.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from prepared import MOST_FAILURES, one_for_each_failure

from harness.guest.machine import Machine
from harness.kernel.build import KernelBuild
from harness.liveupdate.fixtures import UpdatedMachine
from harness.liveupdate.module import TestModule, luo_test
from harness.liveupdate.update import LiveUpdate

pytestmark = pytest.mark.catalogue

ROOM = 63
STORM_MS = 2000
"""In half of it, two emulated CPUs corrupt a list that handlers leave without the lock."""


def test_first_use_of_flbs_on_all_cpus(machine: Machine, module: TestModule) -> None:
    module.load(flbs=ROOM, register=0, verbose=0)
    assert module.control("race outgoing").error is None
    # Each of them works afterwards: its locks and its list are whole.
    assert module.control("register all").error is None
    machine.must("session", "create", "s")
    machine.must("open", "file", "/dev/null")
    machine.must("preserve", "s", 1, "file")
    machine.must("session", "close", "s")
    counters = module.counters()
    for number in range(ROOM):
        assert counters[f"flb{number}.preserve"] == counters[f"flb{number}.unpreserve"] == 1
    assert counters["violation"] == 0


CREATED = re.compile(r"harness: created (\S+)\r?$", re.M)
HELD_MS = 200
"""Else an emulated CPU may not run at all between the hand-over and the jump."""


@pytest.mark.both_ends
@pytest.mark.fails_without("reboot-holds-sessions", "did not hand them over")
def test_session_created_while_the_kernel_reboots_is_handed_over(
    machine: Machine, module: TestModule, live_update: Callable[..., LiveUpdate]
) -> None:
    module.load(register=0, reboot=HELD_MS)
    update = live_update(machine)
    update.create_session("before")
    update.load()
    machine.check("echo on > /proc/sys/kernel/printk_devkmsg")
    mark = machine.console.mark()
    machine.check(["sh", "-c", "harness-agent session flood s </dev/null >/dev/null 2>&1 &"])
    machine.console.expect([CREATED.pattern], timeout_s=machine.timeouts.command_s, mark=mark)
    going = machine.console.mark()
    update.go()
    first, _, _ = machine.console.since(mark).partition("Linux version")
    created = CREATED.findall(first)
    assert CREATED.search(first, going - mark), "no session was created while the kernel rebooted"
    names = ("before", *created)
    answers = {name: machine.agent("session", "retrieve", name) for name in names}
    lost = [name for name, answer in answers.items() if not answer["ok"]]
    assert not lost, f"the kernel said yes to {lost}, and did not hand them over"
    for name in names:
        machine.must("session", "finish", name)


KCSAN = "/sys/kernel/debug/kcsan"
ROUNDS = 5


@pytest.mark.profiles("kcsan")
@pytest.mark.fails_before(2, splat=r"KCSAN: data-race in (?:luo|liveupdate)_\w+")
def test_first_use_of_flbs_is_no_data_race(machine: Machine, module: TestModule) -> None:
    # Reports name the function that the compiler left the access in: all of the orchestrator's.
    symbols = machine.check(
        "awk '$3 ~ /^(luo|liveupdate)_/ && $2 ~ /[tT]/ {print $3}' /proc/kallsyms"
    )
    for symbol in symbols.split():
        assert machine.guest.write(KCSAN, f"!{symbol}") is None
    assert machine.guest.write(KCSAN, "whitelist") is None
    assert machine.guest.write(KCSAN, "on") is None
    try:
        for direction in ("outgoing", "incoming") * ROUNDS:
            module.load(flbs=ROOM, register=0, verbose=0)
            assert module.control(f"race {direction}").error is None
            assert module.unload() is None
    finally:
        machine.guest.write(KCSAN, "off")


def until(path: str) -> str:
    """Return what waits in the guest for a file."""
    return f"while [ ! -e {path} ]; do usleep 50000; done"


def test_registration_storm_without_sessions(module: TestModule) -> None:
    module.load(flbs=4, handlers=2, register=0, verbose=0)
    assert module.control(f"storm registration {STORM_MS}").error is None
    # Before patch 7 the storm leaves behind what still has FLBs.
    assert module.control("unregister all").error is None
    assert module.control("register all").error is None


def test_registration_storm_among_preserved_files(
    machine: Machine, module: TestModule, kernel: KernelBuild
) -> None:
    # An FLB that comes or goes while its handler has files: test_flb.py has what becomes of it.
    counted = "flb-get-outgoing-takes-reference" in kernel.features
    module.load(flbs=0 if counted else 4, handlers=2, register=0, verbose=0)
    machine.must("open", "file", "/dev/null")
    machine.must("memfd", "create", "data", "--size", 4096)
    loop = """
        while [ -e /run/storm ]; do
            harness-agent session create s
            harness-agent preserve s 1 file
            harness-agent preserve s 2 data || touch /run/lost
            harness-agent session close s
        done
        touch /run/calm
    """
    machine.check(
        ["sh", "-c", f"touch /run/storm; rm -f /run/lost /run/calm; ({loop}) >/dev/null 2>&1 &"]
    )
    try:
        assert module.control(f"storm registration {STORM_MS}").error is None
    finally:
        machine.check(f"rm /run/storm; {until('/run/calm')}")
    assert machine.run(["test", "-e", "/run/lost"]).status == 1, "a memfd was refused"
    machine.must("reset")
    assert module.counters()["violation"] == 0
    assert module.control("unregister all").error is None
    assert module.control("register all").error is None


def test_registration_storm_among_retrieved_files(updated_machine: UpdatedMachine) -> None:
    with updated_machine(one_for_each_failure) as update:
        machine, module = update.machine, luo_test(update.machine)
        module.load(flbs=4, handlers=2, verbose=0)
        # Deserialized while the handlers are sure to be there; retrieved while they come and go.
        for session in ("memfds", "module"):
            machine.must("session", "retrieve", session)
        loop = f"""
            n=1
            while [ $n -le {MOST_FAILURES} ]; do
                harness-agent retrieve memfds $n m$n || break
                harness-agent retrieve module $n f$n || break
                n=$((n + 1))
            done >/run/retrieved 2>&1
            echo $n >/run/end
        """
        machine.check(["sh", "-c", f"({loop}) </dev/null >/dev/null 2>&1 &"])
        assert module.control(f"storm registration {STORM_MS}").error is None
        machine.check(until("/run/end"), timeout_s=60)
        end = machine.check(["cat", "/run/end"]).strip()
        assert end == str(MOST_FAILURES + 1), machine.check(["tail", "-n", "1", "/run/retrieved"])
        for number in range(1, MOST_FAILURES + 1):
            machine.must("check", f"m{number}", "--size", 1 << 16, "--seed", number)
        for session in ("memfds", "module"):
            machine.must("session", "finish", session)
        counters = module.counters()
        assert counters["handler0.retrieve"] == counters["handler0.finish"] == MOST_FAILURES
        assert counters["violation"] == 0
