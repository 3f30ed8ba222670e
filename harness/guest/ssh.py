# SPDX-License-Identifier: GPL-2.0-only
"""An SSH connection to a guest: commands and files.  Nothing waits without a deadline.

One connection serves everything until the kernel is gone.  The guest proves itself by a pinned
host key, so that a connection can never end in somebody else's guest.
"""

from __future__ import annotations

import base64
import logging
import shlex
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import paramiko

from harness.base.errors import CommandFailed, GuestClosed, GuestTimeout, GuestUnreachable
from harness.base.timeouts import GUEST, GuestTimeouts

_POLL_S = 0.02
_CHUNK = 1 << 18


def receive(channel: paramiko.Channel, count: int, deadline: float) -> bytes:
    """Receive up to *count* bytes; nothing is the other side's end.

    :param deadline: on the clock of :func:`time.monotonic`.
    :raises TimeoutError: when it passes.
    """
    while True:
        channel.settimeout(max(0.0, deadline - time.monotonic()))
        try:
            return channel.recv(count)
        except TimeoutError:
            # paramiko goes by a clock that can be set.
            if time.monotonic() >= deadline:
                raise


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandResult:
    """A command that ended in the guest.

    :param stdout: decoded as UTF-8, what is not UTF-8 replaced.
    :param seconds: wall clock time on the host.
    """

    command: str
    status: int
    stdout: str
    stderr: str
    seconds: float


class Connection:
    """An SSH connection; :meth:`connect` makes one, :meth:`close` ends it.

    :param timeouts: those of this class's own commands.
    :param alive: raises when the machine is dead; asked whenever the connection fails, so that a
        dead QEMU or a panic is reported as such.
    """

    def __init__(
        self,
        transport: paramiko.Transport,
        *,
        timeouts: GuestTimeouts,
        alive: Callable[[], None],
    ) -> None:
        self._transport = transport
        self._timeouts = timeouts
        self._alive = alive

    @classmethod
    def connect(
        cls,
        port: int,
        *,
        client_key: Path,
        host_public: str,
        timeouts: GuestTimeouts = GUEST,
        alive: Callable[[], None] = lambda: None,
        host: str = "127.0.0.1",
    ) -> Self:
        """Connect to the guest behind *port*.

        :param timeouts: those of the connection.
        :param host_public: the only host key that is accepted: its wire form in base64.
        :raises GuestUnreachable: when nobody answers in time, or with another key.
        """
        logging.getLogger("paramiko").setLevel(logging.CRITICAL)
        deadline = time.monotonic() + timeouts.connect_s
        key = paramiko.Ed25519Key.from_private_key_file(str(client_key))
        last: BaseException | None = None
        while (left := deadline - time.monotonic()) > 0:
            alive()
            try:
                transport = cls._handshake(host, port, key, host_public, left)
            except (OSError, EOFError, paramiko.SSHException) as error:
                last = error
                time.sleep(_POLL_S)
                continue
            return cls(transport, timeouts=timeouts, alive=alive)
        alive()
        raise GuestUnreachable(
            f"no SSH answer on port {port} within {timeouts.connect_s:.0f} s: {last or 'silence'}"
        )

    @staticmethod
    def _handshake(
        host: str, port: int, key: paramiko.PKey, host_public: str, timeout_s: float
    ) -> paramiko.Transport:
        sock = socket.create_connection((host, port), timeout=timeout_s)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        transport = paramiko.Transport(sock)
        # What costs an emulated CPU least; dropbear speaks all of them.
        options = transport.get_security_options()
        options.kex = [name for name in options.kex if "curve25519" in name] or options.kex
        options.key_types = ["ssh-ed25519"]
        transport.banner_timeout = timeout_s
        transport.handshake_timeout = timeout_s
        transport.auth_timeout = timeout_s
        transport.set_keepalive(0)
        try:
            transport.start_client(timeout=timeout_s)
            offered = transport.get_remote_server_key()
            if offered.asbytes() != base64.b64decode(host_public):
                raise GuestUnreachable(
                    f"port {port} answers with another host key: {offered.get_base64()[:24]}...",
                    hint="it is not the guest that was booted; is an old QEMU still running?",
                )
            transport.auth_publickey("root", key)
        except BaseException:
            transport.close()
            raise
        return transport

    def close(self) -> None:
        """End the connection."""
        self._transport.close()

    # -- commands ----------------------------------------------------------------------------

    def run(
        self, words: str | Sequence[str], *, timeout_s: float, stdin: bytes = b""
    ) -> CommandResult:
        """Run a command to its end.

        :param words: a list is quoted for the guest's shell; a string goes to it as it is.
        :raises GuestTimeout: after *timeout_s* seconds; the connection stays usable.
        :raises GuestClosed: when the connection ends under the command.
        """
        line = words if isinstance(words, str) else shlex.join(words)
        started = time.monotonic()
        deadline = started + timeout_s
        channel = self._open(line, timeout_s)
        try:
            out, err = self._drain(channel, stdin, deadline, line, timeout_s)
            status = channel.recv_exit_status()
        finally:
            channel.close()
        if status == -1:
            # No status came: a signal ended the command, or the connection went (and paramiko
            # closes its channels before it calls itself inactive, so that it has to be tried).
            self._open_nothing(line)
            raise CommandFailed(f"in the guest: {line[:120]!r} was ended by a signal")
        return CommandResult(
            command=line,
            status=status,
            stdout=out.decode("utf-8", errors="replace"),
            stderr=err.decode("utf-8", errors="replace"),
            seconds=time.monotonic() - started,
        )

    def check(
        self, words: str | Sequence[str], *, timeout_s: float, stdin: bytes = b""
    ) -> CommandResult:
        """Run a command that must end with status 0.

        :raises CommandFailed: when it does not.
        """
        result = self.run(words, timeout_s=timeout_s, stdin=stdin)
        if result.status != 0:
            said = result.stderr.strip() or result.stdout.strip() or "it said nothing"
            raise CommandFailed(
                f"in the guest: {result.command[:120]!r} ended with status {result.status}: {said}"
            )
        return result

    def _open_nothing(self, line: str) -> None:
        try:
            self._transport.open_session(timeout=self._timeouts.command_s).close()
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise self._closed(line) from error

    def _tunnel(self, port: int, timeout_s: float) -> paramiko.Channel:
        """Open a channel to a port of the guest itself: no program is started for it.

        :raises GuestClosed: when the connection has ended.
        :raises CommandFailed: when nobody listens there.
        """
        local = "127.0.0.1"
        try:
            deadline = time.monotonic() + timeout_s
            channel = self._new_channel("direct-tcpip", deadline, (local, port), (local, 0))
        except paramiko.ChannelException as error:
            raise CommandFailed(f"in the guest: nobody listens on port {port}: {error}") from error
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise self._closed(f"connection to port {port}") from error
        channel.settimeout(timeout_s)
        return channel

    def _new_channel(
        self,
        kind: str,
        deadline: float,
        to: tuple[str, int] | None = None,
        by: tuple[str, int] | None = None,
    ) -> paramiko.Channel:
        """Open a channel; time may be left where paramiko sees none: :func:`receive` says why."""
        while True:
            left = max(_POLL_S, deadline - time.monotonic())
            try:
                return self._transport.open_channel(kind, to, by, timeout=left)
            except paramiko.ChannelException:
                raise
            except paramiko.SSHException:
                if time.monotonic() >= deadline or not self._transport.is_active():
                    raise
                time.sleep(_POLL_S)

    def _open(self, line: str, timeout_s: float) -> paramiko.Channel:
        deadline = time.monotonic() + timeout_s
        try:
            channel = self._new_channel("session", deadline)
            channel.settimeout(timeout_s)
            # paramiko waits for the reply without end, or until the channel is closed.
            guard = threading.Timer(max(0.0, deadline - time.monotonic()), channel.close)
            guard.daemon = True
            guard.start()
            try:
                channel.exec_command(line)
            finally:
                guard.cancel()
        except (OSError, EOFError, paramiko.SSHException) as error:
            if time.monotonic() < deadline or not self._transport.is_active():
                raise self._closed(line) from error
            self._alive()
            raise GuestTimeout(
                f"in the guest: {line[:120]!r} did not begin within {timeout_s:.0f} s"
            ) from error
        return channel

    def _drain(
        self,
        channel: paramiko.Channel,
        stdin: bytes,
        deadline: float,
        line: str,
        timeout_s: float,
    ) -> tuple[bytes, bytes]:
        """Feed and read all three streams until the command has ended."""
        out, err = bytearray(), bytearray()
        pending = memoryview(stdin)
        fed = False
        while True:
            progressed = False
            if channel.recv_ready():
                out += channel.recv(_CHUNK)
                progressed = True
            if channel.recv_stderr_ready():
                err += channel.recv_stderr(_CHUNK)
                progressed = True
            try:
                if pending and channel.send_ready():
                    sent = channel.send(pending[:_CHUNK].tobytes())
                    pending = pending[sent:]
                    progressed = True
                if not pending and not fed:
                    channel.shutdown_write()
                    fed = True
            except TimeoutError:
                pass  # the deadline is below
            except (OSError, EOFError, paramiko.SSHException) as error:
                if not self._transport.is_active():
                    raise self._closed(line) from error
                # The command has ended, and wants no more.
                pending, fed = memoryview(b""), True
            if progressed:
                continue
            if channel.exit_status_ready() and (channel.eof_received or channel.closed):
                if not channel.recv_ready() and not channel.recv_stderr_ready():
                    return bytes(out), bytes(err)
                continue
            if not self._transport.is_active():
                raise self._closed(line)
            if time.monotonic() > deadline:
                self._alive()
                raise GuestTimeout(
                    f"in the guest: {line[:120]!r} did not end within {timeout_s:.0f} s"
                )
            channel.status_event.wait(0.002)

    def _closed(self, line: str) -> GuestClosed:
        # A machine that dies closes its sockets first.
        deadline = time.monotonic() + self._timeouts.dying_s
        while time.monotonic() < deadline:
            self._alive()
            time.sleep(_POLL_S)
        return GuestClosed(f"the SSH connection ended under {line[:120]!r}")

    # -- files -------------------------------------------------------------------------------

    def put(self, content: Path | bytes, remote: str, *, timeout_s: float) -> None:
        """Write a file in the guest; its size is checked.

        :raises CommandFailed: when it cannot be written, or not all of it.
        """
        data = content if isinstance(content, bytes) else content.read_bytes()
        target = shlex.quote(remote)
        self.check(f"cat >{target}", timeout_s=timeout_s, stdin=data)
        size = int(self.check(f"wc -c <{target}", timeout_s=timeout_s).stdout)
        if size != len(data):
            raise CommandFailed(f"in the guest: {remote} has {size} of {len(data)} bytes")

    def get(self, remote: str, *, timeout_s: float) -> bytes:
        """Return the content of a file in the guest.

        :raises CommandFailed: when it cannot be read.
        """
        encoded = self.check(["base64", remote], timeout_s=timeout_s).stdout
        return base64.b64decode(encoded)
