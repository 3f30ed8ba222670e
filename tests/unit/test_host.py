# SPDX-License-Identifier: GPL-2.0-only
"""What the host lacks is named with its package, and one command installs all of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from schemas import complaints as wrong_with

from harness.base.arch import AARCH64, X86_64, Architecture
from harness.base.errors import SpecError
from harness.base.sandbox import Trouble
from harness.base.store import Store
from harness.guest import doctor as host
from harness.guest.doctor import Finding, HostReport, check_host, describe_host

TROUBLE = Trouble(why="it is refused", hint="allow it")


def check(tmp_path: Path, text: str, qemu: str = "qemu-system-x86_64") -> HostReport:
    packages = tmp_path / "packages.txt"
    packages.write_text(text)
    return check_host(Store(tmp_path / "cache"), X86_64, qemu, packages)


def finding(report: HostReport, name: str) -> Finding:
    (found,) = [item for item in report.items if item.name == name]
    return found


def test_missing_program_is_named_with_its_package(tmp_path: Path) -> None:
    found = finding(check(tmp_path, "no-such-program  tiny-tools\n"), "no-such-program")
    assert (found.ok, found.package) == (False, "tiny-tools")
    assert "tiny-tools" in found.detail


def test_missing_programs_one_command_installs_each_package_once(tmp_path: Path) -> None:
    report = check(tmp_path, "absent-1 zoo\nabsent-2 ark\nabsent-3 zoo\nsh dash\n")
    assert report.install is not None
    assert report.install.endswith("apt-get install --no-install-recommends ark zoo")
    assert not report.ok


@pytest.mark.parametrize(("uid", "prefix"), [(0, "apt-get "), (1000, "sudo apt-get ")])
def test_install_command_needs_sudo_unless_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uid: int, prefix: str
) -> None:
    (tmp_path / "packages.txt").write_text("absent zoo\n")
    store = Store(tmp_path / "cache")
    monkeypatch.setattr("os.geteuid", lambda: uid)
    report = check_host(store, X86_64, "qemu-system-x86_64", tmp_path / "packages.txt")
    assert (report.install or "").startswith(prefix)


def test_nothing_missing_needs_no_command(tmp_path: Path) -> None:
    report = check(tmp_path, "sh dash\n")
    assert report.install is None
    assert finding(report, "sh").ok


def fake_qemu(tmp_path: Path, script: str) -> str:
    program = tmp_path / "fake-qemu"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return str(program)


def test_qemu_is_the_one_that_is_used_and_says_what_it_is(tmp_path: Path) -> None:
    qemu = fake_qemu(tmp_path, "echo QEMU emulator version 12.3")
    found = finding(
        check(tmp_path, "qemu-system-x86_64 qemu-system-x86\n", qemu), "qemu-system-x86_64"
    )
    assert (found.ok, found.detail) == (True, f"{qemu}: QEMU emulator version 12.3")


def test_qemu_that_does_not_run_is_said(tmp_path: Path) -> None:
    qemu = fake_qemu(tmp_path, "echo no libfoo.so >&2; exit 127")
    report = check(tmp_path, "qemu-system-x86_64 qemu-system-x86\n", qemu)
    found = finding(report, "qemu-system-x86_64")
    assert not found.ok
    assert "no libfoo.so" in found.detail


def test_path_is_a_file_that_must_exist(tmp_path: Path) -> None:
    (tmp_path / "there.h").touch()
    report = check(tmp_path, f"{tmp_path}/there.h one-dev\n{tmp_path}/absent.h two-dev\n")
    found = [finding(report, f"{tmp_path}/{name}.h").ok for name in ("there", "absent")]
    assert found == [True, False]


@pytest.mark.parametrize("line", ["make", "make gcc binutils", "qemu qemu-system s390x"])
def test_bad_line_of_the_list_is_named(tmp_path: Path, line: str) -> None:
    with pytest.raises(SpecError, match=r"packages\.txt:3: expected 'program package "):
        check(tmp_path, f"# comment\nsh dash # why\n{line}\n")


def test_absent_list_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"cannot read .*absent\.txt"):
        check_host(Store(tmp_path / "cache"), X86_64, "qemu", tmp_path / "absent.txt")


def test_comments_and_empty_lines_are_skipped(tmp_path: Path) -> None:
    names = [item.name for item in check(tmp_path, "# sh dash\n\nsh dash # shell\n").items]
    assert "sh" in names
    assert "#" not in names


def test_too_little_disk_space_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "DISK_MIB", 1 << 40)
    found = finding(check(tmp_path, "sh dash\n"), "disk space")
    assert (found.ok, found.detail.endswith(f"{1 << 40} needed")) == (False, True)


def test_disk_space_does_not_matter_once_the_cache_is_filled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "DISK_MIB", 1 << 40)
    Store(tmp_path / "cache").ccache.mkdir()
    assert finding(check(tmp_path, "sh dash\n"), "disk space").ok


@pytest.mark.parametrize(
    ("mode", "trouble", "ok", "detail"),
    [
        ("auto", None, True, "bwrap works"),
        ("require", None, True, "bwrap works"),
        ("auto", TROUBLE, True, "none: it is refused; allow it"),
        ("require", TROUBLE, False, "none: it is refused; allow it"),
    ],
)
def test_sandbox_that_does_not_work_is_said(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mode: str,
    trouble: Trouble | None,
    ok: bool,
    detail: str,
) -> None:
    monkeypatch.setattr(host, "sandbox_trouble", lambda: trouble)
    (tmp_path / "packages.txt").touch()
    packages = tmp_path / "packages.txt"
    report = check_host(
        Store(tmp_path / "cache"), X86_64, "qemu-system-x86_64", packages, sandbox=mode
    )
    found = finding(report, "sandbox")
    assert (found.ok, found.detail) == (ok, detail)


def test_report_for_machines(tmp_path: Path) -> None:
    found = check(tmp_path, "absent zoo\n").to_json()
    assert wrong_with("doctor", found) == []
    assert found["ok"] is False
    assert {"name": "absent", "ok": False, "package": "zoo"}.items() <= found["items"][0].items()


def test_shipped_list_can_be_read() -> None:
    assert len(host._read_packages(host.PACKAGES, X86_64)) > 10


def programs_for(
    monkeypatch: pytest.MonkeyPatch, arch: Architecture, host_machine: str
) -> set[str]:
    monkeypatch.setattr("platform.machine", lambda: host_machine)
    return {program for program, _ in host._read_packages(host.PACKAGES, arch)}


def test_guests_of_another_architecture_need_a_cross_compiler(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = programs_for(monkeypatch, X86_64, "x86_64")
    other = programs_for(monkeypatch, AARCH64, "x86_64")
    assert own - other == {"qemu-system-x86_64"}
    assert other - own == {
        *("qemu-system-aarch64", "aarch64-linux-gnu-gcc", "/usr/aarch64-linux-gnu/lib/libc.a"),
    }


def test_guests_of_the_hosts_architecture_need_none(monkeypatch: pytest.MonkeyPatch) -> None:
    found = programs_for(monkeypatch, AARCH64, "aarch64")
    assert "qemu-system-aarch64" in found
    assert not [program for program in found if "linux-gnu" in program or "x86" in program]


def test_host_is_described() -> None:
    found = describe_host()
    assert found.kernel.startswith("Linux ")
    assert found.cpu
    assert found.cpus >= 1
    assert found.memory_mib > 256


def test_cache_has_its_size_and_its_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cache/work/linux").mkdir(parents=True)
    (tmp_path / "cache/work/linux/file").write_bytes(b"x" * (200 << 20))
    monkeypatch.setenv("HARNESS_ROOM", "3")
    found = finding(check(tmp_path, "sh dash\n"), "cache")
    assert (found.ok, found.detail) == (True, f"0.2 of 3.0 GiB in {tmp_path}/cache")
    monkeypatch.setenv("HARNESS_ROOM", "0.1")
    detail = finding(check(tmp_path, "sh dash\n"), "cache").detail
    assert detail.startswith(f"0.2 of 0.1 GiB in {tmp_path}/cache: what was not used for longest")
