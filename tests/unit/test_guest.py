# SPDX-License-Identifier: GPL-2.0-only
"""SSH with deadlines, against a real SSH server in this process."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from harness.base.errors import (
    CommandFailed,
    GuestClosed,
    GuestTimeout,
    GuestUnreachable,
    MachineError,
)
from harness.base.timeouts import GuestTimeouts
from harness.guest.connection import AGENT_PORT, Guest

SOON = 10.0


def new_key(path: Path) -> paramiko.Ed25519Key:
    private = Ed25519PrivateKey.generate()
    path.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    return paramiko.Ed25519Key.from_private_key_file(str(path))


class Server(paramiko.ServerInterface):
    """Runs a few made-up commands, and keeps files."""

    def __init__(self, allowed: paramiko.PKey) -> None:
        self.allowed = allowed
        self.files: dict[str, bytes] = {}
        self.transport: paramiko.Transport | None = None
        self.agents: set[int] = set()

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        same = username == "root" and key == self.allowed
        return paramiko.AUTH_SUCCESSFUL if same else paramiko.AUTH_FAILED

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.OPEN_SUCCEEDED

    def check_channel_direct_tcpip_request(
        self, chanid: int, origin: tuple[str, int], destination: tuple[str, int]
    ) -> int:
        if destination != ("127.0.0.1", AGENT_PORT):
            return paramiko.OPEN_FAILED_CONNECT_FAILED
        self.agents.add(chanid)
        return paramiko.OPEN_SUCCEEDED

    def accept(self, transport: paramiko.Transport) -> None:
        """Be the agent for those who were let through to it."""
        while transport.is_active():
            channel = transport.accept(0.1)
            if channel is not None and channel.get_id() in self.agents:
                threading.Thread(target=self.converse, args=(channel,), daemon=True).start()

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        if command == b"mute":
            # Nothing is answered as long as this lasts: as by a guest that stands still.
            time.sleep(2.0)
            return False
        threading.Thread(target=self.run, args=(channel, command.decode()), daemon=True).start()
        return True

    def run(self, channel: paramiko.Channel, command: str) -> None:
        # The client ends its input once it has the reply to its request; an answer before that
        # would overtake the reply, which no real server lets happen (RFC 4254, section 6.5).
        words = command.split()
        if words[0] in ("quit", "perish"):
            # In the middle of its input.
            assert self.transport is not None
            channel.recv(1)
            if words[0] == "quit":
                channel.send_exit_status(3)
                channel.close()
            else:
                self.transport.close()
            return
        data = b""
        while piece := channel.recv(65536):
            data += piece
        if words[0] == "hang":
            time.sleep(SOON)
        elif words[0] == "die":
            assert self.transport is not None
            self.transport.close()
            return
        elif words[0] == "killed":
            # paramiko's server has no call for it; RFC 4254, section 6.10.
            message = paramiko.Message()
            message.add_byte(bytes([98]))  # SSH_MSG_CHANNEL_REQUEST
            message.add_int(channel.remote_chanid)
            message.add_string("exit-signal")
            message.add_boolean(False)
            message.add_string("KILL")
            message.add_boolean(False)
            message.add_string("")
            message.add_string("")
            channel.transport._send_user_message(message)
        else:
            status, out, err = self.answer(words, data)
            channel.sendall(out)
            channel.sendall_stderr(err)
            channel.send_exit_status(status)
        channel.close()

    def converse(self, channel: paramiko.Channel) -> None:
        """Answer line after line, as ``harness-agent listen`` does, until the client hangs up."""
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
            self._answer_lines(channel)

    def _answer_lines(self, channel: paramiko.Channel) -> None:
        skipped = 0
        batch = 0
        with channel.makefile("rb") as lines:
            for line in lines:
                if skipped:
                    skipped -= 1
                    continue
                batch = max(0, batch - 1)
                match line.decode().rstrip("\n").split("\t"):
                    case ["batch", count]:
                        batch = int(count)
                        continue
                    case ["no"]:
                        answer, skipped = '{"ok":false,"op":"no","error":"EPERM"}', batch
                    case ["ping", *_]:
                        answer = '{"ok":true}'
                    case ["get", name] if name in self.files:
                        answer = json.dumps({"ok": True, "content": self.files[name].decode()})
                    case ["get" | "put" | "insmod" | "rmmod" | "rmmod-force" as verb, *_]:
                        answer = json.dumps({"ok": False, "op": verb, "error": "ENOENT"})
                    case ["gone"]:
                        answer = '{"ok":false,"op":"agent","error":"ECONNREFUSED"}'
                    case ["hang"]:
                        time.sleep(SOON)
                        continue
                    case ["late"]:
                        time.sleep(1.0)
                        answer = '{"ok":true}'
                    case ["die"]:
                        assert self.transport is not None
                        self.transport.close()
                        return
                    case ["exit"]:
                        break
                    case _:
                        answer = "no JSON"
                channel.sendall(f"{answer}\n".encode())
        channel.close()

    def answer(self, words: list[str], data: bytes) -> tuple[int, bytes, bytes]:
        """Return status, standard output and standard error of a command."""
        match words:
            case ["streams", status, *_]:
                return int(status), b"out", b"err"
            case ["upper"]:
                return 0, data.upper(), b""
            case ["much", size]:
                return 0, b"x" * int(size), b""
            case ["cat", name]:
                self.files[name[1:]] = data[:10] if name == ">/small" else data
                return 0, b"", b""
            case ["wc", "-c", name]:
                return 0, f"{len(self.files[name[1:]])}\n".encode(), b""
            case ["base64", name] if name in self.files:
                return 0, base64.encodebytes(self.files[name]), b""
            case ["cat", *_] | ["base64", *_]:
                return 1, b"", b"no such file"
        return 127, b"", b"not found"


class Host:
    """A listening server, its keys, and the arguments to connect to it."""

    def __init__(self, directory: Path) -> None:
        self.host_key = new_key(directory / "host")
        self.client = directory / "client"
        self.server = Server(new_key(self.client))
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.transports: list[paramiko.Transport] = []
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self) -> None:
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            transport = paramiko.Transport(sock)
            transport.add_server_key(self.host_key)
            self.server.transport = transport
            self.transports.append(transport)
            # A client that does not like the host key is gone before the server is done with it.
            with contextlib.suppress(paramiko.SSHException, EOFError, OSError):
                transport.start_server(server=self.server)
                threading.Thread(target=self.server.accept, args=(transport,), daemon=True).start()

    def connect(self, **change: object) -> Guest:
        options = {
            "client_key": self.client,
            "host_public": self.host_key.get_base64(),
            "timeouts": GuestTimeouts(connect_s=SOON),
        }
        return Guest.connect(self.port, **(options | change))  # type: ignore[arg-type]

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()
        for transport in self.transports:
            transport.close()


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path)
    yield made
    made.close()


@pytest.fixture
def guest(host: Host) -> Iterator[Guest]:
    made = host.connect()
    yield made
    made.close()


# -- connecting ------------------------------------------------------------------------------


def test_another_host_key_is_refused(host: Host, tmp_path: Path) -> None:
    other = new_key(tmp_path / "other").get_base64()
    with pytest.raises(GuestUnreachable, match="another host key"):
        host.connect(host_public=other)


def test_unknown_client_key_is_refused(host: Host, tmp_path: Path) -> None:
    new_key(tmp_path / "stranger")
    with pytest.raises(GuestUnreachable):
        host.connect(client_key=tmp_path / "stranger", timeouts=GuestTimeouts(connect_s=0.5))


def test_nobody_listening_is_unreachable_within_the_deadline(host: Host) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with pytest.raises(GuestUnreachable, match=str(port)):
        Guest.connect(
            port,
            client_key=host.client,
            host_public=host.host_key.get_base64(),
            timeouts=GuestTimeouts(connect_s=0.3),
        )


def test_server_that_says_nothing_is_unreachable_within_the_deadline(host: Host) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(GuestUnreachable),
    ):
        Guest.connect(
            silent.getsockname()[1],
            client_key=host.client,
            host_public=host.host_key.get_base64(),
            timeouts=GuestTimeouts(connect_s=0.5),
        )


def test_dead_machine_is_reported_as_such(host: Host) -> None:
    def alive() -> None:
        raise MachineError("QEMU ended")

    with pytest.raises(MachineError, match="QEMU ended"):
        host.connect(alive=alive)


# -- commands --------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [0, 1, 42])
def test_run_keeps_streams_apart_and_knows_the_status(guest: Guest, status: int) -> None:
    result = guest.run(f"streams {status}", timeout_s=SOON)
    assert (result.stdout, result.stderr, result.status) == ("out", "err", status)


def test_run_quotes_words(guest: Guest) -> None:
    assert guest.run(["streams", "0", "a b"], timeout_s=SOON).command == "streams 0 'a b'"


def test_run_feeds_standard_input(guest: Guest) -> None:
    data = b"ab" * 500_000
    assert guest.run("upper", timeout_s=SOON, stdin=data).stdout == data.upper().decode()


def test_command_that_ends_before_its_input_has_a_status(guest: Guest) -> None:
    assert guest.run("quit", timeout_s=SOON, stdin=b"a" * 50_000_000).status == 3


def test_run_reads_all_of_much_output(guest: Guest) -> None:
    assert len(guest.run("much 3000000", timeout_s=SOON).stdout) == 3_000_000


def test_command_that_hangs_is_a_timeout_and_the_connection_stays(guest: Guest) -> None:
    with pytest.raises(GuestTimeout, match="hang") as caught:
        guest.run("hang", timeout_s=0.2)
    assert caught.value.hint is not None
    assert "kernel log" in caught.value.hint
    assert guest.run("streams 0", timeout_s=SOON).status == 0


def test_guest_that_stands_still_before_a_command_begins_is_a_timeout(guest: Guest) -> None:
    began = time.monotonic()
    with pytest.raises(GuestTimeout, match="'mute' did not begin within"):
        guest.run("mute", timeout_s=0.3)
    assert time.monotonic() - began < 1.5
    assert guest.run("streams 0", timeout_s=SOON).status == 0


def test_connection_that_ends_under_a_command_is_closed(guest: Guest) -> None:
    with pytest.raises(GuestClosed, match="die"):
        guest.run("die", timeout_s=SOON)


@pytest.mark.parametrize(
    ("line", "stdin"), [("die", b""), ("perish", b"a" * 50_000_000)], ids=["idle", "sending"]
)
def test_machine_that_dies_after_its_connection_is_reported_as_such(
    host: Host, line: str, stdin: bytes
) -> None:
    asked = iter(range(100))

    def alive() -> None:
        if next(asked) > 5:
            raise MachineError("QEMU ended")

    guest = host.connect(alive=alive)
    with pytest.raises(MachineError, match="QEMU ended"):
        guest.run(line, timeout_s=SOON, stdin=stdin)


def test_closed_connection_takes_no_command(guest: Guest) -> None:
    guest.close()
    with pytest.raises(GuestClosed):
        guest.run("streams 0", timeout_s=SOON)


def test_check_names_command_status_and_words(guest: Guest) -> None:
    with pytest.raises(CommandFailed, match=r"'streams 3' ended with status 3: err"):
        guest.check("streams 3", timeout_s=SOON)


def test_command_that_a_signal_ended_is_a_failed_command(guest: Guest) -> None:
    """The connection is as good as before: only the command is gone."""
    with pytest.raises(CommandFailed):
        guest.check("killed", timeout_s=SOON)


# -- files -----------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", b"text\n", bytes(range(256)) * 4096])
def test_file_comes_back_as_it_was_put(guest: Guest, data: bytes) -> None:
    guest.put(data, "/file", timeout_s=SOON)
    assert guest.get("/file", timeout_s=SOON) == data


def test_put_reads_a_file_of_the_host(host: Host, guest: Guest, tmp_path: Path) -> None:
    (tmp_path / "here").write_bytes(b"content")
    guest.put(tmp_path / "here", "/there", timeout_s=SOON)
    assert host.server.files == {"/there": b"content"}


def test_put_that_leaves_bytes_out_is_an_error(guest: Guest) -> None:
    with pytest.raises(CommandFailed, match="/small has 10 of 20 bytes"):
        guest.put(b"x" * 20, "/small", timeout_s=SOON)


def test_get_of_a_missing_file_is_an_error(guest: Guest) -> None:
    with pytest.raises(CommandFailed, match="no such file"):
        guest.get("/absent", timeout_s=SOON)


# -- the agent -------------------------------------------------------------------------------


def test_agent_answer_is_read(guest: Guest) -> None:
    assert guest.agent("ping", timeout_s=SOON) == {"ok": True}


def test_agent_that_nobody_started_is_an_error(
    guest: Guest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.guest.connection.AGENT_PORT", 1)
    with pytest.raises(CommandFailed, match="nobody listens on port 1"):
        guest.agent("ping", timeout_s=SOON)


def test_agent_answer_that_is_no_json_is_an_error(guest: Guest) -> None:
    with pytest.raises(CommandFailed, match="no JSON"):
        guest.agent("bad", timeout_s=SOON)


def test_agent_that_is_not_there_is_an_error(guest: Guest) -> None:
    with pytest.raises(CommandFailed, match="ECONNREFUSED"):
        guest.agent("gone", timeout_s=SOON)


def test_agent_that_ends_is_an_error_and_another_one_is_asked(guest: Guest) -> None:
    with pytest.raises(CommandFailed, match="ended under 'exit'"):
        guest.agent("exit", timeout_s=SOON)
    assert guest.agent("ping", timeout_s=SOON) == {"ok": True}


def test_agent_that_hangs_is_a_timeout_and_another_one_is_asked(guest: Guest) -> None:
    with pytest.raises(GuestTimeout, match="hang"):
        guest.agent("hang", timeout_s=0.2)
    assert guest.agent("ping", timeout_s=SOON) == {"ok": True}


def test_clock_of_the_host_that_is_set_ends_no_wait(
    guest: Guest, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, started = time.time, time.monotonic()
    # Half a second from now it is another year.
    later = lambda: real() + (1e8 if time.monotonic() - started > 0.5 else 0)  # noqa: E731
    monkeypatch.setattr(time, "time", later)
    assert guest.agent("late", timeout_s=SOON) == {"ok": True}


def test_agent_whose_connection_ends_is_closed(guest: Guest) -> None:
    with pytest.raises(GuestClosed, match="die"):
        guest.agent("die", timeout_s=SOON)


def test_small_files_are_read_and_written(host: Host, guest: Guest) -> None:
    host.server.files["/proc/modules"] = b"one 1 2 - Live\ntwo 3 4 - Live\n"
    assert guest.refcount("two") == 4
    assert guest.refcount("three") is None
    assert guest.write("/absent", "x") == "ENOENT"
    with pytest.raises(CommandFailed, match="/absent cannot be read: ENOENT"):
        guest.read("/absent")


def test_agent_batch_of_nothing_asks_nobody(guest: Guest) -> None:
    assert guest.agent_batch([], timeout_s=SOON) == []


def test_agent_batch_has_an_answer_for_each_command(guest: Guest) -> None:
    answers = guest.agent_batch([["ping"], ["ping", "2"]], timeout_s=SOON)
    assert answers == [{"ok": True}, {"ok": True}]


def test_agent_batch_ends_with_the_first_failure_and_the_next_command_is_answered(
    guest: Guest,
) -> None:
    answers = guest.agent_batch([["ping"], ["no"], ["ping"], ["ping"]], timeout_s=SOON)
    assert [answer["ok"] for answer in answers] == [True, False]
    assert guest.agent("ping", timeout_s=SOON) == {"ok": True}


@pytest.mark.parametrize("word", ["a\tb", "a\nb"])
def test_agent_batch_refuses_what_it_cannot_send(guest: Guest, word: str) -> None:
    with pytest.raises(CommandFailed, match="tabs and newlines"):
        guest.agent_batch([["write", "f", word]], timeout_s=SOON)
