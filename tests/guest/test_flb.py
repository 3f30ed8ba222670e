# SPDX-License-Identifier: GPL-2.0-only
"""FLBs: who pins the module for them and how long, and what unregistering leaves behind.

The preserved files are devices of the memory driver: they do not pin the module, so every reference
is the orchestrator's (``tests/kmod/README.md``).
"""

from __future__ import annotations

import re

import pytest
from prepared import FLBS, flbs

from harness.guest.machine import Machine
from harness.liveupdate.fixtures import UpdatedMachine
from harness.liveupdate.module import TestModule, luo_test
from harness.liveupdate.update import LiveUpdate

pytestmark = pytest.mark.catalogue

COUNTED = pytest.mark.feature("flb-get-outgoing-takes-reference")
NOT_COUNTED = pytest.mark.without_feature("flb-get-outgoing-takes-reference")

ROOM = 63
"""FLBs that the orchestrator has room for (``kernel/liveupdate/luo_flb.c``): a page of 4 KiB."""
SMALL_PAGES = ("default", "debug", "tags", "coverage", "selfcheck", "kcsan")
"""Profiles with such pages: larger ones hold more FLBs than the test module has."""


def hold(machine: Machine, *paths: str, session: str = "holder") -> None:
    """Preserve devices in a new session, under the tokens 1, 2, ..."""
    machine.must("session", "create", session)
    for token, path in enumerate(paths, 1):
        machine.must("open", f"{session}{token}", path)
        machine.must("preserve", session, token, f"{session}{token}")


@pytest.mark.fails_before(5)
def test_registered_flb_pins_nothing(machine: Machine, module: TestModule) -> None:
    module.load(flbs=FLBS)
    registered = module.refcount()
    for number in range(FLBS):
        assert module.control(f"unregister flb {number}").error is None
    assert module.refcount() == registered


@pytest.mark.fails_before(5)
def test_flb_references_grow_once_however_many_files(machine: Machine, module: TestModule) -> None:
    module.load(flbs=FLBS)
    seen = [module.refcount()]
    hold(machine, "/dev/null", session="one")
    seen.append(module.refcount())
    hold(machine, "/dev/null", "/dev/null", session="two")
    seen.append(module.refcount())
    machine.must("session", "close", "one")
    seen.append(module.refcount())
    machine.must("session", "close", "two")
    seen.append(module.refcount())
    idle, first, third, two, none = (count or 0 for count in seen)
    per_file = third - first >> 1
    assert third - first == 2 * per_file, seen
    assert first - idle == per_file + FLBS, seen
    assert two == idle + 2 * per_file + FLBS, seen
    assert none == idle, seen


@COUNTED
def test_outgoing_object_is_there_only_while_a_file_needs_it(
    machine: Machine, module: TestModule
) -> None:
    module.load(flbs=FLBS)
    for session in ("one", "two"):
        assert [module.control(f"flb outgoing {n}").error for n in range(FLBS)] == ["ENOENT"] * FLBS
        hold(machine, "/dev/null", session=session)
        assert [module.control(f"flb outgoing {n}").error for n in range(FLBS)] == [None] * FLBS
        machine.must("session", "close", session)
    assert [module.control(f"flb outgoing {n}").error for n in range(FLBS)] == ["ENOENT"] * FLBS
    assert module.counters()["violation"] == 0


@NOT_COUNTED
def test_outgoing_object_is_there_while_a_file_needs_it(
    machine: Machine, module: TestModule
) -> None:
    module.load(flbs=FLBS)
    hold(machine, "/dev/null")
    for number in range(FLBS):
        assert module.control(f"flb outgoing {number}").error is None
    machine.must("session", "close", "holder")
    for number in range(FLBS):
        assert module.control(f"flb outgoing {number}").error is None
    # The module compares what it is given with what it preserved, or with nothing.
    assert module.counters()["violation"] == 0


@pytest.mark.fails_before(5)
@pytest.mark.parametrize("callback", ["flb0.preserve", "flb1.preserve", "handler0.preserve"])
def test_preserve_that_fails_gives_the_flbs_back(
    machine: Machine, module: TestModule, callback: str
) -> None:
    module.load(flbs=FLBS)
    idle = module.refcount()
    machine.must("session", "create", "holder")
    machine.must("open", "file", "/dev/null")
    for _ in range(3):
        module.fail(callback, "EIO")
        assert machine.agent("preserve", "holder", 1, "file")["error"] == "EIO"
        assert module.refcount() == idle
    counters = module.counters()
    for number in range(FLBS):
        called = counters[f"flb{number}.preserve"]
        refused = 3 if callback == f"flb{number}.preserve" else 0
        assert counters[f"flb{number}.unpreserve"] == called - refused
    machine.must("preserve", "holder", 1, "file")
    assert module.refcount() > (idle or 0) + 1
    assert module.counters()["violation"] == 0


@pytest.mark.fails_before(10)
def test_flb_references_across_a_live_update(updated_machine: UpdatedMachine) -> None:
    with updated_machine(flbs) as update:
        flb_references_in_the_second_kernel(update, luo_test(update.machine))


def flb_references_in_the_second_kernel(update: LiveUpdate, module: TestModule) -> None:
    module.load(flbs=FLBS)
    # Before anything is deserialized, looked up but failing, then for good.
    assert module.refcount() == 0
    if "flb-retrieve-once" not in update.machine.epoch.build.features:
        module.fail("flb0.retrieve", "EIO")
        assert module.control("flb incoming 0").error == "EIO"
        assert module.refcount() == 0
    assert module.control("flb incoming 0").error is None
    assert module.refcount() == 1
    assert module.control("flb incoming 0").error is None
    assert module.refcount() == 1
    assert module.unload() == "EAGAIN"
    update.retrieve()
    assert module.refcount() == 1 + 2
    assert module.control("flb incoming 1").error is None
    assert module.refcount() == FLBS + 2
    update.finish()
    assert module.refcount() == 0
    counters = module.counters()
    for number in range(FLBS):
        finished = counters[f"flb{number}.finish"]
        assert finished == 1, f"FLB {number} was finished {finished} times, not once"
        error = module.control(f"flb incoming {number}").error
        assert error is not None, f"FLB {number} is given out although it was finished"
    assert counters["violation"] == counters["mismatch.flb"] == 0, counters
    assert (error := module.unload()) is None, f"the module cannot be unloaded: {error}"


@pytest.mark.without_feature("flb-get-takes-reference")
@pytest.mark.beyond(
    reason="the cover letter does not say what becomes of a finished FLB; a module that is loaded "
    "again must not be handed its data, which was freed",
    weight="high",
)
@pytest.mark.fails_before(10)
def test_module_loaded_again_is_not_handed_a_finished_flb(
    updated_machine: UpdatedMachine,
) -> None:
    with updated_machine(flbs) as update:
        module = luo_test(update.machine)
        module.load(flbs=FLBS)
        update.retrieve()
        assert (error := module.control("flb incoming 0").error) is None, f"not given: {error}"
        update.finish()
        error = module.control("flb incoming 0").error
        assert error == "ENODATA", f"asked for a finished FLB: {error}, not ENODATA"
        assert (error := module.unload()) is None, f"the module cannot be unloaded: {error}"
        module.load(flbs=FLBS)
        error = module.control("flb incoming 0").error
        assert error == "ENOENT", f"a new module asks for a finished FLB: {error}, not ENOENT"
        count = module.refcount()
        assert count == 0, f"the module loaded again has {count} references, not 0"


@pytest.mark.fails_without("flb-get-outgoing-takes-reference", "is unpreserved while")
def test_outgoing_flb_stays_while_it_is_used(machine: Machine, module: TestModule) -> None:
    module.load(flbs=1)
    hold(machine, "/dev/null")
    assert module.control("hold outgoing 0").error is None
    machine.must("session", "close", "holder")
    given_back = module.counters()["flb0.unpreserve"]
    assert given_back == 0, "the FLB is unpreserved while somebody uses it"
    assert module.control("drop outgoing 0").error is None
    assert module.counters()["flb0.unpreserve"] == 1


@pytest.mark.fails_without("flb-retrieve-once", "is tried again")
def test_flb_that_could_not_be_retrieved_is_not_tried_again(
    updated_machine: UpdatedMachine,
) -> None:
    with updated_machine(flbs) as update:
        module = luo_test(update.machine)
        module.load(flbs=FLBS)
        module.fail("flb0.retrieve", "EIO")
        for _ in range(3):
            error = module.control("flb incoming 0").error
            assert error is not None, "a retrieve that failed is tried again"
            assert error == "EIO"
        assert module.counters()["flb0.retrieve"] == 1
        # The other one is none the worse for it.
        assert module.control("flb incoming 1").error is None
        assert module.counters()["violation"] == 0


# The four that follow say what is wrong with kernels that count references of FLBs.  One that fails
# says that it has been mended.


@pytest.mark.feature("flb-get-takes-reference")
@pytest.mark.splat("luo_flb.c at liveupdate_flb_put_incoming")
def test_wrong_flb_that_could_not_be_retrieved_warns_when_finished(
    updated_machine: UpdatedMachine,
) -> None:
    with updated_machine(flbs) as update:
        module = luo_test(update.machine)
        module.load(flbs=FLBS)
        module.fail("flb0.retrieve", "EIO")
        assert module.control("flb incoming 0").error == "EIO"
        assert module.control("flb incoming 1").error is None
        update.retrieve()
        update.finish()
        assert module.counters()["flb1.finish"] == 1


@pytest.mark.feature("flb-get-takes-reference")
@pytest.mark.splat("refcount_warn_saturate")
def test_wrong_flb_that_nobody_looked_up_is_counted_below_nothing(
    updated_machine: UpdatedMachine,
) -> None:
    with updated_machine(flbs) as update:
        module = luo_test(update.machine)
        module.load(flbs=FLBS)
        update.retrieve()
        update.finish()


@pytest.mark.feature("flb-get-takes-reference")
@pytest.mark.splat("luo_test: flb_mismatch: flb0")
@pytest.mark.splat("KASAN: use-after-free in flb_verify", profiles="debug")
def test_wrong_module_loaded_again_is_handed_finished_objects(
    updated_machine: UpdatedMachine,
) -> None:
    with updated_machine(flbs) as update:
        module = luo_test(update.machine)
        module.load(flbs=FLBS)
        update.retrieve()
        assert [module.control(f"flb incoming {n}").error for n in range(FLBS)] == [None] * FLBS
        update.finish()
        assert module.counters()["flb0.finish"] == 1
        assert module.unload() is None
        module.load(flbs=FLBS)
        # What it is handed has been finished; the module sees by the contents that it is stale.
        assert module.control("flb incoming 0").error == "EBADMSG"
        assert module.counters()["mismatch.flb"] == 1


@COUNTED
def test_wrong_flb_unregistered_while_in_use_is_never_given_back(
    machine: Machine, module: TestModule
) -> None:
    module.load(flbs=1)
    hold(machine, "/dev/null")
    assert module.control("unregister flb 0").error is None
    machine.must("session", "close", "holder")
    counters = module.counters()
    assert (counters["flb0.preserve"], counters["flb0.unpreserve"]) == (1, 0)


@pytest.mark.fails_before(7)
def test_flb_of_two_handlers_survives_the_first(machine: Machine, module: TestModule) -> None:
    module.load(handlers=2, flbs=1)
    assert module.control("unregister handler 0").error is None
    hold(machine, "/dev/zero")
    assert module.counters()["flb0.preserve"] == 1
    machine.must("session", "close", "holder")
    assert module.counters()["flb0.unpreserve"] == 1
    assert module.control("unregister handler 1").error is None
    assert module.control("register all").error is None


@pytest.mark.profiles(*SMALL_PAGES)
@pytest.mark.fails_before(7)
def test_unregistered_handler_takes_its_flbs_off_the_global_list(module: TestModule) -> None:
    module.load(flbs=ROOM + 1, register=0, verbose=0)
    assert module.control("register all").error == "ENOSPC"
    assert module.control("unregister handler 0").error is None
    assert module.control("register handler 0").error is None
    # Those that are still on the list leave no room for the one that was not.
    assert module.control(f"register flb {ROOM}").error is None
    for number in range(ROOM - 1):
        assert module.control(f"register flb {number}").error is None


@pytest.mark.fails_before(7)
def test_unregistered_handler_asks_its_flbs_no_more(machine: Machine, module: TestModule) -> None:
    module.load(flbs=1)
    assert module.control("unregister handler 0").error is None
    assert module.control("register handler 0").error is None
    hold(machine, "/dev/null")
    counters = module.counters()
    assert counters["handler0.preserve"] == 1
    assert counters["flb0.preserve"] == 0


def test_flb_registered_twice_with_one_handler_is_refused(module: TestModule) -> None:
    module.load(flbs=1)
    assert module.control("register flb 0").error == "EEXIST"


@pytest.mark.profiles(*SMALL_PAGES)
def test_more_flbs_than_there_is_room_for_are_refused(module: TestModule) -> None:
    module.load(flbs=ROOM + 1, register=0, verbose=0)
    assert module.control("register all").error == "ENOSPC"
    assert module.control("unregister all").error is None


@NOT_COUNTED
@pytest.mark.beyond(
    reason="the cover letter says nothing of an FLB that is unregistered while a file uses it",
    weight="medium",
)
@pytest.mark.fails_before(6)
def test_flb_unregistered_while_in_use_is_given_back_with_its_file(
    machine: Machine, module: TestModule
) -> None:
    module.load(flbs=1)
    hold(machine, "/dev/null")
    held = module.refcount()
    assert module.control("unregister flb 0").error is None
    assert module.refcount() == held
    machine.must("session", "close", "holder")
    counters = module.counters()
    assert counters["flb0.preserve"] == counters["flb0.unpreserve"] == 1
    assert counters["violation"] == 0


def calls(log: str, callback: str) -> list[str]:
    """Return the handlers and FLBs that were called, in that order."""
    return re.findall(rf"luo_test: (\w+): {callback}\r?$", log, re.M)


def test_flbs_are_unpreserved_last_first(machine: Machine, module: TestModule) -> None:
    module.load(flbs=3)
    hold(machine, "/dev/null")
    machine.must("session", "close", "holder")
    log = machine.guest.dmesg().rpartition("luo_test: loaded: ")[2]
    assert calls(log, "preserve") == ["flb0", "flb1", "flb2", "handler0"]
    assert calls(log, "unpreserve") == ["handler0", "flb2", "flb1", "flb0"]


@pytest.mark.both_ends
def test_flbs_are_finished_after_the_last_file_and_last_first(
    updated_machine: UpdatedMachine,
) -> None:
    with updated_machine(flbs) as update:
        machine, module = update.machine, luo_test(update.machine)
        module.load(flbs=FLBS)
        for number in range(FLBS):
            assert module.control(f"flb incoming {number}").error is None
        machine.must("session", "retrieve", update.default_session)
        machine.must("session", "finish", update.default_session)
        called = calls(machine.guest.dmesg(), "finish")
        assert called == ["handler0", "handler0", "flb1", "flb0"]
