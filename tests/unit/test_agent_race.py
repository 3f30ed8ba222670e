# SPDX-License-Identifier: GPL-2.0-only
"""Races of the guest's agent, on the host: rounds, endless actors, what is stuck, the journal."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_agent import GUEST, UAPI, Agent, build, running

MIB = 1 << 20


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The agent with the verbs of memfds."""
    out = tmp_path_factory.mktemp("agent")
    return build(out, f"UAPI={UAPI}", extra=[GUEST / "memfd.c"])


@pytest.fixture
def agent(program: Path, tmp_path: Path) -> Iterator[Agent]:
    """An agent with its daemon."""
    with running(Agent(program, tmp_path / "agent.sock")) as agent:
        yield agent


def race(agent: Agent, tmp_path: Path, schedule: str, journal: str = "-") -> dict[str, Any]:
    """Run a schedule, its words separated by blanks; return what came of it."""
    path = tmp_path / "schedule"
    lines = (
        line.strip() if "!" in line else "\t".join(line.split()) for line in schedule.splitlines()
    )
    path.write_text("\n".join(lines))
    agent("race", "start", journal, str(path))
    deadline = time.monotonic() + 60
    while not agent("race", "wait", "1000")["ended"]:
        assert time.monotonic() < deadline
    return agent("race", "result")


def counts(result: dict[str, Any], actor: int) -> dict[tuple[int, str], int]:
    """Return how often each operation of an actor came to what."""
    return {
        (item["op"], item["status"]): item["count"]
        for item in result["actors"][actor]["operations"]
    }


def test_each_round_is_once_through_all_operations(agent: Agent, tmp_path: Path) -> None:
    log = tmp_path / "log"
    result = race(
        agent,
        tmp_path,
        f"""!seed 1
        !time 60000
        !grace 10000
        !rounds 20
        !first
        open f {log}.%r --flags creat
        !actor
        write f a
        !actor
        write f b
        write f c
        !last
        put {log}.%r last""",
    )
    assert (result["done"], result["rounds"]) == (1, 20)
    assert counts(result, 0) == {(0, "ok"): 20}
    assert counts(result, 1) == {(0, "ok"): 20, (1, "ok"): 20}
    texts = [Path(f"{log}.{number}").read_text() for number in range(20)]
    # They share the file's offset: nothing is written over, and "last" came after all of it.
    assert texts == ["last"] * 20
    assert agent("files")["items"] == []


def test_actors_share_their_descriptors(agent: Agent, tmp_path: Path) -> None:
    result = race(
        agent,
        tmp_path,
        """!time 60000
        !grace 10000
        !rounds 5
        !first
        open f /dev/null
        !actor
        close f
        !actor
        pause 20000
        write f a""",
    )
    assert counts(result, 1) == {(0, "ok"): 5, (1, "EBADF"): 5}


def open_files(pid: int) -> list[Path]:
    """Return what a process has open, once it has closed the connection of its last answer."""
    found: list[Path] = []
    while found != (found := sorted(Path(f"/proc/{pid}/fd").iterdir())):
        time.sleep(0.2)
    return found


def test_nothing_stays_open_behind_a_race(agent: Agent, tmp_path: Path) -> None:
    agent("open", "kept", "/dev/null")
    pid = agent("ping")["pid"]
    before = open_files(pid)
    race(agent, tmp_path, "!time 60000\n!grace 10000\n!rounds 3\n!actor\nopen f /dev/null")
    assert open_files(pid) == before
    assert [item["name"] for item in agent("files")["items"]] == ["kept"]


def test_actors_without_rounds_go_on_until_the_time_is_over(agent: Agent, tmp_path: Path) -> None:
    began = time.monotonic()
    result = race(
        agent,
        tmp_path,
        """!time 300
        !grace 10000
        !jitter 50
        !actor
        open f-%a-%r /dev/null
        close f-%a-%r
        !actor
        get /nowhere""",
    )
    assert 0.3 <= time.monotonic() - began < 10
    assert counts(result, 0)[0, "ok"] > 10
    assert set(counts(result, 0)) == {(0, "ok"), (1, "ok")}
    assert set(counts(result, 1)) == {(0, "ENOENT")}
    assert result["rounds"] == 1


def test_actor_that_does_not_end_is_stuck(agent: Agent, tmp_path: Path) -> None:
    result = race(
        agent, tmp_path, "!time 100\n!grace 200\n!actor\npause 0\npause 30000000\n!actor\npause 0"
    )
    assert [(actor["stuck"], actor["op"]) for actor in result["actors"]] == [(1, 1), (0, 0)]


def test_operation_of_first_that_fails_ends_the_race(agent: Agent, tmp_path: Path) -> None:
    result = race(
        agent,
        tmp_path,
        """!time 60000
        !rounds 9
        !first
        pause 0
        get /nowhere
        !actor
        pause 0""",
    )
    assert result["failed"] == {"op": 1, "last": 0, "status": "ENOENT"}
    assert result["actors"][0]["begun"] == 0


def test_word_that_no_verb_has_is_told(agent: Agent, tmp_path: Path) -> None:
    result = race(agent, tmp_path, "!time 60000\n!grace 9\n!rounds 1\n!actor\nnever heard of")
    assert counts(result, 0) == {(0, "usage"): 1}


def test_journal_in_a_file_has_what_was_done_last(agent: Agent, tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_bytes(bytes(MIB))
    agent("open", "journal", str(path), "--flags", "rdwr")
    race(
        agent,
        tmp_path,
        "!time 60000\n!grace 9000\n!rounds 300\n!actor\npause 0\n!actor\nget /nowhere",
        "journal",
    )
    first = agent("race", "journal", "journal", "0")
    assert (first["begun"], len(first["records"]), first["records"][-1]) == (300, 256, "299 0 ok")
    assert agent("race", "journal", "journal", "1")["records"][0] == "44 0 failed"


def test_journal_knows_what_has_begun(agent: Agent, tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_bytes(bytes(MIB))
    agent("open", "journal", str(path), "--flags", "rdwr")
    text = "!time 100\n!grace 100\n!actor\npause 30000000"
    race(agent, tmp_path, text, "journal")
    assert agent("race", "journal", "journal", "0")["records"] == ["0 0 begun"]


@pytest.mark.parametrize("schedule", ["", "!rounds", "!what 1", "pause 0", "!actor\n!seed x"])
def test_text_that_is_no_schedule_is_refused(agent: Agent, tmp_path: Path, schedule: str) -> None:
    (tmp_path / "schedule").write_text(schedule)
    refused = agent.refused("race", "start", "-", str(tmp_path / "schedule"))
    assert refused["error"] == "EINVAL"


def test_reset_ends_a_race(agent: Agent, tmp_path: Path) -> None:
    (tmp_path / "schedule").write_text("!time 60000\n!grace 60000\n!actor\npause\t100")
    agent("race", "start", "-", str(tmp_path / "schedule"))
    agent("reset")
    status, (answer,) = agent.run("race", "result")
    assert (status, answer["error"]) == (2, "usage")


def processes(agent: Agent) -> int:
    """Return how many there are of its program."""
    found = 0
    for path in Path("/proc").glob("[0-9]*/exe"):
        with contextlib.suppress(OSError):
            found += path.readlink() == agent.program
    return found


def test_reset_leaves_nobody_with_the_files_of_a_race(agent: Agent, tmp_path: Path) -> None:
    # The last one that dies gives its memory back, and that takes time.
    first = f"!first\nmemfd\tcreate\tm\t--size\t{64 * MIB}"
    actors = "\n!actor\npause\t60000000" * 6
    (tmp_path / "schedule").write_text(f"!time 60000\n!grace 60000\n!rounds 1\n{first}{actors}")
    for _ in range(5):
        agent("race", "start", "-", str(tmp_path / "schedule"))
        while processes(agent) < 8:
            time.sleep(0.01)
        agent("reset")
        assert processes(agent) == 1


def test_operations_that_fail_are_told_apart(agent: Agent, tmp_path: Path) -> None:
    # "read" has looked at its number by then, and "check" has no errno.
    agent("memfd", "create", "m", "--size", "10", "--seed", "1")
    schedule = """!rounds 1
        !time 5000
        !actor
        read absent --length 5
        check m --size 10 --seed 2
        check m --size 10 --seed 1
        no-such-verb
    """
    result = race(agent, tmp_path, schedule)
    assert counts(result, 0) == {(0, "EBADF"): 1, (1, "failed"): 1, (2, "ok"): 1, (3, "usage"): 1}


def test_words_are_the_same_in_each_round(agent: Agent, tmp_path: Path) -> None:
    schedule = """!rounds 3
        !time 5000
        !first
        memfd create m --size 10 --seal shrink,write
        !actor
        write m x
    """
    assert counts(race(agent, tmp_path, schedule), 0) == {(0, "EPERM"): 3}
