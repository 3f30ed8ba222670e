# SPDX-License-Identifier: GPL-2.0-only
"""Many CPUs at once: the first use of an FLB, and registrations among preserved files.

The module's threads do it (``tests/kmod/race.c``), one on each CPU.  What goes wrong shows in the
kernel log, best with the profiles debug and kcsan.
"""

from __future__ import annotations

import pytest

from harness.vm import KernelModule, VirtualMachine

pytestmark = pytest.mark.catalogue

ROOM = 63
STORM_MS = 3000


def test_first_use_of_flbs_on_all_cpus(machine: VirtualMachine, module: KernelModule) -> None:
    module.load(flbs=ROOM, register=0, verbose=0)
    assert module.control("race outgoing").error is None
    # Each of them works afterwards: its locks and its list are whole.
    assert module.control("register all").error is None
    machine.must("session", "create", "s")
    machine.must("open", "file", "/dev/null")
    machine.must("preserve", "s", 1, "file")
    machine.must("session", "close", "s")
    counters = module.counters()
    assert counters["flb0.preserve"] == counters["flb0.unpreserve"] == 1
    assert counters["violation"] == 0


def test_registration_storm_without_sessions(module: KernelModule) -> None:
    module.load(flbs=4, handlers=2, register=0, verbose=0)
    assert module.control(f"storm registration {STORM_MS}").error is None
    # Before patch 7 the storm leaves behind what still has FLBs.
    assert module.control("unregister all").error is None
    assert module.control("register all").error is None


def test_registration_storm_among_preserved_files(
    machine: VirtualMachine, module: KernelModule
) -> None:
    module.load(flbs=4, handlers=2, register=0, verbose=0)
    machine.must("open", "file", "/dev/null")
    machine.must("memfd", "create", "data", "--size", 4096)
    loop = """
        while [ -e /run/storm ]; do
            luo-agent session create s
            luo-agent preserve s 1 file
            luo-agent preserve s 2 data || touch /run/lost
            luo-agent session close s
        done
    """
    machine.check(["sh", "-c", f"touch /run/storm; rm -f /run/lost; ({loop}) >/dev/null 2>&1 &"])
    try:
        assert module.control(f"storm registration {STORM_MS}").error is None
    finally:
        machine.check(["sh", "-c", "rm /run/storm; sleep 1"])
    assert machine.run(["test", "-e", "/run/lost"]).status == 1, "a memfd was refused"
    machine.must("reset")
    assert module.counters()["violation"] == 0
    assert module.control("unregister all").error is None
    assert module.control("register all").error is None
