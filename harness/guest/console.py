# SPDX-License-Identifier: GPL-2.0-only
"""A guest's serial console: always drained, logged with times, and watched.

QEMU's serial port is a pair of pipes.  One thread reads to the end, whatever else happens, so that
the guest never blocks on its console.  Pipes, because a socket loses text: QEMU's serial port
writes byte by byte, a socket's buffer takes some 300 of such writes, and what comes faster is
dropped in QEMU (seen with QEMU 7.2: a few characters in most boots; a pipe lost none).
"""

from __future__ import annotations

import codecs
import contextlib
import logging
import os
import re
import select
import sys
import termios
import threading
import time
import tty
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pexpect
import pexpect.fdpexpect

from harness.base.errors import KernelCrash, MachineError, SilentGuestError
from harness.base.text import plain
from harness.base.timeouts import HOST
from harness.results.kernel_log import find_splats

log = logging.getLogger(__name__)

_PIECE = 1024
"""Characters that pexpect's pipe is given at once: in UTF-8 no more than ``PIPE_BUF`` bytes, which
it takes as a whole or not at all (``pipe(7)``)."""

_PANIC = r"Kernel panic - not syncing: [^\r\n]*"
ESCAPE = b"\x1d"
"""Ctrl-], which ends an interactive console."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What :meth:`Console.expect` waited for.

    :param index: which of the patterns matched.
    :param groups: the match's groups.
    """

    index: int
    groups: tuple[str, ...]


def _show(data: bytes) -> None:
    os.write(sys.stdout.fileno(), data)


class Console:
    """The console behind two pipes, whose ends it owns.

    :param reader: what the guest prints comes from here; its end of file is QEMU's end.
    :param writer: what is typed goes there.
    :param log_file: gets every line, with seconds since the start in front.
    :param begin: what the guest printed before: that of the template a machine was cloned from.
    :param why_ended: says how QEMU ended, once it has closed its end.
    """

    def __init__(
        self,
        reader: int,
        writer: int,
        log_file: Path,
        *,
        begin: str = "",
        why_ended: Callable[[], str] = lambda: "nobody knows why",
    ) -> None:
        self.log_file = log_file
        self._why_ended = why_ended
        self._reader = reader
        self._writer = writer
        os.set_blocking(writer, False)
        self._stop_read, self._stop_write = os.pipe()
        self._text = [begin]
        self._length = len(begin)
        self._arrivals: list[tuple[int, float]] = []
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._echo: Callable[[bytes], None] | None = None
        # What is read here goes on through a pipe to pexpect, which may leave it unread for long:
        # the drainer must not block on it, so the pipe is fed from the kept text (see _pump).
        self._read_fd, self._write_fd = os.pipe()
        os.set_blocking(self._write_fd, False)
        self._fed = self._length
        self._spawn = pexpect.fdpexpect.fdspawn(
            self._read_fd, encoding="utf-8", codec_errors="replace", use_poll=True, timeout=None
        )
        self._thread = threading.Thread(target=self._drain, name="console", daemon=True)
        self._thread.start()

    # -- reading -----------------------------------------------------------------------------

    def mark(self) -> int:
        """Return a place in the text, for :meth:`since`."""
        with self._lock:
            return self._length

    def since(self, mark: int) -> str:
        """Return everything printed after *mark*, without carriage returns."""
        with self._lock:
            return "".join(self._text)[mark:]

    def when(self, text: str, *, mark: int = 0) -> float | None:
        """Return when *text* was printed after *mark*, ``None`` if it was not.

        :returns: on the clock of :func:`time.monotonic`; what came with a template has no time.
        """
        with self._lock:
            at = "".join(self._text).find(text, mark)
            return next((when for length, when in self._arrivals if length > at >= 0), None)

    @property
    def ended(self) -> bool:
        """Whether QEMU has closed its end."""
        return self._ended.is_set()

    def expect(self, patterns: Sequence[str], *, timeout_s: float, mark: int | None = None) -> Seen:
        """Wait until one of *patterns* (regular expressions) is printed after *mark*.

        :param mark: where to begin; ``None`` is where the last call stopped.
        :raises KernelCrash: when the kernel panics first.
        :raises MachineError: when QEMU's end of the console is closed first.
        :raises SilentGuestError: when *timeout_s* seconds pass first.
        """
        if mark is not None:
            self._rewind(mark)
        deadline = time.monotonic() + timeout_s
        wanted: list[Any] = [re.compile(text) for text in (*patterns, _PANIC)]
        while True:
            ended = self.ended
            self._pump()
            try:
                index = self._spawn.expect(wanted, timeout=0 if ended else 0.05)
            except pexpect.TIMEOUT:
                if ended and not self._unread():
                    raise self._gone() from None
                if time.monotonic() > deadline:
                    raise self._silent(patterns, timeout_s) from None
                continue
            except pexpect.EOF:
                raise self._gone() from None
            if index == len(patterns):
                raise self._crash()
            match = self._spawn.match
            assert isinstance(match, re.Match)  # noqa: S101 - no EOF or TIMEOUT among the patterns
            return Seen(index=index, groups=tuple(group or "" for group in match.groups()))

    def raise_if_panicked(self) -> None:
        """Raise when a kernel has panicked.

        :raises KernelCrash: with the panic's splat.
        """
        if re.search(_PANIC, self.since(0)):
            raise self._crash()

    def wait_for_end(self, timeout_s: float) -> bool:
        """Wait until QEMU's end is closed and everything is read; return whether that came."""
        return self._ended.wait(timeout_s)

    def last_lines(self, count: int = 5) -> str:
        """Return the last non-empty lines, joined with `` / ``."""
        lines = [line for line in self.since(0).splitlines() if line.strip()]
        return plain(" / ".join(line.strip() for line in lines[-count:])) or "nothing was printed"

    # -- writing -----------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Type *data*.

        :raises MachineError: when QEMU's end is closed.
        """
        if self.ended:
            raise self._gone()
        try:
            os.write(self._writer, data)
        except OSError as error:
            raise MachineError(
                f"cannot type on the console: {error.strerror}", log=self.log_file
            ) from error

    def interact(self) -> None:
        """Connect the user's terminal to the console until Ctrl-] or the machine's end."""
        stdin = sys.stdin.fileno()
        saved = termios.tcgetattr(stdin) if os.isatty(stdin) else None
        self._echo = _show
        try:
            if saved is not None:
                tty.setraw(stdin)
            self.send(b"\n")
            while not self.ended:
                ready, _, _ = select.select([stdin], [], [], 0.1)
                if not ready:
                    continue
                data = os.read(stdin, 4096)
                if not data or ESCAPE in data:
                    return
                self.send(data)
        finally:
            self._echo = None
            if saved is not None:
                termios.tcsetattr(stdin, termios.TCSADRAIN, saved)

    def close(self) -> None:
        """Stop reading; the text stays.  What QEMU has written is read first."""
        os.write(self._stop_write, b"x")
        self._thread.join()
        ours = (self._reader, self._writer, self._stop_read, self._stop_write)
        for fd in (*ours, self._read_fd, self._write_fd):
            os.close(fd)
        # pexpect would close a number that may be somebody else's by then.
        self._spawn.closed = True
        self._spawn.child_fd = -1

    # -- inside ------------------------------------------------------------------------------

    def _drain(self) -> None:
        started = time.monotonic()
        fresh = True
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        before = self._text[0].splitlines(keepends=True)
        writing = self._log("w", "".join(f"{'template':>10}  {line}" for line in before))
        while data := self._receive():
            if self._echo is not None:
                self._echo(data)
            text = decoder.decode(data).replace("\r", "")
            with self._lock:
                self._text.append(text)
                self._length += len(text)
                self._arrivals.append((self._length, time.monotonic()))
            stamp = f"{time.monotonic() - started:10.3f}  "
            stamped = ""
            for piece in text.splitlines(keepends=True):
                stamped += stamp + piece if fresh else piece
                fresh = piece.endswith("\n")
            writing = writing and self._log("a", stamped)
        self._ended.set()

    def _log(self, mode: str, text: str) -> bool:
        """Write to the log; when that cannot be, say so: a guest that nobody reads would stop."""
        try:
            with self.log_file.open(mode, encoding="utf-8") as stream:
                stream.write(text)
        except OSError as error:
            log.warning("%s: no more is written to it: %s", self.log_file, error.strerror)
            return False
        return True

    def _receive(self) -> bytes:
        """Return what comes next; nothing when QEMU or :meth:`close` ended it."""
        ready, _, _ = select.select([self._reader, self._stop_read], [], [])
        return os.read(self._reader, 65536) if self._reader in ready else b""

    def _pump(self) -> None:
        """Feed pexpect's pipe with what it has not had yet, as far as the pipe takes it."""
        data = self.since(self._fed)
        while data:
            piece = data[:_PIECE]
            try:
                os.write(self._write_fd, piece.encode("utf-8"))
            except BlockingIOError:
                return
            self._fed += len(piece)
            data = data[len(piece) :]

    def _unread(self) -> bool:
        """Return whether pexpect has not seen everything: it takes a little at a time."""
        waiting, _, _ = select.select([self._spawn.child_fd], [], [], 0)
        return bool(waiting or self.since(self._fed))

    def _rewind(self, mark: int) -> None:
        """Let pexpect go on at *mark*: drop what is in the pipe and in its buffer."""
        with contextlib.suppress(pexpect.TIMEOUT):
            while self._spawn.read_nonblocking(size=65536, timeout=0):
                pass
        self._spawn.buffer = self._spawn.string_type()
        self._fed = mark

    def _gone(self) -> MachineError:
        return MachineError(
            f"QEMU closed the console: {self._why_ended()}; last lines: {self.last_lines()}",
            log=self.log_file,
        )

    def _silent(self, patterns: Sequence[str], timeout_s: float) -> SilentGuestError:
        return SilentGuestError(
            f"the guest did not print {patterns[0]!r} within {timeout_s:.0f} s; "
            f"last lines: {self.last_lines()}",
            hint="a slow host needs a larger timeout_scale in kernel-configs/profiles.yaml",
            log=self.log_file,
        )

    def _crash(self) -> KernelCrash:
        self._ended.wait(HOST.panic_s)
        text = self.since(0)
        # The last line of a panic repeats it: "---[ end Kernel panic - not syncing: ... ]---".
        panic = plain((re.findall(rf"(?<!end ){_PANIC}", text) or re.findall(_PANIC, text))[-1])
        splat = next((s for s in reversed(find_splats(text)) if panic in s.text), None)
        if splat is None:
            return KernelCrash(panic, splat=panic, log=self.log_file)
        # A panic that something else led to says nothing: what led to it is told first.
        message = panic if splat.kind == "panic" else f"{splat.title}; {panic}"
        return KernelCrash(message, splat=splat.text, log=self.log_file)
