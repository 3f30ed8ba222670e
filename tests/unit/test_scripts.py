# SPDX-License-Identifier: GPL-2.0-only
"""What scripts make of their arguments and of trouble, with other programs in place of the real."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def script(name: str, top: Path) -> Path:
    """Copy a script of the project to a checkout that has little else."""
    (top / "scripts").mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "scripts" / "environment", top / "scripts")
    return Path(shutil.copy(ROOT / "scripts" / name, top / "scripts"))


def run(
    *words: str | Path, timeout_s: float = 60, **variables: str
) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **variables}
    return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=timeout_s)


# -- scripts/setup -----------------------------------------------------------------------------

PYTHON = """
case $* in
--version) echo "Python $VERSION" ;;
"-m venv --clear .venv")
	rm -rf .venv
	mkdir -p .venv/bin
	echo made >>made
	printf '#!/bin/sh\\n' >.venv/bin/python
	chmod +x .venv/bin/python
	;;
esac
"""


@pytest.fixture
def setup(tmp_path: Path) -> Path:
    """A checkout that needs no package, and a Python that makes environments of nothing."""
    top = tmp_path / "checkout"
    script("setup", top)
    (top / "scripts/packages.txt").write_text("# none\n")
    (top / "pyproject.toml").write_text("")
    program(tmp_path / "bin/python3", PYTHON)
    return top


def set_up(top: Path, version: str = "3.11.2", timeout_s: float = 60) -> int:
    """Run a checkout's setup; return how often its environment was made so far."""
    path = f"{top.parent / 'bin'}:{os.environ['PATH']}"
    done = run(top / "scripts/setup", timeout_s=timeout_s, PATH=path, VERSION=version)
    assert done.returncode == 0, done.stderr
    return len((top / "made").read_text().split())


def test_setup_makes_the_environment_once(setup: Path) -> None:
    assert [set_up(setup) for _ in range(2)] == [1, 1]
    (setup / "pyproject.toml").write_text("[project]\n")
    # What is there already is kept: pip does the rest.
    assert set_up(setup) == 1


def test_setup_makes_the_environment_of_another_place_or_python_anew(setup: Path) -> None:
    assert set_up(setup) == 1
    assert set_up(setup, "3.13.5") == 2
    moved = setup.rename(setup.with_name("moved"))
    assert [set_up(moved, "3.13.5") for _ in range(2)] == [3, 3]
    (moved / ".venv/bin/python").unlink()
    assert set_up(moved, "3.13.5") == 4


def test_setup_waits_for_another_one(setup: Path) -> None:
    with subprocess.Popen(
        ["flock", setup / "pyproject.toml", "sleep", "60"], start_new_session=True
    ) as other:
        try:
            while run("flock", "-n", setup / "pyproject.toml", "true").returncode == 0:
                pass
            with pytest.raises(subprocess.TimeoutExpired):
                set_up(setup, timeout_s=1)
        finally:
            os.killpg(other.pid, signal.SIGKILL)
    assert set_up(setup) == 1


@pytest.mark.parametrize("word", ["--arch=aarch64", "--bogus", "no-such-list"])
def test_setup_with_a_wrong_argument_changes_nothing(setup: Path, word: str) -> None:
    done = run(setup / "scripts/setup", word)
    assert (done.returncode, done.stdout) == (2, "")
    assert word in done.stderr
    assert "usage: scripts/setup" in done.stderr


# -- scripts/checkpatch ------------------------------------------------------------------------


def test_checkpatch_that_does_not_run_is_trouble(tmp_path: Path) -> None:
    path = script("checkpatch", tmp_path)
    program(tmp_path / ".venv/bin/python", f'exec {sys.executable} "$@"')
    program(tmp_path / ".venv/bin/harness", 'echo \'{"repo": "/no/such/tree"}\' >"$3"')
    done = run(path, HARNESS_SANDBOX="off")
    assert done.returncode == 3
    assert "the kernel's checkpatch does not run: " in done.stderr


# -- scripts/test ------------------------------------------------------------------------------


@pytest.mark.parametrize(("words", "code", "calls"), [((), 5, 1), (("-k", "x"), 0, 8)])
def test_words_for_pytest_go_to_each_call_and_need_not_fit_all(
    tmp_path: Path, words: tuple[str, ...], code: int, calls: int
) -> None:
    path = script("test", tmp_path)
    for name in ("ruff", "mypy", "harness"):
        program(tmp_path / ".venv/bin" / name, "")
    for name in ("setup", "checkpatch"):
        program(tmp_path / "scripts" / name, "")
    program(tmp_path / "scripts/second-qemu", "echo true")
    program(tmp_path / ".venv/bin/pytest", f'echo "$*" >>{tmp_path}/calls\nexit 5')
    assert run(path, *words).returncode == code
    said = (tmp_path / "calls").read_text().splitlines()
    assert len(said) == calls
    assert all(" ".join(words) in line for line in said)
