# SPDX-License-Identifier: GPL-2.0-only
"""How long anything may take: every deadline of the harness, in seconds.

They end what hangs, and measure nothing: each is many times what a host that works needs.  What
the host does has the same time everywhere; what a guest does has more where its processor is
emulated, and where a profile makes the kernel slow.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

_ACCEL_SCALE = {"kvm": 1.0, "tcg": 4.0}
"""Under TCG a boot takes 2 to 3 times as long as under KVM, and a host that builds at the same
time is slower still."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostTimeouts:
    """What programs on the host may take.

    :param tool_s: one that answers at once, such as one that is asked for its version.
    :param file_s: one that goes through a file of some hundred MB.
    :param compile_s: a compiler, a small build, or one of make's configuration targets.
    :param build_s: a whole kernel; a cold build takes 6 minutes on 2 CPUs.
    :param git_s: one git command; importing a whole kernel takes under a minute.
    :param silence_s: a download that gets nothing.
    :param package_s: fetching one package of the image.
    :param coverage_s: adding up what gcov counted.
    :param database_s: waiting for another process that writes to the history.
    :param kvm_probe_s: the smallest guest under KVM; a working host needs less than one second.
    :param qmp_s: QEMU's answer to one command.
    :param quit_s: QEMU's answer to the last one.
    :param migrate_s: writing or reading the devices' state, less than a MB.
    :param settle_s: a guest's becoming idle before it is saved as it is.
    :param gone_s: QEMU's end once it was told or its guest is gone.
    :param panic_s: what a kernel still prints after it has panicked.
    :param grace_s: between SIGTERM and SIGKILL.
    :param poll_s: between two looks at what nobody tells of.
    :param job_s: a kernel, or the tests on one, on a worker of a cluster, from its start there on.
    :param worker_s: the return of a worker to a cluster that has no other for a job.
    :param connect_s: a scheduler's answer, and that of workers that were just started.
    :param unwind_s: an interrupted program's tearing down of what it holds.
    """

    tool_s: float = 60.0
    file_s: float = 300.0
    compile_s: float = 300.0
    build_s: float = 3 * 3600.0
    git_s: float = 1800.0
    silence_s: float = 60.0
    package_s: float = 300.0
    coverage_s: float = 900.0
    database_s: float = 30.0
    kvm_probe_s: float = 15.0
    qmp_s: float = 10.0
    quit_s: float = 1.0
    migrate_s: float = 60.0
    settle_s: float = 3.0
    gone_s: float = 5.0
    panic_s: float = 0.5
    grace_s: float = 5.0
    poll_s: float = 1.0
    job_s: float = 4 * 3600.0
    worker_s: float = 120.0
    connect_s: float = 60.0
    unwind_s: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestTimeouts:
    """What a guest may take, as it stands for a small kernel under KVM.

    :param boot_s: from QEMU's start, or from a kexec, until the guest says that it is ready.
    :param connect_s: an SSH connection once the guest is ready.
    :param command_s: one command, where nothing else is said.
    :param batch_s: many commands of the agent in one go.
    :param hand_over_s: handing over a kernel of a few MB, and loading it.
    :param counters_s: packing gcov's counters, and as long for fetching them.
    :param selftest_s: one program of a selftest.
    :param kunit_s: one KUnit suite.
    :param idle_s: giving back what a test that has ended held.
    :param dying_s: the end of a machine whose connection has ended.
    :param scale: the factor on all of them.
    """

    boot_s: float = 20.0
    connect_s: float = 10.0
    command_s: float = 10.0
    batch_s: float = 30.0
    hand_over_s: float = 30.0
    counters_s: float = 20.0
    selftest_s: float = 60.0
    kunit_s: float = 60.0
    idle_s: float = 2.0
    dying_s: float = 1.0
    scale: float = 1.0

    def scaled(self, factor: float) -> GuestTimeouts:
        """Return them, each *factor* times as long."""
        names = [field.name for field in fields(self)]
        return GuestTimeouts(**{name: getattr(self, name) * factor for name in names})


HOST = HostTimeouts()
GUEST = GuestTimeouts()


def guest_scale(accel: str, profile: float) -> float:
    """Return the factor on what guests may take.

    :param accel: ``"kvm"`` or ``"tcg"``.
    :param profile: the profile's own factor.
    """
    return _ACCEL_SCALE[accel] * profile
