# SPDX-License-Identifier: GPL-2.0-only
"""What tests ask for: kernels, machines, live updates."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from harness.base.errors import HarnessError
from harness.plugin.session import or_exit, session_of

if TYPE_CHECKING:
    from harness.guest.connection import Guest
    from harness.guest.image import Image
    from harness.guest.machine import VirtualMachine
    from harness.guest.module import KernelModule
    from harness.kernel.build import KernelBuild
    from harness.liveupdate.update import LiveUpdate
    from harness.run.pipeline import Pipeline

UpdatedMachine = Callable[
    [Callable[["LiveUpdate"], None]], "contextlib.AbstractContextManager[LiveUpdate]"
]
"""What the fixture :func:`updated_machine` is."""


@pytest.fixture(scope="session")
def pipeline(request: pytest.FixtureRequest) -> Iterator[Pipeline]:
    """The stages from source to running kernel, each done once a session."""
    session = session_of(request.config)
    or_exit(lambda: session.pipeline.check_machine(), HarnessError)
    yield session.pipeline
    session.close()


@pytest.fixture(scope="session")
def kernel(pipeline: Pipeline) -> KernelBuild:
    """The kernel under test: the chosen tree, position and profile, built."""
    return or_exit(pipeline.build)


@pytest.fixture(scope="session")
def kernel_at(pipeline: Pipeline) -> Callable[[int], KernelBuild]:
    """Build (or take from the cache) the kernel at another position of the series.

    When that one does not build it is an error of the test that asked, and of no other.
    """
    return pipeline.build


@pytest.fixture(scope="session")
def image(pipeline: Pipeline, kernel: KernelBuild) -> Image:
    """The guest's root file system."""
    return or_exit(lambda: pipeline.image(kernel))


@pytest.fixture(scope="session")
def boot_machine(
    request: pytest.FixtureRequest,
    pipeline: Pipeline,  # noqa: ARG001 - outlives the machines
) -> Callable[..., VirtualMachine]:
    """Start a machine of one's own: ``with boot_machine() as vm`` or ``boot_machine(position=0)``.

    The block owns it and ends it; what it prints is judged in whatever test runs meanwhile.
    """

    def boot(position: int | None = None) -> VirtualMachine:
        return session_of(request.config).boot(position).machine

    return boot


@pytest.fixture(scope="session")
def updated_machine(
    request: pytest.FixtureRequest,
    kernel: KernelBuild,  # noqa: ARG001 - built before the clock of a boot runs
) -> UpdatedMachine:
    """Start a machine in its second kernel: ``with updated_machine(prepare) as update``.

    ``prepare`` gets an update in the first kernel, and preserves.  What it prepares is loaded and
    gone to once; every block then has a clone of its own, ``update.vm``, in which nothing has been
    retrieved yet.
    """
    from harness.guest.template import Step
    from harness.liveupdate.update import LiveUpdate

    session = session_of(request.config)

    @contextlib.contextmanager
    def start(prepare: Callable[[LiveUpdate], None]) -> Iterator[LiveUpdate]:
        def reach(vm: VirtualMachine) -> dict[str, Any]:
            update = LiveUpdate(vm)
            prepare(update)
            update.execute()
            return update.facts

        step = dataclasses.replace(Step.of(prepare), reach=reach)
        test = session.running
        started = session.boot(step=step)
        with started.machine:
            update = LiveUpdate.resume(started.machine, started.facts, kept=started.cloned)
            try:
                yield update
            finally:
                session.record(update, test)

    return start


@pytest.fixture
def machine(
    request: pytest.FixtureRequest,
    kernel: KernelBuild,  # noqa: ARG001 - built before the clock of a boot runs
) -> Iterator[VirtualMachine]:
    """A booted machine with the kernel under test.

    It is shared among tests that leave it clean; one that was updated, tainted, or that showed a
    splat is replaced.  ``@pytest.mark.fresh_machine`` asks for one that nobody has used.
    """
    session = session_of(request.config)
    if request.node.get_closest_marker("fresh_machine") is not None:
        session.drop_shared()
    if session.shared is None:
        session.shared = session.boot().machine
    vm = session.shared
    yield vm
    if vm.clean_up() is not None:
        session.drop_shared()


@pytest.fixture
def guest(machine: VirtualMachine) -> Guest:
    """The machine over SSH.  After a live update use ``machine.guest``: it is a new connection."""
    return machine.guest


@pytest.fixture
def agent(machine: VirtualMachine) -> Callable[..., dict[str, Any]]:
    """Run an agent command in whatever kernel the machine runs; return its JSON answer."""
    return machine.agent


@pytest.fixture
def module(machine: VirtualMachine) -> KernelModule:
    """The test module, not loaded yet: ``module.load(flbs=2)``."""
    return machine.module


@pytest.fixture
def live_update(request: pytest.FixtureRequest) -> Iterator[Callable[..., LiveUpdate]]:
    """Start a live update of a machine: ``live_update(machine)``."""
    from harness.liveupdate.update import LiveUpdate

    made: list[LiveUpdate] = []

    def start(vm: VirtualMachine) -> LiveUpdate:
        made.append(LiveUpdate(vm))
        return made[-1]

    yield start
    record_updates(request, made)


def record_updates(request: pytest.FixtureRequest, updates: list[LiveUpdate]) -> None:
    """Enter finished live updates into the results under the requesting test or module."""
    for update in updates:
        session_of(request.config).record(update, request.node.nodeid)
