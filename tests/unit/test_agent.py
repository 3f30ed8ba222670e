# SPDX-License-Identifier: GPL-2.0-only
"""The guest's agent, on the host: memfds of every shape, errors told apart, verbs of a suite."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "harness" / "guest" / "agent"
GUEST = ROOT / "images" / "guest"
UAPI = ROOT / "tests" / "data" / "uapi"
PAGE = 4096
STRIDE = 65536


def pattern(size: int, seed: int = 1) -> bytes:
    """Word i at byte 8 * i is (seed + i) * 0x9E3779B97F4A7C15 mod 2**64, little-endian."""
    words = -(-size // 8)
    word = b"".join(
        ((seed + i) * 0x9E3779B97F4A7C15 % 2**64).to_bytes(8, "little") for i in range(words)
    )
    return word[:size]


def sparse(size: int, seed: int = 1, stride: int = STRIDE) -> bytes:
    """One page in every stride; the rest are holes."""
    data = bytearray(pattern(size, seed))
    for start in range(0, size, stride):
        end = min(start + stride, size)
        data[start + PAGE : end] = bytes(max(0, end - start - PAGE))
    return bytes(data)


@dataclass
class Agent:
    """The client, and the socket of its daemon."""

    program: Path
    socket: Path

    def run(self, *words: str, stdin: str = "") -> tuple[int, list[dict[str, Any]]]:
        """Return the exit status and the answers."""
        done = subprocess.run(
            [self.program, *words],
            env={**os.environ, "HARNESS_AGENT_SOCKET": str(self.socket)},
            input=stdin.encode("latin-1"),
            capture_output=True,
            timeout=60,
        )
        return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]

    def __call__(self, *words: str) -> dict[str, Any]:
        """Return the answer to a command that has to succeed."""
        status, (answer,) = self.run(*words)
        assert (status, answer.get("ok")) == (0, True), answer
        return answer

    def refused(self, *words: str) -> dict[str, Any]:
        """Return the answer to a command that has to fail."""
        status, (answer,) = self.run(*words)
        assert (status, answer["ok"]) == (1, False), answer
        return answer


def build(out: Path, *variables: str, extra: Iterable[Path] = (), sources: Path = SOURCES) -> Path:
    """Build an agent with more verbs."""
    words = " ".join(str(path) for path in extra)
    make = ["make", "-s", "-C", str(sources), f"OUT={out}", f"EXTRA={words}", *variables]
    subprocess.run(make, check=True)
    return out / "harness-agent"


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The agent with the verbs that the images give it."""
    extra = sorted(GUEST.glob("*.c"))
    return build(tmp_path_factory.mktemp("guest"), f"UAPI={UAPI}", extra=extra)


@pytest.fixture
def stopped(program: Path, tmp_path: Path) -> Agent:
    """An agent whose daemon does not run."""
    return Agent(program, tmp_path / "agent.sock")


@contextlib.contextmanager
def running(agent: Agent) -> Iterator[Agent]:
    """Start an agent's daemon; it is ended by its pid."""
    assert agent.run("daemon") == (0, [])
    pid = agent("ping")["pid"]
    try:
        yield agent
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def agent(stopped: Agent) -> Iterator[Agent]:
    """An agent with its daemon."""
    with running(stopped):
        yield stopped


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# -- what a memfd holds ----------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 7, 8, 55, 56, 63, 64, 65, 4095, 4096, 4097, 3 << 20])
def test_memfd_full_has_the_documented_pattern(agent: Agent, size: int) -> None:
    agent("memfd", "create", "f", "--size", str(size), "--seed", "7")
    found = agent("verify", "f")
    assert (found["size"], found["sha256"]) == (size, sha256(pattern(size, 7)))


@pytest.mark.parametrize("seed", [0, 1, 2**32, 2**64 - 1])
def test_memfd_pattern_follows_the_seed(agent: Agent, seed: int) -> None:
    agent("memfd", "create", "f", "--size", "100", "--seed", str(seed))
    assert agent("read", "f")["hex"] == pattern(100, seed).hex()


def test_memfd_default_seed_is_one(agent: Agent) -> None:
    agent("memfd", "create", "f", "--size", "100")
    assert agent("verify", "f")["sha256"] == sha256(pattern(100, 1))


def test_memfd_zero_is_a_hole(agent: Agent) -> None:
    agent("memfd", "create", "f", "--size", "100000", "--pattern", "zero")
    found = agent("verify", "f")
    assert (found["blocks"], found["sha256"]) == (0, sha256(bytes(100000)))


@pytest.mark.parametrize("size", [STRIDE * 4, STRIDE + 100, STRIDE * 33 + PAGE + 1])
def test_memfd_sparse_has_one_page_in_every_stride(agent: Agent, size: int) -> None:
    agent("memfd", "create", "f", "--size", str(size), "--pattern", "sparse")
    assert agent("verify", "f")["sha256"] == sha256(sparse(size))


def test_memfd_sparse_leaves_holes(agent: Agent) -> None:
    agent("memfd", "create", "full", "--size", str(STRIDE * 8))
    agent("memfd", "create", "sparse", "--size", str(STRIDE * 8), "--pattern", "sparse")
    assert agent("verify", "sparse")["blocks"] < agent("verify", "full")["blocks"]


def test_memfd_stride_is_taken_in_any_order_of_options(agent: Agent) -> None:
    shape = ("--size", "50000", "--stride", "8192", "--pattern", "sparse")
    agent("memfd", "create", "f", *shape)
    assert agent("verify", "f")["sha256"] == sha256(sparse(50000, 1, 8192))


def test_memfd_offset_moves_the_position_only(agent: Agent) -> None:
    agent("memfd", "create", "f", "--size", "100", "--offset", "24")
    found = agent("verify", "f")
    assert (found["offset"], found["sha256"]) == (24, sha256(pattern(100)))


@pytest.mark.parametrize(
    "seals", [["shrink"], ["shrink", "grow", "write"], ["seal", "future_write"]]
)
def test_memfd_seals_are_set(agent: Agent, seals: list[str]) -> None:
    agent("memfd", "create", "f", "--size", "100", "--seal", ",".join(seals))
    assert sorted(agent("verify", "f")["seals"]) == sorted(seals)


def test_memfd_sealed_against_writing_refuses_it(agent: Agent) -> None:
    agent("memfd", "create", "f", "--size", "100", "--seal", "write")
    assert agent.refused("write", "f", "text")["error"] == "EPERM"


def test_memfd_without_seals_cannot_be_sealed(agent: Agent) -> None:
    agent("memfd", "create", "f")
    assert agent("verify", "f")["seals"] == ["seal"]


@pytest.mark.parametrize(
    "shape",
    [
        ("--size", "many"),
        ("--size", "-1"),
        ("--size", ""),
        ("--size", "1", "--seed"),
        ("--colour", "red"),
        ("--pattern", "plaid"),
        ("--stride", "100"),
        ("--seal", "harbour"),
    ],
)
def test_memfd_wrong_shape_is_refused_and_holds_nothing(
    agent: Agent, shape: tuple[str, ...]
) -> None:
    assert agent.refused("memfd", "create", "f", *shape)["error"] == "EINVAL"
    assert agent("files")["items"] == []


# -- checking --------------------------------------------------------------------------------

SHAPES = {
    "full": ("--size", "200001", "--seed", "9"),
    "zero": ("--size", "200001", "--pattern", "zero"),
    "sparse": ("--size", "200001", "--pattern", "sparse", "--seed", "9"),
}


@pytest.mark.parametrize("name", SHAPES)
def test_check_same_shape_agrees(agent: Agent, name: str) -> None:
    agent("memfd", "create", "f", *SHAPES[name])
    agent("check", "f", *SHAPES[name])


@pytest.mark.parametrize(
    ("made", "wanted", "first_bad"),
    [("full", "zero", 0), ("full", "sparse", PAGE), ("sparse", "full", PAGE), ("zero", "full", 0)],
)
def test_check_other_shape_says_where(agent: Agent, made: str, wanted: str, first_bad: int) -> None:
    agent("memfd", "create", "f", *SHAPES[made])
    found = agent.refused("check", "f", *SHAPES[wanted])
    assert (found["error"], found["first_bad"]) == ("mismatch", first_bad)


def test_check_single_changed_byte_is_found(agent: Agent) -> None:
    agent("memfd", "create", "f", "--size", "200001", "--seed", "9", "--offset", "123456")
    agent("write", "f", "\x01" if pattern(123457, 9)[-1] != 1 else "\x02")
    assert agent.refused("check", "f", *SHAPES["full"])["first_bad"] == 123456


@pytest.mark.parametrize("size", ["200000", "200002"])
def test_check_other_size_is_a_mismatch(agent: Agent, size: str) -> None:
    agent("memfd", "create", "f", *SHAPES["full"])
    found = agent.refused("check", "f", "--size", size, "--seed", "9")
    assert found["size"] == 200001


def test_check_and_verify_leave_the_offset(agent: Agent) -> None:
    agent("memfd", "create", "f", "--size", "100", "--offset", "50")
    agent("check", "f", "--size", "100")
    agent("verify", "f")
    assert agent("verify", "f")["offset"] == 50


# -- reading and writing ---------------------------------------------------------------------


def test_write_goes_on_at_the_offset(agent: Agent) -> None:
    agent("memfd", "create", "f")
    assert agent("write", "f", "one")["written"] == 3
    agent("write", "f", "two")
    agent("seek", "f", "0")
    assert bytes.fromhex(agent("read", "f")["hex"]) == b"onetwo"


def test_read_takes_so_much_and_moves_on(agent: Agent) -> None:
    agent("memfd", "create", "f", "--size", "100")
    read = [agent("read", "f", "--length", "10")["hex"] for _ in range(2)]
    assert "".join(read) == pattern(20).hex()


def test_read_at_the_end_is_empty(agent: Agent) -> None:
    agent("memfd", "create", "f", "--size", "10", "--offset", "10")
    found = agent("read", "f")
    assert (found["length"], found["hex"]) == (0, "")


def test_seek_sets_the_offset(agent: Agent) -> None:
    agent("memfd", "create", "f", "--size", "100")
    agent("seek", "f", "42")
    assert agent("verify", "f")["offset"] == 42


def test_open_file_is_held(agent: Agent, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    agent("open", "f", str(tmp_path / "file"))
    assert agent("verify", "f")["sha256"] == sha256(b"content")


def test_open_creat_makes_the_file(agent: Agent, tmp_path: Path) -> None:
    agent("open", "f", str(tmp_path / "file"), "--flags", "creat")
    agent("write", "f", "text")
    assert (tmp_path / "file").read_text() == "text"


def test_open_rdonly_refuses_writing(agent: Agent, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    agent("open", "f", str(tmp_path / "file"), "--flags", "rdonly")
    assert agent.refused("write", "f", "text")["error"] == "EBADF"


@pytest.mark.parametrize("flags", ["wronly", "", "RDONLY"])
def test_open_unknown_flags_are_wrong_usage(agent: Agent, tmp_path: Path, flags: str) -> None:
    (tmp_path / "file").touch()
    status, _ = agent.run("open", "f", str(tmp_path / "file"), "--flags", flags)
    assert status == 2


# -- what is held ----------------------------------------------------------------------------


def test_files_lists_what_is_held(agent: Agent) -> None:
    agent("memfd", "create", "one")
    agent("memfd", "create", "two")
    items = agent("files")["items"]
    assert {item["name"]: item["target"] for item in items} == {
        "one": "/memfd:one (deleted)",
        "two": "/memfd:two (deleted)",
    }


def test_close_lets_go(agent: Agent) -> None:
    agent("memfd", "create", "f")
    agent("close", "f")
    assert agent("files")["items"] == []


def test_reset_lets_go_of_everything(agent: Agent) -> None:
    for name in ("one", "two"):
        agent("memfd", "create", name)
    agent("reset")
    assert agent("files")["items"] == []


def test_name_of_any_bytes_comes_back(agent: Agent) -> None:
    name = 'a "b" \\ \t é'
    agent("memfd", "create", name)
    (item,) = agent("files")["items"]
    assert item["name"].encode("latin-1").decode() == name


def test_long_answer_is_whole(agent: Agent) -> None:
    agent("memfd", "create", "f", "--size", str(64 * 1024))
    assert agent("read", "f")["hex"] == pattern(64 * 1024).hex()


# -- errors ----------------------------------------------------------------------------------


def test_name_that_is_taken_is_eexist(agent: Agent) -> None:
    agent("memfd", "create", "f", "--size", "10")
    found = agent.refused("memfd", "create", "f", "--size", "20")
    assert (found["error"], found["errno"], found["op"]) == ("EEXIST", 17, "memfd")
    assert agent("verify", "f")["size"] == 10


@pytest.mark.parametrize(
    "words",
    [
        ("close", "f"),
        ("verify", "f"),
        ("check", "f"),
        ("read", "f"),
        ("write", "f", "x"),
        ("seek", "f", "0"),
        ("preserve", "s", "1", "f"),
        ("retrieve", "s", "1", "f"),
        ("session", "finish", "s"),
        ("session", "close", "s"),
    ],
    ids=" ".join,
)
def test_name_that_is_not_held_is_ebadf(agent: Agent, words: tuple[str, ...]) -> None:
    assert agent.refused(*words)["error"] == "EBADF"


def test_open_absent_file_is_enoent(agent: Agent, tmp_path: Path) -> None:
    assert agent.refused("open", "f", str(tmp_path / "absent"))["error"] == "ENOENT"


def test_session_without_the_device_is_enoent(agent: Agent) -> None:
    assert not Path("/dev/liveupdate").exists()
    found = agent.refused("session", "create", "s")
    assert (found["op"], found["error"]) == ("create", "ENOENT")


def test_session_name_that_is_too_long(agent: Agent) -> None:
    assert agent.refused("session", "create", "s" * 65)["error"] == "ENAMETOOLONG"


def test_seek_to_no_number_is_einval(agent: Agent) -> None:
    agent("memfd", "create", "f")
    assert agent.refused("seek", "f", "end")["error"] == "EINVAL"


@pytest.mark.parametrize(
    "words",
    [
        ("conquer",),
        ("session",),
        ("session", "conquer", "s"),
        ("memfd", "create"),
        ("close",),
        ("close", "f", "g"),
        ("ping", "pong"),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_status_2(agent: Agent, words: tuple[str, ...]) -> None:
    status, (answer,) = agent.run(*words)
    assert (status, answer["ok"], answer["error"]) == (2, False, "usage")


def test_no_command_is_status_2_without_a_daemon(stopped: Agent) -> None:
    status, (answer,) = stopped.run()
    assert (status, answer["error"]) == (2, "usage")


@pytest.mark.parametrize("words", [("ping",), ("conquer",)])
def test_no_daemon_is_status_3(stopped: Agent, words: tuple[str, ...]) -> None:
    status, (answer,) = stopped.run(*words)
    assert (status, answer["op"], answer["error"]) == (3, "agent", "ENOENT")


def test_dead_daemon_is_status_3(agent: Agent) -> None:
    pid = agent("ping")["pid"]
    os.kill(pid, signal.SIGKILL)
    status, (answer,) = agent.run("ping")
    assert (status, answer["error"]) in [(3, "ECONNREFUSED"), (3, "ECONNRESET")]


def test_daemon_goes_on_after_an_error(agent: Agent) -> None:
    agent.run("conquer")
    agent("ping")


# -- batch -----------------------------------------------------------------------------------


def test_batch_runs_tab_separated_commands(agent: Agent) -> None:
    lines = "batch\t2\nmemfd\tcreate\ta b\t--size\t10\nverify\ta b\n"
    status, answers = agent.run("lines", stdin=lines)
    assert (status, answers[1]["sha256"]) == (0, sha256(pattern(10)))


def test_batch_stops_at_the_first_failure(agent: Agent) -> None:
    lines = "batch\t4\nping\nclose\tabsent\nping\nping\nsession\tlist\n"
    _, answers = agent.run("lines", stdin=lines)
    assert [answer["ok"] for answer in answers] == [True, False, True]
    assert "pid" not in answers[2], "it is the list, not what a ping says"


def test_batch_that_is_cut_short_is_no_error(agent: Agent) -> None:
    assert len(agent.run("lines", stdin="batch\t3\nping\nping")[1]) == 2


def test_batches_follow_each_other(agent: Agent) -> None:
    lines = "batch\t2\nclose\tabsent\nping\nbatch\t1\nping\n"
    assert [answer["ok"] for answer in agent.run("lines", stdin=lines)[1]] == [False, True]


def test_no_word_of_a_line_is_dropped(tiny: Agent) -> None:
    lines = "".join("\t".join(["hello", "there", *["x"] * n]) + "\n" for n in (62, 63))
    _, (whole, too_long) = tiny.run("lines", stdin=lines)
    assert (whole["argc"], too_long["error"]) == (62, "usage")


@pytest.mark.parametrize("count", [65, 200])
def test_line_with_too_many_words_is_wrong_usage(agent: Agent, count: int) -> None:
    _, (answer,) = agent.run("lines", stdin="\t".join(["ping", *["x"] * count]) + "\n")
    assert answer["error"] == "usage"


# -- a client that stays ---------------------------------------------------------------------


def test_lines_go_on_after_an_error(agent: Agent) -> None:
    status, answers = agent.run("lines", stdin="preserve\ts\t1\tf\nping\n\nping\n")
    assert status == 0
    assert [answer["ok"] for answer in answers] == [False, True, False, True]


def test_lines_read_and_write_files(agent: Agent, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("old text\n\tand more")
    _, answers = agent.run("lines", stdin=f"get\t{file}\nput\t{file}\tnew\nget\t{tmp_path}\n")
    assert answers[0] == {"ok": True, "content": "old text\n\tand more"}
    assert answers[1] == {"ok": True}
    assert answers[2]["error"] == "EISDIR"
    assert file.read_text() == "new text\n\tand more"


def test_small_files_are_read_without_a_daemon(stopped: Agent, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    assert stopped("get", str(tmp_path / "file"))["content"] == "text"
    assert stopped.refused("get", str(tmp_path / "absent"))["error"] == "ENOENT"


def test_lines_refuse_a_file_that_is_too_large(agent: Agent, tmp_path: Path) -> None:
    file = tmp_path / "large"
    file.write_bytes(b"x" * (1 << 20))
    assert agent.run("lines", stdin=f"get\t{file}\n")[1][0]["error"] == "EFBIG"


def test_lines_name_the_error_of_a_module(agent: Agent, tmp_path: Path) -> None:
    _, (inserted, removed) = agent.run("lines", stdin=f"insmod\t{tmp_path}/absent\t\nrmmod\tno\n")
    assert inserted == {"ok": False, "op": "insmod", "error": "ENOENT", "errno": 2}
    assert not removed["ok"]


@pytest.fixture
def port(agent: Agent) -> Iterator[int]:
    """Where the agent listens; whoever asks is answered by a child of the one that does."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "HARNESS_AGENT_SOCKET": str(agent.socket),
        "HARNESS_AGENT_PORT": str(port),
    }
    subprocess.run([agent.program, "listen"], env=environment, check=True, timeout=60)
    listens = [
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdecimal() and _runs(entry, f"HARNESS_AGENT_PORT={port}")
    ]
    yield port
    for pid in listens:
        os.kill(pid, signal.SIGKILL)


def _runs(process: Path, variable: str) -> bool:
    try:
        return variable.encode() in (process / "environ").read_bytes().split(b"\0")
    except OSError:
        return False


def test_everyone_who_connects_is_answered(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), 60) as first:
        with socket.create_connection(("127.0.0.1", port), 60) as second:
            second.sendall(b"ping\n")
            assert json.loads(second.makefile().readline())["ok"]
        # The first one's line is complete only now.
        first.sendall(b"pi")
        first.sendall(b"ng\n")
        assert json.loads(first.makefile().readline())["ok"]


def test_port_that_is_taken_is_an_error(agent: Agent, port: int) -> None:
    environment = {**os.environ, "HARNESS_AGENT_PORT": str(port)}
    done = subprocess.run([agent.program, "listen"], env=environment, capture_output=True)
    assert (done.returncode, done.stderr) == (3, b"listen: Address already in use\n")


# -- failures on request ---------------------------------------------------------------------


def test_failing_allocation_is_asked_for_in_one_way_only(agent: Agent) -> None:
    for words in (
        ("0", "open"),
        ("x", "open"),
        ("1", "close"),
        ("1", "open", "fail-nth", "1", "open"),
    ):
        assert agent.run("fail-nth", *words, "ping")[0] == 2


def test_failing_allocation_that_never_came_is_told(agent: Agent) -> None:
    answer = agent("fail-nth", "1", "ioctl", "ping")
    assert (answer["injected"], "pid" in answer) == (False, True)


# -- any ioctl -------------------------------------------------------------------------------

FIONREAD, FIONBIO = "0x541b", "0x5421"
NS_GET_USERNS = "0xb701"


def test_raw_takes_bytes_in_hex_only(agent: Agent) -> None:
    for text in ("0", "zz", "AB"):
        assert agent.run("raw", ".device", "0", text)[0] == 2


def test_ioctl_returns_the_bytes_as_the_kernel_leaves_them(agent: Agent) -> None:
    agent("memfd", "create", "f", "--size", "300", "--offset", "44")
    assert agent("ioctl", "f", FIONREAD, "ffffffffee")["hex"] == "00010000ee"


def test_ioctl_read_only_bytes_cannot_take_the_answer(agent: Agent) -> None:
    agent("memfd", "create", "f")
    assert agent.refused("ioctl", "f", FIONREAD, "00000000", "read-only")["error"] == "EFAULT"


def test_ioctl_that_answers_with_a_number_has_worked(agent: Agent) -> None:
    agent("open", "f", "/proc/self/ns/net", "--flags", "rdonly")
    assert agent("ioctl", "f", NS_GET_USERNS, "")["returned"] > 2


def test_ioctl_has_no_bytes_of_an_earlier_one(agent: Agent) -> None:
    agent("memfd", "create", "f")
    agent.refused("ioctl", "f", "0xdead", "ff" * 8)
    agent("ioctl", "f", FIONBIO, "00")
    process = Path(f"/proc/{agent('ping')['pid']}")
    (fd,) = (path for path in (process / "fd").iterdir() if "memfd" in str(path.readlink()))
    flags = re.findall(r"^flags:\s*(\d+)", (process / "fdinfo" / fd.name).read_text(), re.M)
    assert int(flags[0], 8) & os.O_NONBLOCK == 0


@pytest.mark.parametrize(
    "words", [("x", ""), ("0", "0"), ("0", "AB"), ("0", "00" * 4097), ("0", "00", "rw")]
)
def test_ioctl_wrong_words_are_wrong_usage(agent: Agent, words: tuple[str, ...]) -> None:
    agent("memfd", "create", "f")
    assert agent.run("ioctl", "f", *words)[0] == 2


# -- verbs of a suite ------------------------------------------------------------------------

VERBS = """
#include "agent.h"
#include <errno.h>
#include <unistd.h>

static long long count;

static void hello(struct json *j, int argc, char **argv)
{
	json_begin(j, true);
	json_string(j, "file", __FILE__);
	json_number(j, "argc", argc);
	json_number(j, "count", ++count);
	json_array(j, "words");
	for (int i = 0; i < argc; i++)
		json_string(j, NULL, argv[i]);
	json_array_end(j);
	json_end(j);
}

static void keep(struct json *j, int argc, char **argv)
{
	json_result(j, "keep", held_add("pipe", argv[0], dup(held_find(HELD_FILE, argv[1]))));
}

static void kept(struct json *j, int argc, char **argv)
{
	held_list(j, "pipe");
}

static int forget(void)
{
	errno = EBUSY;
	if (count > 2)
		return -1;
	count = 0;
	return 0;
}

static const struct agent_verb verbs[] = {
	{ "hello there", "NAME [--loud YES] [WORD...]", hello },
	{ "hello there all", "", hello },
	{ "hello here", "NAME", hello, .here = true },
	{ "keep this too", "", hello },
	{ "keep", "NAME FILE", keep },
	{ "kept", "", kept },
	{ }
};

static struct agent_part tiny = { .verbs = verbs, .reset = forget };

AGENT_PART(tiny)
"""

BARE = {
    *("ping", "reset", "help", "open", "close", "read", "write", "seek", "verify", "files"),
    *("get", "put", "insmod", "rmmod", "rmmod-force", "wake", "kexec", "kexec-load"),
    *("fail-nth", "ioctl", "kexec-try", "pause"),
    *("race journal", "race start", "race wait", "race result"),
}


@pytest.fixture(scope="module")
def tiny_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tiny")
    (directory / "verbs.c").write_text(VERBS)
    return build(directory, extra=[directory / "verbs.c"])


@pytest.fixture
def tiny(tiny_program: Path, tmp_path: Path) -> Iterator[Agent]:
    """An agent with the verbs above and no others of a suite's."""
    with running(Agent(tiny_program, tmp_path / "tiny.sock")) as agent:
        yield agent


def test_agent_without_a_suite_has_the_general_verbs(tmp_path: Path) -> None:
    with running(Agent(build(tmp_path), tmp_path / "agent.sock")) as bare:
        assert {item["verb"] for item in bare("help")["items"]} == BARE
        assert bare.run("session", "create", "s")[0] == 2
        (tmp_path / "file").write_bytes(b"content")
        bare("open", "f", str(tmp_path / "file"))
        assert bare("verify", "f")["sha256"] == sha256(b"content")


def test_verb_of_a_suite_is_called(tiny: Agent) -> None:
    assert {item["verb"] for item in tiny("help")["items"]} > BARE
    answer = tiny("hello", "there", "world", "--loud", "yes")
    assert (answer["argc"], answer["words"]) == (3, ["world", "--loud", "yes"])
    for words in (("hello", "there", "all"), ("keep", "this", "too")):
        assert tiny(*words)["argc"] == 0, "the longer name is meant"
    assert tiny("hello", "there", *["x"] * 30)["argc"] == 30


def test_verb_of_a_suite_runs_in_the_daemon_or_here(tiny: Agent) -> None:
    assert [tiny("hello", "there", "x")["count"] for _ in range(2)] == [1, 2]
    assert [tiny("hello", "here", "x")["count"] for _ in range(2)] == [1, 1]


def test_verb_of_a_suite_has_its_arguments_counted(tiny: Agent) -> None:
    for words in (("hello", "there"), ("hello", "here"), ("hello", "here", "a", "b")):
        status, (answer,) = tiny.run(*words)
        assert (status, answer["error"]) == (2, "usage")
        assert "wrong number of arguments: hello" in answer["message"]


def test_files_of_a_suite_have_names_of_their_own(tiny: Agent) -> None:
    tiny("open", "f", "/dev/null")
    tiny("keep", "f", "f")
    assert tiny.refused("keep", "f", "f")["error"] == "EEXIST"
    for verb in ("files", "kept"):
        (item,) = tiny(verb)["items"]
        assert (item["name"], item["target"]) == ("f", "/dev/null")
    tiny("close", "f")
    assert [len(tiny(verb)["items"]) for verb in ("files", "kept")] == [0, 1]
    tiny("reset")
    assert tiny("kept")["items"] == []


def test_reset_calls_the_suite_and_tells_its_error(tiny: Agent) -> None:
    tiny("hello", "there", "x")
    tiny("reset")
    assert [tiny("hello", "there", "x")["count"] for _ in range(3)] == [1, 2, 3]
    found = tiny.refused("reset")
    assert (found["op"], found["error"]) == ("reset", "EBUSY")


def test_verb_that_is_there_already_is_refused(tmp_path: Path) -> None:
    (tmp_path / "verbs.c").write_text(VERBS.replace('"kept"', '"close"'))
    program = build(tmp_path, extra=[tmp_path / "verbs.c"])
    done = subprocess.run([program, "help"], capture_output=True, timeout=60)
    assert done.returncode == 3
    assert done.stderr == b"harness-agent: two verbs are called 'close'\n"


def test_agent_is_the_same_bytes_wherever_it_is_built(tmp_path: Path) -> None:
    programs = []
    for name in ("one", "two/deeper"):
        shutil.copytree(SOURCES, tmp_path / name / "sources")
        (tmp_path / name / "out").mkdir()
        verbs = tmp_path / name / "verbs.c"
        verbs.write_text(VERBS)
        sources = tmp_path / name / "sources"
        programs.append(build(tmp_path / name / "out", extra=[verbs], sources=sources))
    assert programs[0].read_bytes() == programs[1].read_bytes()


def test_agent_knows_nothing_of_a_subject() -> None:
    for path in SOURCES.iterdir():
        found = re.search(r"luo|live.?update|kho|memfd|flb", path.read_text(), re.I)
        assert found is None, f"{path.name}: {found}"
