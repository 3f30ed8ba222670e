# SPDX-License-Identifier: GPL-2.0-only
"""Sessions and the ioctl interface: names, limits, tokens, wrong arguments, order of closing."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

import pytest
from ioctls import CREATE, FINISH, GET_NAME, PRESERVE_FD, RETRIEVE, RETRIEVE_FD, named
from prepared import (
    MOST_FILES,
    NAME_BYTES,
    NAMES,
    most_files,
    most_sessions,
    sessions,
)

from harness.guest.machine import Machine
from harness.liveupdate.fixtures import UpdatedMachine
from harness.liveupdate.module import TestModule
from harness.liveupdate.update import LiveUpdate

pytestmark = pytest.mark.catalogue


def raw(machine: Machine, session: str, request: int, argument: bytes) -> str | None:
    """Make an ioctl; return the errno name, ``None`` when it works."""
    answer = machine.agent("raw", session, request, argument.hex())
    return None if answer["ok"] else str(answer["error"])


@pytest.fixture(scope="module")
def updated(updated_machine: UpdatedMachine) -> Iterator[LiveUpdate]:
    """A session of each name with a memfd in it, sessions full of files, updated once."""
    with updated_machine(sessions) as update:
        assert raw(update.machine, ".device", RETRIEVE, named("no such session")) == "ENOENT"
        yield update


NO_LIMIT = pytest.mark.feature("no-session-limit")
LIMIT = pytest.mark.without_feature("no-session-limit")
EMPTY_NAME = pytest.mark.without_feature("name-not-empty")


@pytest.mark.parametrize(
    "key", [pytest.param(key, marks=() if name else EMPTY_NAME) for key, name in NAMES.items()]
)
def test_session_name_survives_a_live_update(updated: LiveUpdate, key: str) -> None:
    machine, name = updated.machine, NAMES[key]
    machine.must("session", "retrieve", name)
    (item,) = (item for item in updated.preserved if item.name == key)
    machine.must("retrieve", name, item.token, key)
    updated.verify(key)
    machine.must("session", "finish", name)
    machine.must("session", "close", name)


def test_session_with_as_many_files_as_fit_survives(updated: LiveUpdate) -> None:
    items = [item for item in updated.preserved if item.session == "full"]
    assert len(items) == MOST_FILES
    updated.machine.must("session", "retrieve", "full")
    # Any order will do.
    updated.machine.must_all(
        [("retrieve", "full", item.token, item.name) for item in reversed(items)], timeout_s=30
    )
    updated.verify(*(item.name for item in items))
    updated.machine.must("session", "finish", "full")


def test_session_without_files_survives(updated: LiveUpdate) -> None:
    machine = updated.machine
    machine.must("session", "retrieve", "nothing in it")
    assert machine.agent("retrieve", "nothing in it", 1, "x")["error"] == "ENOENT"
    machine.must("session", "finish", "nothing in it")


def test_session_and_file_are_retrieved_once(updated: LiveUpdate) -> None:
    machine = updated.machine
    unanswered = machine.agent("raw", ".device", RETRIEVE, named("unanswered").hex(), "read-only")
    assert unanswered["error"] == "EFAULT"
    machine.must("session", "retrieve", "twice")
    assert raw(machine, ".device", RETRIEVE, named("twice")) == "EINVAL"
    # The file stays retrieved; it is only the answer that fails.
    token = struct.pack("<IiQ", 16, 0, 0)
    answer = machine.agent("raw", "twice", RETRIEVE_FD, token.hex(), "read-only")
    assert answer["error"] == "EFAULT"
    assert machine.agent("retrieve", "twice", 1, "other")["error"] == "ENOENT"
    machine.must("retrieve", "twice", 0, "again")
    # The same file once more, not a copy of it.
    machine.must("retrieve", "twice", 0, "same")
    machine.must("seek", "again", 123)
    assert machine.must("verify", "same")["offset"] == 123
    machine.must("session", "finish", "twice")
    assert machine.agent("retrieve", "twice", 0, "after")["error"] == "ENOENT"
    machine.must("session", "close", "twice")
    assert raw(machine, ".device", RETRIEVE, named("twice")) == "ENOENT"
    # What was retrieved belongs to its holder.
    machine.must("check", "same", "--size", 4096, "--seed", 7)


# -- without a live update ------------------------------------------------------------------


@pytest.mark.without_feature("name-needs-nul")
def test_name_without_its_nul_is_cut(machine: Machine) -> None:
    machine.must("session", "create", "n" * NAME_BYTES)
    assert raw(machine, ".device", CREATE, named("n" * (NAME_BYTES - 1))) == "EEXIST"


@pytest.mark.fails_without("name-needs-nul", "is accepted")
def test_name_without_its_nul_is_refused(machine: Machine) -> None:
    answer = machine.agent("session", "create", "n" * NAME_BYTES)
    assert not answer["ok"], "a name without its NUL is accepted"
    assert answer["error"] == "EINVAL"
    machine.must("session", "create", "n" * (NAME_BYTES - 1))


@pytest.mark.feature("name-not-empty")
def test_empty_name_is_refused(machine: Machine) -> None:
    assert raw(machine, ".device", CREATE, named("")) == "EINVAL"
    assert machine.must("session", "list")["items"] == []


@pytest.mark.feature("session-get-name")
@pytest.mark.parametrize("name", ["x", "n" * (NAME_BYTES - 1), " a 'b' %s "])
def test_session_tells_its_name(machine: Machine, name: str) -> None:
    machine.must("session", "create", name)
    argument = struct.pack(f"<II{NAME_BYTES}s", 8 + NAME_BYTES, 0, b"#" * NAME_BYTES)
    answer = machine.must("raw", name, GET_NAME, argument.hex())
    told, nul, _ = bytes.fromhex(answer["hex"])[8:].partition(b"\0")
    assert (told, nul) == (name.encode(), b"\0")


@pytest.mark.feature("session-get-name")
@pytest.mark.parametrize(
    "argument",
    [struct.pack("<II", 8, 0), struct.pack(f"<II{NAME_BYTES}s", 8 + NAME_BYTES, 1, b"")],
    ids=["too-short", "reserved"],
)
def test_session_does_not_tell_its_name_to_a_wrong_request(
    machine: Machine, argument: bytes
) -> None:
    machine.must("session", "create", "s")
    assert raw(machine, "s", GET_NAME, argument) == "EINVAL"


@pytest.mark.parametrize(
    "name", ["twice", pytest.param("", marks=EMPTY_NAME)], ids=["plain", "empty"]
)
def test_session_of_the_same_name_is_refused(machine: Machine, name: str) -> None:
    machine.must("session", "create", name)
    assert raw(machine, ".device", CREATE, named(name)) == "EEXIST"
    machine.must("session", "create", f"{name}2")
    machine.must("session", "close", name)
    machine.must("session", "create", name)


@LIMIT
def test_as_many_sessions_as_fit(machine: Machine) -> None:
    machine.must_all(
        [("session", "create", f"s{n}") for n in range(most_sessions(machine))], timeout_s=60
    )
    assert machine.agent("session", "create", "one too many")["error"] == "ENOMEM"
    machine.must("session", "close", "s7")
    machine.must("session", "create", "takes its place")


@NO_LIMIT
def test_more_sessions_than_once_fitted(machine: Machine) -> None:
    count = most_sessions(machine) + 80
    machine.must_all([("session", "create", f"s{n}") for n in range(count)], timeout_s=60)
    assert raw(machine, ".device", CREATE, named("s7")) == "EEXIST"
    machine.must("session", "close", "s7")
    machine.must("session", "create", "s7")


@NO_LIMIT
def test_more_files_than_once_fitted(machine: Machine) -> None:
    machine.must("session", "create", "many")
    machine.must_all(
        [
            command
            for n in range(2 * most_files(machine) + 1)
            for command in (("memfd", "create", f"m{n}"), ("preserve", "many", n, f"m{n}"))
        ],
        timeout_s=60,
    )
    machine.must("session", "close", "many")


@LIMIT
def test_as_many_files_as_fit(machine: Machine) -> None:
    machine.must("session", "create", "full")
    most = most_files(machine)
    machine.must_all(
        [
            command
            for n in range(most)
            for command in (("memfd", "create", f"m{n}"), ("preserve", "full", n, f"m{n}"))
        ],
        timeout_s=60,
    )
    machine.must("memfd", "create", "late")
    assert machine.agent("preserve", "full", most, "late")["error"] == "ENOSPC"
    machine.must("session", "create", "other")
    machine.must("preserve", "other", 1, "late")


def test_token_is_used_once_in_a_session(machine: Machine) -> None:
    for name in ("a", "b"):
        machine.must("session", "create", name)
        machine.must("memfd", "create", name, "--size", 4096)
    machine.must("preserve", "a", 5, "a")
    assert machine.agent("preserve", "a", 5, "b")["error"] == "EEXIST"
    machine.must("preserve", "b", 5, "b")


@pytest.mark.fails_without("file-preserved-once", "preserved twice")
def test_file_is_preserved_once(machine: Machine) -> None:
    for session in ("one", "two"):
        machine.must("session", "create", session)
    machine.must("memfd", "create", "data", "--size", 4096)
    machine.must("preserve", "one", 1, "data")
    for session, token in (("one", 2), ("two", 1)):
        answer = machine.agent("preserve", session, token, "data")
        assert not answer["ok"], "a memfd is preserved twice"
        assert answer["error"] == "EBUSY"
    machine.must("session", "close", "one")
    machine.must("preserve", "two", 1, "data")


def test_file_that_cannot_be_preserved_is_refused(machine: Machine) -> None:
    machine.must("session", "create", "s")
    machine.must("open", "proc", "/proc/version", "--flags", "rdonly")
    assert machine.agent("preserve", "s", 1, "proc")["error"] == "ENOENT"
    assert raw(machine, "s", PRESERVE_FD, struct.pack("<IiQ", 16, 9999, 1)) == "EBADF"
    # Its token is free, and the session is as good as new.
    machine.must("memfd", "create", "data", "--size", 4096)
    machine.must("preserve", "s", 1, "data")


def test_nothing_is_retrieved_from_a_new_session(machine: Machine) -> None:
    machine.must("session", "create", "s")
    machine.must("memfd", "create", "data", "--size", 4096)
    # There is no such file; or it is no session to retrieve from.
    error = raw(machine, "s", RETRIEVE_FD, struct.pack("<IiQ", 16, 0, 1))
    assert error in ("ENOENT", "EINVAL")
    assert raw(machine, ".device", RETRIEVE, named("s")) == "ENOENT"


def test_device_has_one_opener(machine: Machine) -> None:
    machine.must("open", "device", "/dev/liveupdate")
    assert machine.agent("session", "create", "s")["error"] == "EBUSY"
    machine.must("close", "device")
    machine.must("session", "create", "s")


@pytest.mark.parametrize(
    ("target", "request_number", "argument", "error"),
    [
        pytest.param(".device", CREATE, struct.pack("<I", 8), "EINVAL", id="create-too-short"),
        pytest.param(".device", CREATE, named("tail") + b"\0" * 8, None, id="create-zero-tail"),
        pytest.param(".device", RETRIEVE, struct.pack("<I", 4), "EINVAL", id="retrieve-too-short"),
        pytest.param(".device", 0xBA02, named("x"), "EINVAL", id="device-unknown-number"),
        pytest.param(".device", 0xBB00, named("x"), "ENOTTY", id="device-other-type"),
        pytest.param("s", PRESERVE_FD, struct.pack("<Ii", 8, 0), "EINVAL", id="preserve-too-short"),
        pytest.param("s", RETRIEVE_FD, struct.pack("<Ii", 8, 0), "EINVAL", id="token-too-short"),
        pytest.param("s", FINISH, struct.pack("<I", 4), "EINVAL", id="finish-too-short"),
        pytest.param("s", 0xBA7F, struct.pack("<II", 8, 0), "EINVAL", id="session-unknown-number"),
        pytest.param("s", 0xBB42, struct.pack("<II", 8, 0), "ENOTTY", id="session-other-type"),
        pytest.param("s", CREATE, named("x"), "EINVAL", id="device-request-on-a-session"),
    ],
)
def test_wrong_ioctl_is_refused(
    machine: Machine, target: str, request_number: int, argument: bytes, error: str | None
) -> None:
    machine.must("session", "create", "s")
    grown = argument
    if error is None:
        grown = struct.pack("<I", len(argument)) + argument[4:]
    assert raw(machine, target, request_number, grown) == error
    if error is None:
        # The agent has a session now that it does not know of.
        machine.check(["kill", "-9", str(machine.must("ping")["pid"])])
        machine.check(["harness-agent", "daemon"])


@pytest.mark.fails_without("finish-checks-reserved", "it is finished")
def test_finish_with_its_reserved_field_set_is_refused(updated_machine: UpdatedMachine) -> None:
    with updated_machine(sessions) as update:
        machine = update.machine
        machine.must("session", "retrieve", "twice")
        machine.must("retrieve", "twice", 0, "file")
        error = raw(machine, "twice", FINISH, struct.pack("<II", 8, 1))
        assert error is not None, "the reserved field is set, and it is finished"
        assert error == "EINVAL"
        machine.must("session", "finish", "twice")


def test_ioctl_with_something_in_its_unknown_tail_is_refused(machine: Machine) -> None:
    argument = named("tail")
    grown = struct.pack("<I", len(argument) + 8) + argument[4:] + b"\0\0\0\1\0\0\0\0"
    assert raw(machine, ".device", CREATE, grown) == "E2BIG"


@pytest.mark.parametrize(
    ("target", "request_number"), [(".device", CREATE), ("s", PRESERVE_FD)], ids=["device", "s"]
)
def test_ioctl_argument_that_cannot_be_read_is_refused(
    machine: Machine, target: str, request_number: int
) -> None:
    machine.must("session", "create", "s")
    assert raw(machine, target, request_number, b"") == "EFAULT"
    grown = struct.pack("<IiQQ", 24, 0, 1, 1) if target == "s" else named("t") + b"\1" * 8
    grown = struct.pack("<I", len(grown)) + grown[4:]
    assert raw(machine, target, request_number, grown) == "E2BIG"


def test_session_whose_descriptor_cannot_be_told_is_gone(machine: Machine) -> None:
    answer = machine.agent("raw", ".device", CREATE, named("untold").hex(), "read-only")
    assert answer["error"] == "EFAULT"
    machine.must("session", "create", "untold")


def test_refused_session_keeps_no_descriptor(machine: Machine) -> None:
    machine.must("session", "create", "s")
    before = numbers_of_files(machine)
    for _ in range(3):
        assert raw(machine, ".device", CREATE, named("s")) == "EEXIST"
    assert numbers_of_files(machine) == before


def numbers_of_files(machine: Machine) -> list[int]:
    """Return which descriptors are free: the device takes the first meanwhile, so several."""
    for name in ("a", "b", "c"):
        machine.must("memfd", "create", name, "--size", 4096)
    items = machine.must("files")["items"]
    for name in ("a", "b", "c"):
        machine.must("close", name)
    return sorted(item["fd"] for item in items)


def test_file_is_preserved_although_its_caller_cannot_be_told(machine: Machine) -> None:
    machine.must("session", "create", "s")
    machine.must("memfd", "create", "data", "--size", 4096)
    (held,) = machine.must("files")["items"]
    argument = struct.pack("<IiQ", 16, held["fd"], 1)
    answer = machine.agent("raw", "s", PRESERVE_FD, argument.hex(), "read-only")
    assert answer["error"] == "EFAULT"
    # The token is taken; asked with another file, as the same one twice is refused elsewhere.
    machine.must("memfd", "create", "other", "--size", 4096)
    assert machine.agent("preserve", "s", 1, "other")["error"] == "EEXIST"


@pytest.mark.parametrize("first", ["session", "file"])
def test_session_and_file_are_closed_in_any_order(machine: Machine, first: str) -> None:
    machine.must("session", "create", "s")
    machine.must("memfd", "create", "data", "--size", 8192, "--seed", 3)
    machine.must("preserve", "s", 1, "data")
    if first == "session":
        machine.must("session", "close", "s")
        machine.must("check", "data", "--size", 8192, "--seed", 3)
        machine.must("close", "data")
    else:
        machine.must("close", "data")
        machine.must("session", "close", "s")


def test_memfd_can_be_preserved_again_after_its_session_was_closed(
    machine: Machine,
) -> None:
    machine.must("memfd", "create", "data", "--size", 8192, "--seed", 3)
    for turn in range(2):
        machine.must("session", "create", f"s{turn}")
        machine.must("preserve", f"s{turn}", 1, "data")
        machine.must("session", "close", f"s{turn}")
    machine.must("write", "data", "still writable")


@pytest.mark.fresh_machine
def test_dying_agent_leaves_nothing_behind(machine: Machine, module: TestModule) -> None:
    module.load(flbs=1)
    idle = module.refcount()
    machine.must("session", "create", "s")
    machine.must("open", "file", "/dev/null")
    machine.must("preserve", "s", 1, "file")
    machine.check(["kill", "-9", str(machine.must("ping")["pid"])])
    machine.check(["harness-agent", "daemon"])
    assert module.refcount() == idle
    counters = module.counters()
    assert counters["handler0.unpreserve"] == counters["flb0.unpreserve"] == 1
    machine.must("session", "create", "s")


@pytest.mark.fresh_machine
def test_update_that_was_aborted_can_be_done_after_all(
    machine: Machine, module: TestModule, live_update: Callable[..., LiveUpdate]
) -> None:
    from harness.base.errors import KexecRefused

    module.load(flbs=1, handlers=2)
    update = live_update(machine)
    # Frozen before the one that refuses: in another session, and in the same one.
    machine.must("session", "create", "early")
    machine.must("open", "first", "/dev/null")
    machine.must("preserve", "early", 1, "first")
    # It will stand where "early" was, and must not get what that one had there.
    update.create_session("empty")
    machine.must("open", "second", "/dev/null")
    update.preserve("second")
    machine.must("open", "refuses", "/dev/zero")
    machine.must("preserve", update.default_session, 99, "refuses")
    module.fail("handler1.freeze", "EBUSY")
    update.load()
    with pytest.raises(KexecRefused):
        update.go()
    counters = module.counters()
    assert (counters["handler0.freeze"], counters["handler0.unfreeze"]) == (2, 2)
    assert (counters["handler1.freeze"], counters["handler1.unfreeze"]) == (1, 0)
    machine.must("session", "close", "early")
    update.go()
    module.load(flbs=1, handlers=2)
    update.retrieve()
    update.verify()
    assert machine.agent("retrieve", "empty", 1, "nothing")["error"] == "ENOENT"
    assert module.control("flb incoming 0").error is None
    update.finish()
    assert module.counters()["violation"] == 0
