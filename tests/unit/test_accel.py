# SPDX-License-Identifier: GPL-2.0-only
"""Which accelerator is taken, and what is said of one that does not work."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from architectures import SET_UP

from harness.base import command
from harness.base.arch import X86_64, Architecture
from harness.base.errors import CommandError, MachineError
from harness.base.store import Store
from harness.guest import accel
from harness.guest.accel import Accel, choose_accel, qemu_build, qemu_version, run_probe

QEMU = X86_64.qemu


@pytest.mark.parametrize("request_", ["auto", "kvm", "tcg"])
def test_missing_qemu_is_named_with_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request_: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MachineError, match="there is no qemu-system-x86_64") as caught:
        choose_accel(request_, X86_64, Store(tmp_path), QEMU)
    assert "qemu-system-x86" in (caught.value.hint or "")


def test_tcg_is_taken_when_asked_for(tmp_path: Path) -> None:
    assert choose_accel("tcg", X86_64, Store(tmp_path), QEMU).name == "tcg"


@pytest.mark.parametrize("request_", ["auto", "kvm"])
def test_kvm_that_works_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request_: str
) -> None:
    monkeypatch.setattr(accel, "_kvm_trouble", lambda _arch, _qemu, _store: None)
    chosen = choose_accel(request_, X86_64, Store(tmp_path), QEMU)
    assert chosen.name == "kvm"


def test_auto_falls_back_and_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accel, "_kvm_trouble", lambda _arch, _qemu, _store: "no guest ran")
    chosen = choose_accel("auto", X86_64, Store(tmp_path), QEMU)
    assert chosen.name == "tcg"
    assert "no guest ran" in chosen.reason


def test_kvm_insisted_on_fails_where_it_does_not_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accel, "_kvm_trouble", lambda _arch, _qemu, _store: "no guest ran")
    with pytest.raises(MachineError, match="no guest ran") as caught:
        choose_accel("kvm", X86_64, Store(tmp_path), QEMU)
    assert caught.value.hint


def test_device_that_is_not_there_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accel, "DEVICE", tmp_path / "kvm")
    chosen = choose_accel("auto", X86_64, Store(tmp_path / "cache"), QEMU)
    assert chosen == Accel(name="tcg", reason="KVM does not work here: there is no /dev/kvm")


PROBE = """\
import sys
from pathlib import Path
from harness.base.arch import X86_64
from harness.base.store import Store
from harness.guest import accel
accel.DEVICE = Path(sys.argv[1])
accel._CONTAINERS = [Path(word) for word in sys.argv[3:]]
print(accel.choose_accel("auto", X86_64, Store(Path(sys.argv[2])), X86_64.qemu))
"""


def test_device_that_the_user_may_not_open_is_said(tmp_path: Path) -> None:
    """In a process that is an ordinary user's, whoever runs the tests."""
    device = tmp_path / "kvm"
    device.touch(mode=0o000)
    argv = [sys.executable, "-c", PROBE, str(device), str(tmp_path / "cache")]
    if os.geteuid() == 0:  # which may open it nonetheless, by CAP_DAC_OVERRIDE
        drop = ["--inh-caps=-all", "--bounding-set=-all"]
        argv = ["setpriv", *drop, *argv]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert "/dev/kvm cannot be opened: Permission denied (is the user in" in done.stdout, (
        done.stderr
    )
    assert "name='tcg'" in done.stdout


def test_device_that_access_alone_allows_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a container's rules for devices forbid what its mode allows."""
    monkeypatch.setattr(accel, "DEVICE", tmp_path)
    chosen = choose_accel("auto", X86_64, Store(tmp_path / "cache"), QEMU)
    assert chosen.name == "tcg"
    assert "/dev/kvm cannot be opened: Is a directory" in chosen.reason


def test_device_of_the_host_in_a_rootless_container_is_said(tmp_path: Path) -> None:
    """Root there is an ordinary user of the host, whose devices belong to nobody there."""
    names = ["unshare", "--user", "--map-root-user"]
    if subprocess.run([*names, "true"], capture_output=True).returncode != 0:
        pytest.skip("this host has no user namespaces for ordinary users")
    device = Path("/etc/shadow")  # another user's on every host
    if os.geteuid() == 0:
        device = tmp_path / "kvm"
        device.touch(mode=0o600)
        os.chown(device, 1234, 1234)
    argv = [*names, sys.executable, "-c", PROBE, str(device), str(tmp_path / "cache"), "/"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert "name='tcg'" in done.stdout, done.stderr
    assert "Permission denied (containers: --device /dev/kvm" in done.stdout


@pytest.mark.parametrize("arch", SET_UP)
def test_smallest_guest_comes_to_the_end_that_the_probe_expects(arch: Architecture) -> None:
    """Under TCG, which always works: the probe's guest is right, so KVM is all it judges."""
    done = run_probe(arch, arch.qemu, accel="tcg", cpu="max", timeout_s=60)
    assert (done.returncode, done.stderr) == (arch.probe.status, "")
    assert done.stdout == arch.probe.output


def test_kvm_runs_guests_of_the_hosts_architecture_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    chosen = choose_accel("auto", X86_64, Store(tmp_path), QEMU)
    assert chosen == Accel(name="tcg", reason="KVM does not work here: this host is no x86_64")


@pytest.mark.parametrize("change", [{"status": 7}, {"output": "never said"}])
def test_guest_that_ends_in_another_way_is_trouble(
    monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    def under_tcg(arch: Architecture, qemu: str, **_of_kvm: object) -> object:
        return run_probe(arch, qemu, accel="tcg", cpu="max", timeout_s=60)

    monkeypatch.setattr(accel, "run_probe", under_tcg)
    assert accel._probe_kvm(X86_64, QEMU) is None
    other = dataclasses.replace(X86_64, probe=dataclasses.replace(X86_64.probe, **change))
    assert accel._probe_kvm(other, QEMU) == "QEMU ended with status 85"


def test_qemu_that_kvm_ends_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = "failed to set MSR"
    done = command.Completed(argv=(QEMU,), returncode=-6, stdout="", stderr=said)
    (tmp_path / "kvm").touch()
    monkeypatch.setattr(accel, "DEVICE", tmp_path / "kvm")
    monkeypatch.setattr(accel, "run_probe", lambda *_arch, **_of_kvm: done)
    store = Store(tmp_path / "cache")
    for _ in range(2):
        assert accel._kvm_trouble(X86_64, QEMU, store) == f"QEMU was killed by signal 6: {said}"
        monkeypatch.setattr(accel, "run_probe", lambda *_arch, **_of_kvm: None)


@pytest.mark.parametrize("ended", ["by signal 9", "interrupted"])
def test_probe_that_was_cut_short_says_nothing_of_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ended: str
) -> None:
    done = command.Completed(argv=(QEMU,), returncode=0, stdout="", stderr="")
    if ended == "by signal 9":
        done = dataclasses.replace(done, returncode=-9)
    (tmp_path / "kvm").touch()
    monkeypatch.setattr(accel, "DEVICE", tmp_path / "kvm")
    ran: list[object] = []
    monkeypatch.setattr(accel, "run_probe", lambda *words, **_of_kvm: ran.append(words) or done)
    now = ended == "interrupted"
    monkeypatch.setattr("harness.base.command.interrupted", lambda: bool(ran) and now)
    store = Store(tmp_path / "cache")
    if ended == "interrupted":
        with pytest.raises(CommandError, match="interrupted while KVM was probed"):
            accel._kvm_trouble(X86_64, QEMU, store)
    else:
        assert accel._kvm_trouble(X86_64, QEMU, store) == "QEMU was killed by signal 9"
    assert not list((tmp_path / "cache" / "objects").rglob("kvm.json"))


def test_qemu_version_is_a_number() -> None:
    assert qemu_version(QEMU)[0].isdigit()


def qemu_that_says(tmp_path: Path, text: str) -> str:
    program = tmp_path / "qemu"
    program.write_text(f"#!/bin/sh\nprintf '{text}'\n")
    program.chmod(0o755)
    return str(program)


def test_qemu_build_tells_two_builds_of_one_version_apart(tmp_path: Path) -> None:
    said = "QEMU emulator version 9.1.0 (v9.1.0-7-gdeadbeef)"
    program = qemu_that_says(tmp_path, f"{said}\\nCopyright\\n")
    assert (qemu_build(program), qemu_version(program)) == (said, "9.1.0")


def test_qemu_that_says_nothing_is_named(tmp_path: Path) -> None:
    program = qemu_that_says(tmp_path, "")
    with pytest.raises(CommandError, match=f"{program} does not say"):
        qemu_build(program)
