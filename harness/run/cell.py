# SPDX-License-Identifier: GPL-2.0-only
"""One cell: tests on one kernel, its command lines, and what became of it.

Matrix, bisect, mutants and the checks of single patches are made of cells.  They are plain data;
:mod:`harness.run.executor` runs them.
"""

from __future__ import annotations

import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from harness.base.errors import HarnessError, InfrastructureError, InputError, KernelCrash
from harness.base.settings import SETTING, SETTINGS, settings_of, target_from_settings
from harness.base.spec import DEFAULT_CC, PROJECT_ROOT, Target
from harness.base.store import digest
from harness.base.suite import Suite, load_suite
from harness.results.records import CellStatus
from harness.results.results import Boot, BootResult, RunResults, Standing, TestResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """Tests on one kernel.

    :param target: its position is a number.
    :param tests: ids below the suite's tests, or paths; empty for all tests.
    :param pytest_args: further arguments for pytest.
    :param judge: ``desired`` or ``expected``, see :class:`harness.results.results.RunResults`.
    :param cmdline: further kernel parameters.
    :param strict: whether what tests find beyond the promise of the series is a failure.
    :param to: the kernel that tests of two kernels go to, see :mod:`harness.base.kernel_name`;
        empty for none.
    """

    target: Target
    tests: tuple[str, ...] = ()
    pytest_args: tuple[str, ...] = ()
    judge: str = "expected"
    cmdline: str = ""
    strict: bool = False
    to: str = ""

    @property
    def suite(self) -> Suite:
        """The suite that the tests are of."""
        return load_suite(self.target.suite)

    @property
    def name(self) -> str:
        """What a matrix calls it, and the directory of its results: ``p07-default``."""
        return f"p{self.target.position:02}-{self.target.kind}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CellBuild:
    """A kernel as a cell got it.

    :param commit: what was built.
    :param seconds: what the build took when it was made.
    :param cached: whether it came from the cache this time.
    :param new_warnings: see :meth:`harness.run.pipeline.Pipeline.new_warnings`.
    """

    commit: str
    release: str
    seconds: float
    cached: bool
    new_warnings: tuple[str, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CellResult:
    """What became of a cell.

    :param message: why it came no farther; empty when the tests ran.
    :param log: the file with the details of that, or ``None``.
    :param build: ``None`` when there is no kernel.
    :param boot: the first boot of the kernel under test that worked, else the last that did not;
        ``None`` when no machine was asked for.
    :param results: ``None`` when there are no tests' results.
    :param directory: results and logs.
    :param seconds: what it took this time.
    :param cached: whether the results came from the cache.
    :param worker: which machine of a cluster ran it; empty for this one.
    """

    cell: Cell
    status: CellStatus
    message: str
    log: Path | None
    build: CellBuild | None
    boot: BootResult | None
    results: RunResults | None
    directory: Path
    seconds: float
    cached: bool
    worker: str = ""

    @property
    def tests(self) -> tuple[TestResult, ...]:
        """The tests' results, none when there are none."""
        return self.results.tests if self.results is not None else ()

    def test(self, test_id: str) -> TestResult | None:
        """Return a test's result, ``None`` when it did not run."""
        return next((test for test in self.tests if test.id == test_id), None)

    @property
    def unexpected(self) -> tuple[TestResult, ...]:
        """The tests that are not as they should be; those without a verdict are among them."""
        judge = self.cell.judge
        return tuple(test for test in self.tests if test.standing(judge) is not Standing.GOOD)

    def tested(self) -> RunResults:
        """Return the tests' results.

        :raises InputError: when there is no kernel: a patch or the code is at fault.
        :raises KernelCrash: when the kernel died before its first test.
        :raises InfrastructureError: when the tests did not run for another reason.
        """
        if self.status is CellStatus.TESTED and self.results is not None:
            return self.results
        kind: type[HarnessError] = InfrastructureError
        if self.status in (CellStatus.NOT_APPLIED, CellStatus.NOT_BUILT):
            kind = InputError
        elif self.boot is not None and self.boot.outcome is Boot.CRASHED:
            kind = KernelCrash
        raise kind(f"{self.status}: {self.message}", log=self.log)


# -- what is run ---------------------------------------------------------------------------


def pytest_argv(cell: Cell, directory: Path) -> list[str | Path]:
    """Return the command line that runs a cell's tests."""
    suite = cell.suite
    words: list[str | Path] = [sys.executable, "-m", "pytest", f"--rootdir={suite.root}"]
    words += ["-c", _configuration(suite), "-p", "no:cacheprovider"]
    words += [f"--junitxml={directory / 'junit.xml'}", *_plugin_options(cell, directory)]
    further = tuple(_resolved(word, suite) for word in cell.pytest_args)
    words += further
    words += [_test_path(test, suite) for test in cell.tests]
    if not cell.tests and not own_paths(further):
        words.append(str(suite.tests))
    return words


def _plugin_options(cell: Cell, directory: Path) -> list[str]:
    settings = _settings_of(cell) | {"results": str(directory)}
    return [f"{SETTING[name].plugin_option}={value}" for name, value in settings.items()]


def _settings_of(cell: Cell) -> dict[str, str]:
    """Return the settings that make a cell, without its tests."""
    settings = settings_of(cell.target)
    if cell.cmdline:
        settings["cmdline"] = cell.cmdline
    if cell.strict:
        settings["strict"] = "yes"
    if cell.to:
        settings["to"] = cell.to
    return settings | {"judge": cell.judge}


def _configuration(suite: Suite) -> Path:
    """Return pytest's configuration: the suite's own, never that of a project it is in."""
    own = suite.root / "pytest.ini"
    return own if own.is_file() else Path(__file__).with_name("pytest.ini")


def pytest_environment() -> dict[str, str]:
    """Return what to add to the environment, so that no setting in it gets at the tests."""
    return {setting.variable: "" for setting in SETTINGS if not setting.inherited}


def reproduce(cell: Cell) -> str:
    """Return the command line that runs the cell again, for people to copy."""
    # CC may not be set where it is copied to.
    own = {"suite": str(cell.target.suite)}
    defaults = settings_of(target_from_settings(own.get)) | {"cc": DEFAULT_CC}
    words = ["harness", "run"]
    for name, value in _settings_of(cell).items():
        if name == "series" and Path(value).exists():
            value = str(Path(value).resolve())
        if name == "suite":
            differs = cell.target.suite != PROJECT_ROOT
        else:
            differs = name in ("position", "profile") or value != defaults.get(name)
        if differs:
            words += SETTING[name].words(value)
    suite = cell.suite
    tests = [_shown(test, suite) for test in cell.tests]
    if cell.pytest_args or tests:
        words += ["--", *cell.pytest_args, *tests]
    return shlex.join(words)


def inputs_of(results: RunResults, suite: Suite) -> str:
    """Return a key of what a run was about: runs with the same one should come to the same."""
    builds = [part for pair in sorted(results.builds.items()) for part in pair]
    return digest(
        *builds,
        suite.tests,
        results.accel,
        results.machine.qemu,
        *results.machine.cmdline,
    )


def function_of(test_id: str) -> str:
    """Return what pytest calls a test: without the case of a kernel selftest at the end."""
    match = re.match(r".*?\.py::[^\[:]+(?:\[[^\]]*\])?", test_id)
    return match.group() if match else test_id


def find_test(text: str, suite: Suite) -> str:
    """Return the id, below the suite's tests, of a test that is named by id, path or function.

    :raises InputError: when there is none, or more than one.
    """
    if "::" in text:
        test_id = text.partition(f"{_place(suite)}/")[2] or text
        if not (suite.tests / test_id.partition("::")[0]).is_file():
            raise InputError(f"there is no test {text!r}", hint="such as test_x.py::test_y[0]")
        return test_id
    name = re.escape(text.partition("[")[0])
    files = [
        path
        for path in sorted(suite.tests.rglob("test_*.py"))
        if re.search(rf"^def {name}\(", path.read_text(), re.M)
    ]
    if len(files) != 1:
        several = ", ".join(path.name for path in files)
        raise InputError(
            f"there is no test {text!r}" if not files else f"{text!r} is in {several}",
            hint="such as test_x.py::test_y[0]",
        )
    return f"{files[0].relative_to(suite.tests)}::{text}"


def own_paths(words: tuple[str, ...]) -> list[Path]:
    """Return the files and directories among pytest's arguments."""
    paths = (Path(word.partition("::")[0]) for word in words)
    return [path for path in paths if path.exists()]


def _place(suite: Suite) -> Path:
    """Return where the suite's tests are, as people name it."""
    if suite.tests.is_relative_to(suite.root):
        return suite.tests.relative_to(suite.root)
    return suite.tests


def _is_below_tests(test: str, suite: Suite) -> bool:
    return (suite.tests / test.partition("::")[0]).is_file()


def _shown(test: str, suite: Suite) -> str:
    return str(_place(suite) / test) if _is_below_tests(test, suite) else test


def _test_path(test: str, suite: Suite) -> str:
    if _is_below_tests(test, suite):
        return str(suite.tests / test)
    if not Path(test.partition("::")[0]).exists():
        raise InputError(
            f"there is no test {test!r}", hint="an id as results.json has it: test_x.py::test_y"
        )
    return test


def _resolved(word: str, suite: Suite) -> str:
    """Find a test that is named from the top of the suite, wherever we are."""
    name = word.partition("::")[0]
    if name.endswith(".py") and not Path(name).exists():
        for top in (suite.root, suite.tests):
            if (top / name).is_file():
                return str(top / word)
    return word
