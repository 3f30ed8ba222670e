# SPDX-License-Identifier: GPL-2.0-only
"""A virtual machine together with the kernels that it runs, one after the other.

A kexec replaces the kernel, not the machine.  :class:`Machine` keeps both apart: the
QEMU process and its console stay, while an :class:`Epoch` and its SSH connection are of one
kernel.
"""

from __future__ import annotations

import logging
import os
import re
import shlex
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from harness.base.arch import architecture
from harness.base.errors import GuestError, HarnessError, InfrastructureError
from harness.base.spec import MachineSpec
from harness.base.suite import Preconditions
from harness.base.timeouts import GUEST
from harness.guest.archive import Initrd
from harness.guest.connection import Guest
from harness.guest.console import Console
from harness.guest.decode import decode_splats
from harness.guest.epoch import Epoch, Saved
from harness.guest.gcov import fetch_counters
from harness.guest.keys import GuestKeys, ssh_argv
from harness.guest.module import KernelModule
from harness.guest.preconditions import (
    check_build,
    check_clock,
    check_preconditions,
    check_processor,
)
from harness.guest.qemu import Qemu
from harness.guest.qemu_argv import Memory
from harness.guest.ssh import CommandResult
from harness.guest.starved import ProcessorTime
from harness.kernel.build import KernelBuild
from harness.results.kernel_log import Splat, find_splats

_Module = TypeVar("_Module", bound=KernelModule)

log = logging.getLogger(__name__)

READY = "harness: guest ready"
"""What the guest's init prints on the console when SSH answers (``images/overlay/init``)."""

_HARMLESS_TAINTS = 1 << 12 | 1 << 18
"""``TAINT_OOT_MODULE`` and ``TAINT_TEST`` (``include/linux/panic.h``): the suite's modules are
built out of tree, and KUnit says that it has run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestSetup:
    """What guests are given, and what they must have; the same for all machines of a pipeline.

    :param keys: whom the guest lets in, and how it proves itself.
    :param initrd_of: returns the initrd of any build.
    :param preconditions: what the guest must have.
    """

    keys: GuestKeys
    initrd_of: Callable[[KernelBuild], Initrd]
    preconditions: Preconditions


class Machine:
    """One machine; use as a context manager, or :meth:`start` and :meth:`close` it.

    :param build: the kernel that QEMU boots; it must be the one that *spec* names.
    :param log_dir: where console and QEMU logs go.
    :param memory: a file to run in, for :meth:`save`.
    :param saved: a machine of the same build and *spec* to go on from, in *memory*.
    """

    def __init__(
        self,
        *,
        spec: MachineSpec,
        build: KernelBuild,
        setup: GuestSetup,
        log_dir: Path,
        gdb: bool = False,
        memory: Memory | None = None,
        saved: Saved | None = None,
    ) -> None:
        self.spec = spec
        self.timeouts = GUEST.scaled(spec.timeout_scale)
        self.closed, self.test = False, ""  # the id of the test that runs
        self.epochs: list[Epoch] = []
        self._build = build
        self._setup = setup
        self._saved = saved
        self._qemu = Qemu(
            spec,
            log_dir=log_dir,
            gdb=gdb,
            memory=memory,
            console_text=saved.console if saved is not None else "",
        )
        self._guest: Guest | None = None
        self._modules: dict[str, KernelModule] = {}

    # -- life --------------------------------------------------------------------------------

    def start(self) -> None:
        """Launch QEMU, wait for the guest, and prove that it has what the suite needs.

        A machine that was saved goes on where it was; what is to be proven was proven then.

        :raises MachineError: when QEMU does not start or dies, or is another machine than was
            asked for.
        :raises ClockError: when the guest's clock runs fast.
        :raises KernelCrash: when the kernel panics while it boots.
        :raises GuestError: when the guest stays silent or SSH does not answer.
        :raises PreconditionError: when the kernel lacks something that the suite needs.
        """
        started = time.monotonic()
        try:
            self._qemu.start()
            if self._saved is not None:
                self._wake(self._saved)
            else:
                self.console.expect([re.escape(READY)], timeout_s=self.timeouts.boot_s)
                self.arrive(self._build, console_mark=0)
                self._check(started)
        except BaseException:
            self.close()
            raise

    def save(self, state: Path) -> Saved:
        """Stop the guest for good and write the state of its devices; end QEMU.

        The machine's memory file and *state* together are what other machines can go on from.

        :raises MachineError: when QEMU cannot.
        """
        try:
            if self._guest is not None:
                self._guest.close()
                self._guest = None
            self._qemu.save(state)
            return Saved(
                epochs=tuple(epoch.facts for epoch in self.epochs),
                console=self.console.since(0),
                modules=tuple(m.name for m in self._modules.values() if m.may_be_loaded),
            )
        finally:
            self.closed = True
            self._qemu.close()

    def _wake(self, saved: Saved) -> None:
        """Connect to a guest that goes on, and give it a clock and randomness of its own."""
        self._connect()
        now, seed = time.time_ns(), os.urandom(32).hex()
        self.must("wake", now, seed)
        self.epochs = [Epoch(build=self._build, **facts) for facts in saved.epochs]
        for name in saved.modules:
            self.module(name).may_be_loaded = True

    def __enter__(self) -> Machine:
        if not self.epochs:
            self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the SSH connection and QEMU; the console's text stays readable."""
        if self.closed:
            return
        self.closed = True
        try:
            with suppress(HarnessError):
                self.collect_counters()
            if self._guest is not None:
                self._guest.close()
        finally:
            self._qemu.close()

    # -- parts -------------------------------------------------------------------------------

    @property
    def console(self) -> Console:
        """The serial console, from QEMU's first byte on."""
        return self._qemu.console

    @property
    def guest(self) -> Guest:
        """The SSH connection to the kernel that runs now."""
        if self._guest is None:
            raise GuestError("the machine has not booted")
        return self._guest

    def module(self, name: str, path: str | None = None) -> KernelModule:
        """Return a module in whatever kernel runs; the same object for the same name.

        :param path: the ``.ko`` in the guest; ``None`` is where the suite's modules are.
        """
        module = self.module_as(name, KernelModule)
        if path is not None:
            module.path = path
        return module

    def module_as(self, name: str, kind: type[_Module]) -> _Module:
        """Return a module as an object of a class of its own: one that can be told something."""
        found = self._modules.get(name)
        if isinstance(found, kind):
            return found
        made = kind(lambda: self.guest, name)
        made.may_be_loaded = found is not None and found.may_be_loaded
        self._modules[name] = made
        return made

    @property
    def epoch(self) -> Epoch:
        """The kernel that runs now."""
        return self.epochs[-1]

    @property
    def qemu_pid(self) -> int:
        """QEMU's process id: the same before and after a live update."""
        return self._qemu.qemu_pid

    @property
    def processor_time(self) -> ProcessorTime | None:
        """How QEMU got its time from the host; ``None`` before it was started."""
        return self._qemu.processor_time

    # -- commands ------------------------------------------------------------------------------

    def run(self, words: str | list[str], *, timeout_s: float = GUEST.command_s) -> CommandResult:
        """Run a command in the guest; *timeout_s* is scaled."""
        return self.guest.run(words, timeout_s=timeout_s * self.timeouts.scale)

    def check(self, words: str | list[str], *, timeout_s: float = GUEST.command_s) -> str:
        """Run a command that must succeed; return its standard output.

        :raises CommandFailed: when it exits with another status than 0.
        """
        return self.guest.check(words, timeout_s=timeout_s * self.timeouts.scale).stdout

    def agent(self, *words: object, timeout_s: float = GUEST.command_s) -> dict[str, Any]:
        """Run an agent command; return its JSON answer, with ``ok`` and perhaps ``error``."""
        return self.guest.agent(
            *(str(word) for word in words), timeout_s=timeout_s * self.timeouts.scale
        )

    def must(self, *words: object, timeout_s: float = GUEST.command_s) -> dict[str, Any]:
        """Run an agent command that must succeed.

        :raises AssertionError: when it does not; the kernel refused what a test relies on.
        """
        return _must(words, self.agent(*words, timeout_s=timeout_s))

    def must_all(
        self, commands: Sequence[Sequence[object]], *, timeout_s: float = GUEST.command_s
    ) -> list[dict[str, Any]]:
        """Run agent commands that must all succeed, in one go; return their answers.

        :param timeout_s: for all of them together.
        :raises AssertionError: naming the first that does not.
        """
        answers = self.guest.agent_batch(
            [[str(word) for word in words] for words in commands],
            timeout_s=timeout_s * self.timeouts.scale,
        )
        # The batch stops at the first failure, so the answers may be fewer than the commands.
        return [_must(words, answer) for words, answer in zip(commands, answers, strict=False)]

    # -- kernels, one after the other ------------------------------------------------------------

    def initrd_of(self, build: KernelBuild) -> Initrd:
        """Return the initrd of any build."""
        return self._setup.initrd_of(build)

    def arrive(self, build: KernelBuild, *, console_mark: int) -> Epoch:
        """Connect to a kernel that has just come up, and make it the current epoch.

        :raises GuestError: when SSH does not answer.
        :raises KexecError: when another kernel answers than *build*.
        :raises CacheError: when the image of *build* is not what was linked.
        """
        guest = self._connect()
        check_build(guest, build, self.console.log_file)
        epoch = Epoch(
            number=len(self.epochs),
            build=build,
            boot_id=guest.boot_id(),
            release=build.release,
            console_mark=console_mark,
        )
        self.epochs.append(epoch)
        for module in self._modules.values():
            module.forget()
        return epoch

    def _connect(self) -> Guest:
        if self._guest is not None:
            self._guest.close()
        self._guest = Guest.connect(
            self._qemu.ssh_port,
            client_key=self._setup.keys.client,
            host_public=self._setup.keys.host_public,
            timeouts=self.timeouts,
            alive=self._qemu.assert_alive,
        )
        return self._guest

    def _check(self, started: float) -> None:
        """Refuse to test in a guest that is not what was asked for."""
        release, log_file = self._build.release, self.console.log_file
        check_clock(self.guest, time.monotonic() - started, release, log_file)
        check_processor(self.guest, self.spec, release, log_file)
        check_preconditions(self.guest, self._setup.preconditions, self.timeouts, release, log_file)

    def how_to_attach(self) -> str:
        """Say how to reach the machine from other terminals."""
        port, known = self._qemu.ssh_port, self._qemu.log_dir / "known_hosts"
        known.write_text(f"[127.0.0.1]:{port} ssh-ed25519 {self._setup.keys.host_public}\n")
        lines = [
            f"{self.epoch.release} runs; Ctrl-] ends it.  In another terminal:",
            f"  {shlex.join(ssh_argv(self._setup.keys, known, port))}",
        ]
        if (gdb := self._qemu.gdb_socket) is not None:
            program = architecture(self.spec.arch).gdb
            lines.append(f"  {program} {self._build.vmlinux} -ex 'target remote {gdb}'")
        return "\n".join(lines)

    def interact(self) -> None:
        """Connect the user's terminal to the console until Ctrl-] or the machine's end."""
        self.console.interact()

    def collect_counters(self, *, leaving: bool = False) -> None:
        """Fetch what gcov counted, if it counts, to ``gcov/NUMBER-EPOCH-BUILD/``; it counts anew.

        :param leaving: for the next kernel, which is noted beside them.
        :raises GuestError: when the guest does not answer.
        """
        if not self.epochs or not self.epoch.build.gcov.is_dir():
            return
        build, top = self.epoch.build, self._qemu.log_dir / "gcov"
        self._qemu.assert_alive()
        target = top / f"{len(list(top.glob('*'))):04}-{self.epoch.number}-{build.key}"
        limit = self.timeouts.counters_s
        fetch_counters(self.guest, build.gcov, target, self.test, leaving=leaving, timeout_s=limit)

    # -- between tests -------------------------------------------------------------------------

    def clean_up(self) -> str | None:
        """Undo what a test did; return why the machine cannot be used again, ``None`` if it can."""
        try:
            if len(self.epochs) > 1:
                return "it runs its second kernel"
            if not self.agent("reset")["ok"]:
                return "the agent could not let go of its files"
            for module in self._modules.values():
                if not module.loaded or module.unload() is None:
                    continue
                module.let_go()
                if module.unload() is not None:
                    return f"the module {module.name} cannot be unloaded"
            if taint := self.guest.taint() & ~_HARMLESS_TAINTS:
                return f"the kernel is tainted ({taint})"
            if find_splats(self.console.since(0)):
                return "the kernel log shows a splat"
        except (HarnessError, AssertionError, KeyError) as error:
            return f"it does not answer: {error}"
        return None

    def decode(self, splats: Sequence[Splat]) -> list[str]:
        """Return each splat's text with source lines, as the kernel that runs now has them."""
        build = self.epoch.build if self.epochs else self._build
        try:
            return decode_splats(splats, build.vmlinux, build.modules_debug, build.arch)
        except InfrastructureError as error:
            log.warning("cannot decode a splat: %s", error)
            return [splat.text for splat in splats]


def _must(words: Sequence[object], answer: dict[str, Any]) -> dict[str, Any]:
    if not answer["ok"]:
        said = " ".join(str(word) for word in words)
        raise AssertionError(f"harness-agent {said}: {answer.get('error')}: {answer}")
    return answer
