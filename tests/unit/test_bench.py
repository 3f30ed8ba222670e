# SPDX-License-Identifier: GPL-2.0-only
from __future__ import annotations

import io
import time
from pathlib import Path
from typing import cast

import pytest
from rich.console import Console as Terminal

from harness.bench import Figure, Stage, boot_stages, figure_table, measure_boots, stage_table
from harness.vm import VirtualMachine


class Printed:
    """A console on which lines were printed at certain times."""

    def __init__(self, **times: float) -> None:
        self.times = times

    def when(self, text: str, *, mark: int = 0) -> float | None:
        assert mark == 0
        return next((at for word, at in self.times.items() if word in text), None)


class Timed:
    """A machine whose start takes a moment."""

    def __init__(self, console: Printed, seconds: float = 0.0) -> None:
        self.console, self.seconds = console, seconds
        self.closed = False

    def start(self) -> None:
        time.sleep(self.seconds)

    def close(self) -> None:
        self.closed = True


def shown(table: object) -> list[list[str]]:
    out = io.StringIO()
    Terminal(file=out, width=100).print(table)
    return [line.split() for line in out.getvalue().splitlines()]


def test_boot_is_split_by_what_the_kernel_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 103.0])
    monkeypatch.setattr("harness.bench.time.monotonic", lambda: next(clock))
    console = Printed(Linux=101.0, Run=102.0, ready=102.5)
    stages = boot_stages(cast(VirtualMachine, Timed(console)))
    assert [stage.seconds for stage in stages] == [1.0, 1.0, 0.5, 0.5]
    assert sum(stage.seconds for stage in stages) == 3.0


def test_stage_whose_line_is_missing_falls_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 103.0])
    monkeypatch.setattr("harness.bench.time.monotonic", lambda: next(clock))
    stages = boot_stages(cast(VirtualMachine, Timed(Printed(Linux=101.0, ready=102.5))))
    assert [stage.seconds for stage in stages] == [1.0, 1.5, 0.5]


def test_stage_table_has_shares_and_sums() -> None:
    stages = [Stage("boot", "a", 1.0), Stage("boot", "b", 3.0), Stage("update", "a", 0.5)]
    assert shown(stage_table(stages))[1:] == [
        ["boot", "4.000"],
        ["a", "1.000", "25%"],
        ["b", "3.000", "75%"],
        ["update", "0.500"],
        ["a", "0.500", "100%"],
    ]


def test_figure_says_what_its_runs_came_to() -> None:
    figure = Figure("boot_to_ssh", "s", (3.0, 1.0, 2.0))
    assert figure.as_json() == {"min": 1.0, "median": 2.0, "max": 3.0, "unit": "s", "runs": 3}
    assert shown(figure_table([figure]))[1:] == [
        ["boot_to_ssh", "1.000", "2.000", "3.000", "s", "3"]
    ]


def test_measuring_ends_every_machine(tmp_path: Path) -> None:
    made: list[Timed] = []

    def make(_logs: Path) -> VirtualMachine:
        made.append(Timed(Printed(), 0.01))
        return cast(VirtualMachine, made[-1])

    figure = measure_boots(make, tmp_path, 3)
    assert len(figure.values) == 3
    assert min(figure.values) >= 0.01
    assert all(machine.closed for machine in made)
