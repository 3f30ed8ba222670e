# SPDX-License-Identifier: GPL-2.0-only
"""What tests of live updates ask for, beside the framework's fixtures."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from harness.plugin.session import Session, session_of

if TYPE_CHECKING:
    from harness.guest.machine import Machine
    from harness.kernel.build import KernelBuild
    from harness.liveupdate.module import TestModule
    from harness.liveupdate.update import LiveUpdate

UpdatedMachine = Callable[
    [Callable[["LiveUpdate"], None]], "contextlib.AbstractContextManager[LiveUpdate]"
]
"""What the fixture :func:`updated_machine` is."""


@pytest.fixture
def module(machine: Machine) -> TestModule:
    """The test module, not loaded yet: ``module.load(flbs=2)``.  It stands for the framework's."""
    from harness.liveupdate.module import luo_test

    return luo_test(machine)


@pytest.fixture
def live_update(request: pytest.FixtureRequest) -> Iterator[Callable[..., LiveUpdate]]:
    """Start a live update of a machine: ``live_update(machine)``."""
    from harness.liveupdate.update import LiveUpdate

    made: list[LiveUpdate] = []

    def start(machine: Machine) -> LiveUpdate:
        made.append(LiveUpdate(machine))
        return made[-1]

    yield start
    for update in made:
        record(session_of(request.config), update, request.node.nodeid)


@pytest.fixture(scope="session")
def updated_machine(
    request: pytest.FixtureRequest,
    kernel: KernelBuild,  # noqa: ARG001 - built before the clock of a boot runs
) -> UpdatedMachine:
    """Start a machine in its second kernel: ``with updated_machine(prepare) as update``.

    ``prepare`` gets an update in the first kernel, and preserves.  What it prepares is loaded and
    gone to once; every block then has a clone of its own, ``update.machine``, in which nothing has
    been retrieved yet.
    """
    from harness.guest.template import Step
    from harness.liveupdate.update import LiveUpdate

    session = session_of(request.config)

    @contextlib.contextmanager
    def start(prepare: Callable[[LiveUpdate], None]) -> Iterator[LiveUpdate]:
        def reach(machine: Machine) -> dict[str, Any]:
            update = LiveUpdate(machine)
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
                record(session, update, test)

    return start


def record(session: Session, update: LiveUpdate, test: str) -> None:
    """Enter a live update into the results, if it came to its second kernel."""
    from harness.liveupdate.results import KEY

    result = update.result(test=test)
    if result is not None:
        session.add(KEY, result.to_item())
