# SPDX-License-Identifier: GPL-2.0-only
"""Results as if there had been a run: a test names only what it asks about."""

from __future__ import annotations

import dataclasses
from typing import Any

from harness.results.facts import HostFacts, KernelFacts, MachineFacts, PatchFacts, SeriesFacts
from harness.results.results import RunResults, TestResult

KERNEL = KernelFacts(
    version="7.0.13",
    label="linux-source-7.0",
    base="a" * 40,
    public=False,
    commit="b" * 40,
    patchset=(),
    release="7.0.13-p00",
    build_seconds=20.0,
    cached=False,
    warnings=0,
    new_warnings=None,
    toolchain="gcc 12",
    config="cache/config",
    features=(),
)

NO_SERIES = SeriesFacts(
    name=None,
    title=None,
    origin=None,
    taken=None,
    left_out=(),
    position=0,
    total=0,
    extra=(),
    support=(),
    patches=(),
    suite=(),
)

MACHINE = MachineFacts(
    arch="x86_64",
    qemu="7.2.22",
    accel_reason="asked for",
    memory_mib=768,
    cpus=2,
    cmdline=("kho=on",),
    image="c" * 32,
    host=HostFacts(kernel="Linux 6.1 x86_64", cpu="a processor", cpus=4, memory_mib=16384),
)


def series_of(position: int, *subjects: str) -> SeriesFacts:
    """Return the facts of a series with these patches."""
    return dataclasses.replace(
        NO_SERIES,
        name="s",
        title="A series",
        origin="series/s",
        taken=f"v1, {len(subjects)} patches",
        position=position,
        total=len(subjects),
        patches=tuple(
            PatchFacts(
                position=number,
                subject=subject,
                commit=f"{number:040}",
                already=False,
                recognised=None,
            )
            for number, subject in enumerate(subjects, 1)
        ),
    )


def run_of(
    *tests: TestResult,
    kernel: dict[str, Any] | None = None,
    machine: dict[str, Any] | None = None,
    **changes: Any,
) -> RunResults:
    """Return a run of *tests*.

    :param kernel: what is another one in :data:`KERNEL`; *machine* and *changes* likewise.
    """
    made = RunResults(
        kernel=dataclasses.replace(KERNEL, **(kernel or {})),
        series=NO_SERIES,
        profile="default",
        accel="tcg",
        machine=dataclasses.replace(MACHINE, **(machine or {})),
        builds={},
        started="2026-11-24T08:44:20+00:00",
        seconds=1.0,
        tests=tests,
    )
    return dataclasses.replace(made, **changes)
