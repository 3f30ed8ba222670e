# SPDX-License-Identifier: GPL-2.0-only
"""How a machine is harmed: QEMU by signals, the guest by commands over a connection of our own."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import paramiko

from harness.base.errors import HarnessError
from harness.guest.ssh import Connection

QEMU = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}

_WHERE = "k=$(sed -n 's/^ *0*\\([0-9a-f]*\\)-.*Kernel code.*/\\1/p' /proc/iomem)"
GUEST: dict[str, str] = {
    # The kernel's text may not be written: an oops, and with oops=panic the end.
    "panic": f"{_WHERE}; dd if=/dev/zero of=/dev/mem bs=1M seek=$((0x$k >> 20)) count=1",
    # Its processors stop, and nothing more is said.
    "halted kernel": "halt -f",
    "frozen programs": "kill -STOP $(pidof harness-agent) $(pidof dropbear)",
    "no network": "ifconfig eth0 down",
    # All but the listener, which is the first, and the one that this came by.
    "cut connection": (
        "set -- $(pidof dropbear | tr ' ' '\\n' | sort -n); main=$1; shift;"
        " for each; do [ $each = $PPID ] || kill -9 $each; done"
    ),
    "dead SSH server": "kill -9 $(pidof dropbear)",
    "clock jump": "date -s @$(($(date +%s) + JUMP))",
}

MOST_DELAY_S = {"start": 0.6, "first": 1.0, "second": 1.0, "jump": 2.5}
"""How long after a test's word about where it is the fault may come."""

_CONNECT_S = 15.0
_EFFECT_S = 0.5
"""What a command is left to take effect, before the test is told."""


def harm(
    what: str, pid: int, *, keys: Path, delay_s: float, random: Random, tell: Callable[[], None]
) -> None:
    """Harm the machine of a QEMU process.

    :param keys: the directory with the guests' keys.
    :param delay_s: from the connection on, if there is one.
    :param tell: called when it is done.
    """
    if what in QEMU:
        time.sleep(delay_s)
        os.kill(pid, QEMU[what])
        tell()
        return
    command = GUEST[what].replace("JUMP", str(random.randint(-(10**8), 10**8)))
    connection = Connection.connect(
        port_of(pid), client_key=keys / "client", host_public=(keys / "host.pub").read_text()
    )
    try:
        time.sleep(delay_s)
        _command(connection, command)
        time.sleep(_EFFECT_S)
    finally:
        tell()
        connection.close()


def _command(connection: Connection, command: str) -> None:
    """Give a command that may be the guest's last: whether it is answered is all the same."""
    # In the background, where it does not wait for the answer that it makes impossible.
    words = f"( sleep 0.1; {command} ) >/dev/null 2>&1 </dev/null & echo done"
    result = connection.run(words, timeout_s=_CONNECT_S)
    assert result.stdout == "done\n", result


def port_of(pid: int) -> int:
    """Return the port of 127.0.0.1 at which a process listens."""
    inodes = set()
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        try:
            inodes.add(str(fd.readlink()))
        except OSError:
            continue
    for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
        words = line.split()
        if words[3] == "0A" and f"socket:[{words[9]}]" in inodes:
            return int(words[1].partition(":")[2], 16)
    raise LookupError(f"process {pid} listens nowhere")


GONE = (HarnessError, OSError, EOFError, LookupError, paramiko.SSHException)
"""What harming a machine that has ended raises."""
