# SPDX-License-Identifier: GPL-2.0-only
"""A booted kernel over SSH: commands, files, modules.  Nothing waits without a deadline.

One connection serves everything until the kernel is gone.  The guest proves itself by a pinned
host key, so that a connection can never end in somebody else's guest.
"""

from __future__ import annotations

import base64
import json
import logging
import shlex
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paramiko

from harness.errors import CommandFailed, GuestClosed, GuestTimeout, GuestUnreachable

log = logging.getLogger(__name__)

QUICK_S = 10.0
"""Seconds for the small commands this module runs itself; scaled by the connection's scale."""

DYING_S = 1.0
"""How long a machine whose connection has ended is watched for its end."""

_AGENT = "exec luo-agent lines"
"""The agent in the place of the shell that starts it, not below it."""

_POLL_S = 0.02
_CHUNK = 1 << 18


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


class Guest:
    """An SSH connection; :meth:`connect` makes one, :meth:`close` ends it.

    :param scale: factor on the deadlines of this class's own commands.
    :param alive: raises when the machine is dead; asked whenever the connection fails, so that a
        dead QEMU or a panic is reported as such.
    """

    def __init__(
        self, transport: paramiko.Transport, *, scale: float, alive: Callable[[], None]
    ) -> None:
        self._transport = transport
        self._scale = scale
        self._alive = alive
        self._lines: paramiko.Channel | None = None

    @classmethod
    def connect(
        cls,
        port: int,
        *,
        client_key: Path,
        host_public: str,
        timeout_s: float,
        scale: float = 1.0,
        alive: Callable[[], None] = lambda: None,
        host: str = "127.0.0.1",
    ) -> Guest:
        """Connect to the guest behind *port*.

        :param host_public: the only host key that is accepted: its wire form in base64.
        :raises GuestUnreachable: when nobody answers in time, or with another key.
        """
        logging.getLogger("paramiko").setLevel(logging.CRITICAL)
        deadline = time.monotonic() + timeout_s
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
            return cls(transport, scale=scale, alive=alive)
        alive()
        raise GuestUnreachable(
            f"no SSH answer on port {port} within {timeout_s:.0f} s: {last or 'silence'}"
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
            self._transport.open_session(timeout=QUICK_S * self._scale).close()
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise self._closed(line) from error

    def _open(self, line: str, timeout_s: float) -> paramiko.Channel:
        try:
            channel = self._transport.open_session(timeout=timeout_s)
            channel.settimeout(timeout_s)
            channel.exec_command(line)
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise self._closed(line) from error
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
            if pending and channel.send_ready():
                sent = channel.send(pending[:_CHUNK].tobytes())
                pending = pending[sent:]
                progressed = True
            if not pending and not fed:
                channel.shutdown_write()
                fed = True
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
        deadline = time.monotonic() + DYING_S
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

    # -- the kernel --------------------------------------------------------------------------

    def _quick(self, line: str) -> str:
        return self.check(line, timeout_s=QUICK_S * self._scale).stdout

    def release(self) -> str:
        """Return ``uname -r``."""
        return self._quick("uname -r").strip()

    def boot_id(self) -> str:
        """Return the kernel's boot id, new at every boot (``random(4)``)."""
        return self._quick("cat /proc/sys/kernel/random/boot_id").strip()

    def taint(self) -> int:
        """Return the taint mask (``Documentation/admin-guide/tainted-kernels.rst``)."""
        return int(self.read("/proc/sys/kernel/tainted"))

    def dmesg(self) -> str:
        """Return the kernel's log buffer."""
        return self._quick("dmesg")

    def insmod(self, path: str, **parameters: object) -> str | None:
        """Load a module with ``finit_module(2)``; return the errno's name, ``None`` if it went."""
        words = " ".join(f"{name}={value}" for name, value in parameters.items())
        return self._errno("insmod", path, words)

    def rmmod(self, name: str, *, force: bool = False) -> str | None:
        """Unload a module with ``delete_module(2)``; return the errno's name, ``None`` if it went.

        :param force: unload it although it is in use.
        """
        return self._errno("rmmod-force" if force else "rmmod", name)

    def refcount(self, module: str) -> int | None:
        """Return a module's reference count from ``/proc/modules``; ``None`` if not loaded."""
        for line in self.read("/proc/modules").splitlines():
            name, _size, count = line.split()[:3]
            if name == module:
                return int(count)
        return None

    # -- without starting a program for it -----------------------------------------------------

    def read(self, path: str) -> str:
        """Return what a small file of the kernel holds.

        :raises CommandFailed: when it cannot be read.
        """
        answer = self.agent("get", path, timeout_s=QUICK_S * self._scale)
        if not answer["ok"]:
            raise CommandFailed(f"in the guest: {path} cannot be read: {answer['error']}")
        return str(answer["content"])

    def write(self, path: str, text: str) -> str | None:
        """Write to a file of the kernel; return the errno's name, ``None`` when it was taken."""
        return self._errno("put", path, text)

    def _errno(self, *words: str) -> str | None:
        answer = self.agent(*words, timeout_s=QUICK_S * self._scale)
        return None if answer["ok"] else str(answer["error"])

    def agent(self, *words: str, timeout_s: float) -> dict[str, Any]:
        """Run an agent command (``images/guest/README.md``); return its JSON answer.

        The client that takes it stays: a login and two programs less than :meth:`run`, which on
        an emulated CPU is what a command costs.

        :raises GuestTimeout: after *timeout_s* seconds.
        :raises GuestClosed: when the connection ends under the command.
        :raises CommandFailed: when the agent does not know the command, or is not there.
        """
        _refuse_separators(words)
        said = shlex.join(words)
        if self._lines is None:
            self._lines = self._open(_AGENT, timeout_s)
        channel, deadline, answer = self._lines, time.monotonic() + timeout_s, bytearray()
        try:
            channel.settimeout(timeout_s)
            channel.sendall("\t".join(words).encode() + b"\n")
            while not answer.endswith(b"\n"):
                channel.settimeout(max(0.0, deadline - time.monotonic()))
                piece = channel.recv(_CHUNK)
                if not piece:
                    raise EOFError
                answer += piece
        except TimeoutError:
            self._hang_up()
            self._alive()
            raise GuestTimeout(
                f"in the guest: {said[:120]!r} was not answered within {timeout_s:.0f} s"
            ) from None
        except (OSError, EOFError, paramiko.SSHException) as error:
            self._hang_up()
            self._open_nothing(said)
            raise CommandFailed(f"in the guest: luo-agent ended under {said[:120]!r}") from error
        return _answers(answer.decode("utf-8", errors="replace"), said)[0]

    def tell(self, *words: str) -> None:
        """Give an agent command whose answer nobody waits for: the kernel may go with it.

        :raises GuestClosed: when the connection has ended.
        """
        _refuse_separators(words)
        channel = self._lines or self._open(_AGENT, QUICK_S * self._scale)
        # What it still answers is not the answer to the next command.
        self._lines = None
        try:
            channel.sendall("\t".join(words).encode() + b"\n")
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise self._closed(shlex.join(words)) from error

    def _hang_up(self) -> None:
        if self._lines is not None:
            self._lines.close()
            self._lines = None

    def agent_batch(
        self, commands: Sequence[Sequence[str]], *, timeout_s: float
    ) -> list[dict[str, Any]]:
        """Run agent commands one after the other, over one channel; stop at the first that fails.

        :returns: an answer for each command that ran.
        :raises CommandFailed: when a command is wrong or the agent's daemon is not there.
        """
        for words in commands:
            _refuse_separators(words)
        if not commands:
            return []
        lines = "".join("\t".join(words) + "\n" for words in commands)
        result = self.run(["luo-agent", "batch"], timeout_s=timeout_s, stdin=lines.encode())
        return _answers(result.stdout or result.stderr, f"batch of {len(commands)}")


def _refuse_separators(words: Sequence[str]) -> None:
    if any(character in word for word in words for character in "\t\n"):
        raise CommandFailed(f"an agent command cannot hold tabs and newlines: {words}")


def _answers(text: str, said: str) -> list[dict[str, Any]]:
    """Return the agent's answers, one a line; there is at least one.

    :raises CommandFailed: when one is none, or says that the command or the agent is wrong.
    """
    try:
        answers = [json.loads(line) for line in text.splitlines()]
    except ValueError:
        answers = []
    if not answers or any(a.get("error") == "usage" or a.get("op") == "agent" for a in answers):
        raise CommandFailed(f"luo-agent {said}: {text.strip() or 'it said nothing'}")
    return answers
