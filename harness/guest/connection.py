# SPDX-License-Identifier: GPL-2.0-only
"""A booted kernel, over SSH: what it says of itself, its modules, and the agent that acts in it.

The agent (``agent/README.md``) takes commands over a channel of its own, so that none of
them starts a program in the guest: on an emulated CPU that is what a command costs.
"""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable, Sequence
from typing import Any

import paramiko

from harness.base.errors import CommandFailed, GuestTimeout
from harness.base.timeouts import GuestTimeouts
from harness.guest.ssh import Connection, receive

AGENT_PORT = 5860
"""Where ``harness-agent listen`` is, in the guest (``harness/guest/agent/internal.h``)."""

_CHUNK = 1 << 16


class Guest(Connection):
    """An SSH connection to a guest with an agent."""

    def __init__(
        self,
        transport: paramiko.Transport,
        *,
        timeouts: GuestTimeouts,
        alive: Callable[[], None],
    ) -> None:
        super().__init__(transport, timeouts=timeouts, alive=alive)
        self._channel: paramiko.Channel | None = None

    # -- the kernel --------------------------------------------------------------------------

    def release(self) -> str:
        """Return what ``uname -r`` prints."""
        return self.read("/proc/sys/kernel/osrelease").strip()

    def boot_id(self) -> str:
        """Return the kernel's boot id, new at every boot (``random(4)``)."""
        return self.read("/proc/sys/kernel/random/boot_id").strip()

    def taint(self) -> int:
        """Return the taint mask (``Documentation/admin-guide/tainted-kernels.rst``)."""
        return int(self.read("/proc/sys/kernel/tainted"))

    def dmesg(self) -> str:
        """Return the kernel's log buffer."""
        return self.check("dmesg", timeout_s=self._timeouts.command_s).stdout

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

    def read(self, path: str) -> str:
        """Return what a small file of the kernel holds.

        :raises CommandFailed: when it cannot be read.
        """
        answer = self.agent("get", path, timeout_s=self._timeouts.command_s)
        if not answer["ok"]:
            raise CommandFailed(f"in the guest: {path} cannot be read: {answer['error']}")
        return str(answer["content"])

    def write(self, path: str, text: str) -> str | None:
        """Write to a file of the kernel; return the errno's name, ``None`` when it was taken."""
        return self._errno("put", path, text)

    def _errno(self, *words: str) -> str | None:
        answer = self.agent(*words, timeout_s=self._timeouts.command_s)
        return None if answer["ok"] else str(answer["error"])

    # -- the agent ---------------------------------------------------------------------------

    def agent(self, *words: str, timeout_s: float) -> dict[str, Any]:
        """Run an agent command (``harness/guest/agent/README.md``); return its JSON answer.

        :raises GuestTimeout: after *timeout_s* seconds.
        :raises GuestClosed: when the connection ends under the command.
        :raises CommandFailed: when the agent does not know the command, or is not there.
        """
        said = shlex.join(words)
        return self._converse(_line(words), 1, said, timeout_s)[0]

    def agent_batch(
        self, commands: Sequence[Sequence[str]], *, timeout_s: float
    ) -> list[dict[str, Any]]:
        """Run agent commands one after the other, in one go; stop at the first that fails.

        :param timeout_s: for all of them together.
        :returns: an answer for each command that ran.
        :raises GuestTimeout: after *timeout_s* seconds.
        :raises GuestClosed: when the connection ends under the commands.
        :raises CommandFailed: when a command is wrong, or the agent is not there.
        """
        if not commands:
            return []
        lines = b"".join(_line(words) for words in (("batch", str(len(commands))), *commands))
        return self._converse(lines, len(commands), f"batch of {len(commands)}", timeout_s)

    def _converse(
        self, lines: bytes, count: int, said: str, timeout_s: float
    ) -> list[dict[str, Any]]:
        """Give the agent *lines*; return its answers: up to *count*, or to the first failure."""
        deadline = time.monotonic() + timeout_s
        answers: list[dict[str, Any]] = []
        rest = b""
        try:
            channel = self._agent_channel(timeout_s)
            channel.settimeout(timeout_s)
            channel.sendall(lines)
            while len(answers) < count and (not answers or answers[-1]["ok"]):
                line, newline, later = rest.partition(b"\n")
                if newline:
                    answers.append(_answer(line, said))
                    rest = later
                    continue
                piece = receive(channel, _CHUNK, deadline)
                if not piece:
                    raise EOFError
                rest += piece
        except CommandFailed:
            self._hang_up()
            raise
        except TimeoutError:
            self._hang_up()
            self._alive()
            raise GuestTimeout(
                f"in the guest: {said[:120]!r} was not answered within {timeout_s:.0f} s"
            ) from None
        except (OSError, EOFError, paramiko.SSHException) as error:
            self._hang_up()
            self._open_nothing(said)
            raise CommandFailed(
                f"in the guest: harness-agent ended under {said[:120]!r}"
            ) from error
        return answers

    def tell(self, *words: str) -> None:
        """Give an agent command whose answer nobody waits for: the kernel may go with it.

        :raises GuestClosed: when the connection has ended.
        """
        channel = self._agent_channel(self._timeouts.command_s)
        # What it still answers is not the answer to the next command.
        self._channel = None
        try:
            channel.sendall(_line(words))
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise self._closed(shlex.join(words)) from error

    def _agent_channel(self, timeout_s: float) -> paramiko.Channel:
        if self._channel is None:
            self._channel = self._tunnel(AGENT_PORT, timeout_s)
        return self._channel

    def _hang_up(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None


def _line(words: Sequence[str]) -> bytes:
    """Return a command as the agent takes it.

    :raises CommandFailed: when a word holds what separates words or commands.
    """
    if any(character in word for word in words for character in "\t\n"):
        raise CommandFailed(f"an agent command cannot hold tabs and newlines: {words}")
    return "\t".join(words).encode() + b"\n"


def _answer(line: bytes, said: str) -> dict[str, Any]:
    """Return one answer of the agent.

    :raises CommandFailed: when it is none, or says that the command or the agent is wrong.
    """
    text = line.decode("utf-8", errors="replace")
    try:
        answer: dict[str, Any] = json.loads(text)
    except ValueError:
        answer = {"error": "usage"}
    if answer.get("error") == "usage" or answer.get("op") == "agent":
        raise CommandFailed(f"harness-agent {said}: {text.strip() or 'it said nothing'}")
    return answer
