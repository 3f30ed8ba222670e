# SPDX-License-Identifier: GPL-2.0-only
"""Every allocation of every LUO call fails once: the right errno, nothing leaked, no splat.

The first allocation fails, then the second, and so on until the call makes no more
(``/proc/self/fail-nth``, ``Documentation/fault-injection/fault-injection.rst``).
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator

import pytest
from prepared import MOST_FAILURES, one_for_each_failure

from harness.guest.machine import Machine
from harness.liveupdate.fixtures import UpdatedMachine
from harness.liveupdate.module import CONTROL, TestModule, luo_test
from harness.liveupdate.update import LiveUpdate

pytestmark = pytest.mark.catalogue

KMEMLEAK = "/sys/kernel/debug/kmemleak"


def fail_each(
    machine: Machine, where: str, *command: object, undo: str = "true"
) -> list[dict[str, object]]:
    """Run an agent command with its first, second, ... allocation failing; return the answers.

    In the command ``@`` stands for the number of the allocation.  The last answer is that of a run
    in which nothing failed.

    :param where: ``open`` of the device, or the ``ioctl``.
    :param undo: shell commands after a run that worked.
    """
    words = " ".join(shlex.quote(str(word)).replace("@", "$n") for word in command)
    script = f"""
        n=1
        while [ $n -le {MOST_FAILURES} ]; do
            answer=$(harness-agent fail-nth $n {where} {words})
            echo "$answer"
            case $answer in '{{"ok":true'*) {{ {undo}; }} >/run/undo || cat /run/undo;; esac
            case $answer in *'"injected":false'*) exit 0;; esac
            n=$((n + 1))
        done
        exit 1
    """
    lines = machine.check(["sh", "-c", script], timeout_s=60).splitlines()
    answers = [json.loads(line) for line in lines]
    assert answers[-1]["ok"], answers[-1]
    assert len(answers) > 1, "no allocation was ever failed"
    return answers


def errors(answers: list[dict[str, object]]) -> set[object]:
    """Return the errno names of those that did not work."""
    return {answer["error"] for answer in answers if not answer["ok"]}


def assert_no_leak(machine: Machine) -> None:
    """Ask kmemleak, where the kernel has it."""
    if machine.run(["test", "-w", KMEMLEAK]).status != 0:
        return
    # An object is reported from the second scan on, and when it is some seconds old.
    script = f"echo scan >{KMEMLEAK}; sleep 6; echo scan >{KMEMLEAK}; cat {KMEMLEAK}"
    found = machine.check(["sh", "-c", script], timeout_s=60)
    assert "luo" not in found, found


@pytest.mark.parametrize("where", ["open", "read"])
def test_kernel_file_with_failing_allocations(machine: Machine, where: str) -> None:
    answers = fail_each(machine, where, "get", "/proc/modules")
    assert errors(answers) == {"ENOMEM"}
    assert "content" in answers[-1]


def test_open_with_failing_allocations(machine: Machine) -> None:
    answers = fail_each(
        machine, "open", "session", "create", "s@", undo="harness-agent session close s$n"
    )
    assert errors(answers) == {"ENOMEM"}


def test_create_session_with_failing_allocations(machine: Machine) -> None:
    answers = fail_each(
        machine, "ioctl", "session", "create", "s", undo="harness-agent session close s"
    )
    assert errors(answers) == {"ENOMEM"}
    assert machine.must("session", "list")["items"] == []
    # None of those that failed has kept its name.
    machine.must("session", "create", "s")


def test_preserve_memfd_with_failing_allocations(machine: Machine) -> None:
    machine.must("session", "create", "s")
    machine.must("memfd", "create", "data", "--size", 1 << 16, "--seed", 9)
    answers = fail_each(
        machine,
        "ioctl",
        *("preserve", "s", 1, "data"),
        undo="harness-agent session close s && harness-agent session create s",
    )
    assert errors(answers) == {"ENOMEM"}
    machine.must("preserve", "s", 1, "data")
    machine.must("check", "data", "--size", 1 << 16, "--seed", 9)


def test_memfd_that_could_not_be_preserved_can_grow(machine: Machine) -> None:
    machine.must("session", "create", "s")
    machine.must("memfd", "create", "data", "--size", 4096)
    for nth in range(1, MOST_FAILURES + 1):
        answer = machine.agent("fail-nth", nth, "ioctl", "preserve", "s", 1, "data")
        if answer["ok"]:
            break
        assert answer["error"] == "ENOMEM"
        machine.must("seek", "data", 4096 + nth)
        machine.must("write", "data", "x")
    assert answer["ok"]
    assert nth > 1
    machine.must("seek", "data", 8192)
    assert machine.agent("write", "data", "x")["error"] == "EPERM"


def test_preserve_with_flbs_with_failing_allocations(machine: Machine, module: TestModule) -> None:
    module.load(flbs=2)
    idle = module.refcount()
    machine.must("session", "create", "s")
    machine.must("open", "file", "/dev/null")
    answers = fail_each(
        machine,
        "ioctl",
        *("preserve", "s", 1, "file"),
        undo="harness-agent session close s && harness-agent session create s",
    )
    assert errors(answers) == {"ENOMEM"}
    assert module.refcount() == idle
    counters = module.counters()
    assert counters["violation"] == 0
    assert counters["flb0.preserve"] >= counters["flb0.unpreserve"] > 0
    machine.must("preserve", "s", 1, "file")
    machine.must("session", "close", "s")
    assert module.refcount() == idle
    assert_no_leak(machine)


@pytest.fixture
def updated(updated_machine: UpdatedMachine) -> Iterator[LiveUpdate]:
    """A memfd and a module's file for each failure to come, not yet retrieved."""
    with updated_machine(one_for_each_failure) as update:
        luo_test(update.machine).load(flbs=1)
        yield update


def test_retrieve_session_with_failing_allocations(updated: LiveUpdate) -> None:
    answers = fail_each(updated.machine, "ioctl", "session", "retrieve", "memfds", undo="exit 0")
    assert errors(answers) == {"ENOMEM"}


def test_retrieve_memfd_with_failing_allocations(updated: LiveUpdate) -> None:
    machine = updated.machine
    machine.must("session", "retrieve", "memfds")
    answers = fail_each(machine, "ioctl", "retrieve", "memfds", "@", "m@")
    # shmem has no inode to give: ENOSPC; the folios' list cannot be mapped: EINVAL.
    assert "ENOMEM" in errors(answers)
    assert errors(answers) <= {"ENOMEM", "ENOSPC", "EINVAL"}
    # What failed once fails for good; what came back is whole.
    for number, answer in enumerate(answers, 1):
        if answer["ok"]:
            machine.must("check", f"m{number}", "--size", 1 << 16, "--seed", number)
        else:
            again = machine.agent("retrieve", "memfds", number, f"again{number}")
            assert again["error"] == answer["error"]
    machine.must("session", "finish", "memfds")


@pytest.mark.fails_before(10)
def test_retrieve_module_file_with_failing_allocations(updated: LiveUpdate) -> None:
    machine = updated.machine
    machine.must("session", "retrieve", "module")
    assert luo_test(machine).refcount() == MOST_FAILURES
    answers = fail_each(machine, "ioctl", "retrieve", "module", "@", "f@")
    assert errors(answers) == {"ENOMEM"}
    assert luo_test(machine).refcount() == MOST_FAILURES
    assert luo_test(machine).control("flb incoming 0").error is None
    assert luo_test(machine).refcount() == MOST_FAILURES + 1
    machine.must("session", "finish", "module")
    assert luo_test(machine).refcount() == 0
    assert luo_test(machine).counters()["violation"] == 0
    assert_no_leak(machine)


def test_register_flb_with_failing_allocations(machine: Machine, module: TestModule) -> None:
    module.load(flbs=1, register=0)
    assert module.control("register handler 0").error is None
    answers = []
    for nth in range(1, MOST_FAILURES + 1):
        said = machine.agent("fail-nth", nth, "write", "put", CONTROL, "register flb 0")
        answers.append(module.last_answer("register flb 0"))
        if answers[-1] == "0":
            assert module.control("unregister flb 0").error is None
        if not said["injected"]:
            break
    assert not said["injected"]
    assert answers[-1] == "0"
    # The first is what the module takes for the command; it does not come as far as that.
    assert set(answers) == {None, "-12", "0"}
