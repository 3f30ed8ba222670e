# SPDX-License-Identifier: GPL-2.0-only
"""The plugin in sessions of its own: where options come from, and what outcomes are called."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.base.errors import KexecError, KexecRefused
from harness.base.settings import SETTINGS, UNTIL_FAILED
from harness.base.spec import PROJECT_ROOT
from harness.plugin.session import _boot_outcome
from harness.plugin.verdict import sanitised
from harness.results.results import Boot

pytest_plugins = ["pytester"]

SHOW = """\
from harness.plugin.options import setting

def test_show(request):
    print("value:", setting(request.config, "{name}"))
"""


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for one in SETTINGS:
        monkeypatch.delenv(one.variable, raising=False)


def shown(pytester: pytest.Pytester, name: str, *words: str) -> str:
    """Run a session and return the value that a setting has in it."""
    pytester.makepyfile(test_show=SHOW.format(name=name))
    done = pytester.runpytest_subprocess("-s", "-p", "no:cacheprovider", *words)
    done.assert_outcomes(passed=1)
    (line,) = [line for line in done.outlines if "value: " in line]
    return line.partition("value: ")[2].removesuffix(".")


def ini(pytester: pytest.Pytester, value: str, name: str = "profile") -> None:
    pytester.makeini(f"[pytest]\nharness_{name} = {value}\n")


# -- settings --------------------------------------------------------------------------------


def test_setting_default(pytester: pytest.Pytester) -> None:
    assert shown(pytester, "profile") == "default"


def test_setting_without_default_is_none(pytester: pytest.Pytester) -> None:
    assert shown(pytester, "kernel") == "None"


def test_setting_ini_beats_default(pytester: pytest.Pytester) -> None:
    ini(pytester, "from-ini")
    assert shown(pytester, "profile") == "from-ini"


def test_setting_environment_beats_ini(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    ini(pytester, "from-ini")
    monkeypatch.setenv("HARNESS_PROFILE", "from-environment")
    assert shown(pytester, "profile") == "from-environment"


def test_setting_command_line_beats_environment(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    ini(pytester, "from-ini")
    monkeypatch.setenv("HARNESS_PROFILE", "from-environment")
    assert shown(pytester, "profile", "--harness-profile=from-line") == "from-line"


def test_setting_empty_environment_counts_as_none(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    ini(pytester, "from-ini")
    monkeypatch.setenv("HARNESS_PROFILE", "")
    assert shown(pytester, "profile") == "from-ini"


SHOW_ALL = """\
from harness.base.settings import SETTING
from harness.plugin.options import setting

def test_show(request):
    for name in SETTING:
        print("value:", f"{name}={setting(request.config, name)}", end=";\\n")
"""


@pytest.mark.parametrize("face", ["command line", "environment", "ini", "default"])
def test_every_setting_can_be_set_by_every_face(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, face: str
) -> None:
    # Without its own suite a session would not begin, nor below a file.
    suite(pytester)
    values = {one.name: one.choices[-1] if one.choices else f"{one.name}-x" for one in SETTINGS}
    values |= {"suite": str(pytester.path), "results": str(pytester.path / "out")}
    words = [f"{one.plugin_option}={values[one.name]}" for one in SETTINGS]
    if face == "environment":
        for one in SETTINGS:
            monkeypatch.setenv(one.variable, values[one.name])
    elif face == "ini":
        lines = [f"{one.ini} = {values[one.name]}" for one in SETTINGS]
        pytester.makeini("\n".join(["[pytest]", *lines]))
    elif face == "default":
        values = {one.name: str(one.default) for one in SETTINGS}
    pytester.makepyfile(test_show=SHOW_ALL)
    given = words if face == "command line" else []
    done = pytester.runpytest_subprocess("-s", "-p", "no:cacheprovider", *given)
    done.assert_outcomes(passed=1)
    said = re.findall(r"value: (\w+)=(.*);", done.stdout.str())
    assert dict(said) == values


SHOW_STORE = """\
from harness.base.room import room_bytes
from harness.plugin.session import Session

def test_show(request):
    print("value:", room_bytes(Session(request.config).pipeline.store, 0) >> 30)
"""


def test_room_of_the_ini_file_is_that_of_the_cache(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(pytester.path / "cache"))
    ini(pytester, "7", "room")
    pytester.makepyfile(test_show=SHOW_STORE)
    done = pytester.runpytest_subprocess("-s", "-p", "no:cacheprovider")
    done.assert_outcomes(passed=1)
    done.stdout.fnmatch_lines(["*value: 7*"])


def test_every_option_has_help(pytester: pytest.Pytester) -> None:
    done = pytester.runpytest_subprocess("--help")
    text = done.stdout.str()
    for one in SETTINGS:
        assert f"{one.plugin_option}=" in text
        assert f"{one.ini} " in text


# -- outcomes --------------------------------------------------------------------------------

RAISE = """\
from harness.base.errors import *

def test_it():
    raise {error}
"""


def raising(pytester: pytest.Pytester, error: str) -> pytest.RunResult:
    pytester.makepyfile(RAISE.format(error=error))
    return pytester.runpytest_subprocess("-v", "-p", "no:cacheprovider")


SAY = """\
def pytest_runtest_logreport(report):
    if report.when == "call":
        print("exception:", report.harness["exception"])
"""


@pytest.mark.parametrize(
    ("error", "name"),
    [
        ("KeyError('x')", "KeyError"),
        ("AssertionError('x')", "AssertionError"),
        ("KernelCrash('panic')", "harness.base.errors.KernelCrash"),
        ("__import__('pytest').skip.Exception('x')", "None"),
    ],
)
def test_report_names_the_exception(pytester: pytest.Pytester, error: str, name: str) -> None:
    pytester.makeconftest(SAY)
    pytester.makepyfile(RAISE.format(error=error))
    done = pytester.runpytest_subprocess("-s", "-p", "no:cacheprovider")
    done.stdout.fnmatch_lines([f"*exception: {name}*"])


SAID = """\
from harness.plugin.results import _result_of

def pytest_runtest_logreport(report):
    if report.when == "call":
        print("message:", _result_of(report, report.nodeid).message.splitlines()[0])
"""


@pytest.mark.parametrize(
    ("assertion", "said"),
    [
        ("assert len(pins) == 0", "len(pins) == 0 does not hold: assert 1 == 0"),
        (
            "assert (\n        len(pins)\n        == 0\n    )",
            "len(pins) == 0 does not hold: assert",
        ),
        ("assert not pins", "not pins does not hold: assert not [1]"),
        ("assert not pins, 'something is pinned'", "AssertionError: something is pinned"),
        ("assert pins.x", "AttributeError: "),
    ],
)
def test_message_of_a_bare_assertion_says_what_was_compared(
    pytester: pytest.Pytester, assertion: str, said: str
) -> None:
    pytester.makeconftest(SAID)
    pytester.makepyfile(f"def test_it():\n    pins = [1]\n    {assertion}\n")
    done = pytester.runpytest_subprocess("-s", "-p", "no:cacheprovider")
    (line,) = [line for line in done.outlines if "message: " in line]
    assert line.partition("message: ")[2].startswith(said)


@pytest.mark.parametrize(
    ("error", "word", "count"),
    [
        ("MachineError('no QEMU')", "ERROR", "1 error"),
        ("KexecError('not live')", "ERROR", "1 error"),
        ("KexecRefused('EINVAL')", "FAILED", "1 failed"),
        ("GuestClosed('gone')", "ERROR", "1 error"),
        ("BuildError('no compiler')", "ERROR", "1 error"),
        ("CommandError('failed', argv=('x',))", "ERROR", "1 error"),
        ("KernelCrash('panic')", "CRASHED", "1 failed"),
        ("AssertionError('wrong')", "FAILED", "1 failed"),
        ("OSError(28, 'the disk is full')", "ERROR", "1 error"),
        ("OSError(13, 'not allowed')", "FAILED", "1 failed"),
    ],
    ids=lambda text: text.partition("(")[0],
)
def test_exception_is_shown_as(
    pytester: pytest.Pytester, error: str, word: str, count: str
) -> None:
    done = raising(pytester, error)
    done.stdout.fnmatch_lines([f"*::test_it {word}*", f"*{count}*"])


def test_machine_that_refuses_to_go_on_has_come_up() -> None:
    outcomes = [_boot_outcome(error) for error in (None, KexecRefused("EINVAL"), KexecError("?"))]
    assert outcomes == [Boot.OK, Boot.OK, Boot.ERROR]


def test_every_exception_fails_the_session(pytester: pytest.Pytester) -> None:
    assert raising(pytester, "MachineError('no QEMU')").ret == pytest.ExitCode.TESTS_FAILED


def test_what_a_guest_printed_moves_no_terminal(pytester: pytest.Pytester) -> None:
    done = raising(
        pytester, r"KernelCrash('\x1b[2Jpanic', splat='\x1b]0;mine\x07BUG: \x1b[1mhere')"
    )
    assert "panic" in done.stdout.str()
    assert "BUG: here" in done.stdout.str()
    assert "\x1b[2J" not in done.stdout.str()
    assert "\x1b]0" not in done.stdout.str()


def test_error_shows_hint_and_log(pytester: pytest.Pytester) -> None:
    done = raising(pytester, "MachineError('no QEMU', hint='install it', log='logs/qemu.log')")
    done.stdout.fnmatch_lines(["*no QEMU*", "* hint *", "install it", "* log *", "logs/qemu.log"])


@pytest.mark.parametrize(
    ("function", "word"), [("mask_ioapic_irq", "ERROR"), ("luo_file_retrieve", "CRASHED")]
)
def test_kernel_that_died_of_a_known_issue_is_no_verdict(
    pytester: pytest.Pytester, function: str, word: str
) -> None:
    splat = f"BUG: kernel NULL pointer dereference, address: 0\\nRIP: 0010:{function}+0x3f/0x150"
    raising(pytester, f"KernelCrash('panic', splat='{splat}')").stdout.fnmatch_lines(
        [f"*::test_it {word}*"]
    )


def test_crash_shows_the_splat(pytester: pytest.Pytester) -> None:
    done = raising(pytester, "KernelCrash('panic', splat='BUG: at luo_file.c')")
    done.stdout.fnmatch_lines(["* kernel crash *", "BUG: at luo_file.c"])


def test_error_in_a_fixture_is_an_error(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest
        from harness.base.errors import MachineError

        @pytest.fixture
        def broken():
            raise MachineError("no QEMU")

        def test_it(broken):
            pass
        """
    )
    done = pytester.runpytest_subprocess("-v", "-p", "no:cacheprovider")
    done.assert_outcomes(errors=1)


def test_session_that_cannot_write_its_results_is_no_verdict(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it():\n    assert False\n")
    done = pytester.runpytest_subprocess("-p", "no:cacheprovider", "--junitxml=/dev/full")
    assert done.ret == 3
    assert "ERROR: the host: No space left on device" in done.stderr.str()
    assert "Traceback" not in done.stdout.str() + done.stderr.str()


def test_worker_that_dies_is_no_verdict(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        "import os, signal\n\ndef test_it():\n    os.kill(os.getpid(), signal.SIGKILL)\n"
        "\ndef test_other():\n    pass\n"
    )
    done = pytester.runpytest_subprocess("-v", "-n", "1", "-p", "no:cacheprovider")
    done.stdout.fnmatch_lines(["*ERROR*::test_it*", "*1 passed, 1 error*"])
    assert done.ret == 3


@pytest.mark.parametrize(
    ("body", "words", "code"),
    [
        ("raise KeyboardInterrupt", ("--harness-results=out",), 130),
        ("raise KeyboardInterrupt", ("--harness-results=out", "-n", "1"), 130),
        ("raise KeyboardInterrupt", (), 2),
        ("assert False", ("--harness-results=out", "-x"), 1),
    ],
    ids=["alone", "worker", "no run of ours", "stopped"],
)
def test_session_that_was_interrupted_is_no_bad_input(
    pytester: pytest.Pytester, body: str, words: tuple[str, ...], code: int
) -> None:
    pytester.makepyfile(f"def test_it():\n    {body}\n")
    assert pytester.runpytest_subprocess("-p", "no:cacheprovider", *words).ret == code


def test_only_a_test_that_fails_ends_the_session(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        from harness.base.errors import GuestTimeout

        def test_lost():
            raise GuestTimeout("no answer")

        def test_good(): pass

        def test_bad(): assert False

        def test_later(): pass
        """
    )
    words = ("-p", "no:cacheprovider", "--harness-results=out")
    stopped = pytester.runpytest_subprocess(*words, UNTIL_FAILED)
    stopped.assert_outcomes(passed=1, failed=1, errors=1)
    stopped.stdout.fnmatch_lines(["*a test failed*"])
    pytester.runpytest_subprocess(*words).assert_outcomes(passed=2, failed=1, errors=1)


@pytest.mark.parametrize(
    ("words", "body", "complete"),
    [
        ((), "assert False", True),
        (("-x",), "assert False", True),
        (("-x",), "raise GuestTimeout('no answer')", False),
        ((), "raise GuestTimeout('no answer')", True),
        ((), "pytest.exit('enough', returncode=1)", True),
        ((), "pytest.exit('enough', returncode=3)", False),
    ],
)
def test_session_that_a_failure_did_not_end_lacks_tests(
    pytester: pytest.Pytester, words: tuple[str, ...], body: str, *, complete: bool
) -> None:
    pytester.makeconftest(
        """
        import pytest
        from harness.plugin.results import _came_to_its_end
        from harness.plugin.session import session_of

        @pytest.hookimpl(trylast=True)
        def pytest_sessionfinish(session, exitstatus):
            tests = tuple(session_of(session.config).tests.values())
            print("complete:", _came_to_its_end(session, exitstatus, tests))
        """
    )
    pytester.makepyfile(
        f"""
        import pytest
        from harness.base.errors import GuestTimeout

        def test_it(): {body}
        """
    )
    done = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-s", *words)
    done.stdout.fnmatch_lines([f"*complete: {complete}*"])


def run_signalled(pytester: pytest.Pytester, conftest: str) -> pytest.RunResult:
    """Run a test whose *conftest* sends a signal at the end."""
    # What becomes an interrupt becomes one when a kernel is asked for.
    taken = "signal.signal(signal.SIGTERM, signal.default_int_handler)"
    pytester.makeconftest(conftest)
    pytester.makepyfile(f"import signal\n\ndef test_it():\n    {taken}\n")
    return pytester.runpytest_subprocess("-p", "no:cacheprovider", "--harness-results=out")


LATE = """
import os, pathlib, signal, time

def pytest_sessionfinish():
    for _ in range({times}):
        os.kill(os.getpid(), signal.{name})
        time.sleep(0.05)
    pathlib.Path("written").touch()
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("times", [1, 2])
def test_interrupt_waits_until_results_are_written(
    pytester: pytest.Pytester, name: str, times: int
) -> None:
    done = run_signalled(pytester, LATE.format(times=times, name=name))
    assert done.ret == 130
    assert (pytester.path / "written").exists() == (times == 1)
    said = done.stdout.str() + done.stderr.str()
    assert "Traceback" not in said
    assert ("interrupted before the results were written" in said) == (times == 2)


LAST = """
import atexit, os, signal

def end(kill=os.kill, number=signal.{name}):
    kill(os.getpid(), number)

class Last:
    def __del__(self, end=end):
        end()

def pytest_configure(config):
    global last
    if "{when}" == "cleanup":
        config.add_cleanup(end)
    elif "{when}" == "exit":
        atexit.register(end)
    else:
        last = Last()
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("when", ["cleanup", "exit", "finalization"])
def test_interrupt_after_results_loses_nothing(
    pytester: pytest.Pytester, name: str, when: str
) -> None:
    done = run_signalled(pytester, LAST.format(when=when, name=name))
    # The exit code can tell of it as long as pytest has not returned its own.
    assert done.ret == (130 if when == "cleanup" else 0)
    assert "Traceback" not in done.stdout.str() + done.stderr.str()


LOST = """
import os, signal, time, weakref
from harness.plugin.interrupts import take_interrupts

class Thing:
    pass

def gone(_reference):
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.01)

def test_it(request):
    take_interrupts(request.config)
    thing = Thing()
    reference = weakref.ref(thing, gone)
    del thing
    time.sleep(5)
"""


def test_interrupt_that_python_cannot_raise_comes_again(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(LOST)
    done = pytester.runpytest_subprocess("-p", "no:cacheprovider", "--harness-results=out")
    assert done.ret == 130
    said = done.stdout.str() + done.stderr.str()
    assert "KeyboardInterrupt" in said
    assert "Traceback" not in said
    assert "Unraisable" not in said


def test_file_that_cannot_be_imported_is_bad_input(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("import nothing_of_this_name\n")
    words = ("-p", "no:cacheprovider", "--harness-results=out")
    assert pytester.runpytest_subprocess(*words).ret == 2


def test_passing_test_is_left_alone(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it():\n    pass\n")
    done = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    done.assert_outcomes(passed=1)
    assert done.ret == pytest.ExitCode.OK


def test_session_without_kernel_leaves_no_results(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it():\n    pass\n")
    pytester.runpytest_subprocess("-p", "no:cacheprovider", "--harness-results=out")
    assert not (pytester.path / "out").exists()
    assert not (pytester.path / "results").exists()


PLACE = """\
import pytest
from harness.plugin.session import session_of

@pytest.mark.parametrize("number", range(4))
def test_place(request, number):
    assert session_of(request.config).directory.is_dir()
"""


@pytest.mark.parametrize("words", [(), ("-n", "2")], ids=["alone", "workers"])
def test_results_are_in_one_directory_and_latest_is_a_link_to_it(
    pytester: pytest.Pytester, words: tuple[str, ...]
) -> None:
    pytester.makepyfile(PLACE)
    for count in (1, 2):
        pytester.runpytest_subprocess("-p", "no:cacheprovider", *words).assert_outcomes(passed=4)
        made = [path for path in (pytester.path / "results").iterdir() if not path.is_symlink()]
        assert len(made) == count
    latest = pytester.path / "results" / "latest"
    assert latest.resolve() == max(made, key=lambda path: path.stat().st_mtime_ns)


@pytest.mark.parametrize(("words", "stays"), [((), False), (("--collect-only",), True)])
def test_results_directory_that_is_used_again_is_cleared(
    pytester: pytest.Pytester, words: tuple[str, ...], *, stays: bool
) -> None:
    pytester.makepyfile("def test_it():\n    raise SystemExit(1)\n")
    for name in ("results.json", "again/results.json", "console/test_it.log"):
        (pytester.path / "out" / name).parent.mkdir(parents=True, exist_ok=True)
        (pytester.path / "out" / name).touch()
    pytester.runpytest_subprocess("-p", "no:cacheprovider", "--harness-results=out", *words)
    assert (pytester.path / "out").exists()
    assert any((pytester.path / "out").iterdir()) is stays


def test_bad_input_ends_the_session_with_one_message(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_one(kernel):\n    pass\n\ndef test_two(kernel):\n    pass\n")
    done = pytester.runpytest_subprocess(
        "-p", "no:cacheprovider", "--harness-series=absent.mbx", "--harness-kernel=absent"
    )
    assert done.ret == 2
    assert sum("there is no series at absent.mbx" in line for line in done.outlines) == 1
    assert "Traceback" not in done.stdout.str() + done.stderr.str()


def test_bad_setting_ends_the_session_with_one_message(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(pipeline):\n    pass\n")
    done = pytester.runpytest_subprocess("-p", "no:cacheprovider", "--harness-position=seven")
    assert done.ret == 2
    done.stdout.fnmatch_lines(["*position must be a whole number*"])


# -- the suite of a session ------------------------------------------------------------------


def suite(pytester: pytest.Pytester, more: str = "") -> None:
    """Make the current directory a suite whose tests are in ``checks``."""
    pytester.makefile(".yaml", suite=f"name: own\ntests: checks\nkernel: /linux\n{more}")
    (pytester.path / "checks").mkdir()


def test_suite_brings_its_plugins(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite(pytester, "plugins: [own_plugin]\n")
    pytester.makepyfile(
        own_plugin="import pytest\n\n@pytest.fixture\ndef own():\n    return 'own'\n"
    )
    # Not from the suite's directory: there Python finds its modules anyway.
    away = pytester.mkdir("away")
    (away / "test_it.py").write_text("def test_it(own):\n    assert own == 'own'\n")
    monkeypatch.chdir(away)
    done = pytester.runpytest_subprocess("-p", "no:cacheprovider", "--harness-suite=..")
    done.assert_outcomes(passed=1)


def test_suite_of_its_own_has_nothing_of_the_shipped_one(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(live_update):\n    pass\n")
    with_shipped = pytester.runpytest_subprocess("-p", "no:cacheprovider", "--fixtures")
    with_shipped.stdout.fnmatch_lines(["updated_machine*"])
    suite(pytester)
    done = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines(["*fixture 'live_update' not found"])


def test_suite_that_is_wrong_ends_the_session_with_one_message(pytester: pytest.Pytester) -> None:
    suite(pytester, "colour: red\n")
    pytester.makepyfile("def test_it():\n    pass\n")
    done = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    assert done.ret == 2
    said = done.stdout.str() + done.stderr.str()
    assert "suite.yaml:4: unknown key 'colour'" in said
    assert "Traceback" not in said


def test_ids_in_results_are_below_the_tests_of_the_suite(pytester: pytest.Pytester) -> None:
    suite(pytester)
    text = """
        from harness.plugin.session import session_of

        def test_it(request):
            print("value:", session_of(request.config).test_id(request.node.nodeid))
        """
    path = pytester.makepyfile(test_it=text)
    path.rename(pytester.path / "checks" / "test_it.py")
    pytester.makepyfile(test_other=text)
    done = pytester.runpytest_subprocess("-s", "-p", "no:cacheprovider")
    named = {line.partition("value: ")[2].rstrip(".") for line in done.outlines}
    assert {"test_it.py::test_it", "test_other.py::test_it"} <= named


# -- markers and names -----------------------------------------------------------------------


@pytest.mark.parametrize("marker", ["splat(regex, profiles=None)", "fresh_machine"])
def test_marker_is_registered(pytester: pytest.Pytester, marker: str) -> None:
    done = pytester.runpytest_subprocess("--markers")
    done.stdout.fnmatch_lines([f"@pytest.mark.{marker}:*"])


def test_splat_marker_passes_strict_markers(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        "import pytest\n\n@pytest.mark.splat('BUG')\n@pytest.mark.fresh_machine\n"
        "def test_it():\n    pass\n"
    )
    done = pytester.runpytest_subprocess("--strict-markers", "-p", "no:cacheprovider")
    done.assert_outcomes(passed=1)


# What a machine of one console is to the plugin; the test's kernel prints what is asked for.
SPLAT = """\
import pytest
from harness.plugin.session import SESSION, _Watch

class Machine:
    closed = False
    processor_time = None
    console = None
    def since(self, start):
        return {text!r}[start:]
    def decode(self, splats):
        return [splat.text for splat in splats]
    def close(self):
        self.closed = True

@pytest.mark.splat("use-after-free in f", profiles={profiles!r})
def test_it(request):
    Machine.console = Machine()
    request.config.stash[SESSION].watches.append(_Watch(Machine.console))
"""
USE_AFTER_FREE = "[    9.1] BUG: KASAN: use-after-free in f+0x1/0x2\n"


@pytest.mark.parametrize(
    ("profiles", "text", "outcome"),
    [
        (None, USE_AFTER_FREE, "PASSED"),
        (None, "[    9.1] quiet\n", "FAILED"),
        ("default", USE_AFTER_FREE, "PASSED"),
        ("default", "[    9.1] quiet\n", "FAILED"),
        (("debug", "kcsan"), USE_AFTER_FREE, "FAILED"),
        (("debug", "kcsan"), "[    9.1] quiet\n", "PASSED"),
    ],
)
def test_splat_is_due_on_its_profiles_only(
    pytester: pytest.Pytester, profiles: object, text: str, outcome: str
) -> None:
    pytester.makepyfile(SPLAT.format(profiles=profiles, text=text))
    done = pytester.runpytest_subprocess("-v", "-p", "no:cacheprovider")
    assert f"::test_it {outcome}" in done.stdout.str()


@pytest.mark.parametrize(("suite", "outcome"), [(PROJECT_ROOT, "FAILED"), (None, "PASSED")])
def test_what_the_suites_module_complains_of_is_a_splat(
    pytester: pytest.Pytester, suite: Path | None, outcome: str
) -> None:
    text = "[    9.1] luo_test: file_mismatch: handler0: sum 0x12, expected 0x13\n"
    pytester.makepyfile(SPLAT.format(profiles="none", text=text))
    if suite is None:
        (pytester.path / "suite.yaml").write_text("name: other\ntests: .\n")
    done = pytester.runpytest_subprocess(
        "-v", "-p", "no:cacheprovider", f"--harness-suite={suite or pytester.path}"
    )
    assert f"::test_it {outcome}" in done.stdout.str()
    shows = "the kernel log shows: luo_test: file_mismatch: handler0: sum ADDR, expected ADDR"
    assert (shows in done.stdout.str()) == (outcome == "FAILED")


def test_flood_of_splats_is_kept_in_a_file_and_shown_in_part(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    stacks = "".join(
        f"[    9.{n:03}] BUG: KASAN: use-after-free in f+0x{n:x}/0x2000\n"
        f"[    9.{n:03}] Call Trace:\n[    9.{n:03}]  f+0x{n:x}/0x2000\n"
        for n in range(1, 501)
    )
    pytester.makepyfile(SPLAT.format(profiles="none", text=stacks))
    done = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    said = done.stdout.str()
    assert len(re.findall(r"^-+ splat -+$", said, re.M)) == 21
    assert "(480 more are in" in said
    (message,) = (line for line in said.splitlines() if line.startswith("FAILED"))
    assert message.count("use-after-free") == 1
    (file,) = pytester.path.rglob("*.splats")
    assert file.read_text().count("Call Trace:") == 500


@pytest.mark.parametrize(
    ("nodeid", "name"),
    [
        ("tests/guest/test_memfd.py::test_sparse", "test_memfd.py-test_sparse"),
        ("tests/guest/test_a.py::test_b[4096-a b]", "test_a.py-test_b-4096-a-b"),
    ],
)
def test_sanitised_is_a_file_name(nodeid: str, name: str) -> None:
    assert sanitised(nodeid) == name


def test_sanitised_ids_that_differ_before_a_slash_stay_apart() -> None:
    assert sanitised("a.py::test_b[x/y]") != sanitised("a.py::test_c[z/y]")


# -- tests of other profiles -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("profile", "passed"), [("default", 1), ("kcsan", 2), ("debug", 3), ("debug@aarch64", 3)]
)
def test_tests_of_other_profiles_are_deselected(
    pytester: pytest.Pytester, profile: str, passed: int
) -> None:
    pytester.makepyfile(
        """\
        import pytest

        def test_everywhere(): pass

        @pytest.mark.profiles("kcsan", "debug")
        def test_two(): pass

        @pytest.mark.profiles("debug")
        def test_one(): pass
        """
    )
    done = pytester.runpytest_subprocess("-p", "no:cacheprovider", f"--harness-profile={profile}")
    done.assert_outcomes(passed=passed, deselected=3 - passed)


@pytest.mark.parametrize(("judge", "passed"), [("desired", 2), ("expected", 1)])
def test_tests_of_the_machinery_are_not_asked_about_patches(
    pytester: pytest.Pytester, judge: str, passed: int
) -> None:
    pytester.makepyfile(
        """\
        import pytest

        def test_kernel(): pass

        @pytest.mark.machinery
        def test_clone(): pass
        """
    )
    done = pytester.runpytest_subprocess("-p", "no:cacheprovider", f"--harness-judge={judge}")
    done.assert_outcomes(passed=passed, deselected=2 - passed)


@pytest.mark.parametrize(
    ("words", "passed"),
    [
        (("--harness-position=0",), 2),
        (("--harness-position=5",), 1),
        (("--harness-position=11",), 2),
        ((), 2),
        (("--harness-position=5", "--harness-judge=desired"), 2),
        (("--harness-position=5", "--harness-seed=2"), 2),
        (("--harness-position=5", "--harness-races=60"), 2),
        (("--harness-position=5", "-k", "race"), 1),
        (("--harness-position=5", "test_it.py::test_race"), 1),
    ],
)
def test_what_hangs_on_no_patch_is_asked_at_both_ends_of_the_series(
    pytester: pytest.Pytester, words: tuple[str, ...], passed: int
) -> None:
    pytester.makepyfile(
        test_it="""\
        import pytest

        def test_kernel(): pass

        @pytest.mark.both_ends
        def test_race(): pass
        """
    )
    suite = f"--harness-suite={PROJECT_ROOT}"
    words = (suite, "--harness-judge=expected", *words)
    done = pytester.runpytest_subprocess("-p", "no:cacheprovider", *words)
    done.assert_outcomes(
        passed=passed, deselected=(1 if "test_it.py::test_race" in words else 2) - passed
    )


@pytest.mark.parametrize(("words", "passed"), [((), 1), (("--harness-to=7.2.13",), 2)])
def test_tests_of_two_kernels_are_asked_where_a_second_one_is_named(
    pytester: pytest.Pytester, words: tuple[str, ...], passed: int
) -> None:
    pytester.makepyfile(
        """\
        import pytest

        def test_one(): pass

        @pytest.mark.two_kernels
        def test_two(): pass
        """
    )
    done = pytester.runpytest_subprocess("-p", "no:cacheprovider", *words)
    done.assert_outcomes(passed=passed, deselected=2 - passed)
