# SPDX-License-Identifier: GPL-2.0-only
"""What Kconfig makes of requests, held against what we say of those that do not survive.

``make olddefconfig`` of the shipped kernel says what survives.  Each reason was checked by hand
once, against the Kconfig files.
"""

from __future__ import annotations

import io
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from harness.base.arch import X86_64
from harness.base.spec import PROJECT_ROOT
from harness.kernel.build import KernelBuild
from harness.kernel.fragment import read_config
from harness.kernel.reasons import why
from harness.kernel.symbols import load_kconfig
from harness.run.pipeline import Pipeline

pytestmark = [pytest.mark.machinery, pytest.mark.profiles("default")]

PATHS = ("Makefile", "scripts", "arch/x86", ":(glob)**/Kconfig*")
"""What of a kernel takes part in its configuration."""

TABLE = PROJECT_ROOT / "tests" / "data" / "kconfig-requests.txt"


def read_table() -> dict[str, tuple[list[str], dict[str, str]]]:
    """Return the groups of the table: what is asked for beside, and request -> reason."""
    groups: dict[str, tuple[list[str], dict[str, str]]] = {}
    requests: dict[str, str] = {}
    for line in TABLE.read_text().splitlines():
        if line.startswith("["):
            name, _, beside = line[1:].partition("] ")
            requests = {}
            groups[name] = beside.split(), requests
        elif line.startswith("    "):
            requests[list(requests)[-1]] = line.strip()
        elif line and not line.startswith("#"):
            requests[line] = ""
    return groups


GROUPS = read_table()


@pytest.fixture(scope="module")
def sources(
    pipeline: Pipeline, shipped_kernel: KernelBuild, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The shipped kernel's Kconfig files and what reads them, without the series."""
    path = tmp_path_factory.mktemp("kconfig") / "linux"
    words = ["git", "-C", str(pipeline.source.repo), "archive", pipeline.source.base, "--", *PATHS]
    done = subprocess.run(words, check=True, capture_output=True)
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(path, filter="tar")
    return path


def olddefconfig(sources: Path, lines: list[str]) -> Path:
    """Let make write a configuration of *lines* and of defaults."""
    objects = sources.with_name("objects")
    objects.mkdir(exist_ok=True)
    config = objects / ".config"
    config.write_text(
        "".join(
            f"# CONFIG_{line.removesuffix('=n')} is not set\n"
            if line.endswith("=n")
            else f"CONFIG_{line}\n"
            for line in lines
        )
    )
    make = ["make", "-s", "-C", sources, f"O={objects}", "ARCH=x86", "CC=gcc", "olddefconfig"]
    subprocess.run(make, check=True, capture_output=True)
    return config


@pytest.mark.parametrize("group", GROUPS)
def test_requests_survive_or_have_their_reason(sources: Path, group: str) -> None:
    beside, requests = GROUPS[group]
    config = olddefconfig(sources, [*beside, *requests])
    values, kconfig = read_config(config), load_kconfig(sources, X86_64, config)
    said = {request: reason_of(kconfig, request, values) for request in requests}
    wrong = {
        request: said[request]
        for request, reason in requests.items()
        if not said[request].startswith(reason) or bool(said[request]) != bool(reason)
    }
    assert wrong == {}


def reason_of(kconfig: Any, request: str, values: Mapping[str, str]) -> str:
    """Return why a request did not survive; empty when it did."""
    name, _, wanted = request.partition("=")
    now = values.get(name, "n")
    return "" if now == wanted else why(kconfig, name, wanted, now)


def test_table_has_reasons_of_many_kinds() -> None:
    reasons = [reason for _, requests in GROUPS.values() for reason in requests.values() if reason]
    assert len(reasons) >= 60


def test_values_are_those_that_make_has_written(sources: Path) -> None:
    config = olddefconfig(sources, GROUPS["modules"][0])
    values, kconfig = read_config(config), load_kconfig(sources, X86_64, config)
    differing = {
        symbol.name: (symbol.str_value, values[symbol.name])
        for symbol in kconfig.unique_defined_syms
        if symbol.name in values and symbol.str_value != values[symbol.name].strip('"')
    }
    assert differing == {}
    assert len(values) > 1000
