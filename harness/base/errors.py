# SPDX-License-Identifier: GPL-2.0-only
"""The error tree.

::

    HarnessError
    |- InputError            what the user gave is wrong; exit code 2
    |  |- SpecError          a YAML file or an option value
    |  |- SourceError        no kernel tree, wrong hash, unknown revision
    |  |- SeriesError        a series that cannot be read or applied
    |  |- KconfigError       unknown symbol, wrong type, lost symbol
    |  |- BuildError         the compiler refused a position
    |  `- CacheError         an entry of the cache is damaged
    `- InfrastructureError   the host or the machine let us down; exit code 3
       |- CommandError       a program failed or could not be started
       |- SandboxError       there is no sandbox, and one is required
       |- DownloadError      a package could not be fetched
       |- MachineError       QEMU did not start, died or does not answer
       |  `- ClockError         the guest's clock runs fast
       |- SilentGuestError   the console stayed silent past a deadline
       |- PreconditionError  the kernel runs, but lacks what the suite needs
       |- GuestError         SSH
       |  |- GuestUnreachable   nobody answers, or somebody else does
       |  |- GuestClosed        the connection was closed under a command
       |  |- GuestTimeout       a command passed its deadline
       |  `- CommandFailed      a command that had to succeed did not
       `- KexecError         the machine did not come to its next kernel
          `- KexecRefused       the first kernel refused, and runs on

A kernel that crashes is neither: :class:`KernelCrash` carries a verdict about the kernel
under test, and only the pytest plugin and bisect turn it into one.
"""

from __future__ import annotations

from enum import IntEnum
from pathlib import Path

from harness.base.text import plain


class ExitCode(IntEnum):
    """What the command line returns; the words below its members are those of the reference."""

    PASSED = 0
    """every test passed, or did what it states"""
    TESTS_FAILED = 1
    """the kernel failed a test, crashed, or printed a splat"""
    BAD_INPUT = 2
    """bad input: a patch that does not apply, an unknown option, code that does not compile"""
    INFRASTRUCTURE = 3
    """the host or the machine let us down: no verdict about the kernel"""
    INTERRUPTED = 130
    """interrupted"""


class HarnessError(Exception):
    """The root of everything the harness raises on purpose.

    :param message: one line that names the file, line, patch or program at fault.
    :param hint: what to do about it, or ``None``.
    :param log: the file that holds the details, or ``None``.
    """

    exit_code = ExitCode.INFRASTRUCTURE

    def __init__(self, message: str, *, hint: str | None = None, log: Path | None = None) -> None:
        # Some quote what a guest printed.
        self.message = plain(message)
        super().__init__(self.message)
        self.hint = plain(hint) if hint is not None else None
        self.log = log


class InputError(HarnessError):
    """What the user gave is wrong."""

    exit_code = ExitCode.BAD_INPUT


class SpecError(InputError):
    """A YAML file or an option holds something it may not."""


class SourceError(InputError):
    """There is no usable kernel tree where one was expected."""


class SeriesError(InputError):
    """A patch series cannot be read, ordered or applied.

    :param patch: number and subject of the patch at fault, or ``None``.
    """

    def __init__(
        self,
        message: str,
        *,
        patch: str | None = None,
        hint: str | None = None,
        log: Path | None = None,
    ) -> None:
        super().__init__(message, hint=hint, log=log)
        self.patch = patch


class KconfigError(InputError):
    """A configuration cannot be had.

    :param symbols: the symbols at fault, without the ``CONFIG_`` prefix.
    """

    def __init__(
        self,
        message: str,
        *,
        symbols: tuple[str, ...] = (),
        hint: str | None = None,
        log: Path | None = None,
    ) -> None:
        super().__init__(message, hint=hint, log=log)
        self.symbols = symbols


class BuildError(InputError):
    """The kernel or a module does not build at this position."""


class CacheError(InputError):
    """An entry of the cache is damaged."""


class InfrastructureError(HarnessError):
    """The host or the virtual machine let us down; says nothing about the kernel."""


class CommandError(InfrastructureError):
    """A program failed, timed out or could not be started.

    :param argv: what was run.
    :param returncode: its exit status; ``None`` when it never started or was ended at its
        deadline.
    """

    def __init__(
        self,
        message: str,
        *,
        argv: tuple[str, ...],
        returncode: int | None = None,
        hint: str | None = None,
        log: Path | None = None,
    ) -> None:
        super().__init__(message, hint=hint, log=log)
        self.argv = argv
        self.returncode = returncode

    @property
    def cut_short(self) -> bool:
        """Whether the program never came to an end of its own, and so says nothing of its input."""
        return self.returncode is None or self.returncode < 0


class SandboxError(InfrastructureError):
    """There is no sandbox for what a kernel tree runs, and one is required."""


class DownloadError(InfrastructureError):
    """A package could not be fetched."""


class MachineError(InfrastructureError):
    """QEMU could not be started, died or does not answer."""


class ClockError(MachineError):
    """A kernel took the measure of its clock when the host gave it no time, and runs fast."""


class SilentGuestError(InfrastructureError):
    """The guest did not say on its console what it had to say, in time."""


class PreconditionError(InfrastructureError):
    """The kernel runs, but lacks what the suite needs of every guest."""


class GuestError(InfrastructureError):
    """Something is wrong with the SSH connection to the guest."""


class GuestUnreachable(GuestError):  # noqa: N818 - reads better where it is raised
    """Nobody answers over SSH, or somebody with another host key does."""


class GuestClosed(GuestError):  # noqa: N818
    """The SSH connection ended under a command."""


class GuestTimeout(GuestError):  # noqa: N818
    """A command in the guest passed its deadline."""

    def __init__(self, message: str) -> None:
        hint = "does it wait in the kernel for good? The kernel log of the profile debug says so"
        super().__init__(message, hint=hint)


class CommandFailed(GuestError):  # noqa: N818
    """A command in the guest that had to succeed did not."""


class KexecError(InfrastructureError):
    """A machine did not come to its next kernel as it was asked to."""


class KexecRefused(KexecError):  # noqa: N818
    """The first kernel refused to reboot into the next one, and runs on.

    It says so with an errno: for a test it is a failure.
    """


class KernelCrash(HarnessError):  # noqa: N818 - a verdict, not an error of ours
    """The kernel under test panicked or oopsed to death.

    :param splat: the console text from the first line of the splat on.
    """

    exit_code = ExitCode.TESTS_FAILED

    def __init__(
        self, message: str, *, splat: str = "", hint: str | None = None, log: Path | None = None
    ) -> None:
        super().__init__(message, hint=hint, log=log)
        self.splat = plain(splat)
