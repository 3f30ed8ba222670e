# SPDX-License-Identifier: GPL-2.0-only
"""A host with something to lose, and the script that is after it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import pytest

from harness.base.sandbox import Sandbox


class Attacks(StrEnum):
    """What the script tries; each member is the word that it says when it succeeded."""

    KEY = "key"
    HOME = "home"
    TOKEN = "token"  # noqa: S105 - no password
    PORT = "port"
    ABSTRACT = "abstract-socket"
    SOCKET = "socket"
    PROCESS = "process"


SCRIPT = """\
#!/bin/sh
# Attack from the stage $1, and say in the file $2 what succeeded.
got() {{ echo "$stage $1" >>"$log"; }}
exec </dev/null >/dev/null 2>&1
stage=$1 log=$2
got ran
grep -q secret-key {home}/.ssh/id_rsa && got key
grep -q mine {home}/.bashrc && echo alias ls=evil >>{home}/.bashrc && got home
cat /proc/[0-9]*/environ | grep -q secret-token && got token
perl -MIO::Socket::INET -e 'exit !IO::Socket::INET->new("127.0.0.1:{port}")' && got port
connect() {{ perl -MSocket -e 'socket(S, AF_UNIX, SOCK_STREAM, 0);
	exit !connect(S, pack_sockaddr_un($ARGV[0] eq "" ? "\\0{name}" : $ARGV[0]))' "$1"; }}
connect "" && got abstract-socket
connect {home}/socket && got socket
rm -f "$log.left"
# GNU make waits at its end for whoever still has its job server's pipe.
setsid sh -c ': >"$0.left"; exec sleep {name}' "$log" 3<&- 4>&- &
n=0
while [ ! -e "$log.left" ] && [ $((n += 1)) -lt 500 ]; do sleep 0.01; done
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Victim:
    """A home with a key and a socket, a local port, and a secret in the environment.

    :param name: of the abstract socket, and what the process sleeps that the script leaves.
    """

    home: Path
    port: int
    name: str

    @property
    def script(self) -> str:
        """The script; its arguments are a stage and the file that it writes to."""
        return SCRIPT.format(home=self.home, port=self.port, name=self.name)

    def attack(self, box: Sandbox, directory: Path) -> None:
        """Run the script in a sandbox, from a directory that it may write to."""
        (directory / "attack.sh").write_text(self.script)
        words = ["sh", directory / "attack.sh", "here", directory / "attack.log"]
        box.run(words, timeout_s=60, check=False)
        self.check(directory / "attack.log", "here")

    def check(self, log: Path, *stages: str) -> None:
        """Read what the script said; it has to have come through all *stages*."""
        said = [line.split() for line in log.read_text().splitlines()]
        assert {stage for stage, word in said if word == "ran"} == set(stages)
        _GOT[self.name] = {Attacks(word) for _, word in said if word != "ran"}

    def got(self) -> set[Attacks]:
        """Return what succeeded, by the script's words and by what it has done."""
        got = _GOT[self.name]
        if (self.home / ".bashrc").read_text() != "mine\n":
            got.add(Attacks.HOME)
        for pid in processes_named(f"sleep {self.name}"):
            os.kill(pid, signal.SIGKILL)
            got.add(Attacks.PROCESS)
        return got


_GOT: dict[str, set[Attacks]] = {}


@pytest.fixture
def victim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Victim]:
    """A host with something to lose."""
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    (home / ".ssh/id_rsa").write_text("secret-key\n")
    (home / ".bashrc").write_text("mine\n")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("DEPLOY_TOKEN", "secret-token")
    name = f"8640{os.getpid()}"
    with contextlib.ExitStack() as stack:
        port = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        for address in (f"\0{name}", _short(home / "socket")):
            own = stack.enter_context(socket.socket(socket.AF_UNIX))
            own.bind(address)
            own.listen()
        made = Victim(home=home, port=port.getsockname()[1], name=name)
        try:
            yield made
        finally:
            for pid in processes_named(f"sleep {name}"):
                os.kill(pid, signal.SIGKILL)


def _short(path: Path) -> str:
    """Return a path that a socket's address has room for (108 bytes, unix(7))."""
    return os.path.relpath(path) if len(str(path)) > 100 else str(path)


def processes_named(words: str) -> list[int]:
    """Return the processes whose command line begins with *words*."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if line.startswith(words):
                found.append(int(path.parent.name))
    return found
