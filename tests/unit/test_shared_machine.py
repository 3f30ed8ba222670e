# SPDX-License-Identifier: GPL-2.0-only
"""Tests share a machine as long as they leave it clean; why it was replaced is kept and shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console
from runs import run_of

from harness.report.extras import facts_of
from harness.report.text import machine_lines, print_results
from harness.results.results import Boot, BootResult

pytest_plugins = ["pytester"]

TESTS = """
import json
import pytest
from harness.guest.template import Started
from harness.plugin.session import Session, session_of

TAINT = "the kernel is tainted (512)"

class Machine:
    processor_time = None
    def __init__(self, why):
        self.why, self.closed = why, False
    def clean_up(self):
        return self.why
    def close(self):
        self.closed = True

LEFT = [TAINT, None, None]

def boot(session, position=None):
    session._booted("7.0", 0.0, f"00{len(session.boots) + 1}", None)
    return Started(Machine(LEFT[len(session.boots) - 1]), None, cloned=False)

Session.boot = boot

@pytest.fixture(scope="session")
def kernel():
    pass

def test_that_taints(machine):
    pass

def test_after_it(machine):
    pass

def test_that_shares_it(machine):
    pass

@pytest.mark.fresh_machine
def test_that_wants_a_fresh_one(machine):
    pass

def test_what_is_kept(request):
    boots = session_of(request.config).boots
    print("kept:", json.dumps([[b.machine, b.replaced, b.replaced_after] for b in boots]))
"""


def test_why_a_shared_machine_was_replaced_is_kept(pytester: pytest.Pytester) -> None:
    (pytester.path / "suite.yaml").write_text("name: a\ntests: .\n")
    pytester.makepyfile(test_it=TESTS)
    done = pytester.runpytest_subprocess("-s", "-p", "no:cacheprovider")
    done.assert_outcomes(passed=5)
    (line,) = [line for line in done.outlines if "kept: " in line]
    assert json.loads(line.partition("kept: ")[2].removesuffix(".")) == [
        ["machines/001", "the kernel is tainted (512)", "test_it.py::test_that_taints"],
        ["machines/002", "a test asked for a machine that nobody has used", ""],
        ["machines/003", "", ""],
    ]


SILENT = """
import pytest
from harness.base.errors import GuestError
from harness.base.timeouts import GUEST
from harness.guest.template import Started
from harness.plugin.session import Session, session_of

class Machine:
    processor_time, timeouts = None, GUEST
    def __init__(self, answers):
        self.answers, self.closed = answers, False
    def clean_up(self):
        return None
    def check(self, words):
        assert not self.closed
        if not self.answers:
            raise GuestError("no answer within 8 s")
        if self.answers.pop():
            raise GuestError("no answer within 9 s")
        return "0"
    def close(self):
        self.closed = True

ANSWERS = [[], [True, False], [False, False]]

def boot(session, position=None):
    session._booted("7.0", 0.0, f"00{len(session.boots) + 1}", None)
    return Started(Machine(ANSWERS[len(session.boots) - 1]), None, cloned=False)

Session.boot = boot

@pytest.fixture(scope="session")
def kernel():
    pass

def test_that_gets_none(machine):
    pass

def test_that_loses_it(machine):
    pass

def test_that_gets_another(machine):
    pass

def test_what_is_kept(request):
    for boot in session_of(request.config).boots:
        print("kept:", boot.machine, boot.replaced, boot.replaced_after)
"""


def test_machine_that_is_silent_is_not_handed_on(pytester: pytest.Pytester) -> None:
    (pytester.path / "suite.yaml").write_text("name: a\ntests: .\nidle:\n  files: echo 0\n")
    pytester.makepyfile(test_it=SILENT)
    done = pytester.runpytest_subprocess("-s", "-v", "-p", "no:cacheprovider")
    done.stdout.fnmatch_lines(
        [
            "*kept: machines/001 it does not answer: no answer within 8 s test_it.py::*gets_none",
            "kept: machines/002 it does not answer: no answer within 9 s test_it.py::*loses_it",
            "kept: machines/003 *",
            "ERROR test_it.py::test_that_gets_none*",
            "ERROR test_it.py::test_that_loses_it*",
            "*3 passed, 2 errors*",
        ]
    )


INTERRUPTED = """
import dataclasses
import pytest
from harness.base.timeouts import GUEST
from harness.guest.template import Started
from harness.plugin.session import Session

class Machine:
    processor_time, timeouts, files = None, dataclasses.replace(GUEST, idle_s=0.1), 3
    def clean_up(self):
        return None
    def check(self, words):
        self.files += 1
        return str(self.files)
    def close(self):
        pass

def boot(session, position=None):
    session._booted("7.0", 0.0, "001", None)
    return Started(Machine(), None, cloned=False)

Session.boot = boot

@pytest.fixture(scope="session")
def kernel():
    pass

def test_that_is_interrupted(machine):
    raise {error}
"""


@pytest.mark.parametrize(
    ("error", "code", "judged"), [("KeyboardInterrupt", 130, False), ("OSError", 1, True)]
)
def test_machine_of_an_interrupted_test_is_not_judged(
    pytester: pytest.Pytester, error: str, code: int, *, judged: bool
) -> None:
    (pytester.path / "suite.yaml").write_text("name: a\ntests: .\nidle:\n  open files: echo 0\n")
    pytester.makepyfile(test_it=INTERRUPTED.format(error=error))
    done = pytester.runpytest_subprocess("-p", "no:cacheprovider", "--harness-results=out")
    said = done.stdout.str() + done.stderr.str()
    assert done.ret == code
    assert "Traceback" not in said
    assert ("not given back after the test: open files" in said) == judged


def boot(number: int, replaced: str = "", after: str = "") -> BootResult:
    return BootResult(
        release="7.0",
        outcome=Boot.OK,
        seconds=1.0,
        message="",
        machine=f"machines/{number:03}",
        replaced=replaced,
        replaced_after=after,
    )


BOOTS = (
    boot(1, "the kernel is tainted (512)", "test_a.py::test_x"),
    boot(2, "it runs its second kernel", "test_a.py::test_y"),
    boot(3, "the kernel is tainted (512)", "test_a.py::test_z"),
    boot(4),
)


def test_lines_have_each_reason_once() -> None:
    assert machine_lines(BOOTS, tests=False) == [
        "4 machines, 3 replaced",
        "2 replaced: the kernel is tainted (512)",
        "1 replaced: it runs its second kernel",
    ]
    assert machine_lines(BOOTS, tests=True)[1] == (
        "2 replaced: the kernel is tainted (512), after test_a.py::test_x, test_a.py::test_z"
    )
    assert machine_lines(BOOTS[3:], tests=True) == []
    assert machine_lines((), tests=True) == []


def test_summary_and_page_show_why_machines_were_replaced(tmp_path: Path) -> None:
    results = run_of(boots=BOOTS)
    with (tmp_path / "said").open("w") as stream:
        print_results(results, Console(file=stream, width=200), {})
    assert "2 replaced: the kernel is tainted (512)" in (tmp_path / "said").read_text()
    told = dict(facts_of([results]))
    assert "after test_a.py::test_x, test_a.py::test_z" in told["machines"]
    both = dict(facts_of([results, results]))
    assert both["machines"].startswith("8 machines, 6 replaced; 4 replaced: the kernel is tainted")
    assert "test_x" not in both["machines"]
