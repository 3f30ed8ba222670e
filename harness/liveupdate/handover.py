# SPDX-License-Identifier: GPL-2.0-only
"""A live update from one kernel to another, which may refuse what it is handed.

A kernel refuses cleanly when it boots, says that it takes nothing over, and gives nothing out: no
session of the previous kernel can be retrieved.  What it gives out must be whole.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from harness.base.errors import KernelCrash, KexecError, MachineError
from harness.guest.kexec import jumped
from harness.kernel.build import KernelBuild
from harness.liveupdate.update import LiveUpdate, NothingReceived
from harness.results.compat import Refused
from harness.results.log_lines import strip_prefix

_SAYS_SO = re.compile(
    r"^.*\b(?:KHO|luo\w*|liveupdate|memfd_luo): .*"
    r"(?:incompatible|No registered handler|too small|[Mm]ismatch|[Ff]ailed to|[Uu]nable to).*$",
    re.M,
)
"""Lines with which kernels refuse (``kernel/liveupdate/``)."""


def hand_over(
    update: LiveUpdate, build: KernelBuild, prepare: Callable[[], object] = lambda: None
) -> None:
    """Go to another kernel and retrieve everything there.

    :param prepare: called in the next kernel before anybody opens ``/dev/liveupdate``.
    :raises Refused: when it refuses cleanly.
    :raises AssertionError: when something is missing, and the kernel does not say so.
    :raises KernelCrash: when a kernel dies on the way.
    """
    machine = update.machine
    update.load(build)
    mark = machine.console.mark()
    try:
        update.go()
        prepare()
        update.retrieve()
    except NothingReceived as error:
        prepare()
        raise _refusal(update, mark, error.message) from error
    except AssertionError as error:
        raise _refusal(update, mark, str(error)) from error
    except KexecError as error:
        if isinstance(error.__cause__, MachineError) and jumped(machine, mark):
            # A kernel that faults before it has handlers for that cannot print why.
            raise KernelCrash(f"the next kernel died: {error.message}", log=error.log) from error
        raise


def _refusal(update: LiveUpdate, mark: int, wrong: str) -> AssertionError:
    """Return what it is that something is missing in the next kernel."""
    machine = update.machine
    given = [item["name"] for item in machine.must("session", "list")["items"]]
    for name in update.sessions:
        if name not in given and machine.agent("session", "retrieve", name)["ok"]:
            given.append(name)
    said = _SAYS_SO.search(machine.console.since(mark))
    if given:
        return AssertionError(f"{wrong}; it gives out {', '.join(map(repr, given))} all the same")
    if said is None:
        return AssertionError(f"{wrong}; the next kernel does not say why")
    return Refused(strip_prefix(said.group()).strip())
