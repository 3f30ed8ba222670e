# SPDX-License-Identifier: GPL-2.0-only
"""QEMU's life.

Nothing here has a fixed name or port, so any number of machines can run side by side.  The
console is a pair of pipes in a private directory, the QMP control channel a socket pair that QEMU
inherits: nothing can clash, and no output is lost before somebody connects.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shlex
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from qemu.qmp import ExecuteError, QMPError

from harness.base import command
from harness.base.arch import architecture
from harness.base.errors import CommandError, MachineError
from harness.base.spec import MachineSpec
from harness.base.timeouts import HOST
from harness.guest.archive import join_archives
from harness.guest.console import Console
from harness.guest.qemu_argv import Memory, qemu_argv
from harness.guest.qmp import Qmp
from harness.guest.starved import ProcessorTime

log = logging.getLogger(__name__)

_IDLE_S = 0.05
"""Seconds in which a guest that is idle uses less than a third of a CPU; an instrumented kernel
whose clock ticks uses a tenth."""

# What QEMU says, 7.2 and 10.0 alike.
_LACKING_FEATURE = re.compile(r"requested feature: \S+?(?:[:.]E[A-D]X|\))\.(\S+) \[bit")
_LACKING_MODEL = re.compile(r"unable to find CPU model|Property '\S+-cpu\.\S+' not found")
_LACKING_MACHINE = re.compile(r"unsupported machine type")

_POLL_S = 0.001

_SOCKET_NAME = 107
"""Bytes that the name of a socket may have (unix(7), without the null byte)."""

_SHORT = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108 - a directory of our own is made there
"""Where a socket goes when ``TMPDIR`` is too long for one."""


class Qemu:
    """One QEMU process; a context manager, or :meth:`start` and :meth:`close` it.

    :param log_dir: gets ``console.log`` and ``qemu.log``; made when missing.
    :param gdb: offer a gdb stub at :attr:`gdb_socket`.
    :param memory: a file to run in, for :meth:`save` or to go on from what it saved.
    :param console_text: what the guest printed before it was saved.
    """

    def __init__(
        self,
        spec: MachineSpec,
        *,
        log_dir: Path,
        gdb: bool = False,
        memory: Memory | None = None,
        console_text: str = "",
    ) -> None:
        self.spec = spec
        self.log_dir = log_dir
        self.ssh_port = 0
        self.gdb_socket: Path | None = None
        self.processor_time: ProcessorTime | None = None
        self._gdb = gdb
        self._memory = memory
        self._console_text = console_text
        self._stack = contextlib.ExitStack()
        self._console: Console | None = None
        self._process: command.Process | None = None
        self._qmp: Qmp | None = None
        self._oom_kills = 0

    # -- life --------------------------------------------------------------------------------

    def __enter__(self) -> Qemu:
        self.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def start(self) -> None:
        """Launch QEMU.

        :raises MachineError: when it cannot be started or ends at once; its own words are quoted.
        """
        self.log_dir.mkdir(parents=True, exist_ok=True)
        self._oom_kills = _oom_kills()
        with contextlib.ExitStack() as stack, contextlib.ExitStack() as starting:
            # A name is needed until QEMU has opened the file: then it goes, so that nothing of a
            # machine is left when this process is killed.
            held = stack if self._gdb else starting
            private = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="harness-")))
            self._console = self._open_console(private / "console", starting)
            stack.callback(self._console.close)
            our_qmp, their_qmp = socket.socketpair()
            stack.callback(our_qmp.close)
            starting.callback(their_qmp.close)
            if self._gdb:
                self.gdb_socket = stack.enter_context(_short_directory(private)) / "gdb"
            state = self._open_state(starting)
            argv = qemu_argv(
                self.spec,
                initrd=_join(self.spec.initrds, private / "initrd") if state is None else None,
                console=private / "console",
                qmp_fd=their_qmp.fileno(),
                gdb_socket=self.gdb_socket,
                memory=self._memory,
            )
            inherited = [their_qmp.fileno(), *([state] if state is not None else [])]
            self._process = self._spawn(argv, inherited, stack)
            their_qmp.close()
            self.processor_time = ProcessorTime(self._process.pid)
            stack.enter_context(self.processor_time.watching())
            self._qmp = Qmp(our_qmp)
            stack.callback(self._qmp.close)
            try:
                self._qmp.connect()
                self.ssh_port = self._forwarded_port()
                if state is not None:
                    self._restore(state)
            except (QMPError, OSError, EOFError, TimeoutError) as error:
                self._process.wait(HOST.quit_s)
                died = self._died_error(f"QEMU did not start ({error})")
                raise self._refused() or died from error
            self._stack = stack.pop_all()

    def _open_console(self, path: Path, starting: contextlib.ExitStack) -> Console:
        """Make the pipes; *starting* lasts until QEMU has opened them."""
        ends = [path.with_suffix(suffix) for suffix in (".in", ".out")]
        for end in ends:
            os.mkfifo(end, 0o600)
        writer = os.open(ends[0], os.O_RDWR)
        reader = os.open(ends[1], os.O_RDONLY | os.O_NONBLOCK)
        # Without a writer the reader would see the end before the beginning.
        starting.callback(os.close, os.open(ends[1], os.O_WRONLY))
        log_file = self.log_dir / "console.log"
        return Console(
            reader, writer, log_file, begin=self._console_text, why_ended=self._why_closed
        )

    def _open_state(self, starting: contextlib.ExitStack) -> int | None:
        """Open what the machine goes on from, for as long as it starts; ``None`` when it boots."""
        if self._memory is None or self._memory.state is None:
            return None
        descriptor = os.open(self._memory.state, os.O_RDONLY)
        starting.callback(os.close, descriptor)
        return descriptor

    def _spawn(
        self, argv: tuple[str, ...], inherited: list[int], stack: contextlib.ExitStack
    ) -> command.Process:
        log_file = self.log_dir / "qemu.log"
        try:
            return stack.enter_context(
                command.spawn(argv, log_file=log_file, pass_fds=tuple(inherited))
            )
        except CommandError as error:
            raise MachineError(error.message, hint=error.hint) from error

    def close(self) -> None:
        """End QEMU: ask it over QMP, then TERM, then KILL; close the console."""
        if self._qmp is not None and self._process is not None and self._process.poll() is None:
            with contextlib.suppress(QMPError, OSError, EOFError, TimeoutError):
                self._qmp.execute("quit", timeout_s=HOST.quit_s)
            self._process.wait(HOST.gone_s)
        self._stack.close()

    # -- templates ---------------------------------------------------------------------------

    def save(self, state: Path) -> None:
        """Stop the guest and write the state of its devices; its memory is in its file.

        :raises MachineError: when QEMU cannot.
        """
        self._wait_until_idle()
        try:
            self._execute("stop")
            self._migrate("migrate", f"exec:cat >{shlex.quote(str(state))}")
        except (QMPError, OSError, EOFError, TimeoutError) as error:
            raise self._died_error(f"QEMU did not save the machine ({error})") from error

    def _wait_until_idle(self) -> None:
        """Let the guest end what it is doing, or every clone would do it again, and first."""
        deadline = time.monotonic() + HOST.settle_s
        used = _cpu_seconds(self.qemu_pid)
        while time.monotonic() < deadline:
            time.sleep(_IDLE_S)
            before, used = used, _cpu_seconds(self.qemu_pid)
            if used - before < _IDLE_S / 3:
                return

    def _restore(self, state: int) -> None:
        try:
            self._migrate("migrate-incoming", f"file:/proc/self/fd/{state}")
        except ExecuteError:
            # QEMU has "file:" since 8.2, and takes files by "fd:" no longer since 11.
            self._migrate("migrate-incoming", f"fd:{state}")
        self._execute("cont")

    def _migrate(self, command: str, uri: str) -> None:
        """Let QEMU write or read the devices' state; memory that is a file stays out of it."""
        # Experimental by name since QEMU 4.0 (docs/devel/migration); nothing else leaves it out.
        capability = {"capability": "x-ignore-shared", "state": True}
        self._execute("migrate-set-capabilities", {"capabilities": [capability]})
        self._execute(command, {"uri": uri})
        deadline = time.monotonic() + HOST.migrate_s
        while time.monotonic() < deadline:
            answer = self._execute("query-migrate")
            status = answer.get("status") if isinstance(answer, dict) else None
            if status == "completed":
                return
            if status in ("failed", "cancelled"):
                why = answer.get("error-desc", "no reason") if isinstance(answer, dict) else ""
                raise MachineError(f"QEMU: {command} failed: {why}")
            time.sleep(_POLL_S)
        raise MachineError(f"QEMU: {command} did not end within {HOST.migrate_s:.0f} s")

    def _execute(self, name: str, arguments: dict[str, object] | None = None) -> object:
        assert self._qmp is not None  # noqa: S101 - the machine was started
        return self._qmp.execute(name, arguments, timeout_s=HOST.qmp_s)

    # -- state -------------------------------------------------------------------------------

    @property
    def console(self) -> Console:
        """The serial console."""
        if self._console is None:
            raise MachineError("the machine has not been started")
        return self._console

    @property
    def qemu_pid(self) -> int:
        """QEMU's process id (``setpriv`` has become QEMU by ``execve``)."""
        if self._process is None:
            raise MachineError("the machine has not been started")
        return self._process.pid

    def assert_alive(self) -> None:
        """Raise when QEMU has ended, or the kernel in it has.

        :raises KernelCrash: when the kernel panicked; QEMU may have ended because of it.
        :raises MachineError: with how and why QEMU ended.
        """
        ended = self._process is not None and self._process.poll() is not None
        if ended:
            self.console.wait_for_end(HOST.gone_s)
        self.console.raise_if_panicked()
        if ended:
            raise self._died_error("QEMU ended")
        if self.processor_time is not None and self.processor_time.is_stopped:
            raise MachineError(
                "QEMU is stopped",
                hint="somebody sent it SIGSTOP, or traces it",
                log=self.console.log_file,
            )

    def why_ended(self) -> str:
        """Say how QEMU ended: the guest's doing, a signal, or a status of its own."""
        status = self._process.poll() if self._process is not None else None
        if status is None:
            return "it is running"
        if status < 0:
            starved = status == -signal.SIGKILL and _oom_kills() > self._oom_kills
            why = ", as the host or its control group ran out of memory" if starved else ""
            return f"killed by signal {-status}{why}"
        reason = self._qmp.shutdown_reason if self._qmp is not None else None
        if reason is not None:
            return f"the guest ended it ({reason})"
        return f"exit status {status}"

    def _why_closed(self) -> str:
        """Say how QEMU ended, which closes its console a moment before."""
        if self._process is not None:
            self._process.wait(HOST.gone_s)
        return self.why_ended()

    def _refused(self) -> MachineError | None:
        """Say what of the machine QEMU does not have; ``None`` when that is not why it ended."""
        log_file = self.log_dir / "qemu.log"
        said = log_file.read_text(errors="replace") if log_file.exists() else ""
        arch = architecture(self.spec.arch)
        lacks = _LACKING_FEATURE.findall(said)
        if lacks:
            lack = f"cannot give the guest's processor what it is to have: {', '.join(lacks)}"
        elif _LACKING_MODEL.search(said):
            lack = f"does not know the guest's processor {arch.processor.argument}"
        elif _LACKING_MACHINE.search(said):
            lack = f"has no machine {arch.machine.partition(',')[0]}"
        else:
            return None
        return MachineError(
            f"{self.spec.qemu} {lack}",
            hint=f"QEMU {arch.qemu_oldest} or a later one is needed; --qemu names another program",
            log=log_file,
        )

    def _died_error(self, what: str) -> MachineError:
        log_file = self.log_dir / "qemu.log"
        said = (
            log_file.read_text(errors="replace").strip().splitlines() if log_file.exists() else []
        )
        words = f": {' / '.join(said[-3:])}" if said else ""
        return MachineError(
            f"{what}: {self.why_ended()}{words}",
            hint="the console log shows what the guest did last" if not said else None,
            log=self.console.log_file if not said else log_file,
        )

    def _forwarded_port(self) -> int:
        text = self._execute("human-monitor-command", {"command-line": "info usernet"})
        match = re.search(r"TCP\[HOST_FORWARD\]\s+\d+\s+127\.0\.0\.1\s+(\d+)", str(text))
        if match is None:
            raise MachineError(f"QEMU does not say which port it forwards: {text!r}")
        return int(match.group(1))


@contextlib.contextmanager
def _short_directory(directory: Path) -> Iterator[Path]:
    """Yield *directory*, or one in its place whose name leaves room for that of a socket.

    :raises MachineError: when no directory for temporary files has a name that is short enough.
    """
    if _fits(directory):
        yield directory
        return
    for place in _SHORT:
        with contextlib.ExitStack() as stack:
            try:
                made = stack.enter_context(
                    tempfile.TemporaryDirectory(prefix="harness-", dir=place)
                )
            except OSError:
                continue
            if _fits(Path(made)):
                yield Path(made)
                return
    raise MachineError(
        f"no directory has a name short enough for gdb's socket: {directory}",
        hint="TMPDIR names a directory for temporary files",
    )


def _fits(directory: Path) -> bool:
    return len(os.fsencode(directory / "gdb")) <= _SOCKET_NAME


def _join(parts: tuple[Path, ...], target: Path) -> Path:
    """Return one initrd for QEMU."""
    if len(parts) == 1:
        return parts[0]
    target.write_bytes(join_archives(parts))
    return target


def _oom_kills() -> int:
    """Return how many processes the host has killed so far because memory ran out."""
    # Counted in mm/oom_kill.c for control groups as well; since Linux 4.13.
    found = re.search(r"^oom_kill (\d+)$", Path("/proc/vmstat").read_text(), re.M)
    return int(found.group(1)) if found is not None else 0


def _cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process so far, by its clock (``clock_getcpuclockid(3)``)."""
    # As the kernel makes the clock's number of a process (include/linux/posix-timers_types.h).
    return time.clock_gettime((~pid << 3) | 2)
