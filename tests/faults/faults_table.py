# SPDX-License-Identifier: GPL-2.0-only
"""The faults, as data: what befalls a run, when, and how the run may end.

Each row is injected as often as it says, at moments that are drawn from the seed.  A run's verdict
is right when its exit code is one of those of the row, and no test came to another outcome than the
row allows; what a row says of outcomes is about the test that was disturbed, all others pass.
"""

from __future__ import annotations

from dataclasses import dataclass

PASSED = frozenset({"passed"})
LOST = frozenset({"error"})
EITHER = PASSED | LOST
DIED = frozenset({"crashed", "failed"})
"""A dead kernel is a verdict; a splat on its console is ``failed``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InGuest:
    """What befalls a test's machine; several tests of one run are disturbed, one after the other.

    :param what: a name in :data:`harm.QEMU` or :data:`harm.GUEST`.
    :param moment: ``start`` (QEMU is there, the test has no machine yet), ``first`` and ``second``
        kernel, or ``jump`` from one to the other.
    :param test: the outcomes that the disturbed test may have.
    :param whole: how often in the whole form; *short*: in the short one.
    """

    what: str
    moment: str
    test: frozenset[str]
    whole: int
    short: int = 0


IN_GUESTS = (
    # A clone that fails is made again from a new template, so that its test may pass.
    InGuest(what="kill", moment="start", test=EITHER, whole=8),
    InGuest(what="kill", moment="first", test=LOST, whole=10, short=1),
    InGuest(what="kill", moment="jump", test=LOST, whole=10, short=1),
    InGuest(what="kill", moment="second", test=LOST, whole=8),
    InGuest(what="stop", moment="start", test=EITHER, whole=2),
    InGuest(what="stop", moment="first", test=LOST, whole=4),
    InGuest(what="stop", moment="jump", test=LOST, whole=3),
    InGuest(what="stop", moment="second", test=LOST, whole=3),
    InGuest(what="panic", moment="first", test=DIED, whole=8),
    InGuest(what="panic", moment="second", test=DIED, whole=8, short=1),
    InGuest(what="halted kernel", moment="first", test=LOST, whole=4),
    InGuest(what="halted kernel", moment="second", test=LOST, whole=4),
    InGuest(what="frozen programs", moment="first", test=LOST, whole=3),
    InGuest(what="frozen programs", moment="second", test=LOST, whole=3),
    InGuest(what="no network", moment="first", test=LOST, whole=4),
    InGuest(what="no network", moment="second", test=LOST, whole=4),
    InGuest(what="cut connection", moment="first", test=LOST, whole=8, short=1),
    InGuest(what="cut connection", moment="second", test=LOST, whole=8),
    InGuest(what="dead SSH server", moment="first", test=LOST, whole=3),
    InGuest(what="dead SSH server", moment="second", test=LOST, whole=3),
    InGuest(what="clock jump", moment="first", test=PASSED, whole=5),
    InGuest(what="clock jump", moment="second", test=PASSED, whole=5),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signalled:
    """A signal to one process of the run, at a moment between its start and its usual end.

    :param who: ``harness``, ``pytest`` below it, or one ``worker`` of pytest-xdist.
    :param codes: exit codes of a run that the signal met; 0 is right when it came too late, and
        with a worker that had nothing more to do.
    """

    who: str
    signal: str
    codes: frozenset[int]
    whole: int
    short: int = 0


INTERRUPTED, INFRASTRUCTURE, KILLED = 130, 3, -9

SIGNALS = (
    Signalled(who="harness", signal="SIGINT", codes=frozenset({INTERRUPTED}), whole=6),
    Signalled(who="harness", signal="SIGTERM", codes=frozenset({INTERRUPTED}), whole=6, short=1),
    Signalled(who="harness", signal="SIGHUP", codes=frozenset({INTERRUPTED}), whole=3),
    Signalled(who="harness", signal="SIGKILL", codes=frozenset({KILLED}), whole=6),
    Signalled(who="pytest", signal="SIGINT", codes=frozenset({INTERRUPTED, 3}), whole=3),
    Signalled(who="pytest", signal="SIGTERM", codes=frozenset({INTERRUPTED, 3}), whole=3),
    Signalled(who="pytest", signal="SIGKILL", codes=frozenset({INFRASTRUCTURE}), whole=3),
    Signalled(who="worker", signal="SIGINT", codes=frozenset({INTERRUPTED, 3}), whole=3),
    Signalled(who="worker", signal="SIGTERM", codes=frozenset({INTERRUPTED, 3}), whole=3),
    Signalled(who="worker", signal="SIGKILL", codes=frozenset({INFRASTRUCTURE}), whole=4),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Damaged:
    """A file that is cut, or in which a bit is flipped, before the run.

    :param kind: the cache's entries of that kind, or ``downloads`` or ``history``.
    :param file: a pattern below the entry.
    :param codes: exit codes of the run; 0 when it can do without, or makes the thing anew.
    """

    kind: str
    file: str
    codes: frozenset[int]
    whole: int
    short: int = 0


ANEW = frozenset({0})
REFUSED = frozenset({2})

DAMAGES = (
    Damaged(kind="template", file="memory", codes=ANEW, whole=5, short=1),
    Damaged(kind="template", file="devices", codes=ANEW, whole=4),
    Damaged(kind="template", file="saved.json", codes=ANEW, whole=3),
    Damaged(kind="template", file="manifest.json", codes=ANEW, whole=3),
    Damaged(kind="build", file="kernel", codes=REFUSED, whole=3),
    Damaged(kind="build", file="vmlinux", codes=REFUSED, whole=2),
    Damaged(kind="build", file="build.json", codes=REFUSED, whole=2),
    Damaged(kind="build", file="modules/*", codes=REFUSED, whole=2),
    # A hash in it that nobody compares may be another one.
    Damaged(kind="build", file="manifest.json", codes=REFUSED | ANEW, whole=3),
    Damaged(kind="image", file="initrd*", codes=REFUSED, whole=3),
    Damaged(kind="payload", file="*.cpio*", codes=REFUSED, whole=3),
    Damaged(kind="downloads", file="*.deb", codes=frozenset({INFRASTRUCTURE}), whole=4, short=1),
    # What earlier runs came to changes nothing of this one.
    Damaged(kind="history", file="history.sqlite", codes=ANEW, whole=4),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Full:
    """A disk that is full from some moment of a run on: of cache, results and ``TMPDIR``.

    :param stage: ``tests`` of a kernel that the cache has, ``template`` (it is to be made as well),
        ``import`` of the kernel's source, or ``build`` of a position that the cache does not have.
    :param within_s: the moment is so many seconds after the start, at most.
    """

    stage: str
    within_s: float
    whole: int
    short: int = 0


FULL = (
    Full(stage="tests", within_s=8.0, whole=5, short=1),
    Full(stage="template", within_s=8.0, whole=5),
    Full(stage="import", within_s=12.0, whole=3),
    Full(stage="build", within_s=40.0, whole=3),
)
FULL_CODES = frozenset({0, INFRASTRUCTURE})


@dataclass(frozen=True, slots=True, kw_only=True)
class HostClock:
    """Jumps of ``CLOCK_REALTIME``, as all processes of the run see it.

    :param most_s: how far, at most, either way.
    """

    most_s: float
    whole: int
    short: int = 0


HOST_CLOCK = (
    HostClock(most_s=10.0, whole=3),
    HostClock(most_s=1e8, whole=3, short=1),
)
