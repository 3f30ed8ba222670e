# SPDX-License-Identifier: GPL-2.0-only
"""What is done ahead of time costs nobody anything when it fails, and leaves nothing behind."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from harness.base import command
from harness.base.errors import DownloadError
from harness.run.meanwhile import meanwhile


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 20
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert path.exists()


def test_tasks_run_beside_the_block(tmp_path: Path) -> None:
    with meanwhile(lambda: (tmp_path / "made").touch()):
        wait_for(tmp_path / "made")


def test_end_of_the_block_waits_for_the_tasks(tmp_path: Path) -> None:
    script = f"until [ -e {tmp_path}/ended ]; do sleep 0.01; done; touch {tmp_path}/made"
    with meanwhile(lambda: command.run(["sh", "-c", script], timeout_s=20)) as thread:
        assert thread.is_alive()
        (tmp_path / "ended").touch()
    assert (tmp_path / "made").exists()


def test_task_that_fails_disturbs_neither_the_block_nor_the_next_task(tmp_path: Path) -> None:
    def fail() -> None:
        raise DownloadError("cannot fetch the package x")

    with meanwhile(fail, lambda: (tmp_path / "made").touch()):
        pass
    assert (tmp_path / "made").exists()


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_exception_ends_the_programs_of_the_tasks_and_starts_no_more(
    tmp_path: Path, error: type[BaseException]
) -> None:
    script = f"echo $$ >{tmp_path}/part; mv {tmp_path}/part {tmp_path}/pid; exec sleep 100"
    with (
        pytest.raises(error),
        meanwhile(
            lambda: command.run(["sh", "-c", script], timeout_s=60),
            lambda: command.run(["touch", tmp_path / "next"], timeout_s=60),
        ) as thread,
    ):
        wait_for(tmp_path / "pid")
        raise error
    assert not thread.is_alive()
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
    assert not (tmp_path / "next").exists()


def test_exception_leaves_the_programs_of_others_alone(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="mine"), meanwhile(lambda: None):
        raise ValueError("mine")
    assert command.run(["echo", "on"], timeout_s=20).stdout == "on\n"
    with meanwhile(lambda: command.run(["touch", tmp_path / "made"], timeout_s=20)):
        pass
    assert (tmp_path / "made").exists()
