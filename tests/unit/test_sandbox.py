# SPDX-License-Identifier: GPL-2.0-only
"""What runs in the sandbox sees its directories and the host's programs, and nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from strangers import Attacks, Victim, processes_named, victim

from harness.base import command, sandbox
from harness.base.errors import CommandError, InfrastructureError, SandboxError
from harness.base.sandbox import OPEN, Sandbox, open_sandbox, sandbox_trouble
from harness.base.settings import target_from_settings

__all__ = ["victim"]

LONG = f"8641{os.getpid()}"
"""What a process sleeps that is looked for, and no other does."""


@pytest.fixture(autouse=True)
def asked_anew() -> Iterator[None]:
    """Let no test see what another has found out about the host."""
    sandbox_trouble.cache_clear()
    yield
    sandbox_trouble.cache_clear()


@pytest.fixture
def box(tmp_path: Path) -> Sandbox:
    """A sandbox with one directory, ``own``."""
    (tmp_path / "own").mkdir()
    return open_sandbox("require", writable=[tmp_path / "own"])


def text(box: Sandbox, script: str, **environment: str) -> str:
    done = box.run(["sh", "-c", script], timeout_s=30, env=environment, check=False)
    return done.stdout + done.stderr


# -- what it does not see ---------------------------------------------------------------------


def test_attacks_succeed_without_a_sandbox(victim: Victim, tmp_path: Path) -> None:
    # Else the next test would not show anything.
    victim.attack(OPEN, tmp_path)
    assert victim.got() == set(Attacks)


def test_attacks_get_nowhere_in_it(victim: Victim, tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    victim.attack(open_sandbox("require", writable=[tmp_path / "own"]), tmp_path / "own")
    assert victim.got() == set()


def test_only_its_own_directory_is_written_to(box: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "shown").mkdir()
    shown = open_sandbox("require", writable=box.writable, readable=[tmp_path / "shown"])
    script = "for d in own shown .; do echo x >$0/$d/file; done; echo x >/file; echo x >/usr/file"
    done = shown.run(["sh", "-c", script, tmp_path], timeout_s=30, check=False)
    assert done.stderr.count("Read-only file system") == 3
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "own", "shown"]
    assert (tmp_path / "own/file").exists()
    assert not Path("/file").exists()
    assert not Path("/usr/file").exists()


def test_what_is_readable_in_a_writable_directory_is_not_written_or_moved(
    box: Sandbox, tmp_path: Path
) -> None:
    kept = tmp_path / "own/.git"
    kept.mkdir()
    (kept / "config").write_text("mine")
    fixed = open_sandbox("require", writable=box.writable, readable=[kept])
    script = 'cd "$0"; echo x >.git/config; rm -rf .git; mv .git away; mkdir .git; cat .git/config'
    done = fixed.run(["sh", "-c", script, kept.parent], timeout_s=30, check=False)
    assert done.stdout == "mine"
    assert (kept / "config").read_text() == "mine"
    assert [path.name for path in kept.parent.iterdir()] == [".git"]


def test_tmp_is_its_own(box: Sandbox, tmp_path: Path) -> None:
    script = 'pwd; echo own >/tmp/"$name"; cat "$name"; ls -a "$others"'
    said = text(box, script, name=tmp_path.name, others=str(tmp_path))
    assert said.split() == [tempfile.gettempdir(), "own", ".", "..", "own"]
    assert not Path(tempfile.gettempdir(), tmp_path.name).exists()


def test_root_has_no_power_in_it(box: Sandbox) -> None:
    assert "CapEff:\t0000000000000000" in text(box, "cat /proc/self/status")
    # It belongs to root, who needs no capability to write there.
    script = 'cd /proc/sys/kernel; v=$(cat printk_ratelimit) && echo "$v" >printk_ratelimit'
    assert "Read-only file system" in text(box, script)


def test_environment_is_what_programs_need(box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("API_TOKEN", "SSH_AUTH_SOCK", "CCACHE_REMOTE_STORAGE", "LC_ALL", "CCACHE_MAXSIZE"):
        monkeypatch.setenv(name, f"value-of-{name}")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    said = text(box, "cat /proc/*/environ | tr '\\0' '\\n'", ASKED="for")
    assert {"LC_ALL=C.UTF-8", "CCACHE_MAXSIZE=value-of-CCACHE_MAXSIZE", "ASKED=for"} <= set(
        said.splitlines()
    )
    for name in ("API_TOKEN", "SSH_AUTH_SOCK", "CCACHE_REMOTE_STORAGE"):
        assert name not in said


def test_an_ordinary_user_has_one_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() != 0:
        pytest.skip("all other tests are run by one")
    own = Path(tempfile.gettempdir(), f"sandbox-of-nobody-{os.getpid()}")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setenv("HOME", "/nonexistent")
    words = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"]
    own.mkdir()
    try:
        os.chown(own, 65534, 65534)
        wrapper = Sandbox(writable=(own,)).wrapper({"PATH": "/usr/bin:/bin"})
        done = command.run(
            [*words, *wrapper, "sh", "-c", "id -u; echo x >$0/file; cat /etc/shadow", own],
            timeout_s=30,
            cwd=Path("/"),
            check=False,
        )
        assert done.stdout == "65534\n", done.stderr
        assert (own / "file").exists()
    finally:
        command.run(["rm", "-r", own], timeout_s=30)


# -- how it ends ------------------------------------------------------------------------------


def test_end_of_the_program_is_the_end_of_all(box: Sandbox) -> None:
    text(box, f"setsid sleep {LONG}1 & setsid -f sleep {LONG}2; sleep 0.2")
    assert processes_named(f"sleep {LONG}") == []


def test_nothing_outlives_a_harness_that_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from harness.base.sandbox import open_sandbox\n"
        "box = open_sandbox('require', writable=[Path(sys.argv[1])])\n"
        "box.run(['setsid', 'sleep', sys.argv[2]], timeout_s=60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, tmp_path, f"{LONG}3"]) as own:
        try:
            wait_for(lambda: processes_named(f"sleep {LONG}3"))
        finally:
            own.kill()
    wait_for(lambda: not processes_named(f"sleep {LONG}3"))


def test_interrupted_make_removes_what_is_half_done(box: Sandbox, tmp_path: Path) -> None:
    own = tmp_path / "own"
    (own / "Makefile").write_text(
        "made:\n\techo half >$@\n"
        "\ttrap 'sleep 0.5; touch tidied; exit 1' INT; touch up; sleep 60 & wait\n"
    )
    caught: list[CommandError] = []

    def make() -> None:
        try:
            box.run(["make", "-C", own, "made"], timeout_s=60)
        except CommandError as error:
            caught.append(error)

    thread = threading.Thread(target=make)
    thread.start()
    wait_for((own / "up").exists)
    began = time.monotonic()
    command.interrupt(thread)
    thread.join(30)
    assert time.monotonic() - began < 4
    assert (own / "tidied").exists()
    assert not (own / "made").exists()
    assert [error.returncode for error in caught] == [-signal.SIGINT]


def test_interrupted_make_removes_what_is_half_done_also_where_interrupts_were_ignored(
    box: Sandbox, tmp_path: Path
) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        test_interrupted_make_removes_what_is_half_done(box, tmp_path)
    finally:
        signal.signal(signal.SIGINT, before)


def test_program_killed_by_a_signal_is_told_as_without_a_sandbox(box: Sandbox) -> None:
    for each in (OPEN, box):
        with pytest.raises(
            CommandError, match=r"^sh -c 'kill -KILL \$\$' was killed by SIGKILL"
        ) as got:
            each.run(["sh", "-c", "kill -KILL $$"], timeout_s=30)
        assert got.value.returncode == -signal.SIGKILL


def test_program_that_fails_is_told_as_without_a_sandbox(box: Sandbox) -> None:
    for each in (OPEN, box):
        with pytest.raises(CommandError, match=r"^sh -c .* failed with exit status 7: why$"):
            each.run(["sh", "-c", "echo why >&2; exit 7"], timeout_s=30)
        with pytest.raises(CommandError, match="program not found: no-such-program"):
            each.run(["no-such-program"], timeout_s=30)


def test_write_that_is_not_allowed_is_no_trouble_of_the_host(box: Sandbox) -> None:
    with pytest.raises(CommandError, match=r"exit status 2: .*Read-only file system"):
        box.run(["sh", "-c", "echo x >/file"], timeout_s=30)


def test_trouble_of_the_host_is_told_with_the_program(box: Sandbox) -> None:
    script = "echo 'sh: /own: Read-only file system'; echo 'sh: No space left on device'; exit 1"
    with pytest.raises(InfrastructureError, match=r"^the host: No space left on device: sh -c "):
        box.run(["sh", "-c", script], timeout_s=30)


# -- where programs are -----------------------------------------------------------------------


def program(path: Path, script: str = "cat $(dirname $0)/../lib/part") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_compiler_elsewhere_is_there_with_what_belongs_to_it(tmp_path: Path) -> None:
    cc = program(tmp_path / "cross/bin/own-gcc")
    (tmp_path / "cross/lib").mkdir()
    (tmp_path / "cross/lib/part").write_text("part")
    (tmp_path / "links").mkdir()
    link = tmp_path / "links/cc"
    link.symlink_to(cc)
    for name in (cc, link):
        box = open_sandbox("require", writable=[], programs=[str(name)])
        done = box.run([cc], timeout_s=30)
        assert done.stdout == "part"
        assert box.run([name], timeout_s=30, check=False).returncode in (0, 1)


def test_programs_on_the_path_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "tools/bin/own-tool")
    (tmp_path / "tools/lib").mkdir()
    (tmp_path / "tools/lib/part").write_text("part")
    monkeypatch.setenv("PATH", f"{tmp_path}/tools/bin:relative:{os.environ['PATH']}")
    assert open_sandbox("require", writable=[]).run(["own-tool"], timeout_s=30).stdout == "part"


@pytest.mark.parametrize("place", ["bin", ".local/bin", ".cargo/bin"])
def test_path_in_a_home_shows_programs_and_no_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    secret = tmp_path / place / "../credentials"
    program(tmp_path / place / "own-tool", f"cat {secret}; echo ran")
    secret.write_text("secret")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path}:{tmp_path / place}:{os.environ['PATH']}")
    assert open_sandbox("require", writable=[]).run(["own-tool"], timeout_s=30).stdout == "ran\n"


def test_user_without_a_name_or_a_home_has_a_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)
    monkeypatch.delenv("HOME")
    monkeypatch.setenv("PATH", f"/root:{os.environ['PATH']}")
    assert open_sandbox("require", writable=[]).run(["true"], timeout_s=30).returncode == 0


# -- whether there is one ---------------------------------------------------------------------


def test_sandbox_that_is_turned_off_is_none() -> None:
    assert open_sandbox("off", writable=[]).off == "it was turned off"


def only(directory: Path, monkeypatch: pytest.MonkeyPatch, **programs: str) -> None:
    """Let nothing but *programs* be on the path."""
    for name, script in programs.items():
        program(directory / "path" / name, script)
    (directory / "path").mkdir(exist_ok=True)
    for name in ("env", "sh", "true"):
        (directory / "path" / name).symlink_to(f"/usr/bin/{name}")
    monkeypatch.setattr(command, "which", lambda name: which_in(directory / "path", name))
    monkeypatch.setenv("PATH", str(directory / "path"))


def which_in(directory: Path, name: str) -> Path | None:
    return directory / name if (directory / name).exists() else None


def test_without_bubblewrap_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only(tmp_path, monkeypatch)
    assert open_sandbox("auto", writable=[]).off == "there is no bwrap"
    with pytest.raises(SandboxError, match="no sandbox here: there is no bwrap") as caught:
        open_sandbox("require", writable=[])
    assert "bubblewrap" in (caught.value.hint or "")


def test_where_bubblewrap_is_refused_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "setting up uid map: Permission denied"
    only(tmp_path, monkeypatch, bwrap=f'echo "bwrap: {said}" >&2; exit 1')
    assert open_sandbox("auto", writable=[]).off == f"bwrap does not work: {said}"
    with pytest.raises(SandboxError, match=said) as caught:
        open_sandbox("require", writable=[])
    assert "user namespaces" in (caught.value.hint or "")


def test_host_is_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only(tmp_path, monkeypatch, bwrap=f"echo ran >>{tmp_path}/log; exit 0")
    for _ in range(3):
        assert open_sandbox("require", writable=[]).off == ""
    assert (tmp_path / "log").read_text() == "ran\n"


def test_sandbox_is_auto_unless_somebody_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    assert target_from_settings({"kernel": "/linux"}.get).sandbox == "auto"
    assert target_from_settings({"kernel": "/linux", "sandbox": "off"}.get).sandbox == "off"
    assert sandbox.MODES == ("auto", "require", "off")


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
