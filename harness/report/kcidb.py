# SPDX-License-Identifier: GPL-2.0-only
"""Results as a report for KCIDB, the database of kernel test results (schema 5.3).

The schema is that of the package ``kcidb-io``.  Ids are hashes of what an object is about, so that
the same results always make the same report; ``docs/results.md`` says what becomes what.
"""

from __future__ import annotations

import builtins
import hashlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from harness import NAME
from harness.base.errors import InputError, SpecError
from harness.base.store import digest
from harness.results.evidence import Evidence, Kernel
from harness.results.records import BuildStatus, CellStatus
from harness.results.results import Boot, BootResult, Outcome, RunResults, TestResult

VERSION = {"major": 5, "minor": 3}

KINDS = ("checkouts", "builds", "tests")
"""What a report holds, each below the one before."""

ORIGIN = NAME.replace("-", "_")
"""The name of the system that reports, unless the user has agreed on another one."""

MAX_EXCERPT = 16384
"""Characters of a ``log_excerpt``."""

_OUTCOMES = {
    Outcome.PASSED: "PASS",
    Outcome.FAILED: "FAIL",
    Outcome.CRASHED: "FAIL",
    Outcome.SKIPPED: "SKIP",
    Outcome.ERROR: "MISS",
}

_BUILDS = {BuildStatus.OK: "PASS", BuildStatus.FAILED: "FAIL", BuildStatus.NONE: "MISS"}

_BOOTS = {Boot.OK: "PASS", Boot.CRASHED: "FAIL", Boot.UNUSABLE: "MISS", Boot.ERROR: "MISS"}


def to_kcidb(
    found: Iterable[Evidence],
    *,
    directory: Path,
    origin: str = ORIGIN,
    tree: str | None = None,
    url: str | None = None,
) -> dict[str, Any]:
    """Return the report of everything in *found*.

    :param directory: what *found* was read from.
    :param tree: the widely known name of the kernel tree, such as ``mainline``.
    :param url: where *directory* can be read on the web; logs are named when it is given.
    :raises InputError: when the origin is none.
    """
    if not re.fullmatch(r"[a-z0-9_]+", origin):
        raise InputError(
            f"{origin!r} is no origin", hint="small letters, digits and underscores, as agreed"
        )
    report = _Report(directory, origin, tree, url)
    for item in found:
        for kernel in item.kernels:
            report.add(kernel)
    return {"version": dict(VERSION)} | {
        kind: list(objects.values()) for kind, objects in report.objects.items() if objects
    }


def validate(report: dict[str, Any]) -> bool:
    """Hold *report* against KCIDB's own schema; ``False`` when the package with it is missing.

    :raises SpecError: when it is not what the schema asks for.
    """
    try:
        from kcidb_io.schema import V5_3
    except ImportError:
        return False
    from jsonschema.exceptions import ValidationError

    try:
        V5_3.validate_exactly(report)
    except ValidationError as error:
        where = "/".join(map(str, error.absolute_path))
        raise SpecError(f"the report is not valid at {where}: {error.message[:200]}") from error
    return True


class _Report:
    def __init__(self, directory: Path, origin: str, tree: str | None, url: str | None) -> None:
        self._directory = directory
        self._origin = origin
        self._tree = tree
        self._url = url.rstrip("/") if url is not None else None
        self.objects: dict[str, dict[str, dict[str, Any]]] = {kind: {} for kind in KINDS}

    def add(self, kernel: Kernel) -> None:
        """Add a kernel: its checkout, its build, its boot and its tests."""
        checkout = self._checkout(kernel)
        if kernel.status is CellStatus.NOT_APPLIED:
            return
        build = self._build(kernel, checkout)
        results = kernel.results
        if results is None:
            if kernel.build is BuildStatus.OK:
                self._boot_of_none(kernel, build)
            return
        # No other run took the same time in every test.
        run = digest(kernel.directory / "results.json")
        common = {"environment": _environment(results), "start_time": results.started}
        boot = _boot_of(results)
        if boot is not None:
            self._boot(boot, build, run, common)
        for test in results.tests:
            self._test(test, kernel, build, run, common)

    def _add(self, kind: str, parts: Sequence[object], **fields: Any) -> str:
        """Add an object, or what is new about one that is known; ``None`` leaves a field out."""
        made = f"{self._origin}:{digest(kind, *parts)}"
        given = {name: value for name, value in fields.items() if value is not None}
        if "misc" in given:
            given["misc"] = {k: v for k, v in given["misc"].items() if v is not None}
        self.objects[kind].setdefault(made, {"id": made, "origin": self._origin}).update(given)
        return made

    # -- what was built ----------------------------------------------------------------------

    def _checkout(self, kernel: Kernel) -> str:
        results = kernel.results
        facts = results.kernel if results is not None else None
        what: list[object] = [kernel.base, kernel.series, kernel.position, kernel.subject]
        if facts is not None:
            what = [kernel.base, facts.commit]
        label = facts.label if facts is not None else kernel.base[:12]
        series = kernel.series or "no series"
        broken = kernel.status is CellStatus.NOT_APPLIED
        return self._add(
            "checkouts",
            what,
            tree_name=self._tree,
            git_commit_hash=kernel.base if facts is not None and facts.public else None,
            patchset_hash=_patchset(facts.patchset) if facts is not None else None,
            comment=_text(f"{label}, position {kernel.position} of {series}: {kernel.subject}"),
            valid=not broken,
            log_excerpt=_excerpt(kernel.message) if broken else None,
            misc={
                "base": kernel.base,
                "commit": facts.commit if facts is not None else None,
                "series": kernel.series,
                "position": kernel.position,
            },
        )

    def _build(self, kernel: Kernel, checkout: str) -> str:
        results = kernel.results
        if results is None:
            failed = kernel.build is BuildStatus.FAILED
            log = kernel.directory / "build.log"
            return self._add(
                "builds",
                [checkout, kernel.profile],
                checkout_id=checkout,
                config_name=kernel.profile,
                status=_BUILDS[kernel.build],
                log_url=self._address(log) if failed else None,
                log_excerpt=_excerpt(_tail(log) or kernel.message) if failed else None,
            )
        facts = results.kernel
        return self._add(
            "builds",
            [checkout, kernel.profile, results.builds.get(str(kernel.position))],
            checkout_id=checkout,
            architecture=results.machine.arch,
            compiler=facts.toolchain,
            config_name=kernel.profile,
            duration=None if facts.cached else facts.build_seconds,
            comment=facts.release,
            status="PASS",
            misc={
                "warnings": facts.warnings,
                "new_warnings": None if facts.new_warnings is None else list(facts.new_warnings),
            },
        )

    # -- what was run ------------------------------------------------------------------------

    def _boot(self, boot: BootResult, build: str, run: str, common: dict[str, Any]) -> None:
        self._add(
            "tests",
            [build, run, "boot"],
            build_id=build,
            path="boot",
            status=_BOOTS[boot.outcome],
            duration=boot.seconds,
            log_excerpt=_excerpt(boot.message),
            misc={"outcome": boot.outcome.value, "release": boot.release, "cloned": boot.cloned},
            **common,
        )

    def _boot_of_none(self, kernel: Kernel, build: str) -> None:
        crashed = kernel.boot is Boot.CRASHED
        self._add(
            "tests",
            [build, kernel.status.value, kernel.message, "boot"],
            build_id=build,
            path="boot",
            status="FAIL" if crashed else "MISS",
            log_excerpt=_excerpt(kernel.message),
            misc={"outcome": (kernel.boot or kernel.status).value},
        )

    def _test(
        self, test: TestResult, kernel: Kernel, build: str, run: str, common: dict[str, Any]
    ) -> None:
        log = kernel.directory / test.console if test.console is not None else None
        self._add(
            "tests",
            [build, run, test.id],
            build_id=build,
            path=path_of(test.id),
            comment=_text(test.id),
            status=status_of(test),
            duration=test.seconds,
            log_url=self._address(log) if log is not None else None,
            log_excerpt=_excerpt(test.message),
            misc={
                "outcome": test.outcome.value,
                "expected": test.expected.value,
                "unexpected": test.unexpected,
                "finding": test.finding,
                "splats": list(test.splats),
                "known_issues": list(test.known_issues),
            },
            **common,
        )

    def _address(self, file: Path) -> str | None:
        if self._url is None or not file.exists():
            return None
        return f"{self._url}/{quote(str(file.relative_to(self._directory)))}"


def status_of(test: TestResult) -> str:
    """Return KCIDB's word for what a test came to: as it was observed, whatever was stated.

    A test that ends with an exception of Python's own, other than an assertion, did not come to a
    verdict: ``ERROR``.  The harness, the host or the machine let it down: ``MISS``.
    """
    kind = getattr(builtins, test.exception, None) if test.exception is not None else None
    own = (
        isinstance(kind, type)
        and issubclass(kind, Exception)
        and not issubclass(kind, AssertionError)
    )
    if own and test.outcome in (Outcome.FAILED, Outcome.ERROR) and not test.splats:
        return "ERROR"
    return _OUTCOMES[test.outcome]


def path_of(test_id: str) -> str:
    """Return a test's place in KCIDB's tree: ``ORIGIN.test_module.test_x.3``."""
    words = re.sub(r"\.py(?=::|$)", "", test_id).replace("/", "::").replace("[", "::").split("::")
    plain = (re.sub(r"[^A-Za-z0-9_-]+", "_", word).strip("_") for word in words)
    return ".".join([ORIGIN, *(word for word in plain if word)])


def _boot_of(results: RunResults) -> BootResult | None:
    """Return the first boot of the kernel under test that worked, else the last that did not."""
    own = [boot for boot in results.boots if boot.release == results.kernel.release]
    worked = [boot for boot in own if boot.outcome is Boot.OK]
    return worked[0] if worked else own[-1] if own else None


def _patchset(patches: Sequence[str]) -> str:
    """Return KCIDB's hash of patches: of their hashes, one a line; empty without any."""
    lines = "".join(f"{patch}\n" for patch in patches)
    return hashlib.sha256(lines.encode()).hexdigest() if patches else ""


def _environment(results: RunResults) -> dict[str, Any]:
    machine = results.machine
    return {
        "comment": f"QEMU {machine.qemu}, {results.accel}",
        "misc": {
            "memory_mib": machine.memory_mib,
            "cpus": machine.cpus,
            "cmdline": list(machine.cmdline),
            "accel": results.accel,
        },
    }


def _tail(file: Path) -> str:
    try:
        return file.read_text(errors="replace")[-MAX_EXCERPT:]
    except OSError:
        return ""


def _excerpt(text: str) -> str | None:
    return _text(text)[:MAX_EXCERPT] or None


def _text(text: str) -> str:
    return text.replace("\0", "")
