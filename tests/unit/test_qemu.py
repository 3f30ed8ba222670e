# SPDX-License-Identifier: GPL-2.0-only
"""QEMU's arguments, and how its failures are told."""

from __future__ import annotations

import dataclasses
import os
import signal
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from harness.base.arch import X86_64
from harness.base.errors import MachineError
from harness.base.spec import MachineSpec
from harness.guest import qemu
from harness.guest import qemu_argv as qemu_argv_of
from harness.guest.qemu import Qemu
from harness.guest.qemu_argv import Memory, qemu_argv


def idle_kernel() -> bytes:
    """Make a kernel that QEMU loads and that halts at once (kernel ``arch/x86/boot.rst``)."""
    image = bytearray(8192)
    image[0x1F1] = 4  # setup_sects
    image[0x1FE:0x200] = b"\x55\xaa"  # boot_flag
    image[0x200:0x202] = b"\xeb\x6e"  # jmp 0x270
    image[0x202:0x206] = b"HdrS"
    image[0x206:0x208] = b"\x06\x02"  # version 2.6
    image[0x211] = 1  # loadflags: LOADED_HIGH
    image[0x22C:0x230] = b"\xff\xff\xff\x37"  # initrd_addr_max
    image[0x270:0x274] = b"\xfa\xf4\xeb\xfd"  # cli; hlt; jmp to hlt
    return bytes(image)


@pytest.fixture
def spec(tmp_path: Path) -> MachineSpec:
    (tmp_path / "kernel").write_bytes(idle_kernel())
    (tmp_path / "one").write_bytes(b"1")
    (tmp_path / "two").write_bytes(b"2")
    return MachineSpec(
        arch="x86_64",
        qemu="qemu-system-x86_64",
        kernel=tmp_path / "kernel",
        initrds=(tmp_path / "one", tmp_path / "two"),
        cmdline=("kho=on", "liveupdate=on"),
        memory_mib=64,
        cpus=2,
        accel="tcg",
        timeout_scale=1.0,
    )


def argv(spec: MachineSpec, gdb: Path | None = None) -> str:
    words = qemu_argv(spec, initrd=Path("initrd"), console=Path("tty"), qmp_fd=8, gdb_socket=gdb)
    return " ".join(words)


# -- arguments -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        "-machine pc-q35-7.2",
        "-accel tcg,thread=multi -cpu qemu64-v1,enforce=on,",
        "-m 64M -smp 2,sockets=2,cores=1,threads=1",
        "-append console=ttyS0 acpi=off tsc=reliable no_timer_check pmtmr=0x608",
        "-chardev pipe,id=console,path=tty -serial chardev:console",
        "socket,id=qmp,fd=8",
        "hostfwd=tcp:127.0.0.1:0-:22",
        "-no-reboot",
    ],
)
def test_argv_has(spec: MachineSpec, words: str) -> None:
    assert words in argv(spec)


def test_argv_kvm_uses_the_hosts_cpu_and_its_clocks(spec: MachineSpec) -> None:
    words = argv(dataclasses.replace(spec, accel="kvm"))
    assert "-accel kvm -cpu host,la57=off -m" in words
    assert "tcg" not in words
    assert "lpj=" not in words


def test_argv_takes_paths_with_commas(spec: MachineSpec) -> None:
    words = qemu_argv(
        spec,
        initrd=None,
        console=Path("a,b/tty"),
        qmp_fd=8,
        gdb_socket=Path("a,b/gdb"),
        memory=Memory(file=Path("a,b/memory")),
    )
    for word in ("path=a,,b/tty", "path=a,,b/gdb,server", "mem-path=a,,b/memory,"):
        assert word in " ".join(words)


@pytest.mark.parametrize("name", ["short", "with,comma", "long-" * 20 + "/" + "name-" * 20])
def test_gdb_can_attach_wherever_temporary_files_go(
    spec: MachineSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    directory = tmp_path / name
    directory.mkdir(parents=True)
    monkeypatch.setattr("tempfile.tempdir", str(directory))
    with Qemu(spec, log_dir=tmp_path / "logs", gdb=True) as machine:
        path = machine.gdb_socket
        assert path is not None
        with socket.socket(socket.AF_UNIX) as gdb:
            gdb.settimeout(10)
            gdb.connect(str(path))
            gdb.sendall(b"$qSupported#37")
            assert gdb.recv(1) in (b"+", b"$")
        assert path.is_relative_to(directory) or len(name) > 100
    assert not path.parent.exists()
    assert list(directory.iterdir()) == []


def test_no_directory_for_gdbs_socket_is_said(
    spec: MachineSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / ("long-" * 20)
    directory.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(directory))
    monkeypatch.setattr(qemu, "_SHORT", (str(directory), str(tmp_path / "absent")))
    with pytest.raises(MachineError, match="no directory has a name short enough") as caught:
        Qemu(spec, log_dir=tmp_path / "logs", gdb=True).start()
    assert caught.value.hint == "TMPDIR names a directory for temporary files"


def test_argv_gdb_stub_only_when_asked_for(spec: MachineSpec) -> None:
    assert "-gdb " not in argv(spec)
    words = argv(spec, gdb=Path("stub"))
    assert "socket,id=gdb,path=stub,server=on,wait=off -gdb chardev:gdb" in words


def test_argv_extra_arguments_come_last(spec: MachineSpec) -> None:
    assert argv(dataclasses.replace(spec, extra_args=("-s", "-S"))).endswith(" -s -S")


# -- life ------------------------------------------------------------------------------------


def test_argv_of_a_machine_that_goes_on_has_no_kernel(spec: MachineSpec) -> None:
    words = qemu_argv(spec, initrd=None, console=Path("tty"), qmp_fd=8)
    assert not {"-kernel", "-initrd", "-append"} & set(words)


def test_qemu_that_is_not_installed_is_named_with_a_hint(spec: MachineSpec, tmp_path: Path) -> None:
    absent = dataclasses.replace(spec, qemu="qemu-system-absent")
    with pytest.raises(MachineError, match="qemu-system-absent") as caught:
        Qemu(absent, log_dir=tmp_path / "log").start()
    assert caught.value.hint


def without(name: str) -> tuple[Any, str]:
    """Return an architecture that has something which no QEMU has, and what is said of it."""
    cpu = X86_64.processor
    match name:
        case "feature":
            odd = dataclasses.replace(cpu, added=(*cpu.added, "pcid", "avx512f"))
            return {"processor": odd}, r"what it is to have: (pcid, avx512f|avx512f, pcid)$"
        case "feature that nobody knows":
            return {"processor": dataclasses.replace(cpu, added=("warp",))}, "processor .*warp=on"
        case "model":
            return {"processor": dataclasses.replace(cpu, model="z80")}, "guest's processor z80"
        case _:
            return {"machine": "pc-q35-1.0"}, "has no machine pc-q35-1.0"


@pytest.mark.parametrize("what", ["feature", "feature that nobody knows", "model", "machine"])
def test_what_qemu_does_not_have_is_named_before_the_boot(
    spec: MachineSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    change, words = without(what)
    arch = dataclasses.replace(X86_64, **change)
    for module in (qemu, qemu_argv_of):
        monkeypatch.setattr(module, "architecture", lambda _name: arch)
    with pytest.raises(MachineError, match=words) as caught:
        Qemu(spec, log_dir=tmp_path / "log").start()
    assert "--qemu" in (caught.value.hint or "")


def test_qemu_is_the_program_that_was_asked_for(spec: MachineSpec, tmp_path: Path) -> None:
    program = tmp_path / "my-qemu"
    program.write_text(f'#!/bin/sh\ntouch {tmp_path}/ran\nexec qemu-system-x86_64 "$@"\n')
    program.chmod(0o755)
    with Qemu(dataclasses.replace(spec, qemu=str(program)), log_dir=tmp_path / "log"):
        assert (tmp_path / "ran").exists()


def test_qemu_that_refuses_its_arguments_is_quoted(spec: MachineSpec, tmp_path: Path) -> None:
    wrong = dataclasses.replace(spec, extra_args=("-device", "no-such-device"))
    with pytest.raises(MachineError, match="no-such-device"):
        Qemu(wrong, log_dir=tmp_path / "log").start()


def test_qemu_that_fails_to_start_leaves_nothing_open(spec: MachineSpec, tmp_path: Path) -> None:
    before = set(Path("/proc/self/fd").iterdir())
    wrong = dataclasses.replace(spec, extra_args=("-device", "no-such-device"))
    with pytest.raises(MachineError):
        Qemu(wrong, log_dir=tmp_path / "log").start()
    assert set(Path("/proc/self/fd").iterdir()) == before


def test_machine_has_a_port_and_a_process_while_it_runs(spec: MachineSpec, tmp_path: Path) -> None:
    with Qemu(spec, log_dir=tmp_path / "log") as qemu:
        assert qemu.ssh_port > 0
        assert Path(f"/proc/{qemu.qemu_pid}").exists()
        pid = qemu.qemu_pid
    assert not Path(f"/proc/{pid}").exists()


def test_running_machine_needs_no_temporary_file(
    spec: MachineSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    with Qemu(spec, log_dir=tmp_path / "log"):
        assert list((tmp_path / "tmp").iterdir()) == []


def test_killed_qemu_is_told_with_its_signal(spec: MachineSpec, tmp_path: Path) -> None:
    with Qemu(spec, log_dir=tmp_path / "log") as qemu:
        qemu.assert_alive()
        os.kill(qemu.qemu_pid, 9)
        with pytest.raises(MachineError, match="QEMU closed the console: killed by signal 9;"):
            qemu.console.expect(["never"], timeout_s=10.0)
        with pytest.raises(MachineError, match="killed by signal 9"):
            qemu.assert_alive()


def test_qemu_that_the_host_killed_for_memory_says_so(
    spec: MachineSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kills = [4]
    monkeypatch.setattr("harness.guest.qemu._oom_kills", lambda: kills[0])
    with Qemu(spec, log_dir=tmp_path / "log") as machine:
        kills[0] = 5
        os.kill(machine.qemu_pid, signal.SIGKILL)
        with pytest.raises(MachineError):
            machine.console.expect(["never"], timeout_s=10.0)
        with pytest.raises(MachineError, match=r"killed by signal 9, as the host .* of memory"):
            machine.assert_alive()


def test_oom_kills_are_counted() -> None:
    assert qemu._oom_kills() >= 0
    assert "oom_kill " in Path("/proc/vmstat").read_text()


def test_qemu_that_is_stopped_says_so(spec: MachineSpec, tmp_path: Path) -> None:
    with Qemu(spec, log_dir=tmp_path / "log") as machine:
        os.kill(machine.qemu_pid, signal.SIGSTOP)
        wait_for_state(machine.qemu_pid, "T")
        with pytest.raises(MachineError, match="QEMU is stopped") as caught:
            machine.assert_alive()
        assert "SIGSTOP" in (caught.value.hint or "")
        os.kill(machine.qemu_pid, signal.SIGCONT)
        wait_for_state(machine.qemu_pid, "S", "R")
        machine.assert_alive()


def test_qemu_that_is_stopped_for_good_is_ended(spec: MachineSpec, tmp_path: Path) -> None:
    with Qemu(spec, log_dir=tmp_path / "log") as machine:
        pid = machine.qemu_pid
        os.kill(pid, signal.SIGSTOP)
    assert not Path(f"/proc/{pid}").exists()


def wait_for_state(pid: int, *states: str) -> None:
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in states:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_saved_machine_goes_on_and_leaves_no_descriptor(spec: MachineSpec, tmp_path: Path) -> None:
    memory, state = Memory(file=tmp_path / "memory"), tmp_path / "devices"
    with Qemu(spec, log_dir=tmp_path / "first", memory=memory) as machine:
        machine.save(state)
    before = len(list(Path("/proc/self/fd").iterdir()))
    saved = dataclasses.replace(memory, private=True, state=state)
    with Qemu(spec, log_dir=tmp_path / "second", memory=saved) as machine:
        machine.assert_alive()
        assert machine.ssh_port > 0
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_machine_is_saved_when_it_has_become_idle(
    spec: MachineSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = iter([0.0, 0.1, 0.2, 0.2001, 9.9])
    monkeypatch.setattr("harness.guest.qemu._cpu_seconds", lambda _pid: next(used))
    memory = Memory(file=tmp_path / "memory")
    with Qemu(spec, log_dir=tmp_path, memory=memory) as machine:
        machine.save(tmp_path / "devices")
    assert next(used) == 9.9


def test_machines_side_by_side_do_not_clash(spec: MachineSpec, tmp_path: Path) -> None:
    with Qemu(spec, log_dir=tmp_path / "a") as a, Qemu(spec, log_dir=tmp_path / "b") as b:
        assert a.ssh_port != b.ssh_port
