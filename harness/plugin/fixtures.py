# SPDX-License-Identifier: GPL-2.0-only
"""What tests ask for: kernels, machines, live updates."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from harness.base.errors import HarnessError
from harness.base.text import plain
from harness.plugin.session import or_exit, session_of

if TYPE_CHECKING:
    from harness.guest.connection import Guest
    from harness.guest.image import Image
    from harness.guest.kexec import Jump
    from harness.guest.machine import Machine
    from harness.guest.module import KernelModule
    from harness.guest.ssh import CommandResult
    from harness.kernel.build import KernelBuild
    from harness.plugin.races import Races
    from harness.results.ktap import KtapResult
    from harness.run.pipeline import Pipeline


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
def next_kernel(request: pytest.FixtureRequest, kernel: KernelBuild) -> KernelBuild:
    """The kernel that ``--to`` names, built: what a test of two kernels goes to.

    Without one it is the kernel under test.
    """
    other = or_exit(lambda: session_of(request.config).next_pipeline)
    return kernel if other is None else or_exit(other.build)


@pytest.fixture(scope="session")
def image(pipeline: Pipeline, kernel: KernelBuild) -> Image:
    """The guest's root file system."""
    return or_exit(lambda: pipeline.image(kernel))


@pytest.fixture(scope="session")
def boot_machine(
    request: pytest.FixtureRequest,
    pipeline: Pipeline,  # noqa: ARG001 - outlives the machines
) -> Callable[..., Machine]:
    """Start a machine of one's own: ``with boot_machine(position=0) as machine``.

    The block owns it and ends it; what it prints is judged in whatever test runs meanwhile.
    Kernel parameters besides those of the profile: ``boot_machine(cmdline=("quiet",))``.
    """

    def boot(position: int | None = None, cmdline: tuple[str, ...] = ()) -> Machine:
        return session_of(request.config).boot(position, cmdline=cmdline).machine

    return boot


@pytest.fixture
def machine(
    request: pytest.FixtureRequest,
    kernel: KernelBuild,  # noqa: ARG001 - built before the clock of a boot runs
) -> Iterator[Machine]:
    """A booted machine with the kernel under test.

    It is shared among tests that leave it clean; one that was updated, tainted, or that showed a
    splat is replaced.  A test that leaves more behind than there was (``idle`` of the suite) fails.
    ``@pytest.mark.fresh_machine`` asks for one that nobody has used.
    """
    session = session_of(request.config)
    if request.node.get_closest_marker("fresh_machine") is not None:
        session.drop_shared("a test asked for a machine that nobody has used")
    machine = session.share()
    yield machine
    if session.interrupted:
        return  # in the middle of a test, and no other test will have it
    if (why := machine.clean_up()) is not None:
        session.drop_shared(why, request.node.nodeid)
    elif (left := session.left(machine)) is not None:
        session.drop_shared(left, request.node.nodeid)
        raise AssertionError(left)


@pytest.fixture
def guest(machine: Machine) -> Guest:
    """The machine over SSH.  After a live update use ``machine.guest``: it is a new connection."""
    return machine.guest


@pytest.fixture
def agent(machine: Machine) -> Callable[..., dict[str, Any]]:
    """Run an agent command in whatever kernel the machine runs; return its JSON answer."""
    return machine.agent


@pytest.fixture
def module(machine: Machine) -> Callable[..., KernelModule]:
    """A kernel module, not loaded yet: ``module("name").load(parameter=1)``.

    One that the suite names is where the guest has it; for a module of the tree, give its path:
    ``module("name", "/path/in/the/guest.ko")``.
    """
    return machine.module


@pytest.fixture
def kselftest(machine: Machine, subtests: pytest.Subtests) -> Callable[..., CommandResult]:
    """Run a selftest of the kernel tree: ``kselftest("program", "argument")``.

    Each line of its KTAP output is a result of its own; a program that ends with another status
    than 0, or that says nothing where KTAP is asked for, fails the test.
    """
    from harness.guest.kernel_tests import run_selftest
    from harness.results.ktap import parse_ktap

    def run(program: str, *words: str, ktap: bool = True) -> CommandResult:
        result = run_selftest(machine, program, *words)
        said = plain(result.stdout + result.stderr)
        if ktap:
            _report(parse_ktap(result.stdout), said, subtests)
        if result.status != 0:
            raise AssertionError(f"{program} ended with status {result.status}: {said}")
        return result

    return run


@pytest.fixture
def kunit(machine: Machine, subtests: pytest.Subtests) -> Callable[[str], tuple[KtapResult, ...]]:
    """Run a KUnit suite of the kernel: ``kunit("suite")``; each case is a result of its own."""
    from harness.guest.kernel_tests import run_kunit

    def run(suite: str) -> tuple[KtapResult, ...]:
        found = run_kunit(machine, suite)
        _report(found, f"the KUnit suite {suite} says nothing", subtests)
        return found

    return run


def _report(found: Sequence[KtapResult], otherwise: str, subtests: pytest.Subtests) -> None:
    if not found:
        raise AssertionError(otherwise)
    for case in found:
        with subtests.test(case.name):
            if not case.ok:
                raise AssertionError(f"{case.outcome}: {case.detail}")


@pytest.fixture
def kernel_log(machine: Machine) -> Callable[[], str]:
    """What kernels have printed on the console since the test began: ``kernel_log()``."""
    mark = machine.console.mark()
    return lambda: machine.console.since(mark)


@pytest.fixture
def kexec(machine: Machine) -> Callable[..., Jump]:
    """Go from the running kernel to the next one: ``kexec()``, or ``kexec(kernel_at(0))``."""
    from harness.guest.kexec import go, load_next

    def jump(build: KernelBuild | None = None) -> Jump:
        wanted = build or machine.epoch.build
        load_next(machine, wanted)
        return go(machine, wanted)

    return jump


@pytest.fixture
def races(request: pytest.FixtureRequest) -> Races:
    """What a test of races follows from: ``for seed in races.seeds()``, ``races.schedule(seed)``.

    The seed is that of ``--seed``; ``--races`` asks for further ones.  A test that fails says
    which one it was, and how to see it again.
    """
    from harness.plugin.races import Races

    return Races(request)
