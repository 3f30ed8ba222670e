# SPDX-License-Identifier: GPL-2.0-only
"""Mutants: read strictly, and judged by tests that pass without them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from cells import outcome_of, result_of
from schemas import complaints as wrong_with
from shipped import SUITE

from harness.base.errors import ExitCode, SpecError
from harness.base.spec import KernelSpec, Target
from harness.report.mutants import record_of, to_markdown
from harness.results.form import from_plain
from harness.results.records import CellStatus, Fate, MutantsRecord, record_json
from harness.results.results import Outcome
from harness.run.cell import Cell, CellResult
from harness.search.mutants import (
    Mutant,
    Trial,
    exit_code,
    judge,
    mutants_of,
    read_mutants,
    try_mutant,
    unreached,
)

TARGET = Target(
    suite=SUITE.root,
    kernel=KernelSpec(path=Path("/linux")),
    series="series",
    position=11,
    profile="default",
    accel="tcg",
    arch="x86_64",
)


def patch(directory: Path, name: str, *trailers: str, subject: str = "mutant: no lock") -> Path:
    path = directory / name
    body = "\n".join(trailers)
    path.write_text(
        f"From 0 Mon Sep 17 00:00:00 2001\nFrom: A <a@b>\nSubject: [PATCH] {subject}\n\n{body}\n"
        "---\n file | 1 +\n\ndiff --git a/file b/file\n"
    )
    return path


def mutant(**change: object) -> Mutant:
    values = {
        "name": "no-lock",
        "path": Path("/m/01-no-lock.patch"),
        "what": "no lock",
        "breaks": "3",
        "profile": "debug",
        "tests": ("test_a.py",),
        "survives": None,
    }
    return Mutant(**(values | change))  # type: ignore[arg-type]


def result(
    cell: Cell,
    outcomes: dict[str, Outcome],
    status: CellStatus = CellStatus.TESTED,
) -> CellResult:
    tests = (outcome_of(name, outcome.value) for name, outcome in outcomes.items())
    return result_of(cell, *tests, status=status, message="said so", directory=Path("/results"))


class Kernel:
    """Answers for cells: what fails without the mutant, and what with it."""

    def __init__(
        self,
        sound: Iterable[str] = (),
        mutated: Iterable[str] = (),
        status: CellStatus = CellStatus.TESTED,
        bad: Outcome = Outcome.FAILED,
    ) -> None:
        self.failing = {False: set(sound), True: set(sound) | set(mutated)}
        self.status = status
        self.bad = bad
        self.asked: list[tuple[str, tuple[str, ...]]] = []

    def run(self, cell: Cell, name: str) -> CellResult:
        self.asked.append((name, cell.tests))
        is_mutant = bool(cell.target.extra)
        names = cell.tests or ("test_a.py", "test_b.py")
        found = {
            test: self.bad if test in self.failing[is_mutant] else Outcome.PASSED for test in names
        }
        return result(cell, found, self.status if is_mutant else CellStatus.TESTED)


# -- reading ---------------------------------------------------------------------------------


def test_mutant_is_read(tmp_path: Path) -> None:
    path = patch(tmp_path, "07-no-lock.patch", "Breaks: 3", "Profile: debug", "Tests: a.py b.py::c")
    (found,) = read_mutants(tmp_path)
    assert found == Mutant(
        name="no-lock",
        path=path,
        what="no lock",
        breaks="3",
        profile="debug",
        tests=("a.py", "b.py::c"),
        survives=None,
    )


@pytest.mark.parametrize(
    ("trailers", "message"),
    [
        ((), "Breaks:"),
        (("Breaks: three",), "Breaks:"),
        (("Breaks: 3", "Breaks: 4"), "'Breaks: 4' is no trailer"),
        (("Breaks: 3", "Kills: me"), "'Kills: me' is no trailer"),
        (("Breaks: 3", "Survives:"), "'Survives:' is no trailer"),
    ],
)
def test_wrong_trailer_is_named(tmp_path: Path, trailers: tuple[str, ...], message: str) -> None:
    patch(tmp_path, "01-x.patch", *trailers)
    with pytest.raises(SpecError, match=message):
        read_mutants(tmp_path)


def test_another_subject_is_refused(tmp_path: Path) -> None:
    patch(tmp_path, "01-x.patch", "Breaks: 3", subject="liveupdate: fix it")
    with pytest.raises(SpecError, match="liveupdate: fix it"):
        read_mutants(tmp_path)


def test_unknown_name_and_empty_directory_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no mutants in"):
        read_mutants(tmp_path)
    patch(tmp_path, "01-x.patch", "Breaks: base")
    with pytest.raises(SpecError, match="no mutant 'y'"):
        read_mutants(tmp_path, ["y"])
    assert [m.name for m in read_mutants(tmp_path, ["x"])] == ["x"]


def test_shipped_mutants_cover_every_patch() -> None:
    found = mutants_of(SUITE)
    assert len(found) >= 24
    assert {m.breaks for m in found} == {"base", *(str(n) for n in range(1, 12))}


# -- judging ---------------------------------------------------------------------------------


def test_test_that_fails_only_with_the_mutant_kills_it() -> None:
    trial = try_mutant(mutant(), TARGET, Kernel(mutated=["test_a.py"]).run)
    assert (trial.fate, trial.killer) == (Fate.KILLED, "test_a.py")


def test_all_tests_are_asked_when_the_named_ones_let_it_live() -> None:
    kernel = Kernel(mutated=["test_b.py"])
    trial = try_mutant(mutant(), TARGET, kernel.run)
    assert (trial.fate, trial.killer) == (Fate.KILLED, "test_b.py")
    assert kernel.asked == [
        ("sound-debug-test-a-py", ("test_a.py",)),
        ("no-lock", ("test_a.py",)),
        ("sound-debug-all", ()),
        ("no-lock", ()),
    ]


def test_test_that_fails_anyway_is_no_verdict() -> None:
    kernel = Kernel(sound=["test_a.py"])
    assert try_mutant(mutant(), TARGET, kernel.run).fate is Fate.NO_VERDICT


def test_test_that_nobody_saw_passing_kills_nothing() -> None:
    def run(cell: Cell, name: str) -> CellResult:
        is_mutant = bool(cell.target.extra)
        return result(cell, {"test_new.py": Outcome.FAILED} if is_mutant else {})

    assert try_mutant(mutant(), TARGET, run).fate is Fate.NO_VERDICT


def test_known_bug_of_the_kernel_hides_no_survivor() -> None:
    bug = replace(outcome_of("test_bug.py", "failed"), bug="some-fix", unexpected=False)

    def run(cell: Cell, name: str) -> CellResult:
        tests = (outcome_of("test_a.py", "passed"), bug)
        return result_of(cell, *tests, status=CellStatus.TESTED, directory=Path("/results"))

    assert try_mutant(mutant(), TARGET, run).fate is Fate.SURVIVED


def test_mutant_that_nobody_notices_survives() -> None:
    trial = try_mutant(mutant(), TARGET, Kernel().run)
    assert (trial.fate, trial.killer) == (Fate.SURVIVED, None)


def test_test_without_a_verdict_might_have_noticed() -> None:
    cell = Cell(target=TARGET)
    lost = result(cell, {"test_a.py": Outcome.PASSED, "test_b.py": Outcome.ERROR})
    lived = result(cell, {"test_a.py": Outcome.PASSED})
    found = [judge(mutant(), lost, lived, 1.0), unreached(mutant(), lost, Path())]
    assert [trial.fate for trial in found] == [Fate.NO_VERDICT] * 2
    assert unreached(mutant(), lived, Path()).fate is Fate.SURVIVED


@pytest.mark.parametrize(
    ("mutated", "fate"), [([], Fate.AS_STATED), (["test_a.py"], Fate.KILLED_AFTER_ALL)]
)
def test_stated_survivor_has_to_survive(mutated: list[str], fate: Fate) -> None:
    stated = mutant(survives="it is a barrier")
    assert try_mutant(stated, TARGET, Kernel(mutated=mutated).run).fate is fate


@pytest.mark.parametrize(
    ("status", "fate"),
    [
        (CellStatus.NOT_APPLIED, Fate.WRONG),
        (CellStatus.NOT_BUILT, Fate.WRONG),
        (CellStatus.ERROR, Fate.NO_VERDICT),
        (CellStatus.NOT_BOOTED, Fate.KILLED),
    ],
)
def test_mutant_that_comes_to_no_tests(status: CellStatus, fate: Fate) -> None:
    assert try_mutant(mutant(), TARGET, Kernel(status=status).run).fate is fate


def test_trouble_of_the_machine_kills_nothing() -> None:
    kernel = Kernel(mutated=["test_a.py"], bad=Outcome.ERROR)
    assert try_mutant(mutant(), TARGET, kernel.run).fate is Fate.NO_VERDICT


# -- saying it -------------------------------------------------------------------------------


def trial(fate: Fate) -> Trial:
    return Trial(
        mutant=mutant(),
        fate=fate,
        killer="test_a.py" if fate is Fate.KILLED else None,
        message="why",
        log=Path("/log"),
        seconds=1.0,
    )


@pytest.mark.parametrize(
    ("fates", "code"),
    [
        ([], ExitCode.PASSED),
        ([Fate.KILLED, Fate.AS_STATED], ExitCode.PASSED),
        ([Fate.KILLED, Fate.SURVIVED, Fate.NO_VERDICT], ExitCode.TESTS_FAILED),
        ([Fate.KILLED_AFTER_ALL], ExitCode.TESTS_FAILED),
        ([Fate.KILLED, Fate.NO_VERDICT], ExitCode.INFRASTRUCTURE),
        ([Fate.SURVIVED, Fate.WRONG], ExitCode.BAD_INPUT),
    ],
)
def test_exit_code_says_the_worst(fates: list[Fate], code: ExitCode) -> None:
    assert exit_code([trial(fate) for fate in fates]) is code


def test_json_and_table_name_the_killer() -> None:
    record = record_of([trial(fate) for fate in Fate])
    found = record_json(record)
    assert wrong_with("mutants", found) == []
    assert from_plain(MutantsRecord, found) == record
    assert found["mutants"][0]["killer"] == "test_a.py"
    assert "| 3 | `no-lock` | no lock | debug | `test_a.py` |" in to_markdown(
        [trial(Fate.KILLED)], "Linux"
    )
